-- What is known of one source's event, at a cost that no table's size changes: everything is found by an index, or among
-- so many rows that a statement names. Payloads whose key takes milliseconds to read (above 16 kB as stored) are passed
-- over, but for the item that is asked for by its id. Rows that are looked through come in the order of their index: by
-- the limit alone the planner takes them from the table, or from the index of all settled rows, and walks the finished
-- ones. reactor/postgres/explain/chains.py puts the answers together.

-- name: by_index
-- For the session: where a limit is meant to end a walk along an index, the planner may think that a table has enough such
-- rows for a look from its beginning, and it is read to its end where they are few, or all at its end.
select set_config('enable_seqscan', 'off', false);

-- name: by_choice
-- For the session: the planner chooses again. A page's session goes on to other questions.
select set_config('enable_seqscan', 'on', false);

-- name: item
-- An item, and what it is about.
select o.id, o.workspace_id as workspace, o.operation::text, public.sync_source_key(o.payload, o.id) as source
  from public.sync_outbox as o
 where o.id = %(id)s;

-- name: workspaces
-- Workspaces of which anything is known, up to `most` + 1: each index is walked from one workspace to the next. In brief,
-- only those that are connected, that are remembered or that have something open: nearly all are.
with recursive open as (
  (select o.workspace_id as w from public.sync_outbox as o
    where o.status in ('PENDING', 'FAILED', 'PROCESSING') order by o.workspace_id limit 1)
  union all
  select n.w from open cross join lateral (
    select o.workspace_id as w from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id > open.w
     order by o.workspace_id limit 1) as n
), dead as (
  (select o.workspace_id as w from public.sync_outbox as o
    where o.status = 'DEAD_LETTER' and not %(brief)s order by o.workspace_id limit 1)
  union all
  select n.w from dead cross join lateral (
    select o.workspace_id as w from public.sync_outbox as o
     where o.status = 'DEAD_LETTER' and o.workspace_id > dead.w order by o.workspace_id limit 1) as n
), remembered as (
  (select s.workspace_id as w from public.sync_sources as s order by s.workspace_id limit 1)
  union all
  select n.w from remembered cross join lateral (
    select s.workspace_id as w from public.sync_sources as s
     where s.workspace_id > remembered.w order by s.workspace_id limit 1) as n
), bound as (
  (select b.workspace_id as w from public.calendar_event_bindings as b
    where not %(brief)s order by b.workspace_id limit 1)
  union all
  select n.w from bound cross join lateral (
    select b.workspace_id as w from public.calendar_event_bindings as b
     where b.workspace_id > bound.w order by b.workspace_id limit 1) as n
)
select u.w as workspace
  from (select c.w from (select workspace_id as w from public.google_connections limit %(most)s + 1) as c
        union select o.w from (select w from open limit %(most)s + 1) as o
        union select d.w from (select w from dead limit %(most)s + 1) as d
        union select r.w from (select w from remembered limit %(most)s + 1) as r
        union select b.w from (select w from bound limit %(most)s + 1) as b) as u
 order by u.w
 limit %(most)s + 1;

-- name: source_types
-- Kinds of sources, which are the application's and not a workspace's: those that have a binding in a thousand workspaces,
-- and those of a thousand rows of each other sort.
select t.source_type
  from (select unnest(%(workspaces)s::uuid[]) as id limit 1000) as w
 cross join lateral (
   with recursive types as (
     (select b.source_type from public.calendar_event_bindings as b
       where b.workspace_id = w.id order by b.source_type limit 1)
     union all
     select n.source_type from types cross join lateral (
       select b.source_type from public.calendar_event_bindings as b
        where b.workspace_id = w.id and b.source_type > types.source_type order by b.source_type limit 1) as n)
   select types.source_type from types limit 40) as t
