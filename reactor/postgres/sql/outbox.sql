-- Statements of the outbox; the claim itself is a function (db/migrations/0029_claim_next.sql). All of a settle's input
-- comes as one JSON document: however many items, one statement with one plan.

-- name: lease
-- Take this session's lease (db/migrations/0023_lease.sql). The number is new, so its lock is free.
with next as materialized (select pg_catalog.nextval('public.sync_lease_no') as lease_no)
select n.lease_no
  from next as n
 where pg_catalog.pg_try_advisory_lock(718302, (n.lease_no & 2147483647)::integer);

-- name: claim
-- A function of the database, so that a claim is one round trip however many items it takes.
select *
  from public.sync_outbox_claim_next(
    %(workspaces)s::uuid[], %(cursors)s::text[], %(past)s::uuid, %(width)s, %(excluded)s::uuid[],
    %(slots)s, %(due_rows)s, %(key_rows)s, %(ceiling)s, %(lease)s, %(trial)s, %(bytes)s, %(largest)s);

-- name: ring
-- The workspaces that have something due; reactor/postgres/ring.py says how often they are read.
select * from public.sync_outbox_ring_of_due();

-- name: set_aside
-- A row that the server refuses to change, found by a statement that is not the claim's.
select public.sync_outbox_set_aside(o.id, %(sqlstate)s, %(constraint)s)
  from public.sync_outbox as o
 where o.id = %(id)s;

-- name: hurry
-- Until the end of the transaction a statement and a lock get less time: one row must not cost the others seconds. And
-- outdated rows are ended one by one, so that the one that takes the time is known
-- (db/migrations/0030_superseded_alone.sql). These transactions take several round trips, and one that claims keeps all
-- others from claiming: a replica that is frozen, or cut off, between two of them loses its session soon.
select pg_catalog.set_config('statement_timeout', '500ms', true), pg_catalog.set_config('lock_timeout', '20ms', true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '5s', true),
       pg_catalog.set_config('calendar_sync.apart', 'on', true);

-- name: lock_connections
-- Skips the workspaces that a person is connecting again at this moment, and makes those that come later wait for us;
-- returns for each workspace the stored token. In the order of the workspaces, as every settle.
select c.workspace_id, pg_catalog.md5(c.refresh_token_encrypted)
  from public.google_connections as c
 where c.workspace_id = any (%(workspaces)s::uuid[])
 order by c.workspace_id
   for update skip locked;

-- name: invalidate_connections
-- Of workspaces whose token that failed is still the stored one, as `lock_connections` has shown.
update public.google_connections
   set is_valid = false
 where workspace_id = any (%(workspaces)s::uuid[]) and is_valid;

