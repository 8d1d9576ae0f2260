-- Dead letters: why they died, what a requeue would do, and back into the outbox.
--
-- The filters are the same everywhere; each is off where its parameter is null. `before` is when the item died: the
-- time of its last update, which is what retention goes by. `error` is the whole of it, as far as it is shown. NONE is
-- the code of those that an older worker gave up.
--
-- Workspace and code are found by an index: sync_outbox_dead_letter has both, each code leaves one condition on its
-- column, and the order is the index's, or the planner reads the table for a code that most finished rows have. No index
-- of dead letters has their times. So of those of a workspace and a code `looks` at most are looked at, for a page that
-- must not take long; all of them where it is null.

-- name: by_cause
-- By workspace, code and error, of the first `cap` + 1.
with dead as (
  select o.id, o.workspace_id, o.failure_code, o.last_error, o.updated_at
    from (select d.id, d.workspace_id, d.failure_code, d.last_error, d.updated_at
            from public.sync_outbox as d
           where d.status = 'DEAD_LETTER'
             and (d.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
             and (%(code)s::text is null or %(code)s::text <> 'NONE' and d.failure_code = %(code)s::text
                  or %(code)s::text = 'NONE' and d.failure_code is null)
             and (d.id = any (%(ids)s::uuid[]) or %(ids)s::uuid[] is null)
           order by d.workspace_id, d.failure_code limit %(looks)s::bigint) as o
   where (o.updated_at < %(before)s::timestamptz or %(before)s::timestamptz is null)
     and (o.updated_at < now() - %(age)s::interval or %(age)s::interval is null)
     and (left(o.last_error, 500) = %(error)s::text or %(error)s::text is null)
   limit %(cap)s + 1
)
select d.workspace_id as workspace, coalesce(left(d.failure_code, 100), 'NONE') as code,
       left(d.last_error, 500) as error,
       count(*)::integer as items, min(d.updated_at) as first, max(d.updated_at) as last,
       (array_agg(d.id order by d.updated_at desc))[1] as newest
  from dead as d
 group by 1, 2, 3
 order by 4 desc, 6 desc;

-- name: by_error
-- By code and error, of the first `cap` + 1: in how many workspaces, and into which place among `ages` (seconds, the
-- smallest first) each one's age falls. What has no time that can be counted from is as old as can be.
with dead as (
  select o.id, o.workspace_id, o.failure_code, o.last_error, o.updated_at
    from (select d.id, d.workspace_id, d.failure_code, d.last_error, d.updated_at
            from public.sync_outbox as d
           where d.status = 'DEAD_LETTER'
             and (d.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
             and (%(code)s::text is null or %(code)s::text <> 'NONE' and d.failure_code = %(code)s::text
                  or %(code)s::text = 'NONE' and d.failure_code is null)
           order by d.workspace_id, d.failure_code limit %(looks)s::bigint) as o
   where (o.updated_at < %(before)s::timestamptz or %(before)s::timestamptz is null)
     and (o.updated_at < now() - %(age)s::interval or %(age)s::interval is null)
     and (left(o.last_error, 500) = %(error)s::text or %(error)s::text is null)
   limit %(cap)s + 1
)
select coalesce(left(d.failure_code, 100), 'NONE') as code, left(d.last_error, 500) as error,
       count(*)::integer as items, count(distinct d.workspace_id)::integer as workspaces,
       min(d.updated_at) as first, max(d.updated_at) as last,
       (array_agg(d.id order by d.updated_at desc))[1] as newest,
       array_agg(width_bucket(case when isfinite(d.updated_at) then extract(epoch from now() - d.updated_at)
                                   else 1e12 end::double precision, %(ages)s::double precision[])) as places
  from dead as d
 group by 1, 2
 order by 3 desc, 6 desc;

-- name: item_times
-- The times of an item that `dead_letter` does not return.
select o.next_attempt_at, o.processed_at from public.sync_outbox as o where o.id = %(id)s;

-- name: dead_letter
-- One, with its source's floor and whether a newer state of the source is on its way. A payload that is too large for any
-- event stays where it is.
select o.id, o.workspace_id as workspace, o.operation::text, o.status::text, left(o.failure_code, 100) as code,
       left(o.last_error, 500) as error, o.attempts, o.max_attempts, o.seq, o.parent_id as rebuild, o.created_at, o.updated_at,
       public.sync_source_key(o.payload, o.id) as source, octet_length(o.payload::text) as size,
       case when octet_length(o.payload::text) <= %(most)s then o.payload end as payload, coalesce(s.floor_seq, 0) as floor,
       coalesce(s.generation, 0) as generation, s.google_event_id as event_id, c.is_valid as connection_is_valid,
       exists (select from public.sync_outbox as n
                where n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = o.workspace_id
                  and public.sync_source_key(n.payload, n.id) = public.sync_source_key(o.payload, o.id)
                  and n.seq > o.seq) as newer_waits,
       (select r.id from public.sync_outbox as r
         where r.operation = 'REBUILD_ALL' and r.status in ('PENDING', 'FAILED', 'PROCESSING')
           and r.workspace_id = o.workspace_id and o.operation <> 'REBUILD_ALL'
         order by r.seq desc limit 1) as open_rebuild
  from public.sync_outbox as o
  left join public.sync_sources as s on s.workspace_id = o.workspace_id
    and s.source_key = case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                            else public.sync_source_key(o.payload, o.id) end
  left join public.google_connections as c on c.workspace_id = o.workspace_id
 where o.id = %(id)s;

-- name: requeue_outcomes
-- The outcome of a requeue for each of `cap` letters at most, the newest state first: older ones of the same source,
-- requeued later, are then below the floor and are not sent.
--
--   outdated    the floor is above it: a newer state was applied (or given up), so nothing is sent
--   overtaken   a newer state of the source is open or among these letters, which will be applied instead
--   parked      its workspace has no valid connection: it waits until a person connects it
--   behind      a rebuild of its workspace is open, and brings the newest state (reactor/postgres/rebuilds.py)
--   sent        none of these; where it is `suspect`, its payload is to be looked at
with chosen as materialized (
  select o.id, o.workspace_id as w, o.seq, o.operation, coalesce(o.failure_code, 'BAD_PAYLOAD') = 'BAD_PAYLOAD' as suspect,
         case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
              else public.sync_source_key(o.payload, o.id) end as key,
         public.sync_source_key(o.payload, o.id) as open_key
    from (select d.*
            from public.sync_outbox as d
           where d.status = 'DEAD_LETTER'
             and (d.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
             and (%(code)s::text is null or %(code)s::text <> 'NONE' and d.failure_code = %(code)s::text
                  or %(code)s::text = 'NONE' and d.failure_code is null)
             and (d.id = any (%(ids)s::uuid[]) or %(ids)s::uuid[] is null)
           order by d.workspace_id, d.failure_code limit %(looks)s::bigint) as o
   where (o.updated_at < %(before)s::timestamptz or %(before)s::timestamptz is null)
     and (o.updated_at < now() - %(age)s::interval or %(age)s::interval is null)
     and (left(o.last_error, 500) = %(error)s::text or %(error)s::text is null)
   limit %(cap)s
)
select t.id, t.suspect,
       case when t.seq < coalesce(s.floor_seq, 0) then 'outdated'
            when t.place > 1 or exists (
              select from public.sync_outbox as n
               where n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = t.w
                 and public.sync_source_key(n.payload, n.id) = t.open_key and n.seq > t.seq) or (
              t.operation = 'REBUILD_ALL' and exists (
                select from public.sync_outbox as n
                 where n.operation = 'REBUILD_ALL' and n.status in ('PENDING', 'FAILED', 'PROCESSING')
                   and n.workspace_id = t.w and n.seq > t.seq)) then 'overtaken'
            when c.is_valid is not true then 'parked'
            when t.operation <> 'REBUILD_ALL' and exists (
              select from public.sync_outbox as r
               where r.operation = 'REBUILD_ALL' and r.status in ('PENDING', 'FAILED', 'PROCESSING')
                 and r.workspace_id = t.w) then 'behind'
            else 'sent' end as fate
  from (select ch.*, row_number() over (partition by ch.w, ch.key order by ch.seq desc) as place from chosen as ch) as t
  left join public.sync_sources as s on s.workspace_id = t.w and s.source_key = t.key
  left join public.google_connections as c on c.workspace_id = t.w
 order by t.seq desc;

-- name: has_more
-- Whether there are more letters of a workspace and a code than are looked at.
select count(*) > %(looks)s as more
  from (select from public.sync_outbox as d
         where d.status = 'DEAD_LETTER'
           and (d.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
           and (%(code)s::text is null or %(code)s::text <> 'NONE' and d.failure_code = %(code)s::text
                or %(code)s::text = 'NONE' and d.failure_code is null)
         order by d.workspace_id, d.failure_code limit %(looks)s + 1) as s;

-- name: payloads
-- What some of them ask for, as text; one that is too large for any event stays where it is.
select o.id, o.operation::text, o.workspace_id as workspace, octet_length(o.payload::text) as size,
       case when octet_length(o.payload::text) <= %(most)s then convert_to(o.payload::text, 'UTF8') end as text
  from public.sync_outbox as o
 where o.id = any (%(ids)s::uuid[]);

-- name: requeue
-- One portion. Only what is still a dead letter and did not die since this run began: what fails again while it runs is
-- left for a person to look at. (A time of death that is null, or yet to come, is not one of this run's.) Rows that are
-- locked are passed over. The same columns as when a connection comes back (db/triggers.sql); a trigger wakes the
-- reactor.
update public.sync_outbox as o
   set status = 'PENDING', attempts = 0, next_attempt_at = now(), processed_at = null, failure_code = null,
       last_error = null
 where o.id = any (array(
         select d.id from public.sync_outbox as d
          where d.id = any (%(ids)s::uuid[]) and d.status = 'DEAD_LETTER'
            and (d.updated_at between %(began)s and clock_timestamp()) is not true
            for no key update skip locked))
returning o.id;