union
select split_part(k.key, ':', 1)
  from ((select s.source_key as key from public.sync_sources as s limit 1000)
        union all
        (select public.sync_source_key(o.payload, o.id) from public.sync_outbox as o
          where o.status in ('PENDING', 'FAILED', 'PROCESSING') and pg_catalog.pg_column_size(o.payload) <= 16384
          order by o.workspace_id limit 1000)
        union all
        (select public.sync_source_key(o.payload, o.id) from public.sync_outbox as o
          where o.status = 'DEAD_LETTER' and pg_catalog.pg_column_size(o.payload) <= 16384
          order by o.workspace_id limit 1000)) as k
 where position(':' in k.key) > 0
 order by 1
 limit 100;

-- name: places
-- In which workspaces there is a source of one of these names: look-ups for each workspace, which a single scan of an
-- index makes one after the other (of an array that is selected the planner does not weigh each element); then among
-- dead and finished rows, which no index has by source.
select s.workspace_id as workspace, s.source_key as source
  from public.sync_sources as s
 where s.workspace_id = any (array(select unnest(%(workspaces)s::uuid[]))) and s.source_key = any (%(keys)s::text[])
union
select o.workspace_id, public.sync_source_key(o.payload, o.id)
  from public.sync_outbox as o
 where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = any (array(select unnest(%(workspaces)s::uuid[])))
   and public.sync_source_key(o.payload, o.id) = any (%(keys)s::text[])