-- name: settle
-- By id and lease_no: a session that lost the claim finds no row. Not by status = 'PROCESSING', which the planner would
-- answer from an index of a few living and very many dead entries. What belongs to an item is written only if its row
-- was.
--
-- The input is json, which is read once; jsonb would sort the fields of each item before. What is null, false or empty
-- is not in it. A pair of columns is compared as "any of one": the plan is kept (session_settings.sql), and of a plain
-- equality the planner may walk the table's whole index in its order, which is right only while the table is empty.
with input as materialized (
  select *
    from pg_catalog.json_to_recordset(%(input)s::json) as i (
      id uuid, lease_no bigint, status text, attempts integer, delay double precision, failure_code text,
      last_error text, source_key text, floor bigint, remember boolean, generation integer, event_id text,
      calendar_id text, etag text, cancelled boolean, reopen boolean, strays text[], removed boolean, applied text,
      applied_payload jsonb, bind text, bound_event_id text, bound_calendar_id text, source_type text, source_id uuid,
      event_type text, title text, starts text, ends text)
), settled as (
  update public.sync_outbox as o
     set status = i.status::public.outbox_status,
         attempts = least(i.attempts, o.max_attempts),
         -- Given back as it was, it keeps its place; otherwise it is due after its delay.
         next_attempt_at = case
           when i.status = 'FAILED' or (i.status = 'PENDING' and i.delay > 0)
           then pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => coalesce(i.delay, 0))
           else o.next_attempt_at end,
         processed_at = case
           when i.status in ('COMPLETED', 'DEAD_LETTER') then pg_catalog.clock_timestamp() end,
         failure_code = i.failure_code,
         last_error = i.last_error,
         lease_no = null,
         -- An answer shows that the item does not end its worker. One that is given back without one is as suspect as before:
         -- otherwise each drain between two crashes would clear it, and it would end its workers for ever.
         losses = case when i.status = 'PENDING' and i.last_error is null then o.losses end
    from input as i
   where o.id = any (array[i.id]) and o.lease_no = i.lease_no
  returning o.workspace_id, o.payload, i.*
), remembered as (
  insert into public.sync_sources as s (
    workspace_id, source_key, floor_seq, generation, google_event_id, calendar_id, etag, cancelled, reopen, strays,
    payload, removed_at, updated_at)
  select i.workspace_id, i.source_key, i.floor, i.generation, i.event_id, i.calendar_id, i.etag,
         coalesce(i.cancelled, false), coalesce(i.reopen, false), coalesce(i.strays, '{}'),
         case i.applied when 'row' then i.payload when 'given' then i.applied_payload end,
         case when i.removed then pg_catalog.clock_timestamp() end, now()
    from settled as i
   where i.remember
   order by i.workspace_id, i.source_key
  on conflict (workspace_id, source_key) do update
    set floor_seq = greatest(s.floor_seq, excluded.floor_seq), generation = excluded.generation,
        google_event_id = excluded.google_event_id, calendar_id = excluded.calendar_id, etag = excluded.etag,
        cancelled = excluded.cancelled, reopen = excluded.reopen, strays = excluded.strays,
        payload = coalesce(excluded.payload, s.payload),
        removed_at = case when excluded.google_event_id is null then coalesce(excluded.removed_at, s.removed_at) end,
        updated_at = excluded.updated_at
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
   where i.bind = 'remove' and b.workspace_id = any (array[i.workspace_id])
     and b.source_type = any (array[i.source_type]) and b.source_id = any (array[i.source_id])
)
select id from settled;

-- name: unknown
-- Of items that are ours and met a newer place at Google, those whose place is not known in this database: no floor is as
-- high, and no row that is not settled has it or a newer one.
with input as materialized (
  select * from pg_catalog.jsonb_to_recordset(%(input)s::jsonb) as i (
    id uuid, lease_no bigint, workspace_id uuid, source_key text, newer bigint)
)
select i.id, i.newer
  from input as i
  join public.sync_outbox as o on o.id = i.id and o.lease_no = i.lease_no
 where not exists (
         select from public.sync_sources as s
          where s.workspace_id = i.workspace_id and s.source_key = i.source_key and s.floor_seq >= i.newer)
   and not exists (
         select from public.sync_outbox as n
          where n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = i.workspace_id
            and public.sync_source_key(n.payload, n.id) = i.source_key and n.seq >= i.newer)
   and not exists (
         select from public.sync_outbox as n
          where n.status = 'DEAD_LETTER' and n.workspace_id = i.workspace_id
            and public.sync_source_key(n.payload, n.id) = i.source_key and n.seq >= i.newer);

-- name: mend
-- Moves the sequence beyond every place that is remembered (db/migrations/0026_order.sql).
select public.sync_order_mend(%(cause)s, %(met)s);

-- name: move_up
-- New places for items that are ours, below those that writers draw from now on (db/migrations/0035_places_anew.sql).
select public.sync_outbox_move_up(%(ids)s::uuid[], %(leases)s::bigint[]);

-- name: take_unlogged_mendings
-- The mendings of the order that were not logged yet; each is logged by one replica.
update public.sync_order_gaps as g
   set told_at = clock_timestamp()
 where g.high in (select u.high from public.sync_order_gaps as u where u.told_at is null for update skip locked)
