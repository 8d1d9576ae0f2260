-- One connection to Google per workspace.
do $$
declare
  absent text;
begin
  if to_regclass('public.google_connections') is null then
    perform set_config('lock_timeout', '2s', true);  -- the reference locks workspaces for a moment
    create table public.google_connections (
      id uuid primary key default gen_random_uuid(),
      workspace_id uuid not null,
      refresh_token_encrypted text not null,
      calendar_id text not null,
      is_valid boolean not null default true,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint google_connections_workspace_id_key unique (workspace_id)
    );
    alter table public.google_connections enable row level security;
    create trigger google_connections_touch before update on public.google_connections
      for each row execute function public.sync_touch();
    if to_regclass('public.workspaces') is not null then
      alter table public.google_connections add constraint google_connections_workspace_id_fkey
        foreign key (workspace_id) references public.workspaces (id) on delete cascade;
    end if;
  end if;
  select string_agg(name, ', ' order by place) into absent
    from unnest(array['workspace_id', 'refresh_token_encrypted', 'calendar_id', 'is_valid'])
         with ordinality as wanted (name, place)
   where not exists (
     select from pg_catalog.pg_attribute
      where attrelid = 'public.google_connections'::regclass and attname = wanted.name and not attisdropped
   );
  if absent is not null then
    raise exception 'public.google_connections exists but lacks: %', absent;
  end if;
end $$;
