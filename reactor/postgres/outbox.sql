-- Statements of the outbox; the claim itself is a function (db/migrations/0021_claim.sql). All of a settle's input comes
-- as one JSON document: however many items, one statement with one plan.

-- name: claim
-- Not from workspaces that the brake has stopped; in the last column which those are.
with stopped as materialized (
  select coalesce(array_agg(b.workspace_id), '{}') as ids from public.sync_brakes as b where b.released_at is null
), area as materialized (
  select coalesce(array_agg(w.workspace_id order by w.place), '{}') as workspaces,
         coalesce(array_agg(w.key order by w.place), '{}') as cursors
    from unnest(%(workspaces)s::uuid[], %(cursors)s::text[]) with ordinality as w (workspace_id, key, place)
   where w.workspace_id <> all (select unnest(s.ids) from stopped as s)
)
select c.*, s.ids
  from stopped as s, area as a, lateral public.sync_outbox_claim(
    case when %(workspaces)s::uuid[] is not null then a.workspaces end,
    case when %(workspaces)s::uuid[] is not null then a.cursors end,
    %(past)s::uuid, %(width)s, %(excluded)s::uuid[] || s.ids,
    %(slots)s, %(due_rows)s, %(key_rows)s, %(held)s::uuid[], %(ceiling)s) as c;

-- name: ring
select * from public.sync_outbox_ring();

-- name: lock_connections
-- Waits for whoever is connecting the workspace again, and makes whoever comes later wait for us; says for each
-- workspace whose stored token. In the order of the workspaces, as every settle.
select c.workspace_id, pg_catalog.md5(c.refresh_token_encrypted)
  from public.google_connections as c
 where c.workspace_id = any (%(workspaces)s::uuid[])
 order by c.workspace_id
   for update;

-- name: invalidate_connections
update public.google_connections
   set is_valid = false
 where workspace_id = any (%(workspaces)s::uuid[]) and is_valid;

-- name: settle
-- By id and claim_no: whoever lost the claim finds no row. Not by status = 'PROCESSING', which the planner would answer
-- from an index of a few living and very many dead entries. What belongs to an item is written only if its row was.
with input as materialized (
  select *
    from pg_catalog.jsonb_to_recordset(%(input)s::jsonb) as i (
      id uuid, claim_no bigint, status text, attempts integer, delay double precision, failure_code text,
      last_error text, source_key text, floor bigint, remember boolean, generation integer, event_id text,
      calendar_id text, etag text, cancelled boolean, reopen boolean, strays text[], applied text,
      applied_payload jsonb, bind text, bound_event_id text, bound_calendar_id text, source_type text, source_id uuid,
      event_type text, title text, starts text, ends text)
), settled as (
  update public.sync_outbox as o
     set status = i.status::public.outbox_status,
         attempts = least(i.attempts, o.max_attempts),
         -- Given back as it was, it keeps its place; otherwise it is due after its delay.
         next_attempt_at = case
           when i.status = 'FAILED' or (i.status = 'PENDING' and i.delay > 0)
           then pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => i.delay)
           else o.next_attempt_at end,
         processed_at = case
           when i.status in ('COMPLETED', 'DEAD_LETTER') then pg_catalog.clock_timestamp() end,
         failure_code = i.failure_code,
         last_error = i.last_error
    from input as i
   where o.id = i.id and o.claim_no = i.claim_no
  returning o.workspace_id, o.payload, i.*
), remembered as (
  insert into public.sync_sources as s (
    workspace_id, source_key, floor_seq, generation, google_event_id, calendar_id, etag, cancelled, reopen, strays,
    payload, updated_at)
  select i.workspace_id, i.source_key, i.floor, i.generation, i.event_id, i.calendar_id, i.etag, i.cancelled, i.reopen,
         i.strays, case i.applied when 'row' then i.payload when 'given' then i.applied_payload end, now()
    from settled as i
   where i.remember
   order by i.workspace_id, i.source_key
  on conflict (workspace_id, source_key) do update
    set floor_seq = greatest(s.floor_seq, excluded.floor_seq), generation = excluded.generation,
        google_event_id = excluded.google_event_id, calendar_id = excluded.calendar_id, etag = excluded.etag,
        cancelled = excluded.cancelled, reopen = excluded.reopen, strays = excluded.strays,
        payload = coalesce(excluded.payload, s.payload), updated_at = excluded.updated_at
), bound as (
  insert into public.calendar_event_bindings (
    workspace_id, google_event_id, calendar_id, source_type, source_id, event_type, event_title, event_start, event_end,
    last_synced_at)
  select i.workspace_id, i.bound_event_id, i.bound_calendar_id, i.source_type, i.source_id,
         i.event_type::public.calendar_event_type, i.title, i.starts::timestamptz, i.ends::timestamptz,
         pg_catalog.clock_timestamp()
    from settled as i
   where i.bind = 'write'
   order by i.workspace_id, i.source_type, i.source_id
  on conflict (workspace_id, source_type, source_id) do update
    set google_event_id = excluded.google_event_id, calendar_id = excluded.calendar_id,
        event_type = excluded.event_type, event_title = excluded.event_title, event_start = excluded.event_start,
        event_end = excluded.event_end, last_synced_at = excluded.last_synced_at
), unbound as (
  delete from public.calendar_event_bindings as b
   using settled as i
   where i.bind = 'remove' and b.workspace_id = i.workspace_id
     and b.source_type = i.source_type and b.source_id = i.source_id
)
select id from settled;

