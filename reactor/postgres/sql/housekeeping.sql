-- Statements of housekeeping, off the hot path.

-- name: old
-- One portion of what was settled long ago, the oldest first, by their index, but for what was passed by; none where
-- another replica is at it: two would read the same rows and lock each other's. Rows that another session has locked
-- are left out.
--
-- What died for want of a consent stays for as long as the workspace has a connection: its trigger requeues it when the
-- connection works again, and it may be the newest state of its source.
with gate as materialized (
  select pg_catalog.pg_try_advisory_xact_lock(718300, 3) as is_ours
)
select o.id, o.updated_at
  from public.sync_outbox as o
 where (select g.is_ours from gate as g)
   and o.status in ('COMPLETED', 'DEAD_LETTER')
   and o.updated_at < now() - pg_catalog.make_interval(days => %(days)s::integer)
   and o.updated_at >= %(moment)s::timestamptz
   and o.id <> all (%(ids)s::uuid[])
   and not (o.status = 'DEAD_LETTER' and o.failure_code is not distinct from 'AUTH'
            and exists (select from public.google_connections as c where c.workspace_id = o.workspace_id))
 order by o.updated_at
 limit %(rows)s::integer
   for update skip locked;

-- name: delete
-- A row that a trigger keeps is not returned, and is passed over (reactor/postgres/retention.py).
delete from public.sync_outbox as o where o.id = any (%(ids)s::uuid[]) returning o.id;

-- name: backlog
-- For how long the oldest due item has waited, and how many workspaces have one; how many items wait and how old the
-- oldest is, counted so far and no further; how many consents do not work; how full the queue of notifications is; how
-- many workspaces the brake has stopped; how many items are set aside, counted so far and no further.
-- Counted from the ring, which leaves out workspaces without a valid connection: theirs may be millions. What an
-- application wrote as a time may have no age: infinite, or later than now.
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
-- A portion of what was set aside and is not open any more: it was mended, ended, or deleted.
with portion as materialized (
  select a.item_id
    from public.sync_set_aside as a
   where not exists (
     select from public.sync_outbox as o
      where o.id = a.item_id and o.status::text in ('PENDING', 'FAILED', 'PROCESSING'))
   limit %(rows)s::integer
     for update skip locked
), gone as (
  delete from public.sync_set_aside as d using portion as p where d.item_id = p.item_id returning 1
)
select count(*)::integer from gone;

-- name: forget_workspaces
-- What is remembered of workspaces that are gone, of the next thousand that have a memory; returns the last of them, null
-- at the end, and how many sources were forgotten and how many texts.
--
-- No foreign key says it: that would be a lock on the workspace's row in every settle, and the tables that the application
-- made may refer to any table, or to none. A workspace is gone when no connection, no binding, and no item that is open or
-- dead is left of it; ON DELETE CASCADE leaves none of them at once. One that only lost its connection may get it back:
-- it keeps its floors and its events, and the texts for as long as settled items are kept. Nothing is claimed of a
-- workspace without a connection, and items in flight are open, so no claim and no settle misses what is deleted here.
--
-- A skip scan: a few pages of the index for each workspace. Nothing of the application's is locked.
with recursive ring as (
  (select s.workspace_id as w, 1 as n
     from public.sync_sources as s
    where s.workspace_id > %(after)s::uuid
    order by s.workspace_id limit 1)
  union all
  select next.w, ring.n + 1
    from ring cross join lateral (
      select s.workspace_id as w
        from public.sync_sources as s
       where s.workspace_id > ring.w
       order by s.workspace_id limit 1) as next
   where ring.n < 1000
), departed as materialized (
  select r.w,
         not exists (
           select from public.sync_outbox as o
            where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = r.w)
         and not exists (
           select from public.sync_outbox as o where o.status = 'DEAD_LETTER' and o.workspace_id = r.w)
         and not exists (
           select from public.calendar_event_bindings as b where b.workspace_id = r.w) as is_gone
    from ring as r
   where not exists (select from public.google_connections as c where c.workspace_id = r.w)
), portion as materialized (
  select s.workspace_id, s.source_key
    from departed as d
    join public.sync_sources as s on s.workspace_id = d.w
   where d.is_gone
   limit %(rows)s::integer
     for update of s skip locked
), forgotten as (
  delete from public.sync_sources as s
   using portion as p
   where s.workspace_id = p.workspace_id and s.source_key = p.source_key
  returning 1
), marked as (
  insert into public.sync_departures (workspace_id)
  select d.w from departed as d where not d.is_gone
  on conflict (workspace_id) do nothing
), texts as materialized (
  select s.workspace_id, s.source_key
    from departed as d
    join public.sync_departures as m
      on m.workspace_id = d.w and m.seen_at < now() - pg_catalog.make_interval(days => %(days)s::integer)
    join public.sync_sources as s on s.workspace_id = d.w and s.payload is not null
   where not d.is_gone
   limit %(rows)s::integer
     for update of s skip locked
), cleared as (
  update public.sync_sources as s
     set payload = null
    from texts as t
   where s.workspace_id = t.workspace_id and s.source_key = t.source_key
  returning 1
)
select (select r.w from ring as r order by r.w desc limit 1),
       (select count(*)::integer from forgotten), (select count(*)::integer from cleared);

-- name: forget_brakes
-- A portion of the brakes of workspaces of which nothing is remembered any more.
with portion as materialized (
  select b.workspace_id
    from public.sync_brakes as b
   where not exists (select from public.google_connections as c where c.workspace_id = b.workspace_id)
     and not exists (select from public.sync_sources as s where s.workspace_id = b.workspace_id)
     and not exists (
       select from public.sync_outbox as o
        where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = b.workspace_id)
     and not exists (select from public.calendar_event_bindings as e where e.workspace_id = b.workspace_id)
   limit %(rows)s::integer
     for update skip locked
), gone as (
  delete from public.sync_brakes as b using portion as p where b.workspace_id = p.workspace_id returning 1
)
select count(*)::integer from gone;

-- name: forget_acts
-- A portion of the acts that are older than settled items are kept, the oldest first: ids go by time.
with portion as materialized (
  select a.id
    from (select s.id, s.at from public.sync_acts as s order by s.id limit %(rows)s::integer) as a
   where a.at < now() - pg_catalog.make_interval(days => %(days)s::integer)
), gone as (
  delete from public.sync_acts as d using portion as p where d.id = p.id returning 1
)
select count(*)::integer from gone;

-- name: forget_invitations
-- A portion of the invitations that expired before settled items are deleted.
with portion as materialized (
  select i.hash
    from public.sync_invitations as i
   where i.expires_at < now() - pg_catalog.make_interval(days => %(days)s::integer)
   order by i.expires_at limit %(rows)s::integer
), gone as (
  delete from public.sync_invitations as d using portion as p where d.hash = p.hash returning 1
)
select count(*)::integer from gone;

-- name: forget_departures
-- A portion of those that are connected again, or gone.
with portion as materialized (
  select d.workspace_id
    from public.sync_departures as d
   where exists (select from public.google_connections as c where c.workspace_id = d.workspace_id)
      or not exists (select from public.sync_sources as s where s.workspace_id = d.workspace_id)
   limit %(rows)s::integer
     for update skip locked
), gone as (
  delete from public.sync_departures as d using portion as p where d.workspace_id = p.workspace_id returning 1
)
select count(*)::integer from gone;
