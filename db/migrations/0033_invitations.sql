-- Invitations: an operator invites the person who may give a workspace's consent, by a link that needs no account. The
-- link holds 32 random bytes; here is only their SHA-256, so what is read here opens nothing.
--
--   hash          of the link's secret
--   calendar_id   the calendar that the consent must be able to change; never `primary`, which any account has
--   invited_by    who invited, as the page tells the invited person
--   expires_at    when it is good no longer
--   used_at       when a consent came of it: it is good once
--   revoked_at    when an operator took it back
--
-- Rows are forgotten once they have been good for nothing as long as settled items are kept (reactor/housekeeping.py). No
-- reference to workspaces: as sync_sources.
create table if not exists public.sync_invitations (
  hash bytea primary key check (octet_length(hash) = 32),
  workspace_id uuid not null,
  calendar_id text not null check (lower(calendar_id) <> 'primary' and length(calendar_id) between 1 and 1024),
  invited_by text not null,
  invited_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  used_at timestamptz,
  revoked_at timestamptz
);

create index if not exists sync_invitations_workspace on public.sync_invitations (workspace_id, invited_at);

create index if not exists sync_invitations_expires on public.sync_invitations (expires_at);

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_invitations enable row level security;
