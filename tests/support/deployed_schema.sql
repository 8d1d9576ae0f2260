-- A database as deployments have it: the application's tables, policies and functions, and the polling worker's indexes,
-- with the names that the application's own migrations gave them. Nothing of ours.

create table workspaces (id uuid primary key default gen_random_uuid(), name text not null);

create table workspace_members (workspace_id uuid not null references workspaces (id), login name not null);

create type outbox_operation as enum ('UPSERT_EVENT', 'CANCEL_EVENT', 'REBUILD_ALL');
create type outbox_status as enum ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'DEAD_LETTER');
create type calendar_event_type as enum ('GATE_REVIEW', 'BLOCKER_DEADLINE', 'MILESTONE', 'PROJECT_REVIEW');

create function update_updated_at_column() returns trigger language plpgsql as $$
begin
  new.updated_at = now();
  return new;
end $$;

create table calendar_event_bindings (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null references workspaces (id) on delete cascade,
  google_event_id text not null,
  calendar_id text not null,
  source_type text not null check (source_type in ('task', 'milestone', 'gate_run', 'project_review')),
  source_id uuid not null,
  event_type calendar_event_type not null,
  event_title text not null,
  event_start timestamptz not null,
  event_end timestamptz not null,
  last_synced_at timestamptz not null default now(),
  sync_version int not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (workspace_id, source_type, source_id)
);

create function increment_sync_version() returns trigger language plpgsql as $$
begin
  new.sync_version = old.sync_version + 1;
  new.updated_at = now();
  return new;
end $$;

create trigger bindings_sync_version before update on calendar_event_bindings
  for each row execute function increment_sync_version();

create table sync_outbox (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null references workspaces (id) on delete cascade,
  operation outbox_operation not null,
  payload jsonb not null,
  status outbox_status not null default 'PENDING',
  attempts int not null default 0,
  max_attempts int not null default 5,
  next_attempt_at timestamptz default now(),
  last_error text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  processed_at timestamptz,
  constraint valid_attempts check (attempts >= 0 and attempts <= max_attempts)
);

create index idx_sync_outbox_pending on sync_outbox (next_attempt_at) where status in ('PENDING', 'FAILED');
create index idx_sync_outbox_workspace on sync_outbox (workspace_id, created_at desc);

create trigger update_sync_outbox_updated_at before update on sync_outbox
  for each row execute function update_updated_at_column();

create table google_connections (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null unique references workspaces (id) on delete cascade,
  refresh_token_encrypted text not null,
  calendar_id text not null,
  is_valid boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create function try_lock_outbox_item(p_item_id uuid) returns boolean language plpgsql as $$
begin
  return pg_try_advisory_lock(hashtext(p_item_id::text));
end $$;

create function unlock_outbox_item(p_item_id uuid) returns boolean language plpgsql as $$
begin
  return pg_advisory_unlock(hashtext(p_item_id::text));
end $$;

create function cleanup_old_outbox_items(older_than_days int default 30) returns int
language plpgsql security definer as $$
declare
  deleted_count int;
begin
  delete from sync_outbox
   where status in ('COMPLETED', 'DEAD_LETTER') and updated_at < now() - (older_than_days || ' days')::interval;
  get diagnostics deleted_count = row_count;
  return deleted_count;
end $$;

alter table sync_outbox enable row level security;
alter table calendar_event_bindings enable row level security;
alter table google_connections enable row level security;

create policy members on sync_outbox
  using (workspace_id in (select workspace_id from workspace_members where login = current_user));
create policy members on calendar_event_bindings for select
  using (workspace_id in (select workspace_id from workspace_members where login = current_user));
create policy members on google_connections
  using (workspace_id in (select workspace_id from workspace_members where login = current_user));
