-- Rebuilds: what the application's current state is, and the items that make a calendar agree with it. The module
-- reactor/postgres/rebuilds.py says how these are put together: a statement here that begins with a comma follows one
-- of the three `state_of_...`.

-- name: source
-- Where the current state comes from, and whether we may read it.
select case when v.oid is not null then 'view' when f.oid is not null then 'function' else 'memory' end as kind,
       coalesce(has_table_privilege(v.oid, 'select'), has_function_privilege(f.oid, 'execute'), true) as is_readable
  from (select to_regclass('public.calendar_source_events')::oid as oid) as v,
       (select to_regprocedure('public.calendar_source_events(uuid)')::oid as oid) as f;

-- name: state_of_view
-- As JSON, so that a column which the application does not have is a field that is not there. The key is not read out of
-- that: then it is made for the rows of a portion only.
with source as (
  select coalesce(e.source_type::text, '') || ':' || coalesce(e.source_id::text, '') as key, to_jsonb(e) as e
    from public.calendar_source_events as e where e.workspace_id = %(workspace)s
)

-- name: state_of_function
-- As `state_of_view`, where the application has a function.
with source as (
  select coalesce(e.source_type::text, '') || ':' || coalesce(e.source_id::text, '') as key, to_jsonb(e) as e
    from public.calendar_source_events(%(workspace)s) as e
   where e.workspace_id = %(workspace)s
)

