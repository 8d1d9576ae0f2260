-- For KEDA, where it decides how many replicas there are (k8s/components/keda); nothing else needs it. Run it as the
-- owner of the tables, after the migrations, and give the role a member:
--
--     create role my_keda login password '...' connection limit 5 in role calendar_sync_keda;
--
-- The scaler may learn one number and no more: the rows hold texts of people's calendars. So its role can read no table;
-- it may call one function, which runs with its owner's rights. The search path is pinned, or a caller could have it use
-- objects of their own.
--
-- It costs the same at a million waiting items. The ring (0025_claim_items.sql) is a skip scan: a few index pages for each
-- workspace that has an open item. Only workspaces with a valid connection and a due item are looked into, by the index
-- by due time, and counting stops at `most`: a scaler that knows "10,000 or more" knows enough.
create or replace function public.sync_outbox_due_depth(most integer)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  moment constant timestamptz := clock_timestamp();  -- a constant: a volatile call could not be searched for in an index
begin
  return (
    select count(*)
      from (
        select
          from public.sync_outbox_due_workspaces() as r
          cross join lateral (
            select
              from public.sync_outbox as o
             where o.status in ('PENDING', 'FAILED')
               and o.workspace_id = r.workspace_id
               and o.next_attempt_at <= moment
             limit most
          ) as due
         where r.first_due_in <= 0
         limit most
      ) as capped
  );
end $$;

revoke execute on function public.sync_outbox_due_depth(integer) from public;

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'calendar_sync_keda') then
    create role calendar_sync_keda nologin;
  end if;
exception
  when duplicate_object or unique_violation then null;  -- roles belong to all databases of a server: somebody was faster
end $$;

grant usage on schema public to calendar_sync_keda;
grant execute on function public.sync_outbox_due_depth(integer) to calendar_sync_keda;
