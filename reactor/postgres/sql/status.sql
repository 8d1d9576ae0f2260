-- The state of the outbox, at a bounded cost: nothing here counts more than `cap` rows of anything, by partial indexes
-- that hold open or dead rows only. A million waiting items make no difference. What is counted is ordered as its index
-- is: by the limit alone the planner may expect to meet enough of it in the table itself, which begins with ten million
-- finished rows.

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
                 order by o.workspace_id, o.next_attempt_at limit %(cap)s + 1) as s
         group by s.status) as t;

-- name: estimate
-- About how many are open, as the last VACUUM or ANALYZE saw it.
select greatest(reltuples, 0)::bigint as about
  from pg_catalog.pg_class where oid = to_regclass('public.sync_outbox_due');

-- name: processing_items
-- PROCESSING rows, and those of them whose worker is gone, of the first `cap` + 1.
select count(*)::integer as processing,
       count(*) filter (where o.lease_no is null)::integer as of_older_workers,
       count(*) filter (where case
         when o.lease_no is not null
         then (o.lease_no & 2147483647) not in (select h.lease from public.sync_lease_holders() as h)
         else o.claim_no is not null
              and public.sync_item_key(o.id) not in (select h.key from public.sync_item_holders() as h) end
       )::integer as orphans
  from (select p.id, p.lease_no, p.claim_no
          from public.sync_outbox as p
         where p.status = 'PROCESSING' and (p.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
         order by p.workspace_id limit %(cap)s + 1) as o;

-- name: due
-- The workspaces with something due and a valid connection, of the first `cap` + 1 that have anything open: for how many
-- seconds each has waited. One look-up in the index for each. A row that is due since ever (-infinity) has no waiting
-- time.
with recursive ring as (
  (select o.workspace_id as w, o.next_attempt_at as due_at, 0 as n from public.sync_outbox as o
    where o.status in ('PENDING', 'FAILED') and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
    order by o.workspace_id, o.next_attempt_at limit 1)
  union all
  select f.w, f.due_at, ring.n + 1 from ring cross join lateral (
    select o.workspace_id as w, o.next_attempt_at as due_at from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id > ring.w and %(workspace)s::uuid is null
     order by o.workspace_id, o.next_attempt_at limit 1) as f
   where ring.n < %(cap)s
)
select r.w as workspace, r.n,
       case when isfinite(r.due_at) then extract(epoch from now() - r.due_at) end::double precision as waited
  from ring as r
  join public.google_connections as c on c.workspace_id = r.w and c.is_valid
 where r.due_at <= now()
 order by r.due_at;

-- name: due_items
-- What each of some workspaces has due, up to `cap` + 1.
select w.id as workspace,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = w.id and o.next_attempt_at <= now()
           order by o.next_attempt_at limit %(cap)s + 1) as d)::integer as due
  from unnest(%(workspaces)s::uuid[]) as w (id);

-- name: aside
-- Items that the server refuses to change, by its reason, of the first `cap` + 1.
select a.sqlstate, a.constraint_name as constraint, count(*)::integer as n, min(a.item_id::text) as example
  from (select s.sqlstate, s.constraint_name, s.item_id
          from public.sync_set_aside as s
         where s.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
         limit %(cap)s + 1) as a
 group by 1, 2 order by 3 desc, 1, 2;

-- name: stopped
-- Workspaces that the brake has stopped, the longest first, up to `top` + 1.
select b.workspace_id as workspace, b.cause, b.deletes, b.events
  from public.sync_brakes as b
 where b.released_at is null and (%(workspace)s::uuid is null or b.workspace_id = %(workspace)s)
 order by b.stopped_at limit %(top)s + 1;

-- name: parked
-- Workspaces that wait for a person: something is open, and the connection is missing or invalid. One look-up in the
-- index for each workspace; the first `cap` of them are looked at, and what waits in each is counted up to `count` + 1.
with recursive ring as (
  (select o.workspace_id as w, 0 as n from public.sync_outbox as o
    where o.status in ('PENDING', 'FAILED') and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
    order by o.workspace_id limit 1)
  union all
  select f.w, ring.n + 1 from ring cross join lateral (
    select o.workspace_id as w from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id > ring.w and %(workspace)s::uuid is null
     order by o.workspace_id limit 1) as f
   where ring.n < %(cap)s
)
select r.w as workspace, c.workspace_id is not null as connected,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.w
           order by o.next_attempt_at limit %(count)s + 1) as d)::integer as waiting
  from ring as r
  left join public.google_connections as c on c.workspace_id = r.w
 where c.is_valid is not true
 limit %(top)s + 1;

-- name: connections
-- Of the first `cap` + 1.
select count(*)::integer as total, count(*) filter (where not c.is_valid)::integer as invalid
  from (select g.is_valid from public.google_connections as g
         where g.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
         limit %(cap)s + 1) as c;

-- name: dead
-- Dead letters by code, of the first `cap` + 1.
select coalesce(left(d.failure_code, 100), 'NONE') as code, count(*)::integer as n
  from (select o.failure_code from public.sync_outbox as o
         where o.status = 'DEAD_LETTER' and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
         order by o.workspace_id, o.failure_code limit %(cap)s + 1) as d
 group by 1 order by 2 desc, 1;

-- name: replicas
-- The reactor's sessions. One that claims and one that listens make a replica; one that listens and holds the gate's key
-- sleeps until a writer notifies it. Of other roles' sessions Postgres shows the name and not the address. A replica that
-- the database refuses reports it in the name of the session that claims.
select a.pid, split_part(a.application_name, ',', 1) as application,
       nullif(split_part(a.application_name, ', refused: ', 2), '') as refused, host(a.client_addr) as client,
       a.backend_start as since,
       exists (select from pg_catalog.pg_locks as l
                where l.pid = a.pid and l.locktype = 'advisory' and l.classid = 718300 and l.objid = 1
                  and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted
                  and l.database = a.datid) as has_gate,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status = 'PROCESSING'
             and (o.lease_no & 2147483647) in (select h.lease from public.sync_lease_holders() as h where h.pid = a.pid)
           limit %(cap)s + 1) as i)::integer as items,
       -- It uses one part of the quota in so many (shares.sql); the largest number stands for nothing.
       (select nullif(min(l.objid::bigint), 2147483647) from pg_catalog.pg_locks as l
         where l.pid = a.pid and l.locktype = 'advisory' and l.classid = 718303 and l.objsubid = 2 and l.granted
           and l.database = a.datid) as quota_divisor
  from pg_catalog.pg_stat_activity as a
 where a.datname = current_database()
   and split_part(a.application_name, ',', 1) in
       ('calendar-sync-reactor claims', 'calendar-sync-reactor settles', 'calendar-sync-reactor listen')
 order by a.client_addr nulls first, a.backend_start, a.pid;

-- name: rebuild
-- The row of a rebuild, or of whatever item has this id.
select o.id, o.workspace_id as workspace, o.operation::text, o.status::text, left(o.failure_code, 100) as code,
       left(o.last_error, 500) as last_error, o.created_at, o.processed_at, o.next_attempt_at
  from public.sync_outbox as o
 where o.id = %(id)s;

-- name: children
-- The items that a rebuild made, by their outcome, of the first `cap` + 1. A child that was superseded was
-- overtaken by a newer state: that is success.
select o.status::text, coalesce(left(o.failure_code, 100), '') as code, count(*)::integer as n, min(o.created_at) as first
  from (select c.status, c.failure_code, c.created_at from public.sync_outbox as c
         where c.parent_id = %(id)s limit %(cap)s + 1) as o
 group by 1, 2 order by 1, 2;
