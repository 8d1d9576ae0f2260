-- The state of the outbox, at a bounded cost: nothing here counts more than `cap` rows of anything, by partial indexes
-- that hold open or dead rows only. A million waiting items make no difference.

-- name: open_items
-- Open rows by status, of the first `cap` + 1.
select coalesce(sum(n), 0)::integer as open,
       coalesce(sum(n) filter (where status = 'PENDING'), 0)::integer as pending,
       coalesce(sum(n) filter (where status = 'FAILED'), 0)::integer as failed,
       coalesce(sum(due), 0)::integer as due
  from (select s.status, count(*) as n, count(*) filter (where s.next_attempt_at <= now()) as due
          from (select o.status, o.next_attempt_at
                  from public.sync_outbox as o
                 where o.status in ('PENDING', 'FAILED')
                   and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
                 limit %(cap)s + 1) as s
         group by s.status) as t;

-- name: estimate
-- About how many are open, as the last VACUUM or ANALYZE saw it.
select greatest(reltuples, 0)::bigint as about
  from pg_catalog.pg_class where oid = to_regclass('public.sync_outbox_due');

-- name: in_hand
-- PROCESSING rows, and those of them whose worker is gone. There are as many as workers have in hand.
select count(*)::integer as processing,
       count(*) filter (where o.lease_no is null)::integer as of_older_workers,
       count(*) filter (where case
         when o.lease_no is not null
         then (o.lease_no & 2147483647) not in (select h.lease from public.sync_lease_holders() as h)
         else o.claim_no is not null
              and public.sync_item_key(o.id) not in (select h.key from public.sync_item_holders() as h) end
       )::integer as orphans
  from public.sync_outbox as o
 where o.status = 'PROCESSING' and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null);

-- name: worst
-- The workspaces that have waited longest, with what they have due (up to `cap` + 1 each).
-- Due since ever (-infinity) is due, and has waited for a time that cannot be told.
select r.workspace_id as workspace, -nullif(r.first_due_in, '-Infinity') as waited,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.workspace_id and o.next_attempt_at <= now()
           limit %(cap)s + 1) as d)::integer as due
  from (select * from public.sync_outbox_due_workspaces() as r
         where r.first_due_in <= 0 and (r.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
         order by r.first_due_in limit %(top)s) as r
 order by r.first_due_in;

-- name: backlog
-- Workspaces with something due, and the oldest; without those that have no valid connection.
select count(*)::integer as workspaces,
       coalesce(max(-nullif(first_due_in, '-Infinity')), 0)::double precision as oldest
  from public.sync_outbox_due_workspaces() as r
 where r.first_due_in <= 0 and (r.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null);

-- name: aside
-- Items that the server refuses to change, by its reason, of the first `cap` + 1.
select a.sqlstate, a.constraint_name as constraint, count(*)::integer as n, min(a.item_id::text) as example
  from (select s.sqlstate, s.constraint_name, s.item_id
          from public.sync_set_aside as s
         where s.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
         limit %(cap)s + 1) as a
 group by 1, 2 order by 3 desc, 1, 2;

-- name: stopped
-- Workspaces that the brake has stopped.
select b.workspace_id as workspace, b.cause, b.deletes, b.events
  from public.sync_brakes as b
 where b.released_at is null and (%(workspace)s::uuid is null or b.workspace_id = %(workspace)s)
 order by b.stopped_at;

-- name: parked
-- Workspaces that wait for a person: something is open, and the connection is missing or invalid. One look-up in the
-- index for each workspace.
with recursive ring as (
  (select o.workspace_id as w from public.sync_outbox as o
    where o.status in ('PENDING', 'FAILED') order by o.workspace_id limit 1)
  union all
  select n.w from ring cross join lateral (
    select o.workspace_id as w from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id > ring.w order by o.workspace_id limit 1) as n
)
select r.w as workspace, c.workspace_id is not null as connected,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.w limit %(cap)s + 1) as d)::integer as waiting
  from ring as r
  left join public.google_connections as c on c.workspace_id = r.w
 where c.is_valid is not true and (r.w = %(workspace)s::uuid or %(workspace)s::uuid is null)
 limit %(top)s + 1;

-- name: connections
select count(*)::integer as total, count(*) filter (where not is_valid)::integer as invalid
  from public.google_connections
 where workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null;

-- name: dead
-- Dead letters by code, of the first `cap` + 1.
select coalesce(left(d.failure_code, 100), 'NONE') as code, count(*)::integer as n
  from (select o.failure_code from public.sync_outbox as o
         where o.status = 'DEAD_LETTER' and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
         limit %(cap)s + 1) as d
 group by 1 order by 2 desc, 1;

-- name: replicas
-- The reactor's sessions. One that claims and one that listens make a replica; whoever listens and holds the gate's key
-- sleeps until a writer calls. Of other roles' sessions Postgres tells the name and not the address. A replica that the
-- database refuses says so in the name of the session that claims.
select a.pid, split_part(a.application_name, ',', 1) as application,
       nullif(split_part(a.application_name, ', refused: ', 2), '') as refused, host(a.client_addr) as client, a.backend_start as since,
       exists (select from pg_catalog.pg_locks as l
                where l.pid = a.pid and l.locktype = 'advisory' and l.classid = 718300 and l.objid = 1
                  and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted
                  and l.database = a.datid) as has_gate,
       (select count(*) from public.sync_outbox as o
         where o.status = 'PROCESSING'
           and (o.lease_no & 2147483647) in (select h.lease from public.sync_lease_holders() as h where h.pid = a.pid)
       )::integer as items
  from pg_catalog.pg_stat_activity as a
 where a.datname = current_database()
   and split_part(a.application_name, ',', 1) in ('calendar-sync-reactor claims', 'calendar-sync-reactor settles', 'calendar-sync-reactor listen')
 order by a.client_addr nulls first, a.backend_start, a.pid;

-- name: rebuild
select o.id, o.workspace_id as workspace, o.operation::text, o.status::text, left(o.failure_code, 100) as code,
       left(o.last_error, 500) as last_error, o.created_at, o.processed_at, o.next_attempt_at
  from public.sync_outbox as o
 where o.id = %(id)s;

-- name: children
-- What a rebuild made, by what became of it. A child that was superseded was overtaken by a newer state: that is success.
select o.status::text, coalesce(left(o.failure_code, 100), '') as code, count(*)::integer as n, min(o.created_at) as first
  from public.sync_outbox as o
 where o.parent_id = %(id)s
 group by 1, 2 order by 1, 2;
