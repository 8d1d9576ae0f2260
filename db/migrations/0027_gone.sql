-- What is gone: events, as the brake counts them; the texts of what was cancelled; workspaces.
--
-- sync_sources.removed_at says when we removed a source's event because the application cancelled it; null again once the
-- source has an event (reactor/core/brake.py). Ten minutes later the time has no meaning any more, and it stays: to clear
-- it would be a second write for each cancel. The column comes without a default, which changes the catalogue only.
--
-- The index answers how many events of a workspace were removed lately, and how many it has (removed_at null), however
-- many tombstones lie beside them. An edit changes neither column, so its update stays on its page as before (HOT); a new
-- source and a cancel write one entry.
--
-- sync_departures: workspaces that have a memory and were seen without a connection, and since when. Somebody who
-- disconnects may connect again, and a rebuild then needs what was applied last; so it is kept for as long as settled
-- items are (reactor/postgres/housekeeping.sql). Where nothing is left of a workspace, nothing is kept.
-- transactional: false
do $$
begin
  if exists (
    select from pg_catalog.pg_attribute
     where attrelid = 'public.sync_sources'::regclass and attname = 'removed_at' and not attisdropped
  ) then
    return;
  end if;
  perform set_config('lock_timeout', '2s', true);
  alter table public.sync_sources add column if not exists removed_at timestamptz;
end $$;

create index concurrently if not exists sync_sources_events
  on public.sync_sources (workspace_id, removed_at)
  where google_event_id is not null or removed_at is not null;

create table if not exists public.sync_departures (
  workspace_id uuid primary key,
  seen_at timestamptz not null default clock_timestamp()
);

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_departures enable row level security;

-- What was cancelled before there was a trigger that forgets its texts (db/triggers.sql). In portions, each a transaction of
-- its own: a settle of such a source waits for one of them at most.
do $$
declare
  last_workspace uuid := '00000000-0000-0000-0000-000000000000';
  last_key text := '';
begin
  loop
    with page as materialized (
      select s.workspace_id, s.source_key, s.cancelled and s.payload is not null as keeps
        from public.sync_sources as s
       where (s.workspace_id, s.source_key) > (last_workspace, last_key)
       order by s.workspace_id, s.source_key limit 5000
    ), cleared as (
      update public.sync_sources as s
         set payload = null
        from page as p
       where p.keeps and s.workspace_id = p.workspace_id and s.source_key = p.source_key and s.cancelled
    )
    select p.workspace_id, p.source_key into last_workspace, last_key
      from page as p
     order by p.workspace_id desc, p.source_key desc limit 1;
    exit when not found;
    commit;
  end loop;
end $$;