-- name: unlock
-- Once for each item, so that two items whose ids have the same hash, which their session locked twice, are unlocked
-- twice.
select count(pg_catalog.pg_advisory_unlock(pg_catalog.hashtext(i.id::text))) from unnest(%(ids)s::uuid[]) as i (id);

-- name: followed
-- Whether something has waited for the end of these items: a newer state of a source, a rebuild of a workspace, or all
-- that a rebuild held up. Who looked for it while the items were PROCESSING found nothing, and sleeps. This is a statement
-- after the commit, so it sees every row that such a look could see; a row that comes later is looked for anew.
with settled as materialized (
  select o.id, o.workspace_id, o.operation, public.sync_source_key(o.payload, o.id) as key
    from public.sync_outbox as o
   where o.id = any (%(ids)s::uuid[])
)
select exists (select from settled as s where s.operation = 'REBUILD_ALL')
       or exists (
         select from public.sync_outbox as r
          where r.operation = 'REBUILD_ALL' and r.status in ('PENDING', 'FAILED', 'PROCESSING')
            and r.workspace_id in (select s.workspace_id from settled as s)
            and r.status <> 'PROCESSING' and r.next_attempt_at <= pg_catalog.clock_timestamp())
       or (
         -- An aggregate of look-ups and no join: with a hundred open rows in the statistics and a hundred thousand in the
         -- table, a join reads them all.
         select bool_or(exists (
           select from public.sync_outbox as o
            where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = s.workspace_id
              and public.sync_source_key(o.payload, o.id) = s.key
              and o.status <> 'PROCESSING' and o.id <> s.id and o.next_attempt_at <= pg_catalog.clock_timestamp()))
           from settled as s);

