-- What `drift` reads: what the application wants, what is remembered, what is on its way. Nothing here writes.
--
-- A statement that begins with a comma follows one of the three `state_of_...`; reactor/desk/compare/comparing.py puts
-- them together. The session's time zone is UTC, so moments are written in UTC.

-- name: source
-- Where the application says what it wants, and whether we may read it.
select case when v.oid is not null then 'view' when f.oid is not null then 'function' else 'memory' end as source,
       coalesce(has_table_privilege(v.oid, 'select'), has_function_privilege(f.oid, 'execute'), true) as is_readable,
       clock_timestamp() as now
  from (select to_regclass('public.calendar_source_events')::oid as oid) as v,
       (select to_regprocedure('public.calendar_source_events(uuid)')::oid as oid) as f;

-- name: state_of_view
-- As JSON: whatever types the columns have, no cast fails.
with state as (
  select coalesce(e.source_type::text, '') || ':' || coalesce(e.source_id::text, '') as key,
         'row' as form, to_jsonb(e) as document, to_jsonb(e) ->> 'calendar_id' as calendar_id
    from public.calendar_source_events as e where e.workspace_id = %(workspace)s
)

-- name: state_of_function
-- As `state_of_view`, where the application has a function.
with state as (
  select coalesce(e.source_type::text, '') || ':' || coalesce(e.source_id::text, '') as key,
         'row' as form, to_jsonb(e) as document, to_jsonb(e) ->> 'calendar_id' as calendar_id
    from public.calendar_source_events(%(workspace)s) as e where e.workspace_id = %(workspace)s
)

-- name: state_of_memory
-- The newest payload that was applied; of what only an older worker has written, its binding.
with state as (
  select s.source_key as key, 'payload' as form, s.payload as document, s.payload ->> 'calendarId' as calendar_id
    from public.sync_sources as s
   where s.workspace_id = %(workspace)s and s.payload is not null and not s.cancelled
  union all
  select b.source_type || ':' || b.source_id, 'binding', to_jsonb(b), b.calendar_id
    from public.calendar_event_bindings as b
   where b.workspace_id = %(workspace)s
     and not exists (
       select from public.sync_sources as s
        where s.workspace_id = b.workspace_id and s.source_key = b.source_type || ':' || b.source_id
          and (s.payload is not null or s.cancelled))
)

-- name: wanted
-- A portion, in the order of the keys, or those of some keys: what is wanted, and what is remembered of it. A document
-- beyond the contract's bound is not fetched.
select distinct on (s.key)
       s.key, s.form, case when octet_length(s.document::text) <= %(largest)s then s.document end,
       coalesce(m.google_event_id, b.google_event_id),
       case when m.google_event_id is null then b.calendar_id else m.calendar_id end,
       coalesce(m.cancelled or m.reopen, false), m.google_event_id is not null
  from state as s
  left join public.sync_sources as m on m.workspace_id = %(workspace)s and m.source_key = s.key
  left join public.calendar_event_bindings as b
    on b.workspace_id = %(workspace)s and b.source_type = split_part(s.key, ':', 1)
   and b.source_id = case when split_part(s.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                          then split_part(s.key, ':', 2)::uuid end
   and m.cancelled is not true
 where s.key > %(after)s and (%(keys)s::text[] is null or s.key = any (%(keys)s::text[]))
 order by s.key
 limit %(rows)s

-- name: calendars
-- Every calendar that may hold something of the workspace, and how many events are to be expected there.
, known as (
  select s.calendar_id, s.source_key as key from public.sync_sources as s
   where s.workspace_id = %(workspace)s and s.google_event_id is not null
  union
  select b.calendar_id, b.source_type || ':' || b.source_id
    from public.calendar_event_bindings as b where b.workspace_id = %(workspace)s
  union
  select t.calendar_id, t.key from state as t
  union
  select unnest(s.strays), null from public.sync_sources as s where s.workspace_id = %(workspace)s
  union
  select c.calendar_id, null from public.google_connections as c where c.workspace_id = %(workspace)s
)
select k.calendar_id, count(k.key) as events
  from known as k
 where length(k.calendar_id) between 1 and 1024 and k.calendar_id ~ '[^.]' and k.calendar_id !~ '^\s|\s$'
 group by k.calendar_id
 order by k.calendar_id

-- name: traces
-- Of some sources: the open item that has waited longest, whether something of it was settled since we began to read
-- calendars, and the newest dead letter (of the first ten thousand of the workspace).
with dead as materialized (
  select d.id, d.failure_code, d.updated_at, public.sync_source_key(d.payload, d.id) as key
    from (select o.id, o.failure_code, o.updated_at, o.payload
            from public.sync_outbox as o
           where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s limit 10000) as d
)
select k.key, w.id, w.age, coalesce(s.updated_at >= %(since)s, false), d.id, d.failure_code
  from unnest(%(keys)s::text[]) as k (key)
  left join lateral (
    select o.id,
           case when isfinite(o.created_at)
                then greatest(extract(epoch from clock_timestamp() - o.created_at), 0)::double precision end as age
      from (select o.id, o.created_at
              from public.sync_outbox as o
             where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = %(workspace)s
               and public.sync_source_key(o.payload, o.id) = k.key
             limit 1000) as o
     order by o.created_at limit 1) as w on true
  left join public.sync_sources as s on s.workspace_id = %(workspace)s and s.source_key = k.key
  left join lateral (
    select d.id, d.failure_code from dead as d where d.key = k.key order by d.updated_at desc limit 1) as d on true;

-- name: workspace
-- What holds for all of a workspace: whether its connection works, whether the brake has stopped it, and for how long a
-- rebuild has waited.
select c.refresh_token_encrypted, c.is_valid,
       exists (select from public.sync_brakes as b where b.workspace_id = c.workspace_id and b.released_at is null),
       r.id, r.age
  from public.google_connections as c
  left join lateral (
    select o.id,
           case when isfinite(o.created_at)
                then greatest(extract(epoch from clock_timestamp() - o.created_at), 0)::double precision end as age
      from public.sync_outbox as o
     where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
       and o.workspace_id = c.workspace_id
     order by o.seq desc limit 1) as r on true
 where c.workspace_id = %(workspace)s;

-- name: connections_after
-- One portion of the workspaces that have a connection, in their order.
select c.workspace_id as workspace, c.is_valid
  from public.google_connections as c
 where c.workspace_id > %(after)s::uuid or %(after)s::uuid is null
 order by c.workspace_id
 limit %(rows)s;

-- name: size
-- How many connections work, and about how many events there are: counted up to ten thousand, else the planner's figure.
select (select count(*) from public.google_connections as c where c.is_valid) as connections,
       greatest(
         (select c.reltuples::bigint from pg_catalog.pg_class as c where c.oid = 'public.sync_sources'::regclass),
         (select count(*) from (select from public.sync_sources limit 10000) as s)) as events;
