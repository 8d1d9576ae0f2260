-- Workspaces, for a person who looks for the one that needs them. Whatever the outbox holds, what is read is bounded:
-- of the workspaces `cap` are walked through, by one look-up in a partial index each, and of rows no more than a
-- parameter says.

-- name: list
-- Workspaces by what is the matter with them, the worst first, up to `rows` + 1 of them behind a place: of those that have
-- something open, dead letters, a brake that has stopped them or a lane that a replica tells of. `states` are numbers:
--
--   0 stopped by the brake   2 held, as a replica tells   4 broken, as a replica tells   6 nothing is the matter
--   1 parked                 3 behind                     5 has dead letters
--
-- Within the worst state of each, those that wait longest come first; a row that is due since ever waits longest. What
-- waits and is dead is counted for the rows that are shown alone, up to `count` + 1.
with recursive ring as (
  (select o.workspace_id as w, o.next_attempt_at as due_at, 1 as n from public.sync_outbox as o
    where o.status in ('PENDING', 'FAILED') and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
    order by o.workspace_id, o.next_attempt_at limit 1)
  union all
  select f.w, f.due_at, ring.n + 1 from ring cross join lateral (
    select o.workspace_id as w, o.next_attempt_at as due_at from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id > ring.w and %(workspace)s::uuid is null
     order by o.workspace_id, o.next_attempt_at limit 1) as f
   where ring.n < %(cap)s
), dead_ones as (
  (select o.workspace_id as w, 1 as n from public.sync_outbox as o
    where o.status = 'DEAD_LETTER' and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
    order by o.workspace_id limit 1)
  union all
  select f.w, dead_ones.n + 1 from dead_ones cross join lateral (
    select o.workspace_id as w from public.sync_outbox as o
     where o.status = 'DEAD_LETTER' and o.workspace_id > dead_ones.w and %(workspace)s::uuid is null
     order by o.workspace_id limit 1) as f
   where dead_ones.n < %(cap)s
), brakes as materialized (
  select b.workspace_id as w, b.stopped_at
    from public.sync_brakes as b
   where b.released_at is null and (b.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
   order by b.stopped_at limit %(cap)s
), open_ones as materialized (
  select r.w, coalesce(r.due_at, 'infinity') as due_at, c.is_valid is not true as parked,
         exists (select from brakes as b where b.w = r.w) as stopped
    from ring as r
    left join public.google_connections as c on c.workspace_id = r.w
), found as (
  select b.w, 0 as state, b.stopped_at as since from brakes as b
  union all
  select o.w, 1, o.due_at from open_ones as o where o.parked
  union all
  select l.w, l.state, coalesce((select o.due_at from open_ones as o where o.w = l.w), 'infinity')
    from unnest(%(lanes)s::uuid[], %(standings)s::integer[]) as l (w, state)
   where l.w = %(workspace)s::uuid or %(workspace)s::uuid is null
  union all
  select o.w, 3, o.due_at
    from open_ones as o
   where not o.parked and not o.stopped and o.due_at < now() - pg_catalog.make_interval(secs => %(late)s)
  union all
  select g.w, 5, 'infinity' from dead_ones as g
  union all
  select o.w, 6, o.due_at from open_ones as o
), worst as (
  select f.w, min(f.state) as state, array_agg(distinct f.state) as states,
         (array_agg(f.since order by f.state, f.since))[1] as since
    from found as f
   group by f.w
), page as materialized (
  select t.w, t.state, t.states, t.since
    from worst as t
   where (%(state)s::integer is null or t.state = %(state)s::integer
          or %(state)s::integer < 6 and %(state)s::integer = any (t.states))
     and (%(after)s::uuid is null
          or (t.state, t.since, t.w) > (%(after_state)s::integer, %(after_since)s::timestamptz, %(after)s::uuid))
   order by t.state, t.since, t.w limit %(rows)s + 1
)
select p.w as workspace, p.states, p.state, p.since,
       case when p.state = 0 and isfinite(p.since) then extract(epoch from now() - p.since) end::double precision as stopped_for,
       case when o.due_at <= now() and isfinite(o.due_at) then extract(epoch from now() - o.due_at)
       end::double precision as waited,
       c.is_valid as valid, left(c.calendar_id, 1024) as calendar,
       (select count(*) from (
          select from public.sync_outbox as q
           where q.status in ('PENDING', 'FAILED') and q.workspace_id = p.w limit %(count)s + 1) as n)::integer as waiting,
       (select count(*) from (
          select from public.sync_outbox as q
           where q.status = 'DEAD_LETTER' and q.workspace_id = p.w limit %(count)s + 1) as n)::integer as dead,
       (select count(*) from ring) >= %(cap)s or (select count(*) from dead_ones) >= %(cap)s as is_cut
  from page as p
  left join open_ones as o on o.w = p.w
  left join public.google_connections as c on c.workspace_id = p.w
 order by p.state, p.since, p.w;

-- name: waiting
-- What waits in one workspace by kind, of the first `cap` + 1 by the time when they are due.
select count(*)::integer as open,
       count(*) filter (where o.next_attempt_at <= now())::integer as due,
       count(*) filter (where o.status = 'FAILED' and (o.next_attempt_at <= now()) is not true)::integer as back_off,
       count(*) filter (where o.status = 'PENDING' and (o.next_attempt_at <= now()) is not true)::integer as later,
       case when isfinite(min(o.next_attempt_at)) and min(o.next_attempt_at) <= now()
            then extract(epoch from now() - min(o.next_attempt_at)) end::double precision as oldest_due_seconds,
       min(o.next_attempt_at) filter (where o.next_attempt_at > now() and isfinite(o.next_attempt_at)) as next_due_at
  from (select q.status, q.next_attempt_at
          from public.sync_outbox as q
         where q.status in ('PENDING', 'FAILED') and q.workspace_id = %(workspace)s
         order by q.next_attempt_at limit %(cap)s + 1) as o;

-- name: in_flight
-- What is in flight of one workspace, up to `cap` + 1.
select count(*)::integer as n
  from (select from public.sync_outbox as o
         where o.status = 'PROCESSING' and o.workspace_id = %(workspace)s limit %(cap)s + 1) as p;

-- name: rebuilds
-- Rebuilds, the newest first, up to `rows` + 1 before one. No index has the finished ones, so they are found by their
-- children (`cap` rebuilds are walked through, by a look-up in an index each), and those without any among the newest
-- `looks` settled rows.
with recursive parents as (
  (select o.parent_id as id, 1 as n from public.sync_outbox as o where o.parent_id is not null order by o.parent_id limit 1)
  union all
  select f.id, parents.n + 1 from parents cross join lateral (
    select o.parent_id as id from public.sync_outbox as o where o.parent_id > parents.id order by o.parent_id limit 1) as f
   where parents.n < %(cap)s
), settled as materialized (
  select s.id, s.operation from public.sync_outbox as s
   where s.status in ('COMPLETED', 'DEAD_LETTER') order by s.updated_at desc limit %(looks)s
), found as materialized (
  select p.id from parents as p
   union
  select s.id from settled as s where s.operation = 'REBUILD_ALL'
   union
  (select o.id from public.sync_outbox as o
    where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
      and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
    limit %(cap)s)
)
select o.id, o.workspace_id as workspace, o.status::text, left(o.failure_code, 100) as code, left(o.last_error, 500) as last_error,
       o.created_at, o.processed_at, o.next_attempt_at, coalesce(o.payload -> 'recreate' = 'true', false) as recreate,
       (select count(*) from parents) >= %(cap)s as is_cut
  from found as f
  join public.sync_outbox as o on o.id = f.id
 where o.operation = 'REBUILD_ALL' and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
   and (%(before)s::timestamptz is null or (o.created_at, o.id) < (%(before)s::timestamptz, %(before_id)s::uuid))
 order by o.created_at desc, o.id desc limit %(rows)s + 1;

-- name: burst_sample
-- Of a workspace that a burst has stopped: sources whose event would be deleted, up to `rows`, of each type of source some,
-- those asked for first. Bounded and counted as the brake does (brakes.sql, count): the rows that are due first, and of a
-- source its newest. No payload is shown, and no text of an event is read.
with released as materialized (
  select coalesce(max(b.passes), 0) as seq from public.sync_brakes as b where b.workspace_id = %(workspace)s
), page as materialized (
  select o.id, public.sync_source_key(o.payload, o.id) as key, o.seq, o.operation, o.parent_id, o.created_at
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED') and o.workspace_id = %(workspace)s
     and pg_catalog.pg_column_size(o.payload) <= 16384
   order by o.next_attempt_at limit %(looks)s
), newest as materialized (
  select distinct on (p.key) p.* from page as p order by p.key, p.seq desc
), going as materialized (
  select n.key, n.created_at as asked_at, s.updated_at as applied_at
    from newest as n
    left join public.sync_sources as s
      on s.workspace_id = %(workspace)s and s.source_key = n.key and s.google_event_id is not null
    left join public.calendar_event_bindings as b
      on b.workspace_id = %(workspace)s and b.source_type = split_part(n.key, ':', 1)
     and b.source_id = case when split_part(n.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                            then split_part(n.key, ':', 2)::uuid end
   where n.operation = 'CANCEL_EVENT' and n.parent_id is null and n.seq > (select r.seq from released as r)
     and (s.source_key is not null or b.source_id is not null)
), ranked as (
  select g.*, split_part(g.key, ':', 1) as type,
         row_number() over (partition by split_part(g.key, ':', 1) order by g.asked_at, g.key) as place,
         count(*) over (partition by split_part(g.key, ':', 1)) as of_type
    from going as g
)
select left(r.key, 500) as source, left(r.type, 100) as type, r.of_type::integer as of_type, r.asked_at, r.applied_at
  from ranked as r
 order by r.place, r.type limit %(rows)s;
