-- Workspaces that the brake has stopped (reactor/core/brake.py argues when), and what they were released for. One row
-- for a workspace that ever was: while released_at is null nothing of it is claimed.
--
--   cause       BURST: cancels that waited; REBUILD: what a rebuild would have deleted
--   rebuild_id  the rebuild
--   deletes     how many events were to go, out of how many (events)
--   passes      what was inserted up to here is not counted again: a number of sync_outbox_seq, taken at the release
--
-- The claim reads the table each time; it is empty or a few rows. No reference to workspaces: as sync_sources.
create table if not exists public.sync_brakes (
  workspace_id uuid primary key,
  cause text not null check (cause in ('BURST', 'REBUILD')),
  rebuild_id uuid,
  deletes bigint not null,
  events bigint not null,
  passes bigint not null default 0,
  stopped_at timestamptz not null default clock_timestamp(),
  released_at timestamptz
);

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_brakes enable row level security;
