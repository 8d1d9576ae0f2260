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

-- A lock (class 55) is soon over: there the pause begins with two seconds and ends with two minutes. Where the table is
-- locked, or the item's row in it, the item is not set aside, and is met again soon.
create or replace function public.sync_outbox_set_aside(item uuid, state text, broken text)
returns void
language plpgsql
set lock_timeout = '10ms'
as $$
declare
  pause constant interval := case when state like '55%' then interval '2 s' else interval '1 min' end;
begin
  insert into public.sync_set_aside as a (item_id, workspace_id, sqlstate, constraint_name, retry_at)
  select item, (select o.workspace_id from public.sync_outbox as o where o.id = item), state, coalesce(broken, ''),
         pg_catalog.clock_timestamp() + pause
  on conflict (item_id) do update
    set workspace_id = excluded.workspace_id, sqlstate = excluded.sqlstate, constraint_name = excluded.constraint_name,
        refusals = a.refusals + 1, refused_at = pg_catalog.clock_timestamp(),
        retry_at = pg_catalog.clock_timestamp() + pause * least(60, power(2, least(a.refusals, 6)));
exception when lock_not_available then
  return;
end $$;
