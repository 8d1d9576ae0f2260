-- The brake (reactor/core/brake.py argues it).

-- name: claimed
-- For each workspace: whether it is stopped, and how many of its events were deleted within the window or are being
-- deleted, at most: `count` looks up whether a cancel in flight has an event. One statement, so one snapshot: a cancel
-- that ends meanwhile is seen in flight or done. The time is the statement's, a constant, so an index can serve.
select w.id, b.workspace_id is not null and b.released_at is null,
       (select count(*)
          from public.sync_sources as s
         where s.workspace_id = w.id
           and s.removed_at between now() - pg_catalog.make_interval(secs => %(window)s)
                                and now() + pg_catalog.make_interval(secs => %(window)s)
           and s.google_event_id is null and s.floor_seq > coalesce(b.passes, 0))
       + (select count(*)
            from public.sync_outbox as o
           where o.status = 'PROCESSING' and o.workspace_id = w.id and o.operation = 'CANCEL_EVENT'
             and o.parent_id is null and o.seq > coalesce(b.passes, 0))
  from unnest(%(workspaces)s::uuid[]) as w (id)
  left join public.sync_brakes as b on b.workspace_id = w.id;

-- name: count
-- What is deleted of a workspace within the window, and whether that is too much; then it is stopped. `waiting`: whether
-- what waits is counted too. Bounded: the rows that are due first, 20,000 of them (some 50 ms), are a sample large enough
-- for any burst; of the events no more are counted than it takes to say that there are enough.
--
-- A source's newest waiting row decides its outcome. A row in flight or waiting counts if there is an event to delete.
-- Children of a rebuild were counted before they were made.
--
-- Too much is also what another replica stops at this moment, or what was released a moment ago: then nothing is sent,
-- and the next claim sees more. A release that is newer than this snapshot is left as it is.
with released as materialized (
  select coalesce(max(b.passes), 0) as seq from public.sync_brakes as b where b.workspace_id = %(workspace)s
), gone as materialized (
  select count(*) as n
    from public.sync_sources as s
   where s.workspace_id = %(workspace)s
     and s.removed_at between now() - pg_catalog.make_interval(secs => %(window)s)
                          and now() + pg_catalog.make_interval(secs => %(window)s)
     and s.google_event_id is null and s.floor_seq > (select r.seq from released as r)
), page as materialized (
  select o.id, public.sync_source_key(o.payload, o.id) as key, o.seq, o.operation, o.parent_id
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED') and o.workspace_id = %(workspace)s and %(waiting)s
     and pg_catalog.pg_column_size(o.payload) <= 16384  -- to read the key of a large one takes milliseconds
   order by o.next_attempt_at limit 20000
), newest as materialized (
  select distinct on (p.key) p.* from page as p order by p.key, p.seq desc
), cancels as materialized (
  select n.key
    from newest as n
   where n.operation = 'CANCEL_EVENT' and n.parent_id is null and n.seq > (select r.seq from released as r)
   union
  select public.sync_source_key(o.payload, o.id)
    from public.sync_outbox as o
   where o.status = 'PROCESSING' and o.workspace_id = %(workspace)s and o.operation = 'CANCEL_EVENT'
     and o.parent_id is null and o.seq > (select r.seq from released as r)
     and pg_catalog.pg_column_size(o.payload) <= 16384
), going as materialized (
  select count(*) as n
    from cancels as c
   where exists (
           select from public.sync_sources as s
            where s.workspace_id = %(workspace)s and s.source_key = c.key and s.google_event_id is not null)
      or exists (
           select from public.calendar_event_bindings as b
            where b.workspace_id = %(workspace)s and b.source_type = split_part(c.key, ':', 1)
              and b.source_id = case
                when split_part(c.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                then split_part(c.key, ':', 2)::uuid end)
), deletes as materialized (
  select g.n + w.n as n,
         -- With so many events there are enough.
         1 + ((g.n + w.n) / greatest(%(share)s::double precision, 1e-6))::bigint as enough
    from gone as g, going as w
), facts as materialized (
  select d.n as deletes,
         g.n + greatest(
           (select count(*)
              from (select from public.calendar_event_bindings as b
                     where b.workspace_id = %(workspace)s limit (select e.enough from deletes as e)) as bound),
           (select count(*)
              from (select from public.sync_sources as s
                     where s.workspace_id = %(workspace)s and s.removed_at is null and s.google_event_id is not null
                     limit (select e.enough from deletes as e)) as known)) as events
    from deletes as d, gone as g
), judged as materialized (
  select f.*, f.deletes >= %(least)s and f.deletes > %(share)s::double precision * f.events as is_too_much
    from facts as f
), pulled as (
  insert into public.sync_brakes as b (workspace_id, cause, deletes, events)
  select %(workspace)s, 'BURST', j.deletes, j.events
    from judged as j
   where j.is_too_much
  on conflict (workspace_id) do update
    set cause = excluded.cause, rebuild_id = null, deletes = excluded.deletes, events = excluded.events,
        stopped_at = clock_timestamp(), released_at = null
   where b.released_at is not null and b.passes = (select r.seq from released as r)
  returning true
)
select j.deletes, j.events, j.is_too_much, exists (select from pulled) from judged as j;

-- name: pull
-- Stop a workspace for a rebuild, unless it was released for it: for one that had been inserted by then, and that deletes
-- no more than was shown (and the few for which the brake would not stop it).
insert into public.sync_brakes as b (workspace_id, cause, rebuild_id, deletes, events)
values (%(workspace)s, 'REBUILD', %(rebuild)s, %(deletes)s, %(events)s)
on conflict (workspace_id) do update
  set cause = excluded.cause, rebuild_id = excluded.rebuild_id, deletes = excluded.deletes, events = excluded.events,
      stopped_at = clock_timestamp(), released_at = null
 where b.released_at is not null
   and not (b.cause = 'REBUILD' and b.passes >= %(seq)s and excluded.deletes <= b.deletes + %(least)s);

-- name: is_stopped
-- Whether the brake has stopped a workspace.
select exists (
  select from public.sync_brakes as b where b.workspace_id = %(workspace)s and b.released_at is null);

-- name: stopped
-- The workspaces that are stopped, the longest first, up to `top` + 1 behind a place, with what waits in each, up to
-- `cap` + 1.
select b.workspace_id, b.cause, b.rebuild_id, b.deletes, b.events, b.stopped_at,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = b.workspace_id
           limit %(cap)s + 1) as w)
  from (select * from public.sync_brakes as s
         where s.released_at is null and (%(workspace)s::uuid is null or s.workspace_id = %(workspace)s)
           and (%(after)s::uuid is null
                or (s.stopped_at, s.workspace_id) > (%(after_since)s::timestamptz, %(after)s::uuid))
         order by s.stopped_at, s.workspace_id limit %(top)s + 1) as b
 order by b.stopped_at, b.workspace_id;

-- name: release
-- The number is taken now: rows that are inserted later get higher ones. We notify replicas that sleep, because no writer
-- will.
with released as (
  update public.sync_brakes as b
     set released_at = clock_timestamp(), passes = nextval('public.sync_outbox_seq')
   where b.workspace_id = %(workspace)s and b.released_at is null
  returning b.workspace_id
)
select r.workspace_id, pg_catalog.pg_notify('sync_outbox', '')::text from released as r;