returning g.cause, g.low, g.high;

-- name: open_tables
-- Fails at once where a whole table of ours is locked: then no smaller transaction helps.
lock table public.sync_outbox, public.sync_sources in row exclusive mode nowait;

-- name: open_bindings
-- Fails at once where the application's whole table is locked: then only items without a binding are written.
lock table public.calendar_event_bindings in row exclusive mode nowait;

-- name: lockable
-- The items of these whose row, source and binding no other session has locked; they are locked for the transaction. In
-- the order of the ids, as every settle.
with input as materialized (
  select *
    from pg_catalog.jsonb_to_recordset(%(input)s::jsonb) as i (
      id uuid, workspace_id uuid, source_key text, remember boolean, bind text, source_type text, source_id uuid)
), items as materialized (
  select o.id from public.sync_outbox as o where o.id in (select i.id from input as i)
   order by o.id for no key update skip locked
), sources as materialized (
  select s.workspace_id, s.source_key
    from public.sync_sources as s
   where (s.workspace_id, s.source_key) in (select i.workspace_id, i.source_key from input as i where i.remember)
   order by s.workspace_id, s.source_key for update skip locked
), bindings as materialized (
  select b.workspace_id, b.source_type, b.source_id
    from public.calendar_event_bindings as b
   where (b.workspace_id, b.source_type, b.source_id) in (
           select i.workspace_id, i.source_type, i.source_id from input as i where i.bind is not null)
   order by b.workspace_id, b.source_type, b.source_id for update skip locked
)
select i.id
  from input as i
 where (i.id in (select t.id from items as t) or not exists (select from public.sync_outbox as o where o.id = i.id))
   and not (i.remember is true
            and exists (select from public.sync_sources as s
                         where s.workspace_id = i.workspace_id and s.source_key = i.source_key)
            and not exists (select from sources as s
                             where s.workspace_id = i.workspace_id and s.source_key = i.source_key))
   and not (i.bind is not null
            and exists (select from public.calendar_event_bindings as b
                         where b.workspace_id = i.workspace_id and b.source_type = i.source_type
                           and b.source_id = i.source_id)
            and not exists (select from bindings as b
                             where b.workspace_id = i.workspace_id and b.source_type = i.source_type
                               and b.source_id = i.source_id));