-- name: state_of_application
-- In the form of the contract. A time is an instant, written in UTC. (The session's time zone is UTC, for columns without
-- one.) Which whole days two times cover is not said here but where payloads are read: one rule for both.
--
-- Nothing here can fail for what a row holds: columns may be of any type, and one bad row must not end the rebuild. So
-- what is no truth value or no moment that the contract has (infinite, before Christ, in the year 20000, a word) goes as
-- it is into the item, which is then a dead letter that names the field. A cast is reached only by what it can read: the
-- pattern says which digits there are, and the day is compared with its month's length.
, state as (
  select s.key,
         e ->> 'calendar_id' as calendar_id,
         true as is_known,
         jsonb_strip_nulls(jsonb_build_object(
           'operation', 'UPSERT_EVENT',
           'workspaceId', %(workspace)s::uuid,
           'calendarId', e ->> 'calendar_id',
           'sourceType', e ->> 'source_type',
           'sourceId', e ->> 'source_id',
           'eventType', e ->> 'event_type',
           'event', jsonb_build_object(
             'title', e ->> 'title',
             'description', e ->> 'description',
             'location', e ->> 'location',
             'start', case when t.starts is null then e -> 'start_at'
                           else to_jsonb(to_char(t.starts, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) end,
             'end', case when t.ends is null then e -> 'end_at'
                         else to_jsonb(to_char(t.ends, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) end,
             'isAllDay', coalesce(to_jsonb(d.is_all_day), e -> 'is_all_day'),
             'recurrence', e -> 'recurrence',
             'colorId', e ->> 'color_id',
             'timeZone', e ->> 'time_zone'
           ))) as payload
    from source as s
   cross join lateral (
     select case when lower(coalesce(e ->> 'is_all_day', 'false')) in ('true', 't', 'yes', 'y', 'on', '1') then true
                 when lower(coalesce(e ->> 'is_all_day', 'false')) in ('false', 'f', 'no', 'n', 'off', '0') then false
            end as is_all_day,
            '^(?!000[01])[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
            '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?'
            '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?$' as moment
   ) as d
   cross join lateral (
     select case when e ->> 'start_at' ~ d.moment then
              case when substr(e ->> 'start_at', 9, 2)::integer <= extract(day from
                     (substr(e ->> 'start_at', 1, 8) || '01')::date + interval '1 month - 1 day')
                   then (e ->> 'start_at')::timestamptz at time zone 'UTC' end end as starts,
            case when e ->> 'end_at' ~ d.moment then
              case when substr(e ->> 'end_at', 9, 2)::integer <= extract(day from
                     (substr(e ->> 'end_at', 1, 8) || '01')::date + interval '1 month - 1 day')
                   then (e ->> 'end_at')::timestamptz at time zone 'UTC' end end as ends
   ) as t
)

-- name: state_of_memory
-- What was applied last, or what was given up since: the row at the floor, where it is a dead letter or was put back. In
-- the calendar that the rebuild names. What we removed is not part of it, nor what was to be removed by such a row.
with given_up as materialized (
  select distinct on (public.sync_source_key(o.payload, o.id))
         public.sync_source_key(o.payload, o.id) as key, o.operation::text, o.payload
    from public.sync_outbox as o
    join public.sync_sources as s
      on s.workspace_id = o.workspace_id and s.source_key = public.sync_source_key(o.payload, o.id)
     and s.floor_seq = o.seq
   where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s and o.operation <> 'REBUILD_ALL'
     and o.parent_id is null
   order by public.sync_source_key(o.payload, o.id), o.created_at desc
), state as (
  select s.source_key as key,
         %(calendar)s::text as calendar_id,
         coalesce(b.operation, g.operation, 'UPSERT_EVENT') = 'UPSERT_EVENT' as is_known,
         coalesce(b.payload, g.payload, s.payload) - 'recreate'
           || jsonb_build_object('calendarId', %(calendar)s::text) as payload
    from public.sync_sources as s
    left join given_up as g on g.key = s.source_key
    left join lateral (
      select o.operation::text, o.payload
        from public.sync_outbox as o
       where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = s.workspace_id
         and public.sync_source_key(o.payload, o.id) = s.source_key and o.seq = s.floor_seq
         and o.operation <> 'REBUILD_ALL' and o.parent_id is null
       limit 1) as b on true
   where s.workspace_id = %(workspace)s and position(':' in s.source_key) > 0
     and (b.operation is not null or g.operation is not null or s.payload is not null and not s.cancelled)
)

-- name: known_sources
-- What has an event, as far as we remember, or may have one.
, known as (
  select s.source_key as key, s.google_event_id, s.calendar_id
    from public.sync_sources as s
   where s.workspace_id = %(workspace)s and position(':' in s.source_key) > 0
     and (s.google_event_id is not null or cardinality(s.strays) > 0)
  union all
  select b.source_type || ':' || b.source_id, b.google_event_id, b.calendar_id
    from public.calendar_event_bindings as b
   where b.workspace_id = %(workspace)s
     and not exists (
       select from public.sync_sources as s
        where s.workspace_id = b.workspace_id and s.source_key = b.source_type || ':' || b.source_id
          and (s.google_event_id is not null or cardinality(s.strays) > 0 or s.cancelled))
)

-- name: possible_calendars
-- Every calendar that may hold something of the workspace, beside the one that the rebuild names; without what cannot be
-- the name of one.
select c.calendar_id
  from (select calendar_id from state where is_known
         union
        select calendar_id from known
         union
        select unnest(s.strays) from public.sync_sources as s where s.workspace_id = %(workspace)s
         union
        select c.calendar_id from public.google_connections as c where c.workspace_id = %(workspace)s
       ) as c (calendar_id)
 where length(c.calendar_id) between 1 and %(longest)s and c.calendar_id ~ '[^.]' and c.calendar_id !~ '^\s|\s$'

-- name: survey
-- How many events there are, how many of them would be deleted, how many bindings have no source state, and how many
-- cancels `cancels` makes of this state: more than the events to delete, because some sources only may have an event.
select count(*) filter (where k.google_event_id is not null) as events,
       count(*) filter (where k.google_event_id is not null and s.key is not null and not s.is_known
                           or k.google_event_id is not null and s.key is null and %(complete)s) as deletes,
       count(*) filter (where s.key is null and not %(complete)s) as left_alone,
       count(*) filter (where case when s.key is null then %(complete)s else not s.is_known end) as cancels
  from known as k
  left join state as s on s.key = k.key

-- name: forecast
-- How many events must exist, and what `survey` and `possible_calendars` say, from one reading of the state: to read it
-- takes longest.
, wanted as materialized (
  select s.key, s.calendar_id, s.is_known from state as s
), remembered as materialized (
  select k.key, k.google_event_id, k.calendar_id from known as k
), named (calendar_id) as (
  select t.calendar_id from wanted as t where t.is_known
   union
  select h.calendar_id from remembered as h
   union
  select unnest(s.strays) from public.sync_sources as s where s.workspace_id = %(workspace)s
)
select (select count(*) filter (where t.is_known) from wanted as t) as writes,
       count(*) filter (where h.google_event_id is not null) as events,
       count(*) filter (where h.google_event_id is not null and t.key is not null and not t.is_known
                           or h.google_event_id is not null and t.key is null and %(complete)s) as deletes,
       count(*) filter (where t.key is null and not %(complete)s) as left_alone,
       (select array_agg(n.calendar_id order by n.calendar_id) from named as n
         where n.calendar_id <> %(calendar)s and length(n.calendar_id) between 1 and %(longest)s
           and n.calendar_id ~ '[^.]' and n.calendar_id !~ '^\s|\s$') as others
  from remembered as h
  left join wanted as t on t.key = h.key

-- name: sample_of_deletes
-- Sources whose event a rebuild would delete, as `survey` counts them: up to `rows`, of each type of source some.
, going as (
  select k.key, split_part(k.key, ':', 1) as type, m.updated_at as applied_at
    from known as k
    left join state as s on s.key = k.key
    left join public.sync_sources as m on m.workspace_id = %(workspace)s and m.source_key = k.key
   where k.google_event_id is not null and case when s.key is null then %(complete)s else not s.is_known end
), ranked as (
  select g.*, row_number() over (partition by g.type order by g.applied_at, g.key) as place,
         count(*) over (partition by g.type) as of_type
    from going as g
)
select left(r.key, 500) as source, left(r.type, 100) as type, r.of_type::integer as of_type, null::timestamptz as asked_at,
       r.applied_at
  from ranked as r
 order by r.place, r.type limit %(rows)s

-- name: source_facts
-- What is known of the sources that listed events name.
select l.key, s.calendar_id, coalesce(m.google_event_id, b.google_event_id),
       case when m.google_event_id is null then b.calendar_id else m.calendar_id end, coalesce(m.generation, 0)
  from unnest(%(keys)s::text[]) as l (key)
  left join state as s on s.key = l.key and s.is_known
  left join public.sync_sources as m on m.workspace_id = %(workspace)s and m.source_key = l.key
  left join public.calendar_event_bindings as b
    on b.workspace_id = %(workspace)s and b.source_type = split_part(l.key, ':', 1)
   and b.source_id = case when split_part(l.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                          then split_part(l.key, ':', 2)::uuid end
   and m.cancelled is not true

-- name: lock_rebuild
-- Whether the rebuild is still ours. The row stays locked until the portion is written: a worker that takes the claim over
-- waits, and one that has lost it finds another number. Not by status = 'PROCESSING' (sync_outbox_processing says why).
select o.status::text, set_config('TimeZone', 'UTC', true)
  from public.sync_outbox as o
 where o.id = %(parent)s and o.lease_no = %(lease)s
   for no key update

-- name: places_of_children
-- The place of each child of a portion: its source's floor, read together with the state, or one beyond the newest row that
-- this snapshot shows and the state is newer than. Those are all of the source where the state is complete, and otherwise
-- the one that was given up. No edit has a place like that: the sequence goes on by twos.
, given_up_at as materialized (
  select public.sync_source_key(o.payload, o.id) as key, array_agg(o.seq) as places
    from public.sync_outbox as o
   where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s and o.operation <> 'REBUILD_ALL'
     and o.parent_id is null
   group by 1
), placed as materialized (
  select p.*, coalesce(m.floor_seq, 0) as floor,
         case when n.seq >= coalesce(m.floor_seq, 0) and (%(complete)s or n.seq = m.floor_seq)
              then n.seq + 1 else coalesce(m.floor_seq, 0) end as seq
    from page as p
    left join public.sync_sources as m on m.workspace_id = %(workspace)s and m.source_key = p.source_key
    left join given_up_at as g on g.key = p.source_key
    left join lateral (
      select o.seq
        from public.sync_outbox as o
       where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = %(workspace)s
         and public.sync_source_key(o.payload, o.id) = p.source_key and o.operation <> 'REBUILD_ALL'
         and o.parent_id is null and (%(complete)s or o.seq <= m.floor_seq)
       order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as w on true
   cross join lateral (
     select max(u.seq) as seq
       from unnest(g.places || w.seq) as u (seq) where %(complete)s or u.seq <= m.floor_seq) as n
)

-- name: upserts
-- The next portion of events that must exist.
, page as materialized (
  select s.key, s.payload, public.sync_source_key(s.payload, %(parent)s) as source_key,
         md5(%(parent)s::uuid || ' ' || s.key)::uuid as child
    from state as s where s.is_known and s.key > %(after)s order by s.key limit %(rows)s
)

-- name: make_upserts
-- An expansion that begins again makes the same ids, and leaves the rows that exist as they are.
, made as (
  insert into public.sync_outbox (id, workspace_id, operation, payload, seq, parent_id, max_attempts)
  select p.child, %(workspace)s, 'UPSERT_EVENT',
         p.payload || case when %(recreate)s then '{"recreate": true}' else '{}' end::jsonb,
         p.seq, %(parent)s, %(max_attempts)s
    from placed as p
  on conflict (id) do nothing
  returning id
)

-- name: cancels
-- The next portion of events that are remembered and must be deleted.
, page as materialized (
  select k.key, k.calendar_id, k.key as source_key, md5(%(parent)s::uuid || ' ' || k.key)::uuid as child
    from known as k where k.key > %(after)s order by k.key limit %(rows)s
)

-- name: make_cancels
-- Likewise, for what is remembered and not in the state.
, made as (
  insert into public.sync_outbox (id, workspace_id, operation, payload, seq, parent_id, max_attempts)
  select p.child, %(workspace)s, 'CANCEL_EVENT',
         jsonb_build_object(
           'operation', 'CANCEL_EVENT', 'workspaceId', %(workspace)s::uuid,
           'calendarId', coalesce(p.calendar_id, %(calendar)s), 'sourceType', split_part(p.key, ':', 1),
           'sourceId', substr(p.key, position(':' in p.key) + 1)),
         p.seq, %(parent)s, %(max_attempts)s
    from placed as p
    left join state as s on s.key = p.key
   where case when s.key is null then %(complete)s else not s.is_known end
  on conflict (id) do nothing
  returning id
)

-- name: insert_children
-- With the children of older rebuilds that these replace. They are locked, so that no session puts one back meanwhile; if
-- one is doing that now, the portion is refused and comes again.
, older as materialized (
  select o.id
    from placed as p
    join made on made.id = p.child
   cross join lateral (
     select n.id
       from public.sync_outbox as n
      where n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = %(workspace)s
        and public.sync_source_key(n.payload, n.id) = p.source_key and n.parent_id <> %(parent)s) as o
  union all
  select o.id
    from public.sync_outbox as o
    join placed as p on p.source_key = public.sync_source_key(o.payload, o.id)
    join made on made.id = p.child
   where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s and o.parent_id <> %(parent)s
), locked as materialized (
  select o.id
    from public.sync_outbox as o
   where o.id in (select e.id from older as e) and o.status::text in ('PENDING', 'FAILED', 'DEAD_LETTER')
     for no key update nowait
)
select (select max(p.key) from page as p), (select array_agg(h.id) from locked as h), (select count(*) from made)

-- name: removals
-- What was found in calendars: cancels of sources that are not known (and still are not), and strays, which are sources of
-- their own.
, page as materialized (
  select i.name as key, i.key as source_key, i.about, i.payload, md5(%(parent)s::uuid || ' ' || i.name)::uuid as child
    from jsonb_to_recordset(%(removals)s::jsonb) as i (name text, key text, about text, payload jsonb)
   where i.key is null or not exists (select from state as s where s.key = i.key and s.is_known)
)

-- name: make_removals
-- A source whose stray is deleted is marked: a tombstone may be ours.
, reopened as (
  insert into public.sync_sources as s (workspace_id, source_key, reopen)
  select distinct %(workspace)s::uuid, p.about, true from page as p where p.about is not null order by 2
  on conflict (workspace_id, source_key) do update set reopen = true where s.google_event_id is null
), made as (
  insert into public.sync_outbox (id, workspace_id, operation, payload, seq, parent_id, max_attempts)
  select p.child, %(workspace)s, 'CANCEL_EVENT', p.payload, p.seq, %(parent)s, %(max_attempts)s
    from placed as p
  on conflict (id) do nothing
  returning id
)

-- name: end_items
-- Items that children replace, or that are not wanted any more, end. A row that the server refuses is set aside.
select public.sync_outbox_supersede(%(ids)s::uuid[])

-- name: note_progress
-- An expansion that makes progress has not failed, even if its workers died; one that kills them always in the same place
-- writes nothing new there, and ends as a dead letter.
update public.sync_outbox set attempts = 0, losses = null where id = %(parent)s and (attempts > 0 or losses > 0)

-- name: items_without_child
-- Last, a portion of the items that no child would supersede: children of older rebuilds, and, where the state is
-- complete, upserts of sources that are neither in it nor remembered, whether they wait or died. Locked, as above.
, old_ones as materialized (
  select o.id
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED') and o.workspace_id = %(workspace)s and o.parent_id <> %(parent)s
  union all
  select o.id
    from public.sync_outbox as o
   where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s and o.parent_id <> %(parent)s
  union all
  select u.id
    from (select o.id, public.sync_source_key(o.payload, o.id) as key
            from public.sync_outbox as o
           where %(complete)s and o.status in ('PENDING', 'FAILED') and o.workspace_id = %(workspace)s
             and o.operation = 'UPSERT_EVENT' and o.parent_id is null
          union all
          select o.id, public.sync_source_key(o.payload, o.id)
            from public.sync_outbox as o
           where %(complete)s and o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s
             and o.operation = 'UPSERT_EVENT' and o.parent_id is null) as u
   where not exists (select from state as s where s.key = u.key)
     and not exists (select from known as k where k.key = u.key)
), portion as materialized (
  select l.id from old_ones as l where l.id > %(after)s order by l.id limit %(rows)s
), locked as materialized (
  select o.id
    from public.sync_outbox as o
   where o.id in (select p.id from portion as p) and o.status::text in ('PENDING', 'FAILED', 'DEAD_LETTER')
     for no key update nowait
)
select (select p.id from portion as p order by p.id offset %(rows)s - 1), (select array_agg(h.id) from locked as h), 0

-- name: open_rebuild
-- A rebuild of the workspace that is not done, the newest.
select o.id, o.status::text, o.created_at
  from public.sync_outbox as o
 where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = %(workspace)s
 order by o.seq desc
 limit 1

-- name: insert_rebuild
-- A rebuild, unless there is one that is not done.
insert into public.sync_outbox (workspace_id, operation, payload)
select %(workspace)s::uuid, 'REBUILD_ALL',
       jsonb_build_object('operation', 'REBUILD_ALL', 'workspaceId', %(workspace)s::uuid, 'calendarId', %(calendar)s::text)
       || case when %(recreate)s then '{"recreate": true}' else '{}' end::jsonb
 where not exists (
   select from public.sync_outbox as o
    where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
      and o.workspace_id = %(workspace)s::uuid)
returning id
