-- The brake (reactor/core/brake.py argues it).

-- name: count
-- What waits to be deleted in a workspace, and whether that is too much; then it is stopped. Bounded: the rows that are
-- due first, 20,000 of them (some 50 ms), are a sample large enough for any burst.
--
-- `recent` is what the caller has claimed, whose end it knows (`over`) or has in hand. A source's newest row decides what becomes of it, and it counts if there is an event to delete. Children of a rebuild
-- were counted before they were made.
with released as materialized (
  select coalesce(max(b.passes), 0) as seq from public.sync_brakes as b where b.workspace_id = %(workspace)s
), recent as materialized (
  select count(*) as n, count(*) filter (where c.over) as over
    from unnest(%(recent)s::uuid[], %(places)s::bigint[], %(over)s::boolean[]) as c (id, seq, over)
   where c.seq > (select r.seq from released as r)
), page as materialized (
  select o.id, public.sync_source_key(o.payload, o.id) as key, o.seq, o.operation, o.parent_id
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED') and o.workspace_id = %(workspace)s
     and pg_catalog.pg_column_size(o.payload) <= 16384  -- to read the key of a large one takes milliseconds
   order by o.next_attempt_at limit 20000
), newest as materialized (
  select distinct on (p.key) p.* from page as p order by p.key, p.seq desc
), waiting as materialized (
  select count(*) as n
    from newest as w
   where w.operation = 'CANCEL_EVENT' and w.parent_id is null and w.seq > (select r.seq from released as r)
     and w.id <> all (%(recent)s::uuid[])
     and (exists (
            select from public.sync_sources as s
             where s.workspace_id = %(workspace)s and s.source_key = w.key and s.google_event_id is not null)
          or exists (
            select from public.calendar_event_bindings as b
             where b.workspace_id = %(workspace)s and b.source_type = split_part(w.key, ':', 1)
               and b.source_id = case
                 when split_part(w.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                 then split_part(w.key, ':', 2)::uuid end))
), facts as materialized (
  select w.n + c.n as deletes,
         c.over + greatest(
           (select count(*) from public.calendar_event_bindings as b where b.workspace_id = %(workspace)s),
           (select count(*) from public.sync_sources as s
             where s.workspace_id = %(workspace)s and s.google_event_id is not null)) as events
    from waiting as w, recent as c
), pulled as (
  insert into public.sync_brakes as b (workspace_id, cause, deletes, events)
  select %(workspace)s, 'BURST', f.deletes, f.events
    from facts as f
   where f.deletes >= %(least)s and f.deletes > %(share)s::double precision * f.events
  on conflict (workspace_id) do update
    set cause = excluded.cause, rebuild_id = null, deletes = excluded.deletes, events = excluded.events,
        stopped_at = clock_timestamp(), released_at = null
   where b.released_at is not null
  returning true
)
select r.seq, f.deletes, f.events, exists (select from pulled) from released as r, facts as f;

-- name: pull
-- Stop a workspace for a rebuild, unless it was released for it: for one that had been inserted by then, and that deletes
-- no more than was shown (and the few that nobody would be asked for).
insert into public.sync_brakes as b (workspace_id, cause, rebuild_id, deletes, events)
values (%(workspace)s, 'REBUILD', %(rebuild)s, %(deletes)s, %(events)s)
on conflict (workspace_id) do update
  set cause = excluded.cause, rebuild_id = excluded.rebuild_id, deletes = excluded.deletes, events = excluded.events,
      stopped_at = clock_timestamp(), released_at = null
 where b.released_at is not null
   and not (b.cause = 'REBUILD' and b.passes >= %(seq)s and excluded.deletes <= b.deletes + %(least)s);

-- name: is_stopped
select exists (
  select from public.sync_brakes as b where b.workspace_id = %(workspace)s and b.released_at is null);

-- name: stopped
-- The workspaces that are stopped, the longest first, up to `top` + 1, with what waits in each, up to `cap` + 1.
select b.workspace_id, b.cause, b.rebuild_id, b.deletes, b.events, b.stopped_at,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = b.workspace_id
           limit %(cap)s + 1) as w)
  from (select * from public.sync_brakes as s
         where s.released_at is null and (%(workspace)s::uuid is null or s.workspace_id = %(workspace)s)
         order by s.stopped_at limit %(top)s + 1) as b
 order by b.stopped_at;

-- name: release
-- The number is taken now: who inserts later gets a higher one. Whoever sleeps is told, since nobody else would.
with released as (
  update public.sync_brakes as b
     set released_at = clock_timestamp(), passes = nextval('public.sync_outbox_seq')
   where b.workspace_id = %(workspace)s and b.released_at is null
  returning b.workspace_id
)
select r.workspace_id, pg_catalog.pg_notify('sync_outbox', '')::text from released as r;
