-- What operators do, by a command or on the console's pages: who, when, what, why, what was forecast and what came of it.
-- A row is written in the transaction of the act itself, so there is none without its act, and no act without its row.
--
--   who        the user of the machine for a command, the person for a page
--   how        command or console
--   act        what was done, such as `brake release`
--   target     what it was done to, beside the workspace: filters, a calendar, a rebuild's id
--   reason     in the person's own words; a command may leave it out
--   forecast   what was said before
--   result     what came of it; of a run, which takes long: its state, and how far it is
--
-- It never holds a credential or a text of an event. Rows are kept as long as settled items are (reactor/housekeeping.py).
-- No reference to workspaces: as sync_sources.
create table if not exists public.sync_acts (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  who text not null,
  how text not null check (how in ('command', 'console')),
  act text not null,
  workspace_id uuid,
  target jsonb not null default '{}',
  reason text,
  forecast jsonb,
  result jsonb
);

-- Those of one workspace, the newest first.
create index if not exists sync_acts_workspace on public.sync_acts (workspace_id, id) where workspace_id is not null;

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_acts enable row level security;