union
select b.workspace_id, b.source_type || ':' || b.source_id
  from public.calendar_event_bindings as b
 where b.workspace_id = any (array(select unnest(%(workspaces)s::uuid[])))
   and b.source_type = any (array(select split_part(k.key, ':', 1) from unnest(%(keys)s::text[]) as k (key)))
   and b.source_id = any (array(
         select split_part(k.key, ':', 2)::uuid
           from unnest(%(keys)s::text[]) as k (key)
          where split_part(k.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'))
union
select e.workspace_id, e.key
  from (select d.workspace_id, public.sync_source_key(d.payload, d.id) as key
          from (select o.* from public.sync_outbox as o
                 where o.status = 'DEAD_LETTER' order by o.workspace_id, o.failure_code limit %(dead)s) as d
         where pg_catalog.pg_column_size(d.payload) <= 16384
        union all
        select f.workspace_id, public.sync_source_key(f.payload, f.id)
          from (select o.* from public.sync_outbox as o
                 where o.status in ('COMPLETED', 'DEAD_LETTER') order by o.updated_at desc limit %(recent)s) as f
         where pg_catalog.pg_column_size(f.payload) <= 16384) as e
 where e.key = any (%(keys)s::text[]) and e.workspace_id = any (array(select unnest(%(workspaces)s::uuid[])))
 limit %(matches)s;

-- name: of_event
-- Sources whose event has this id, or would have had it in an earlier generation: an id of ours is a hash
-- (core/calendar/ids.py), so it is made again for what is remembered and compared. Among the first `rows` of each
-- table; `looked` is how many there were.
with remembered as materialized (
  select s.workspace_id, s.source_key, s.google_event_id, s.generation
    from public.sync_sources as s
   where s.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
   limit %(rows)s
), bound as materialized (
  select b.workspace_id, b.source_type || ':' || b.source_id as source_key, b.google_event_id
    from public.calendar_event_bindings as b
   where b.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
   limit %(rows)s
), waiting as materialized (
  select o.workspace_id, public.sync_source_key(o.payload, o.id) as source_key
    from (select o.* from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED', 'PROCESSING')
             and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
                 order by o.workspace_id limit %(open)s) as o
   where pg_catalog.pg_column_size(o.payload) <= 16384
  union
  select o.workspace_id, public.sync_source_key(o.payload, o.id)
    from (select o.* from public.sync_outbox as o
           where o.status = 'DEAD_LETTER'
             and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
                 order by o.workspace_id, o.failure_code limit %(dead)s) as o
   where pg_catalog.pg_column_size(o.payload) <= 16384
), named as (
  select r.workspace_id, r.source_key from remembered as r where r.google_event_id = %(event)s
  union
  select b.workspace_id, b.source_key from bound as b where b.google_event_id = %(event)s
  union
  select m.workspace_id, m.source_key
    from (select r.workspace_id, r.source_key, g.generation
            from remembered as r cross join generate_series(0, least(r.generation, 20)) as g (generation)
          union all
          select w.workspace_id, w.source_key, 0 from waiting as w) as m
   where substr(sha256(convert_to(m.workspace_id || E'\n' || m.generation || E'\n' || m.source_key, 'UTF8')), 1, 20)
         = %(digest)s::bytea
)
select n.workspace_id as workspace, n.source_key as source,
       greatest((select count(*) from remembered), (select count(*) from bound))::integer as looked
  from (select * from named limit %(matches)s) as n
 right join (select true) as one on true;

-- name: of_calendar
-- The workspaces that are connected to a calendar.
select c.workspace_id as workspace
  from (select * from public.google_connections limit %(rows)s) as c where c.calendar_id = %(calendar)s
 limit %(matches)s;

-- name: of_title
-- Sources with these words in their title, among the first `rows` bindings, and the first open and dead rows.
select u.workspace_id as workspace, u.source, left(max(u.title), 500) as title, max(u.starts) as starts
  from (select b.workspace_id, b.source_type || ':' || b.source_id as source, b.event_title as title,
               b.event_start::text as starts
          from (select * from public.calendar_event_bindings as b
                 where b.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null limit %(rows)s) as b
        union all
        select o.workspace_id, public.sync_source_key(o.payload, o.id), o.payload #>> '{event,title}',
               left(o.payload #>> '{event,start}', 40)
          from (select o.* from public.sync_outbox as o
                 where o.status in ('PENDING', 'FAILED', 'PROCESSING')
                   and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
                 order by o.workspace_id limit %(open)s) as o
         where pg_catalog.pg_column_size(o.payload) <= 16384
        union all
        select o.workspace_id, public.sync_source_key(o.payload, o.id), o.payload #>> '{event,title}',
               left(o.payload #>> '{event,start}', 40)
          from (select o.* from public.sync_outbox as o
                 where o.status = 'DEAD_LETTER'
                   and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
                 order by o.workspace_id, o.failure_code limit %(dead)s) as o
         where pg_catalog.pg_column_size(o.payload) <= 16384) as u
 where position(lower(%(title)s) in lower(u.title)) > 0
 group by 1, 2
 limit %(matches)s;

-- name: more_bindings
-- Whether there are more bindings than are searched for a title.
select exists (select from public.calendar_event_bindings as b
                where b.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null offset %(rows)s) as more;

-- name: view_of_title
-- The same in what the application wants; we cannot know how long that takes, so it gets little time.
select e.workspace_id as workspace, left(e.source_type::text || ':' || e.source_id::text, 100) as source,
       left(e.title::text, 500) as title, left(e.start_at::text, 40) as starts
  from public.calendar_source_events as e
 where (e.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
   and position(lower(%(title)s) in lower(e.title::text)) > 0
 limit %(matches)s;

-- name: source_id_type
-- Of which type the view's column is: compared as what it is, the application's own indexes serve.
select pg_catalog.format_type(a.atttypid, a.atttypmod) as type
  from pg_catalog.pg_attribute as a
 where a.attrelid = to_regclass('public.calendar_source_events') and a.attname = 'source_id' and not a.attisdropped;

-- name: view_of_uuid
-- A source in the application's view. By the type that its column has: then the application's own index serves.
select e.workspace_id as workspace, to_jsonb(e) as event
  from public.calendar_source_events as e
 where e.source_id = %(id)s::uuid
   and (e.source_type::text = %(type)s::text or %(type)s::text is null)
   and (e.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
 limit %(matches)s;

-- name: view_of_text
-- The same where the column has another type, or the id is no UUID.
select e.workspace_id as workspace, to_jsonb(e) as event
  from public.calendar_source_events as e
 where e.source_id::text = %(id)s::text
   and (e.source_type::text = %(type)s::text or %(type)s::text is null)
   and (e.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
 limit %(matches)s;

-- name: function_of_text
-- The same of a function, which is asked for one workspace.
select e.workspace_id as workspace, to_jsonb(e) as event
  from public.calendar_source_events(%(workspace)s::uuid) as e
 where e.source_id::text = %(id)s::text
   and (e.source_type::text = %(type)s::text or %(type)s::text is null)
   and e.workspace_id = %(workspace)s::uuid
 limit %(matches)s;

-- name: workspace
-- The connection and the brake.
select c.workspace_id is not null as is_connected, coalesce(c.is_valid, false) as is_valid,
       left(c.calendar_id, 1024) as calendar,
       b.workspace_id is not null as is_stopped, b.cause, b.deletes, b.events, b.stopped_at
  from (select %(workspace)s::uuid as id) as w
  left join public.google_connections as c on c.workspace_id = w.id
  left join public.sync_brakes as b on b.workspace_id = w.id and b.released_at is null;

-- name: memory
-- What the reactor remembers of a source, and what the application's table has; ids as long as the contract has them.
select s.workspace_id is not null as is_remembered, s.floor_seq, s.generation,
       left(s.google_event_id, 1024) as google_event_id, left(s.calendar_id, 1024) as calendar_id,
       left(s.etag, 100) as etag, s.cancelled, s.reopen, s.strays[1:100] as strays, s.updated_at,
       left(b.google_event_id, 1024) as bound_event_id, left(b.calendar_id, 1024) as bound_calendar_id, b.last_synced_at
  from (select %(workspace)s::uuid as w, %(source)s::text as key) as k
  left join public.sync_sources as s on s.workspace_id = k.w and s.source_key = k.key
  left join public.calendar_event_bindings as b
    on b.workspace_id = k.w and b.source_type = split_part(k.key, ':', 1)
   and b.source_id = case when split_part(k.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                          then split_part(k.key, ':', 2)::uuid end;

-- name: open_of_source
-- The newest states of a source that wait. `rows` follows this, or one of the next four.
with found as materialized (
  select o.id
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = %(workspace)s
     and public.sync_source_key(o.payload, o.id) = %(source)s
   order by public.sync_source_key(o.payload, o.id), o.seq desc
   limit %(rows)s
)

-- name: open_rebuild
-- The workspace's newest rebuild, unless a newer one was carried out.
with found as materialized (
  select o.id
    from public.sync_outbox as o
   where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
     and o.workspace_id = %(workspace)s
     and o.seq >= coalesce((select s.floor_seq from public.sync_sources as s
                             where s.workspace_id = %(workspace)s and s.source_key = 'REBUILD_ALL'), 0)
   order by o.seq desc
   limit 1
)

-- name: dead_of_source
-- The source's dead letters, among the first `dead` of its workspace.
with found as materialized (
  select o.id
    from (select o.* from public.sync_outbox as o
           where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s
           order by o.failure_code limit %(dead)s) as o
   where o.id = %(item)s
      or pg_catalog.pg_column_size(o.payload) <= 16384 and public.sync_source_key(o.payload, o.id) = %(source)s
   order by o.seq desc, o.updated_at desc
   limit %(rows)s
)

-- name: finished_of_source
-- The source's completed rows: among those that ended last, and among those that ended when the source was last written
-- (a settle writes both in one transaction, so they have one time); and the item that is asked for. Payloads are read of
-- the workspace's own rows alone.
with page as materialized (
  select e.id
    from ((select o.id, o.workspace_id from public.sync_outbox as o
            where o.status in ('COMPLETED', 'DEAD_LETTER') order by o.updated_at desc limit %(recent)s)
          union all
          (select o.id, o.workspace_id from public.sync_outbox as o
            where o.status in ('COMPLETED', 'DEAD_LETTER') and o.updated_at = %(settled_at)s::timestamptz
            limit %(recent)s)) as e
   where e.workspace_id = %(workspace)s
  union
  select %(item)s::uuid
), found as materialized (
  select p.id
    from page as p
   cross join lateral (
     select o.seq, o.updated_at
       from public.sync_outbox as o
      where o.id = p.id and o.status = 'COMPLETED' and o.workspace_id = %(workspace)s
        and (o.id = %(item)s
             or pg_catalog.pg_column_size(o.payload) <= 16384 and public.sync_source_key(o.payload, o.id) = %(source)s)
      limit 1) as o
   order by o.seq desc, o.updated_at desc
   limit %(rows)s
)

-- name: the_item
-- The item that is asked for, in any state.
with found as materialized (
  select o.id from public.sync_outbox as o where o.id = %(item)s
)

-- name: rows
-- What is reported of a row. The session that has claimed it is found by its lease, or by the item's lock (an older
-- worker's). The session that has locked it is found by the transaction that its xmax names (Postgres names none of
-- several that share a lock), with the age of that transaction, which only a role that may read all statistics sees.
-- Infinite times have no distance.
select o.id, o.operation::text, o.status::text, coalesce(o.seq, 0) as seq, o.parent_id is not null as is_child,
       case when o.next_attempt_at = '-infinity' then 0
            when isfinite(o.next_attempt_at)
            then extract(epoch from o.next_attempt_at - clock_timestamp()) end::double precision as due_in,
       coalesce(o.attempts, 0) as attempts, coalesce(o.max_attempts, 0) as max_attempts,
       left(o.failure_code, 100) as code, left(o.last_error, 500) as error,
       case when isfinite(coalesce(o.processed_at, o.updated_at))
            then extract(epoch from clock_timestamp() - coalesce(o.processed_at, o.updated_at))
            end::double precision as ended_ago,
       a.sqlstate, coalesce(extract(epoch from a.retry_at - clock_timestamp()), 0)::double precision as retry_in,
       case when o.status <> 'PROCESSING' then null
            when h.pid is not null then 'reactor'
            when o.lease_no is null and o.claim_no is null then 'older'
            else 'lost' end as custody,
       h.pid is not null or h.is_locker as has_session, h.pid, coalesce(t.application_name, '') as name,
       extract(epoch from clock_timestamp() - case
         when o.status <> 'PROCESSING' then t.xact_start when isfinite(o.updated_at) then o.updated_at
       end)::double precision as seconds
  from found as f
 cross join lateral (select o.*, o.xmax as locker from public.sync_outbox as o where o.id = f.id limit 1) as o
  left join public.sync_set_aside as a on a.item_id = o.id
  left join lateral (
    (select l.pid, false as is_locker from public.sync_lease_holders() as l
      where o.status = 'PROCESSING' and l.lease = (o.lease_no & 2147483647) limit 1)
    union all
    (select i.pid, false from public.sync_item_holders() as i
      where o.status = 'PROCESSING' and o.lease_no is null and i.key = public.sync_item_key(o.id) limit 1)
    union all
    (select l.pid, true from pg_catalog.pg_locks as l
      where o.status in ('PENDING', 'FAILED') and l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'
        and l.granted and l.transactionid = o.locker limit 1)
  ) as h on true
  left join pg_catalog.pg_stat_activity as t on t.pid = h.pid
 order by o.seq desc nulls last, ended_ago;

-- name: ahead
-- Of the workspace's rows that wait, those that are due first (`dead` of them): how many are due before one, and what they
-- met when they were tried. While a lane is held back, the rows that were released without an attempt show why.
with page as materialized (
  select o.next_attempt_at, left(o.last_error, 200) as error
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED') and o.workspace_id = %(workspace)s
   order by o.next_attempt_at
   limit %(dead)s
)
select (select count(*) from page as p
         where p.next_attempt_at < least(
           (select i.next_attempt_at from public.sync_outbox as i where i.id = %(item)s), now()))::integer as ahead,
       (select array_agg(e.error || ', ' || e.n || case when e.n = 1 then ' item' else ' items' end order by e.n desc)
          from (select p.error, count(*) as n from page as p where p.error is not null
                 group by 1 order by 2 desc limit 3) as e) as met;

-- name: hurry
-- For the application's view, until the end of the transaction: the planner may choose how to read it.
select set_config('statement_timeout', %(milliseconds)s, true), set_config('lock_timeout', '1s', true),
       set_config('enable_seqscan', 'on', true);
