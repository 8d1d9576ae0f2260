-- The application's view of what is in Google. source_type is not checked here: the application may add kinds.
do $$
declare
  absent text;
begin
  if to_regclass('public.calendar_event_bindings') is null then
    perform set_config('lock_timeout', '2s', true);  -- the reference locks workspaces for a moment
    create table public.calendar_event_bindings (
      id uuid primary key default gen_random_uuid(),
      workspace_id uuid not null,
      google_event_id text not null,
      calendar_id text not null,
      source_type text not null,
      source_id uuid not null,
      event_type public.calendar_event_type not null,
      event_title text,
      event_start timestamptz,
      event_end timestamptz,
      last_synced_at timestamptz,
      sync_version integer not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint calendar_event_bindings_source_key unique (workspace_id, source_type, source_id)
    );
    alter table public.calendar_event_bindings enable row level security;
    create trigger calendar_event_bindings_touch before update on public.calendar_event_bindings
      for each row execute function public.sync_touch_version();
    if to_regclass('public.workspaces') is not null then
      alter table public.calendar_event_bindings add constraint calendar_event_bindings_workspace_id_fkey
        foreign key (workspace_id) references public.workspaces (id) on delete cascade;
    end if;
  end if;
  select string_agg(name, ', ' order by place) into absent
    from unnest(array[
      'id', 'workspace_id', 'google_event_id', 'calendar_id', 'source_type', 'source_id', 'event_type', 'event_title',
      'event_start', 'event_end', 'last_synced_at', 'sync_version', 'created_at', 'updated_at'
    ]) with ordinality as wanted (name, place)
   where not exists (
     select from pg_catalog.pg_attribute
      where attrelid = 'public.calendar_event_bindings'::regclass and attname = wanted.name and not attisdropped
   );
  if absent is not null then
    raise exception 'public.calendar_event_bindings exists but lacks: %', absent;
  end if;
end $$;