-- name: sweep
-- Items whose worker died: PROCESSING, and nobody has their lock. pg_locks is younger than the statement's snapshot, so
-- an item may look like that when it was just settled; its lock is tried, and the update, which looks at the row as it is
-- now, asks for the same claim still being PROCESSING. The lock is the transaction's and goes with its end.
--
-- An older worker's row has no claim_no, and its pool of sessions may lose locks: it gets ten minutes.
with orphans as materialized (
  select o.id, o.claim_no
    from public.sync_outbox as o
   where o.status = 'PROCESSING'
     and (o.claim_no is not null or o.updated_at < pg_catalog.clock_timestamp() - interval '10 minutes')
     and o.id not in (select unnest(%(held)s::uuid[]))
     and not exists (
       select from pg_catalog.pg_locks as l
        where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
          and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
          and l.classid::bigint = ((pg_catalog.hashtext(o.id::text)::bigint >> 32) & 4294967295)
          and l.objid::bigint = (pg_catalog.hashtext(o.id::text)::bigint & 4294967295))
   limit 1000
), locked as materialized (
  select o.*, pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext(o.id::text)) as got from orphans as o
), swept as (
  update public.sync_outbox as o
     set attempts = least(o.attempts + 1, o.max_attempts),
         claim_no = null,
         status = case when o.attempts + 1 < least(o.max_attempts, %(ceiling)s) then 'FAILED'
                       else 'DEAD_LETTER' end::public.outbox_status,
         failure_code = case when o.attempts + 1 >= least(o.max_attempts, %(ceiling)s) then 'WORKER_LOST' end,
         processed_at = case when o.attempts + 1 >= least(o.max_attempts, %(ceiling)s)
                             then pg_catalog.clock_timestamp() end,
         last_error = 'The worker was lost with the item in hand.'
    from locked as l
   where l.got and o.id = l.id and o.claim_no is not distinct from l.claim_no and o.status = 'PROCESSING'
  returning o.*
), remembered as (
  -- Nobody knows what the lost attempt did: it may have left the event in its calendar, or removed it.
  insert into public.sync_sources as s (workspace_id, source_key, floor_seq, reopen, strays)
  select o.workspace_id,
         case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
              else public.sync_source_key(o.payload, o.id) end,
         coalesce(max(o.seq) filter (where o.status = 'DEAD_LETTER' and o.parent_id is null), 0),
         bool_or(o.operation <> 'REBUILD_ALL' and (
           o.operation = 'CANCEL_EVENT' or coalesce(o.payload -> 'recreate' = 'true', false))),
         coalesce(array_agg(distinct o.payload ->> 'calendarId') filter (
           where o.operation <> 'REBUILD_ALL' and o.payload ->> 'calendarId' is not null), '{}')
    from swept as o
   where o.parent_id is null or not o.payload ? 'stray'  -- which has no source
   group by 1, 2
   order by 1, 2
  on conflict (workspace_id, source_key) do update
    set floor_seq = greatest(s.floor_seq, excluded.floor_seq), reopen = s.reopen or excluded.reopen,
        strays = array(select distinct unnest(s.strays || excluded.strays)), updated_at = now()
)
select count(*) filter (where status = 'FAILED'), count(*) filter (where status = 'DEAD_LETTER') from swept;

-- name: holders
-- Who has the locks of these items: process id and name.
select i.id, l.pid, coalesce(a.application_name, '')
  from unnest(%(ids)s::uuid[]) as i (id)
  join pg_catalog.pg_locks as l
    on l.locktype = 'advisory' and l.objsubid = 1 and l.granted
   and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
   and l.classid::bigint = ((pg_catalog.hashtext(i.id::text)::bigint >> 32) & 4294967295)
   and l.objid::bigint = (pg_catalog.hashtext(i.id::text)::bigint & 4294967295)
  left join pg_catalog.pg_stat_activity as a on a.pid = l.pid;

-- name: own_locks
-- The keys of this session's item locks; a key that was locked twice is here once.
select ((classid::bigint << 32) | objid::bigint)
  from pg_catalog.pg_locks
 where locktype = 'advisory' and objsubid = 1 and granted and pid = pg_catalog.pg_backend_pid()
   and database = (select oid from pg_catalog.pg_database where datname = current_database());

-- name: item_keys
-- The keys of these items' locks.
select distinct pg_catalog.hashtext(i.id::text)::bigint from unnest(%(ids)s::uuid[]) as i (id);

-- name: unlock_key
select pg_catalog.pg_advisory_unlock(%(key)s::bigint);

-- name: orphaned
-- PROCESSING rows of a reactor whose lock nobody has.
select count(*)
  from public.sync_outbox as o
 where o.status = 'PROCESSING' and o.claim_no is not null
   and not exists (
     select from pg_catalog.pg_locks as l
      where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
        and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
        and l.classid::bigint = ((pg_catalog.hashtext(o.id::text)::bigint >> 32) & 4294967295)
        and l.objid::bigint = (pg_catalog.hashtext(o.id::text)::bigint & 4294967295));

-- name: doubled
-- Sources with more than one PROCESSING row.
select count(*)
  from (select from public.sync_outbox
         where status = 'PROCESSING' and claim_no is not null
         group by workspace_id, public.sync_source_key(payload, id) having count(*) > 1) as d;