-- name: followed
-- Whether something has waited for the end of these items: a newer state of a source, a rebuild of a workspace, or all
-- that a rebuild delayed. A replica that looked for it while the items were PROCESSING found nothing, and sleeps. This is
-- a statement after the commit, so it sees every row that such a look could see; a row that comes later causes a new look.
-- (So it is a round trip of its own: inside the settle it would have the older snapshot.)
select coalesce(bool_or(i.key = 'REBUILD_ALL' or r.waits or s.waits), false)
  from unnest(%(ids)s::uuid[], %(workspaces)s::uuid[], %(keys)s::text[]) as i (id, workspace_id, key)
  left join lateral (
    select true as waits
      from public.sync_outbox as o
     where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
       and o.workspace_id = i.workspace_id
       and o.status <> 'PROCESSING' and o.next_attempt_at <= pg_catalog.clock_timestamp()
     order by o.seq limit 1) as r on true
  left join lateral (
    select true as waits
      from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = i.workspace_id
       and public.sync_source_key(o.payload, o.id) = i.key
       and o.status <> 'PROCESSING' and o.id <> i.id and o.next_attempt_at <= pg_catalog.clock_timestamp()
     order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as s on true;

-- name: orphans
-- Whether other replicas have items in flight, and the items whose worker died: PROCESSING under a lease that no
-- session holds. pg_locks is younger than the statement's snapshot, and a lease never comes back, so what is seen under
-- a dead lease stays an orphan until it is swept, or settled by the session that writes for that worker. Rows under our
-- own lease that we do not have in flight are orphans too.
--
-- An older worker's row has no lease and is judged by its item's lock. The polling worker's pool of sessions may lose
-- locks: its rows, without a claim_no, get ten minutes.
--
-- Each list is a subquery, which is looked up by hash: thousands of items in flight, compared one with another, take a
-- tenth of a second.
with elsewhere as materialized (
  select o.id, o.lease_no, o.claim_no, o.updated_at,
         case
           when o.lease_no = %(lease)s then false
           when o.lease_no is not null
           then (o.lease_no & 2147483647) in (select h.lease from public.sync_lease_holders() as h)
           else public.sync_item_key(o.id) in (select h.key from public.sync_item_holders() as h) end as has_worker
    from public.sync_outbox as o
   where o.status = 'PROCESSING'
     and (o.lease_no is distinct from %(lease)s or o.id not in (select u.id from unnest(%(held)s::uuid[]) as u (id)))
), orphans as (
  select o.id, o.lease_no, o.claim_no
    from elsewhere as o
   where not o.has_worker and o.id > %(after)s
     and (o.lease_no is not null or o.claim_no is not null
          or o.updated_at < pg_catalog.clock_timestamp() - interval '10 minutes')
     and not exists (
       select from public.sync_set_aside as a where a.item_id = o.id and a.retry_at > pg_catalog.clock_timestamp())
   order by o.id
   limit 1000
)
select others.have, o.id, o.lease_no, o.claim_no
  from (select exists (select from elsewhere as i where i.has_worker)) as others (have)
  left join orphans as o on true;

-- name: sweep
-- Take over orphans. Each is looked at once more under its row's lock; what another session has locked is passed by, and an
-- older worker's is asked for its lock (for this transaction), as it may have been settled before pg_locks was read.
--
-- An attempt is counted for what was tried. A worker that dies leaves up to thousands of items that only waited in its
-- memory, so a loss costs nothing at first: it is counted, and the claim takes those items in ever smaller groups. From
-- the fourth loss in a row on the item was alone of its kind in that worker's hands, and the loss is an attempt.
with orphans as materialized (
  select * from unnest(%(ids)s::uuid[], %(leases)s::bigint[], %(claims)s::bigint[]) as p (id, lease_no, claim_no)
), locked as materialized (
  select o.id, o.lease_no
    from public.sync_outbox as o
    join orphans as p on p.id = o.id
   where o.lease_no is not distinct from p.lease_no and o.claim_no is not distinct from p.claim_no
     and o.status::text = 'PROCESSING'
   order by o.id
     for update of o skip locked
), free as materialized (
  select l.id, l.lease_no is not null
               or pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext(l.id::text)) as got
    from locked as l
), reachable as materialized (
  -- A source that another session has locked would keep all of them waiting.
  select o.id, least(o.max_attempts, %(ceiling)s) as most, coalesce(o.losses, 0) >= 3 as counts,
         case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
              else public.sync_source_key(o.payload, o.id) end as key
    from free as f
    join public.sync_outbox as o on o.id = f.id
   where f.got
), known as materialized (
  select s.workspace_id, s.source_key, r.id
    from reachable as r
    join public.sync_outbox as o on o.id = r.id
    join public.sync_sources as s on s.workspace_id = o.workspace_id and s.source_key = r.key
), sources as materialized (
  select s.workspace_id, s.source_key
    from public.sync_sources as s
   where (s.workspace_id, s.source_key) in (select k.workspace_id, k.source_key from known as k)
   order by s.workspace_id, s.source_key for update skip locked
), swept as (
  update public.sync_outbox as o
     set attempts = least(coalesce(o.attempts, 0) + r.counts::integer, o.max_attempts),
         losses = least(coalesce(o.losses, 0) + 1, 1000),
         claim_no = null,
         lease_no = null,
         status = case when r.counts and coalesce(o.attempts, 0) + 1 >= r.most then 'DEAD_LETTER'
                       when coalesce(o.attempts, 0) + r.counts::integer > 0 then 'FAILED'
                       else 'PENDING' end::public.outbox_status,
         failure_code = case when r.counts and coalesce(o.attempts, 0) + 1 >= r.most then 'WORKER_LOST' end,
         processed_at = case when r.counts and coalesce(o.attempts, 0) + 1 >= r.most
                             then pg_catalog.clock_timestamp() end,
         -- It is set aside where the worker lived, and could not write its outcome.
         last_error = coalesce(
           (select 'The database refuses to write its outcome (SQLSTATE ' || a.sqlstate || ').'
              from public.sync_set_aside as a where a.item_id = o.id),
           'The worker was lost with the item in hand.')
    from reachable as r
   where o.id = r.id
     and not exists (
       select from known as k
        where k.id = r.id and not exists (
          select from sources as s where s.workspace_id = k.workspace_id and s.source_key = k.source_key))
  returning o.*, r.key
), remembered as (
  -- What the lost attempt did is not known: it may have left the event in its calendar, or removed it.
  insert into public.sync_sources as s (workspace_id, source_key, floor_seq, reopen, strays)
  select o.workspace_id, o.key,
         coalesce(max(o.seq) filter (where o.status = 'DEAD_LETTER' and o.parent_id is null), 0),
         bool_or(o.operation <> 'REBUILD_ALL' and (
           o.operation = 'CANCEL_EVENT' or coalesce(o.payload -> 'recreate' = 'true', false))),
         -- Checked as a payload is: what cannot be the name of a calendar has never been asked for.
         coalesce(array_agg(distinct o.payload ->> 'calendarId') filter (
           where o.operation <> 'REBUILD_ALL' and pg_catalog.jsonb_typeof(o.payload -> 'calendarId') = 'string'
             and pg_catalog.length(o.payload ->> 'calendarId') <= 1024
             and o.payload ->> 'calendarId' ~ '[^.]' and o.payload ->> 'calendarId' !~ '^\s|\s$'), '{}')
    from swept as o
   where o.parent_id is null or not o.payload ? 'stray'  -- which has no source
   group by 1, 2
   order by 1, 2
  on conflict (workspace_id, source_key) do update
    set floor_seq = greatest(s.floor_seq, excluded.floor_seq), reopen = s.reopen or excluded.reopen,
        strays = array(select distinct unnest(s.strays || excluded.strays)), updated_at = now()
)
select count(*) filter (where status <> 'DEAD_LETTER'), count(*) filter (where status = 'DEAD_LETTER') from swept;

