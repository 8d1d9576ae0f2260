-- The reactor's memory: one row per source that was ever settled. It outlives a cancel, which removes the binding.
--
-- floor_seq says what is too old to be sent, generation takes part in the event's id; google_event_id, calendar_id and
-- etag are the event that is known to exist, payload what it was last made from. cancelled: we removed it ourselves.
-- reopen and strays remember attempts whose outcome nobody learned, until one is settled: reopen, that one of them may
-- have removed the event; strays, the calendars in which they may have left it. No reference to workspaces: an
-- item may be settled just after its workspace is gone, and that must not fail the batch it is settled in.
--
-- A settle is an upsert that changes no indexed column; room on the page (fillfactor) keeps it a HOT update, which
-- leaves the primary key alone.
create table if not exists public.sync_sources (
  workspace_id uuid not null,
  source_key text not null,
  floor_seq bigint not null default 0,
  generation integer not null default 0,
  google_event_id text,
  calendar_id text,
  etag text,
  payload jsonb,
  cancelled boolean not null default false,
  reopen boolean not null default false,
  strays text[] not null default '{}',
  updated_at timestamptz not null default now(),
  constraint sync_sources_pkey primary key (workspace_id, source_key)
) with (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 10000,
  autovacuum_analyze_scale_factor = 0.05
);

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_sources enable row level security;
