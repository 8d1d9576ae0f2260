-- The outbox: the application writes a row in the same transaction as its own data. Where the table exists, this checks
-- the columns and changes nothing.
do $$
declare
  absent text;
begin
  if to_regclass('public.sync_outbox') is null then
    perform set_config('lock_timeout', '2s', true);  -- the reference locks workspaces for a moment
    create table public.sync_outbox (
      id uuid primary key default gen_random_uuid(),
      workspace_id uuid not null,
      operation public.outbox_operation not null,
      payload jsonb not null,
      status public.outbox_status not null default 'PENDING',
      attempts integer not null default 0,
      max_attempts integer not null default 5,
      next_attempt_at timestamptz not null default now(),
      last_error text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      processed_at timestamptz,
      constraint sync_outbox_attempts_check check (attempts >= 0 and attempts <= max_attempts)
    );
    alter table public.sync_outbox enable row level security;
    create trigger sync_outbox_touch before update on public.sync_outbox
      for each row execute function public.sync_touch();
    if to_regclass('public.workspaces') is not null then
      alter table public.sync_outbox add constraint sync_outbox_workspace_id_fkey
        foreign key (workspace_id) references public.workspaces (id) on delete cascade;
    end if;
  end if;
  select string_agg(name, ', ' order by place) into absent
    from unnest(array[
      'id', 'workspace_id', 'operation', 'payload', 'status', 'attempts', 'max_attempts', 'next_attempt_at',
      'last_error', 'created_at', 'updated_at', 'processed_at'
    ]) with ordinality as wanted (name, place)
   where not exists (
     select from pg_catalog.pg_attribute
      where attrelid = 'public.sync_outbox'::regclass and attname = wanted.name and not attisdropped
   );
  if absent is not null then
    raise exception 'public.sync_outbox exists but lacks: %', absent;
  end if;
  if row_security_active('public.sync_outbox') then
    raise exception 'row level security hides rows of public.sync_outbox from %: migrate as the owner', current_user;
  end if;
end $$;
