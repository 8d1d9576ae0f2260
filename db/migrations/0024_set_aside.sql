-- Items that the server refuses to change: a constraint that an old row breaks, a trigger of the application that raises.
-- Such a row cannot even become a dead letter. It stands here instead, with the server's reason, is left alone until
-- retry_at, and is tried again then; everybody else goes on. `python -m reactor status` and `check` name it.
--
--   sqlstate, constraint_name  the server's reason; never its message, which may repeat what the row holds
--   refusals                   how often in a row; the pause doubles from a minute to an hour
create table if not exists public.sync_set_aside (
  item_id uuid primary key,
  workspace_id uuid,
  sqlstate text not null,
  constraint_name text not null default '',
  refusals integer not null default 1,
  refused_at timestamptz not null default clock_timestamp(),
  retry_at timestamptz not null
);

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_set_aside enable row level security;

create or replace function public.sync_outbox_set_aside(item uuid, workspace uuid, state text, broken text)
returns void
language sql
as $$
  insert into public.sync_set_aside as a (item_id, workspace_id, sqlstate, constraint_name, retry_at)
  values (item, workspace, state, coalesce(broken, ''), pg_catalog.clock_timestamp() + interval '1 minute')
  on conflict (item_id) do update
    set workspace_id = excluded.workspace_id, sqlstate = excluded.sqlstate, constraint_name = excluded.constraint_name,
        refusals = a.refusals + 1, refused_at = pg_catalog.clock_timestamp(),
        retry_at = pg_catalog.clock_timestamp() + interval '1 minute' * power(2, least(a.refusals, 6))
$$;