-- name: item_lock_holders
-- The sessions that hold the locks of these items: process id and name.
select i.id, h.pid, coalesce(a.application_name, '')
  from unnest(%(ids)s::uuid[]) as i (id)
  join public.sync_item_holders() as h on h.key = public.sync_item_key(i.id)
  left join pg_catalog.pg_stat_activity as a on a.pid = h.pid;

-- name: processing_items
-- The items that are PROCESSING under a lease, and whether the lease's lock is held by this session.
select coalesce(array_agg(o.id), '{}'),
       exists (select from public.sync_lease_holders() as h
                where h.pid = pg_catalog.pg_backend_pid() and h.lease = (%(lease)s::bigint & 2147483647))
  from public.sync_outbox as o
 where o.status = 'PROCESSING' and o.lease_no = %(lease)s;

-- name: count_orphans
-- PROCESSING rows of a reactor whose session is gone.
select count(*)
  from public.sync_outbox as o
 where o.status = 'PROCESSING'
   and case
     when o.lease_no is not null
     then (o.lease_no & 2147483647) not in (select h.lease from public.sync_lease_holders() as h)
     else o.claim_no is not null
          and public.sync_item_key(o.id) not in (select h.key from public.sync_item_holders() as h) end;

-- name: count_doubled_sources
-- Sources with more than one PROCESSING row.
select count(*)
  from (select from public.sync_outbox
         where status = 'PROCESSING' and (claim_no is not null or lease_no is not null)
         group by workspace_id, public.sync_source_key(payload, id) having count(*) > 1) as d;
