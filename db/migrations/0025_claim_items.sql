-- The claim, so that no row stands in another's way. It takes the place of sync_outbox_claim and sync_outbox_ring
-- (0021_claim.sql, which argues why it is a function, where its plans come from, and why there are no races: all that
-- holds here). Those two stay for replicas of release 0.1. What is new:
--
-- *One row cannot refuse all.* Which items to take is decided first, without a write; then they are taken in one UPDATE.
-- Where the server refuses that, it is done again row by row, each in a sub-transaction, and what is refused then is set
-- aside (0024_set_aside.sql).
--
-- *A lease.* The caller's session holds one lock for all that it has in hand (0023_lease.sql). The item's own lock is
-- taken for the transaction only: older workers are kept out by it until the row says PROCESSING.
--
-- *Bytes.* A payload above `largest` is not returned, and no more than `bytes` are in all. To learn the length of a
-- payload that is compressed or lies outside of the row costs some milliseconds for each megabyte, and so does reading its
-- source's key. So at most eight such rows are looked at in a call, by turns; the others wait for the next one.
--
-- *Time.* What is due never (a null, infinity) waits. What is infinitely old is of age 0.
--
-- *Losses.* An item whose worker was lost may be what killed it. Those are claimed in ever smaller groups, a quarter of
-- the slots after the first loss, a sixteenth after the second, and from the third on one at a time (`trial`: the caller
-- has one in hand already). So an item that kills its worker is alone when it does so again, and its neighbours are not
-- blamed (reactor/postgres/outbox.sql, sweep).


-- Workspaces with a connection that have something waiting: seconds until their first item is due (zero or less: it is;
-- null: never), and until the first that is not due yet. Two look-ups in the index of due items for each.
create or replace function public.sync_outbox_due_workspaces()
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
  -- An infinite time has no distance: until PostgreSQL 16 to ask for it is an error, and 17 answers with infinity.
  select r.w,
         case when r.due_at = '-infinity' then 0
              when isfinite(r.due_at) then extract(epoch from r.due_at - moment) end::double precision,
         case when isfinite(n.due_at) then extract(epoch from n.due_at - moment) end::double precision
    from ring as r
    join public.google_connections as c on c.workspace_id = r.w and c.is_valid
   cross join lateral (
     select case when r.due_at > moment then r.due_at else (
              select o.next_attempt_at
                from public.sync_outbox as o
               where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.w and o.next_attempt_at > moment
               order by o.next_attempt_at limit 1) end as due_at) as n;
end $$;


-- Makes items PROCESSING under a lease; returns those that are. Where the server refuses them together it is done row by
-- row, and what is refused then is set aside, whatever the reason: a constraint, an error of the application's own code, a
-- right that its trigger lacks, a lock that its trigger waits for. A trigger may also do nothing, or undo it, in silence:
-- such a row is not ours, and would be claimed and sent without end. It is set aside too, with the code P0002 (no data found).
--
-- What is refused without any row (a right on the table, a name that is missing, a database that may only be read) is
-- about everybody, and comes out.
--
-- A lock in the way of one row is waited for a moment, in the way of the next ones hardly at all. Nobody can go on in a
-- statement whose time is over: the detail of that error says which row was met (reactor/postgres/claiming.py).
create or replace function public.sync_outbox_take(ids uuid[], lease bigint)
returns uuid[]
language plpgsql
set lock_timeout = '50ms'
as $$
declare
  each_id uuid;
  taken uuid[];
  is_taken boolean;
  state text;
  broken text;
begin
  begin
    with changed as (
      update public.sync_outbox as o set status = 'PROCESSING', lease_no = lease, claim_no = null
       where o.id = any (ids)
      returning o.id, o.status, o.lease_no
    )
    select array_agg(c.id) into taken from changed as c where c.status::text = 'PROCESSING' and c.lease_no = lease;
    if cardinality(taken) = cardinality(ids) then return taken; end if;
    raise no_data_found;
  exception
    when query_canceled then
      raise query_canceled using detail = case cardinality(ids) when 1 then ids[1]::text else '' end;
    when assert_failure or others then null;
  end;
  update public.sync_outbox as o set status = 'PROCESSING', lease_no = lease, claim_no = null where false;
  taken := '{}';
  foreach each_id in array ids loop
    begin
      update public.sync_outbox as o set status = 'PROCESSING', lease_no = lease, claim_no = null
       where o.id = each_id
      returning o.status::text = 'PROCESSING' and o.lease_no = lease into is_taken;
      if is_taken is not true then raise no_data_found; end if;
      taken := taken || each_id;
    exception
      when query_canceled then raise query_canceled using detail = each_id;
      when assert_failure or others then
        get stacked diagnostics state = returned_sqlstate, broken = constraint_name;
        perform public.sync_outbox_set_aside(each_id, state, broken);
        if state = '55P03' then perform set_config('lock_timeout', '2ms', true); end if;
    end;
  end loop;
  return taken;
