-- Off the hot path, now and then.

-- name: clean
-- One portion of what was settled long ago, the oldest first, by their index; returns how many rows went, or null where
-- another replica is at it: two would read the same rows and lock each other's. The lock is the statement's transaction's.
-- What somebody has locked is passed by.
--
-- What died for want of a consent stays for as long as the workspace has a connection: its trigger requeues it when the
-- connection works again, and it may be the newest state of its source.
with gate as materialized (
  select pg_catalog.pg_try_advisory_xact_lock(718300, 3) as is_ours
), old as materialized (
  select o.id
    from public.sync_outbox as o
   where (select g.is_ours from gate as g)
     and o.status in ('COMPLETED', 'DEAD_LETTER')
     and o.updated_at < now() - pg_catalog.make_interval(days => %(days)s::integer)
     and not (o.status = 'DEAD_LETTER' and o.failure_code is not distinct from 'AUTH'
              and exists (select from public.google_connections as c where c.workspace_id = o.workspace_id))
   order by o.updated_at
   limit %(rows)s::integer
     for update skip locked
), gone as (
  delete from public.sync_outbox as o using old where o.id = old.id returning 1
)
select case when g.is_ours then (select count(*)::integer from gone) end from gate as g

-- name: backlog
-- For how long the oldest due item has waited, and how many workspaces have one; how many items wait and how old the
-- oldest is, counted so far and no further; how many consents do not work; how full the queue of notifications is; how
-- many workspaces the brake has stopped; how many items are set aside, counted so far and no further.
-- Counted from the ring, which leaves out workspaces without a valid connection: theirs may be millions. What an
-- application wrote as a time may be none that an age could be told of: infinite, or later than now.
with ring as materialized (
  select r.workspace_id, r.first_due_in from public.sync_outbox_due_workspaces() as r
), due as (
  select coalesce(max(-nullif(r.first_due_in, '-Infinity')), 0)::double precision as oldest, count(*) as workspaces
    from ring as r
   where r.first_due_in <= 0
), counted as materialized (
  select o.created_at
    from ring as r
   cross join lateral (
     select o.created_at
       from public.sync_outbox as o
      where o.workspace_id = r.workspace_id and o.status in ('PENDING', 'FAILED')
      order by o.next_attempt_at
      limit %(most)s) as o
   limit %(most)s
), pending as (
  select count(*) as items,
         coalesce(extract(epoch from pg_catalog.clock_timestamp() - min(c.created_at) filter (
           where pg_catalog.isfinite(c.created_at))), 0)::double precision as oldest
    from counted as c
)
select due.oldest, due.workspaces, pending.items, greatest(pending.oldest, due.oldest),
       (select count(*) from public.google_connections where not is_valid),
       pg_catalog.pg_notification_queue_usage(),
       (select count(*) from public.sync_brakes where released_at is null),
       (select count(*) from (select from public.sync_set_aside limit %(most)s) as a)
  from due, pending;

-- name: forget_aside
-- What was set aside and is not open any more: somebody mended it, ended it, or deleted it.
delete from public.sync_set_aside as d
 where d.item_id in (
   select a.item_id
     from public.sync_set_aside as a
    where not exists (
      select from public.sync_outbox as o
       where o.id = a.item_id and o.status::text in ('PENDING', 'FAILED', 'PROCESSING'))
      for update skip locked);
