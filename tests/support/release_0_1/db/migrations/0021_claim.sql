-- The claim: one call, one round trip. The module reactor/postgres/outbox.py tells how it is used.
--
-- A function and not a statement of the client, for its snapshots. Claims exclude each other by a lock, and whoever
-- decides must see what the claim before it wrote: the statement that looks has to begin after the lock was granted. In
-- PL/pgSQL each statement of a volatile function has a snapshot of its own; a client would need a transaction and two
-- more round trips. The price is that the text lives in the database: a change that older replicas cannot live with
-- needs a new name.
--
-- The rights are the caller's, row level security included. The settings belong to the functions because statistics lag
-- behind in a queue, and a plan made for the table of an hour ago must not read today's: all access is by index and
-- nested loop, and compiling would take longer than the claim. Every call is planned anew: a plan for all calls would be
-- made while the queue is empty, when any index will do, and come back when it is full. (Seen: a claim of 200 beside
-- 20,000 waiting items went from 16 ms to 900, and 3.9 million buffers, until the next ANALYZE.) For the same reason
-- rows that are found by id are checked with `status::text`, which no partial index answers.


-- Workspaces with a connection that have something waiting: seconds until their first item is due (zero or less: it is),
-- and until the first that is not due yet. Two look-ups in the index of due items for each.
create or replace function public.sync_outbox_ring()
returns table (workspace_id uuid, first_due_in double precision, next_due_in double precision)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  moment constant timestamptz := clock_timestamp();  -- a constant: a volatile call could not be searched for in an index
begin
  return query
  with recursive ring as (
    (select o.workspace_id as w, o.next_attempt_at as due_at
       from public.sync_outbox as o
      where o.status in ('PENDING', 'FAILED')
      order by o.workspace_id, o.next_attempt_at limit 1)
    union all
    select n.w, n.due_at
      from ring cross join lateral (
        select o.workspace_id as w, o.next_attempt_at as due_at
          from public.sync_outbox as o
         where o.status in ('PENDING', 'FAILED') and o.workspace_id > ring.w
         order by o.workspace_id, o.next_attempt_at limit 1) as n
  )
  select r.w,
         extract(epoch from r.due_at - moment)::double precision,
         extract(epoch from case when r.due_at > moment then r.due_at else (
           select o.next_attempt_at
             from public.sync_outbox as o
            where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.w and o.next_attempt_at > moment
            order by o.next_attempt_at limit 1) end - moment)::double precision
    from ring as r
    join public.google_connections as c on c.workspace_id = r.w and c.is_valid;
end $$;


-- Claims up to `slots` items: returns a row for each, and a last one without an id whose payload is the report.
--
--   workspaces  where to look, in this order; null to read the ring and to look at the first `width` of it that are due,
--               not `excluded`, and come after `past`
--   cursors     beside each workspace: null, or the source key behind which to look for more by key (see below)
--   due_rows    how many due rows to look at in all, `key_rows` how many keys; divided among the workspaces
--   held        the ids that the caller's session has locked: it would get these locks a second time
--   ceiling     most attempts, whatever the row says
--
-- The report: busy (somebody else is claiming: nothing was looked at), ring, looked (for each workspace: its id, whether
-- there may be more, the last key, null at the end, whether more rows are due than were looked at), superseded (how many
-- rows), tidied (their workspaces), refused (ids that somebody else has locked).
--
-- Which items. Due rows of a workspace come from the index by due time: the oldest first, and what is in back-off costs
-- nothing. A source with thousands of states waiting fills that page; then the caller asks to look by key too, a skip
-- scan from a cursor that it keeps. Of each source found the newest open row is the candidate, if it is due and not
-- below the floor, and if no row of the source is PROCESSING. Rows seen below the floor are superseded.
--
-- Why there are no races. PROCESSING is only ever written here, under the lock that is taken first, so of a source that
-- is seen idle nothing can be claimed, and its floor cannot rise, until this has committed. A newer row that commits
-- meanwhile waits its turn; an older one that does is below the floor when this one is settled. Rows that somebody else
-- has locked are passed over (skip locked): an open transaction holds back its row and nothing else. What was chosen is
-- checked again on the locked row. The item's own lock, which an older worker takes too, comes last, in the select list of
-- a materialized step: in a WHERE clause it would be taken for rows that are then thrown away.
--
-- A rebuild. The newest open one of a workspace counts. While it is due or PROCESSING nothing else of its workspace is
-- claimed; it is claimed when nothing of the workspace is PROCESSING. In back-off it holds up nobody. Its source key is
-- REBUILD_ALL, so that its floor supersedes older ones as soon as it is settled, and no earlier.
create or replace function public.sync_outbox_claim(
  workspaces uuid[], cursors text[], past uuid, width integer, excluded uuid[],
  slots integer, due_rows integer, key_rows integer, held uuid[], ceiling integer
)
returns table (
  id uuid, workspace_id uuid, source_key text, seq bigint, claim_no bigint, operation text, payload jsonb,
  attempts integer, max_attempts integer, age double precision, is_child boolean,
  floor_seq bigint, generation integer, google_event_id text, calendar_id text, etag text,
  cancelled boolean, reopen boolean, strays text[], token text
)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_custom_plan
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  moment timestamptz;
  found_ring jsonb;
  all_workspaces uuid[];
  free uuid[];
  taken integer := 0;
  page_rows integer;
  page_keys integer;