end $$;


-- Ends items as superseded; returns how many. A row that the server refuses is set aside, as above.
create or replace function public.sync_outbox_supersede(ids uuid[])
returns integer
language plpgsql
set lock_timeout = '50ms'
as $$
declare
  each_id uuid;
  ended integer;
  state text;
  broken text;
begin
  begin
    with changed as (
      update public.sync_outbox as o
         set status = 'COMPLETED', processed_at = clock_timestamp(), failure_code = 'SUPERSEDED', last_error = null
       where o.id = any (ids)
      returning o.status
    )
    select count(*) into ended from changed as c where c.status::text = 'COMPLETED';
    if ended = cardinality(ids) then return ended; end if;
    raise no_data_found;
  exception when assert_failure or others then
    ended := 0;
  end;
  update public.sync_outbox as o
     set status = 'COMPLETED', processed_at = clock_timestamp(), failure_code = 'SUPERSEDED', last_error = null
   where false;
  foreach each_id in array ids loop
    begin
      update public.sync_outbox as o
         set status = 'COMPLETED', processed_at = clock_timestamp(), failure_code = 'SUPERSEDED', last_error = null
       where o.id = each_id
      returning o.status::text into state;
      if state is distinct from 'COMPLETED' then raise no_data_found; end if;
      ended := ended + 1;
    exception when assert_failure or others then
      get stacked diagnostics state = returned_sqlstate, broken = constraint_name;
      perform public.sync_outbox_set_aside(each_id, state, broken);
      if state = '55P03' then perform set_config('lock_timeout', '2ms', true); end if;
    end;
  end loop;
  return ended;
end $$;