begin
  if not pg_catalog.pg_try_advisory_xact_lock(718300, 0) then
    return query select null::uuid, null::uuid, null, null::bigint, null::bigint, null, '{"busy": true}'::jsonb,
      null::integer, null::integer, null::double precision, null::boolean, null::bigint, null::integer, null, null,
      null, null::boolean, null::boolean, null::text[], null;
    return;
  end if;
  moment := clock_timestamp();

  if workspaces is null then
    select jsonb_agg(jsonb_build_array(r.workspace_id, r.first_due_in, r.next_due_in) order by r.workspace_id),
           (array_agg(r.workspace_id order by past is not null and r.workspace_id <= past, r.workspace_id)
             filter (where r.first_due_in <= 0 and r.workspace_id not in (select unnest(excluded))))[:width]
      into found_ring, workspaces
      from public.sync_outbox_ring() as r;
    workspaces := coalesce(workspaces, '{}');
    found_ring := coalesce(found_ring, '[]');
  end if;
  all_workspaces := workspaces;
  page_rows := greatest(8, due_rows / greatest(1, cardinality(workspaces)));
  page_keys := greatest(8, key_rows / greatest(1, cardinality(workspaces)));

  if exists (
    select from public.sync_outbox as o
     where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
  ) then
    return query
    with newest as materialized (
      select w.workspace_id as w, r.*, coalesce(s.floor_seq, 0) as floor
        from unnest(workspaces) as w (workspace_id)
       cross join lateral (
         select o.id, o.seq, o.status, o.next_attempt_at
           from public.sync_outbox as o
          where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
            and o.workspace_id = w.workspace_id
          order by o.seq desc limit 1) as r
        left join public.sync_sources as s on s.workspace_id = w.workspace_id and s.source_key = 'REBUILD_ALL'
    ), old_ones as materialized (
      select o.id
        from newest as n
        join public.sync_outbox as o on o.workspace_id = n.w
       where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
         and o.status::text <> 'PROCESSING' and o.seq < n.floor and o.id not in (select unnest(held))
         for update of o skip locked
    ), superseded as (
      update public.sync_outbox as o
         set status = 'COMPLETED', processed_at = moment, failure_code = 'SUPERSEDED', last_error = null
        from old_ones where o.id = old_ones.id
    ), ready as materialized (
      select o.id
        from newest as n
        join public.sync_outbox as o on o.id = n.id
        join public.google_connections as c on c.workspace_id = n.w and c.is_valid
       where o.status::text in ('PENDING', 'FAILED') and o.next_attempt_at <= moment and o.seq >= n.floor
         and o.id not in (select unnest(held))
         and not exists (
           select from public.sync_outbox as p where p.status = 'PROCESSING' and p.workspace_id = n.w)
       limit slots
         for update of o skip locked
    ), locked as materialized (
      select r.id, pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext(r.id::text)) as got from ready as r
    ), claimed as (
      update public.sync_outbox as o
         set status = 'PROCESSING', claim_no = nextval('public.sync_claim_no')
        from locked as l where l.got and o.id = l.id
      returning o.*
    )
    select o.id, o.workspace_id, 'REBUILD_ALL', o.seq, o.claim_no, o.operation::text, o.payload,
           o.attempts, least(o.max_attempts, ceiling), extract(epoch from moment - o.created_at)::double precision,
           false, coalesce(s.floor_seq, 0), coalesce(s.generation, 0), null::text, null::text, null::text,
           false, false, '{}'::text[], c.refresh_token_encrypted
      from claimed as o
      join public.google_connections as c on c.workspace_id = o.workspace_id
      left join public.sync_sources as s on s.workspace_id = o.workspace_id and s.source_key = 'REBUILD_ALL';
    get diagnostics taken = row_count;
    -- The barrier, as it is now.
    select array_agg(w.workspace_id order by w.place), array_agg(w.key order by w.place) into free, cursors
      from unnest(workspaces, cursors) with ordinality as w (workspace_id, key, place)
      left join lateral (
        select o.seq, o.next_attempt_at, o.status
          from public.sync_outbox as o
         where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
           and o.workspace_id = w.workspace_id
         order by o.seq desc limit 1) as r on true
      left join public.sync_sources as s on s.workspace_id = w.workspace_id and s.source_key = 'REBUILD_ALL'
     where (r.seq is null or r.seq < coalesce(s.floor_seq, 0)
            or (r.status <> 'PROCESSING' and r.next_attempt_at > moment))
       and not exists (
         select from public.sync_outbox as o
          where o.operation = 'REBUILD_ALL' and o.status = 'PROCESSING' and o.workspace_id = w.workspace_id);
    workspaces := free;
  end if;

  return query
  with area as materialized (
    select w.workspace_id as w, w.key as after_key, w.place
      from unnest(workspaces, cursors) with ordinality as w (workspace_id, key, place)
     where exists (
       select from public.google_connections as c where c.workspace_id = w.workspace_id and c.is_valid)
  ), page as materialized (
    select a.w, d.*
      from area as a
     cross join lateral (
       select p.id, public.sync_source_key(p.payload, p.id) as key, p.seq, p.operation,
              row_number() over (order by p.next_attempt_at) as n
         from (
           select o.id, o.payload, o.seq, o.operation, o.next_attempt_at
             from public.sync_outbox as o
            where o.status in ('PENDING', 'FAILED') and o.workspace_id = a.w and o.next_attempt_at <= moment
            order by o.next_attempt_at limit page_rows) as p) as d
  ), by_key as materialized (
    select a.w, k.key, k.n
      from area as a
     cross join lateral (
       with recursive k as (
         (select 1 as n, public.sync_source_key(o.payload, o.id) as key
            from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = a.w
             and public.sync_source_key(o.payload, o.id) > a.after_key
           order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1)
         union all
         select k.n + 1, next.key
           from k cross join lateral (
             select public.sync_source_key(o.payload, o.id) as key
               from public.sync_outbox as o
              where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = a.w
                and public.sync_source_key(o.payload, o.id) > k.key
              order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as next
          where k.n < page_keys)
       select * from k) as k
     where a.after_key is not null
  ), sources as materialized (
    select u.w, u.key, min(u.n) as n, array_agg(u.id) as seen_ids, array_agg(u.seq) as seen_seqs
      from (select p.w, p.key, p.n, p.id, p.seq from page as p where p.operation <> 'REBUILD_ALL'
            union all
            select b.w, b.key, page_rows + b.n, null, null from by_key as b) as u
     group by u.w, u.key
  ), heads as materialized (
    select x.*, h.*, coalesce(s.floor_seq, 0) as floor,
           s.generation, s.google_event_id, s.calendar_id, s.etag, s.cancelled, s.reopen, s.strays
      from sources as x
     cross join lateral (
       select o.id, o.seq, o.status, o.next_attempt_at
         from public.sync_outbox as o
        where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = x.w
          and public.sync_source_key(o.payload, o.id) = x.key and o.operation <> 'REBUILD_ALL'
        order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as h
      left join public.sync_sources as s on s.workspace_id = x.w and s.source_key = x.key
  ), candidates as materialized (
    select h.*, row_number() over (order by h.turn, h.place) as choice
      from (
        select h.*, a.place, row_number() over (partition by h.w order by h.n) as turn
          from heads as h
          join area as a on a.w = h.w
         where h.status in ('PENDING', 'FAILED') and h.seq >= h.floor and h.next_attempt_at <= moment
           and h.id not in (select unnest(held))
           and not exists (
             select from public.sync_outbox as p
              where p.status = 'PROCESSING' and p.workspace_id = h.w
                and public.sync_source_key(p.payload, p.id) = h.key)) as h
  ), ready as materialized (
    select c.*
      from candidates as c
      join public.sync_outbox as o on o.id = c.id
     where c.choice <= slots - taken and o.status::text in ('PENDING', 'FAILED') and o.next_attempt_at <= moment
       for update of o skip locked
  ), locked as materialized (
    select r.*, pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext(r.id::text)) as got from ready as r
  ), claimed as (
    update public.sync_outbox as o
       set status = 'PROCESSING', claim_no = nextval('public.sync_claim_no')
      from locked as l where l.got and o.id = l.id
    returning o.id, o.workspace_id, l.key, o.seq, o.claim_no, o.operation, o.payload, o.attempts, o.max_attempts,
              o.created_at, o.parent_id, l.floor, l.generation, l.google_event_id, l.calendar_id, l.etag, l.cancelled,
              l.reopen, l.strays
  ), stale as materialized (
    select o.id
      from (select seen.id
              from heads as h cross join lateral unnest(h.seen_ids, h.seen_seqs) as seen (id, seq)
             where seen.seq < h.floor
            union
            select h.id from heads as h where h.seq < h.floor and h.next_attempt_at <= moment) as u
      join public.sync_outbox as o on o.id = u.id
     where o.status::text in ('PENDING', 'FAILED') and o.id not in (select unnest(held))
       for update of o skip locked
  ), superseded as (
    update public.sync_outbox as o
       set status = 'COMPLETED', processed_at = moment, failure_code = 'SUPERSEDED', last_error = null
      from stale where o.id = stale.id
    returning o.workspace_id
  )
  select o.id, o.workspace_id, o.key, o.seq, o.claim_no, o.operation::text, o.payload,
         o.attempts, least(o.max_attempts, ceiling), extract(epoch from moment - o.created_at)::double precision,
         o.parent_id is not null, o.floor, coalesce(o.generation, 0),
         coalesce(o.google_event_id, b.google_event_id),
         case when o.google_event_id is null then b.calendar_id else o.calendar_id end, o.etag,
         coalesce(o.cancelled, false), coalesce(o.reopen, false), coalesce(o.strays, '{}'), c.refresh_token_encrypted
    from claimed as o
    join public.google_connections as c on c.workspace_id = o.workspace_id
    -- A source that only an older worker has settled is known by its binding. What it is about must be a UUID there.
    left join lateral (
      select b.google_event_id, b.calendar_id
        from public.calendar_event_bindings as b
       where o.google_event_id is null and o.cancelled is not true
         and b.workspace_id = o.workspace_id and b.source_type = o.payload ->> 'sourceType'
         and b.source_id = case
           when o.payload ->> 'sourceId' ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
           then (o.payload ->> 'sourceId')::uuid end) as b on true
  union all
  select null, null, null, null, null, null,
         jsonb_build_object(
           'ring', found_ring,
           'superseded', (select count(*) from superseded),
           'tidied', (select coalesce(jsonb_agg(distinct s.workspace_id), '[]') from superseded as s),
           'refused', (select coalesce(jsonb_agg(l.id), '[]') from locked as l where not l.got),
           'looked', (
             select coalesce(jsonb_agg(jsonb_build_array(
                      w.workspace_id,
                      (select count(*) from page as p where p.w = w.workspace_id) >= page_rows
                        or exists (select from candidates as c where c.w = w.workspace_id and c.choice > slots - taken),
                      case when (select count(*) from by_key as k where k.w = w.workspace_id) >= page_keys
                           then (select max(k.key) from by_key as k where k.w = w.workspace_id) end,
                      (select count(*) from page as p where p.w = w.workspace_id) >= page_rows
                    )), '[]')
               from unnest(all_workspaces) as w (workspace_id))),
         null, null, null, null, null, null, null, null, null, null, null, null, null;
end $$;