-- Claims up to `slots` items: returns a row for each, and a last one without an id whose payload is the report.
--
--   workspaces  where to look, in this order; null to read the ring and to look at the first `width` of it that are due,
--               not `excluded`, and come after `past`
--   cursors     beside each workspace: null, or the source key behind which to look for more by key (0021_claim.sql)
--   due_rows    how many due rows to look at in all, `key_rows` how many keys; divided among the workspaces
--   ceiling     most attempts, whatever the row says
--   lease       the caller's session's
--   trial       claim only what lost its worker three times; otherwise that is left out
--   bytes       how many bytes of payloads to return at most, but for the first
--   largest     the largest payload to return
--
-- The report: busy (somebody else is claiming: nothing was looked at), ring, looked (for each workspace: its id, whether
-- there may be more, the last key, null at the end, whether more rows are due than were looked at), superseded (how many
-- rows), tidied (their workspaces), refused (ids that an older worker has locked), aside (what was set aside: id,
-- workspace, SQLSTATE, constraint), cut (whether `bytes` or losses kept anything back), trials (workspaces with
-- something that waits for a trial).
create or replace function public.sync_outbox_claim_items(
  workspaces uuid[], cursors text[], past uuid, width integer, excluded uuid[],
  slots integer, due_rows integer, key_rows integer, ceiling integer,
  lease bigint, trial boolean, bytes bigint, largest integer
)
returns table (
  id uuid, workspace_id uuid, source_key text, seq bigint, operation text, payload jsonb, payload_size bigint,
  attempts integer, max_attempts integer, losses integer, age double precision, is_child boolean,
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
  chosen uuid[];
  sizes bigint[];
  outdated uuid[];
  outdated_of uuid[];
  taken uuid[];
  rebuilds uuid[] := '{}';
  refused jsonb;
  looked jsonb;
  cut boolean;
  trials uuid[];
  superseded integer := 0;
  page_rows integer;
  page_keys integer;
  has_aside boolean;
  heavy constant integer := 16384;  -- bytes as stored; what is smaller is read within a millisecond, however compressed
begin
  if not pg_catalog.pg_try_advisory_xact_lock(718300, 0) then
    return query select null::uuid, null::uuid, null, null::bigint, null, '{"busy": true}'::jsonb, null::bigint,
      null::integer, null::integer, null::integer, null::double precision, null::boolean, null::bigint, null::integer,
      null, null, null, null::boolean, null::boolean, null::text[], null;
    return;
  end if;
  moment := clock_timestamp();
  has_aside := exists (select from public.sync_set_aside);

  if workspaces is null then
    select jsonb_agg(jsonb_build_array(r.workspace_id, r.first_due_in, r.next_due_in) order by r.workspace_id),
           (array_agg(r.workspace_id order by past is not null and r.workspace_id <= past, r.workspace_id)
             filter (where r.first_due_in <= 0 and r.workspace_id not in (select unnest(excluded))))[:width]
      into found_ring, workspaces
      from public.sync_outbox_due_workspaces() as r;
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
    with newest as materialized (
      select w.workspace_id as w, r.*, coalesce(s.floor_seq, 0) as floor
        from unnest(workspaces) as w (workspace_id)
       cross join lateral (
         select o.id, o.seq, o.status, o.next_attempt_at, coalesce(o.losses, 0) >= 3 as is_suspect
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
         and o.status::text <> 'PROCESSING' and o.seq < n.floor
         and (not has_aside or not exists (
           select from public.sync_set_aside as a where a.item_id = o.id and a.retry_at > moment))
         for update of o skip locked
    ), able as materialized (
      select n.id, n.w, n.is_suspect
        from newest as n
        join public.google_connections as c on c.workspace_id = n.w and c.is_valid
       where n.status in ('PENDING', 'FAILED') and n.next_attempt_at <= moment and n.seq >= n.floor
         and (not has_aside or not exists (
           select from public.sync_set_aside as a where a.item_id = n.id and a.retry_at > moment))
         and not exists (
           select from public.sync_outbox as p where p.status = 'PROCESSING' and p.workspace_id = n.w)
    ), ready as materialized (
      select o.id
        from able as a
        join public.sync_outbox as o on o.id = a.id
       where o.status::text in ('PENDING', 'FAILED') and o.next_attempt_at <= moment and a.is_suspect = trial
       limit slots
         for update of o skip locked
    ), locked as materialized (
      select r.id, pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext(r.id::text)) as got from ready as r
    )
    select (select array_agg(l.id) from locked as l where l.got), (select array_agg(o.id) from old_ones as o),
           (select array_agg(a.w) from able as a where a.is_suspect and a.id not in (select r.id from ready as r))
      into chosen, outdated, trials;
    if outdated is not null then
      perform public.sync_outbox_supersede(outdated);
    end if;
    if chosen is not null then
      rebuilds := public.sync_outbox_take(chosen, lease);
    end if;
    -- The barrier, as it is now.
    select array_agg(w.workspace_id order by w.place), array_agg(w.key order by w.place) into free, cursors
      from unnest(workspaces, cursors) with ordinality as w (workspace_id, key, place)
      left join lateral (
        select o.seq, o.next_attempt_at, o.status
          from public.sync_outbox as o
         where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
           and o.workspace_id = w.workspace_id
           and (not has_aside or not exists (
             select from public.sync_set_aside as a where a.item_id = o.id and a.retry_at > moment))
         order by o.seq desc limit 1) as r on true
      left join public.sync_sources as s on s.workspace_id = w.workspace_id and s.source_key = 'REBUILD_ALL'
     where (r.seq is null or r.seq < coalesce(s.floor_seq, 0)
            or (r.status <> 'PROCESSING' and (r.next_attempt_at > moment) is not false))
       and not exists (
         select from public.sync_outbox as o
          where o.operation = 'REBUILD_ALL' and o.status = 'PROCESSING' and o.workspace_id = w.workspace_id);
    workspaces := free;
  end if;

  with area as materialized (
    select w.workspace_id as w, w.key as after_key, w.place
      from unnest(workspaces, cursors) with ordinality as w (workspace_id, key, place)
     where exists (
       select from public.google_connections as c where c.workspace_id = w.workspace_id and c.is_valid)
  ), found as materialized (
    select a.w, a.place, d.*
      from area as a
     cross join lateral (
       select p.id, p.payload, p.seq, p.operation, pg_catalog.pg_column_size(p.payload) > heavy as is_heavy,
              row_number() over (order by p.next_attempt_at) as n
         from (
           select o.id, o.payload, o.seq, o.operation, o.next_attempt_at
             from public.sync_outbox as o
            where o.status in ('PENDING', 'FAILED') and o.workspace_id = a.w and o.next_attempt_at <= moment
            order by o.next_attempt_at limit page_rows) as p) as d
  ), light as materialized (
    select f.*, not f.is_heavy or row_number() over (partition by f.is_heavy order by f.n, f.place) <= 8 as is_read
      from found as f
  ), page as materialized (
    select f.w, f.n, f.id, public.sync_source_key(f.payload, f.id) as key, f.seq, f.operation
      from light as f
     where f.is_read
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
          -- A key is read out of its payload: where those are large, half a second is enough for one call.
          where k.n < page_keys and clock_timestamp() < moment + interval '500 ms')
       select * from k) as k
     where a.after_key is not null
  ), sources as materialized (
    select u.w, u.key, min(u.n) as n, array_agg(u.id) as seen_ids, array_agg(u.seq) as seen_seqs
      from (select p.w, p.key, p.n, p.id, p.seq from page as p where p.operation <> 'REBUILD_ALL'
            union all
            select b.w, b.key, page_rows + b.n, null, null from by_key as b) as u
     group by u.w, u.key
  ), heads as materialized (
    select x.*, h.*, coalesce(s.floor_seq, 0) as floor
      from sources as x
     cross join lateral (
       select o.id, o.seq, o.status, o.next_attempt_at, coalesce(o.losses, 0) as losses
         from public.sync_outbox as o
        where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = x.w
          and public.sync_source_key(o.payload, o.id) = x.key and o.operation <> 'REBUILD_ALL'
        order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as h
      left join public.sync_sources as s on s.workspace_id = x.w and s.source_key = x.key
  ), able as materialized (
    select h.*, a.place, row_number() over (partition by h.w order by h.n) as turn
      from heads as h
      join area as a on a.w = h.w
     where h.status in ('PENDING', 'FAILED') and h.seq >= h.floor and h.next_attempt_at <= moment
       and (not has_aside or not exists (
         select from public.sync_set_aside as s where s.item_id = h.id and s.retry_at > moment))
       and not exists (
         select from public.sync_outbox as p
          where p.status = 'PROCESSING' and p.workspace_id = h.w
            and public.sync_source_key(p.payload, p.id) = h.key)
  ), fit as materialized (
    -- Of what has lost its worker only a few, and at last one alone.
    select a.*,
           case
             when trial or a.losses >= 3 then trial and a.losses >= 3
             else a.losses = 0 or row_number() over (partition by a.losses order by a.turn, a.place)
                                  <= greatest(1, slots >> (2 * a.losses)) end as is_fit
      from able as a
  ), candidates as materialized (
    select f.*, row_number() over (order by f.turn, f.place) as choice from fit as f where f.is_fit
  ), unlocked as materialized (
    -- What another session has locked takes no slot. In order, so that the limit ends the look-ups.
    select c.id, c.choice, o.payload
      from (select * from candidates as c order by c.choice) as c
      join public.sync_outbox as o on o.id = c.id
     where o.status::text in ('PENDING', 'FAILED') and o.next_attempt_at <= moment
     order by c.choice
     limit greatest(0, slots - cardinality(rebuilds))
       for update of o skip locked
  ), ready as materialized (
    select o.id, o.choice,
           -- As JSON; what is small and not compressed is about as long as it is stored.
           case when pg_catalog.pg_column_size(o.payload) > 4 * largest
                     or pg_catalog.pg_column_size(o.payload) < 2048
                        and pg_catalog.pg_column_compression(o.payload) is null
                then pg_catalog.pg_column_size(o.payload)
                else coalesce(octet_length(o.payload::text), 0) end::bigint as size
      from unlocked as o
  ), weighed as materialized (
    select r.*, sum(case when r.size <= largest then r.size else 0 end) over (order by r.choice)
                - case when r.size <= largest then r.size else 0 end as before
      from ready as r
  ), locked as materialized (
    select w.*, pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext(w.id::text)) as got
      from weighed as w
     where w.before < bytes
  ), stale as materialized (
    select o.id, o.workspace_id as w
      from (select seen.id
              from heads as h cross join lateral unnest(h.seen_ids, h.seen_seqs) as seen (id, seq)
             where seen.seq < h.floor
            union
            select h.id from heads as h where h.seq < h.floor and h.next_attempt_at <= moment) as u
      join public.sync_outbox as o on o.id = u.id
     where o.status::text in ('PENDING', 'FAILED')
       and (not has_aside or not exists (
         select from public.sync_set_aside as s where s.item_id = o.id and s.retry_at > moment))
       for update of o skip locked
  )
  select (select array_agg(l.id order by l.choice) from locked as l where l.got),
         (select array_agg(l.size order by l.choice) from locked as l where l.got),
         (select array_agg(s.id) from stale as s),
         (select array_agg(distinct s.w) from stale as s),
         (select coalesce(jsonb_agg(l.id), '[]') from locked as l where not l.got),
         (select exists (select from fit as f where not f.is_fit)
              or exists (select from weighed as w where w.before >= bytes)),
         (select coalesce(trials, '{}') || coalesce(array_agg(distinct f.w), '{}')
            from fit as f
           where f.losses >= 3 and f.id not in (select u.id from unlocked as u)),
         (select coalesce(jsonb_agg(jsonb_build_array(
                   w.workspace_id,
                   (select count(*) from found as f where f.w = w.workspace_id) >= page_rows
                     or exists (select from light as f where f.w = w.workspace_id and not f.is_read)
                     or ((select count(*) from unlocked) >= slots - cardinality(rebuilds)
                         and exists (select from candidates as c
                                      where c.w = w.workspace_id
                                        and c.choice > coalesce((select max(u.choice) from unlocked as u), 0))),
                   case when (select count(*) from by_key as k where k.w = w.workspace_id) >= page_keys
                          or clock_timestamp() >= moment + interval '500 ms'
                        then (select max(k.key) from by_key as k where k.w = w.workspace_id) end,
                   (select count(*) from found as f where f.w = w.workspace_id) >= page_rows
                 )), '[]')
            from unnest(all_workspaces) as w (workspace_id))
    into chosen, sizes, outdated, outdated_of, refused, cut, trials, looked;
  if outdated is not null then
    superseded := public.sync_outbox_supersede(outdated);
  end if;
  taken := rebuilds;
  if chosen is not null then
    taken := taken || public.sync_outbox_take(chosen, lease);
  end if;
  if has_aside then
    begin
      lock table public.sync_set_aside in row exclusive mode nowait;
      delete from public.sync_set_aside as d
       where d.item_id in (
         select a.item_id
           from public.sync_set_aside as a
          where a.item_id = any (taken) or (a.item_id = any (outdated) and a.retry_at <= moment)
            for update skip locked);
    exception when lock_not_available then
      null;  -- what is claimed or ended is not looked up there; housekeeping forgets it
    end;
  end if;

  return query
  select o.id, o.workspace_id, k.key, o.seq, o.operation::text,
         case when k.size <= largest then o.payload end, k.size,
         coalesce(o.attempts, 0), least(o.max_attempts, ceiling), coalesce(o.losses, 0)::integer,
         case when isfinite(o.created_at) then extract(epoch from moment - o.created_at) else 0 end::double precision,
         o.parent_id is not null, coalesce(s.floor_seq, 0), coalesce(s.generation, 0),
         coalesce(s.google_event_id, b.google_event_id),
         case when s.google_event_id is null then b.calendar_id else s.calendar_id end, s.etag,
         coalesce(s.cancelled, false), coalesce(s.reopen, false), coalesce(s.strays, '{}'),
         left(coalesce(c.refresh_token_encrypted, ''), 8192)
    from (select u.id, u.size, u.n
            from unnest(chosen, sizes) with ordinality as u (id, size, n) where u.id = any (taken)
          union all
          select r.id, null, 0 from unnest(rebuilds) as r (id)) as t
    join public.sync_outbox as o on o.id = t.id
   cross join lateral (
     select case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                 else public.sync_source_key(o.payload, o.id) end as key,
            coalesce(t.size, octet_length(o.payload::text), 0) as size) as k
    join public.google_connections as c on c.workspace_id = o.workspace_id
    left join public.sync_sources as s on s.workspace_id = o.workspace_id and s.source_key = k.key
    -- A source that only an older worker has settled is known by its binding. What it is about must be a UUID there. The
    -- application may write both tables: what can be no token, no event and no calendar is not read, whatever its length.
    left join lateral (
      select b.google_event_id, b.calendar_id
        from public.calendar_event_bindings as b
       where s.google_event_id is null and s.cancelled is not true
         and b.workspace_id = o.workspace_id and b.source_type = split_part(k.key, ':', 1)
         and b.source_id = case
           when split_part(k.key, ':', 2) ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
           then split_part(k.key, ':', 2)::uuid end
         and length(b.google_event_id) between 1 and 1024 and length(b.calendar_id) between 1 and 1024) as b on true
   order by t.n;
  return query
  select null::uuid, null::uuid, null, null::bigint, null,
         jsonb_build_object(
           'ring', found_ring,
           'superseded', superseded,
           'tidied', coalesce(to_jsonb(outdated_of), '[]'),
           'refused', refused,
           'cut', cut,
           'trials', to_jsonb(trials),
           'aside', (
             select coalesce(
                      jsonb_agg(jsonb_build_array(a.item_id, a.workspace_id, a.sqlstate, a.constraint_name)), '[]')
               from public.sync_set_aside as a
              where a.refused_at >= moment
                and a.item_id = any (coalesce(chosen, '{}') || coalesce(outdated, '{}'))),
           'looked', looked),
         null::bigint, null::integer, null::integer, null::integer, null::double precision, null::boolean, null::bigint,
         null::integer, null, null, null, null::boolean, null::boolean, null::text[], null;
end $$;
