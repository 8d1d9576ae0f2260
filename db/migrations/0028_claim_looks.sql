-- The claim in few look-ups: its steps; 0029_claim_next.sql puts them together. It takes the place of
-- sync_outbox_claim_in_order (0026_order.sql), which stays for replicas that call it. 0021_claim.sql argues why there are no races, 0025_claim_items.sql what one row may not do to others, and
-- 0026_order.sql what gives the order: all that holds here. What is new is how it looks.
--
-- *Plans are made once.* Planning took three quarters of a claim of one item. A plan that is kept may have been made while
-- the queue was empty, when any plan will do, and must be right when it is full. So no statement here leaves the planner a
-- choice: each is a chain of look-ups, one LATERAL with a LIMIT after the other, which can only be done in the order in
-- which it is written; rows are found by their ids, or in the order of one index, and sorting a table's rows, reading a
-- table from end to end and joining by hash are switched off. Where an index of the application's could serve too
-- (by due time alone, say), a pair of columns is compared with a pair of values and both are ordered by: only our index
-- has that order. tests/test_outbox_plans.py compares what the kept plans and fresh ones read.
--
-- *A portion at a time.* A page of due rows is read, twice as many as there are slots. Their sources are looked up only
-- until the slots are filled: in most claims as many as there are items.
--
-- *What is rare has statements of its own*, which run when they are needed: rebuilds, the look by key, payloads that are
-- large, states below their floor, items whose worker was lost, a place that is none, a row that is set aside.
--
-- Functions without settings run under those of sync_outbox_claim_next, which alone calls them.


-- Workspaces with a connection that have something waiting: seconds until their first item is due (zero or less: it is;
-- null: never), and until the first that is not due yet. Two look-ups in the index of due items for each.
create or replace function public.sync_outbox_ring_of_due()
returns table (workspace_id uuid, first_due_in double precision, next_due_in double precision)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  moment constant timestamptz := clock_timestamp();
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
              when isfinite(r.due_at) then date_part('epoch', r.due_at - moment) end,
         case when isfinite(n.due_at) then date_part('epoch', n.due_at - moment) end
    from ring as r
    join public.google_connections as c on c.workspace_id = r.w and c.is_valid
   cross join lateral (
     select case when r.due_at > moment then r.due_at else (
              select o.next_attempt_at
                from public.sync_outbox as o
               where o.status in ('PENDING', 'FAILED')
                 and (o.workspace_id, o.next_attempt_at) > (r.w, moment) and o.workspace_id <= r.w
               order by o.workspace_id, o.next_attempt_at limit 1) end as due_at) as n;
end $$;


-- Rebuilds of some workspaces. Takes the newest of each that may be taken, and ends those below their floor. While one is
-- due or PROCESSING nothing else of its workspace is claimed: those are `barred`.
create or replace function public.sync_outbox_claim_rebuilds(
  workspaces uuid[], moment timestamptz, slots integer, lease bigint, trial boolean,
  out taken uuid[], out chosen uuid[], out outdated uuid[], out trials uuid[], out barred uuid[]
)
language plpgsql
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set jit = off
as $$
begin
  with newest as materialized (
    select w.id as w, r.*, coalesce(s.floor_seq, 0) as floor
      from unnest(workspaces) as w (id)
     cross join lateral (
       select o.id, o.seq, o.status, o.next_attempt_at, coalesce(o.losses, 0) >= 3 as is_suspect
         from public.sync_outbox as o
        where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
          and o.workspace_id = w.id
        order by o.seq desc limit 1) as r
      left join public.sync_sources as s on s.workspace_id = w.id and s.source_key = 'REBUILD_ALL'
  ), old_ones as materialized (
    select o.id
      from newest as n
      join public.sync_outbox as o on o.workspace_id = n.w
     where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
       and o.status::text <> 'PROCESSING' and o.seq < n.floor
       and not exists (
         select from public.sync_set_aside as a where a.item_id = o.id and a.retry_at > moment)
       for update of o skip locked
  ), able as materialized (
    select n.id, n.w, n.is_suspect
      from newest as n
      join public.google_connections as c on c.workspace_id = n.w and c.is_valid
     where n.status in ('PENDING', 'FAILED') and n.next_attempt_at <= moment and n.seq >= n.floor
       and not exists (
         select from public.sync_set_aside as a where a.item_id = n.id and a.retry_at > moment)
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
    select r.id, pg_try_advisory_xact_lock(hashtext(r.id::text)) as got from ready as r
  )
  select (select array_agg(l.id) from locked as l where l.got), (select array_agg(o.id) from old_ones as o),
         (select array_agg(a.w) from able as a where a.is_suspect and a.id not in (select r.id from ready as r))
    into chosen, outdated, trials;
  if outdated is not null then
    perform public.sync_outbox_put_away(outdated);
  end if;
  if chosen is not null then
    taken := public.sync_outbox_take_in_order(chosen, lease);
  end if;
  -- The barrier, as it is now.
  select array_agg(w.id) into barred
    from unnest(workspaces) as w (id)
    left join lateral (
      select o.seq, o.next_attempt_at, o.status
        from public.sync_outbox as o
       where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = w.id
         and not exists (
           select from public.sync_set_aside as a where a.item_id = o.id and a.retry_at > moment)
       order by o.seq desc limit 1) as r on true
    left join public.sync_sources as s on s.workspace_id = w.id and s.source_key = 'REBUILD_ALL'
   where (r.seq >= coalesce(s.floor_seq, 0) and (r.status = 'PROCESSING' or r.next_attempt_at <= moment))
      or exists (
        select from public.sync_outbox as o
         where o.operation = 'REBUILD_ALL' and o.status = 'PROCESSING' and o.workspace_id = w.id);
end $$;


-- The page: what is due longest in some workspaces, by source: the workspace, the key and the oldest place that was seen of
-- each, in the order of their turns. The first of each workspace comes before the second of any. `full_ones` are workspaces
-- of which `page_rows` rows are due, or more; `large_ones` rows whose payload is too large for its key to be read here.
create or replace function public.sync_outbox_page(
  workspaces uuid[], barred uuid[], page_rows integer, moment timestamptz,
  out of uuid[], out keys text[], out oldest bigint[], out full_ones uuid[], out large_ones uuid[], out large_of uuid[]
)
language plpgsql
as $$
declare
  large constant integer := 16384;  -- bytes as stored; what is smaller is read within a millisecond, however compressed
begin
  with area as materialized (
    select w.id as w, w.place
      from unnest(workspaces) with ordinality as w (id, place)
      join public.google_connections as c on c.workspace_id = w.id and c.is_valid
     where w.id <> all (barred)
  ), due as materialized (
    select a.w, a.place, d.*
      from area as a
     cross join lateral (
       select row_number() over () as n, p.*
         from (
           select o.id, o.seq, o.operation,
                  case when pg_column_size(o.payload) <= large then public.sync_source_key(o.payload, o.id) end as key
             from public.sync_outbox as o
            where o.status in ('PENDING', 'FAILED')
              and (o.workspace_id, o.next_attempt_at) >= (a.w, '-infinity')
              and (o.workspace_id, o.next_attempt_at) <= (a.w, moment)
            order by o.workspace_id, o.next_attempt_at limit page_rows) as p) as d
  )
  select array_agg(s.w order by s.n, s.place), array_agg(s.key order by s.n, s.place),
         array_agg(s.oldest order by s.n, s.place),
         (select array_agg(d.w) from due as d where d.n = page_rows),
         (select array_agg(d.id order by d.n, d.place) from due as d where d.key is null),
         (select array_agg(d.w order by d.n, d.place) from due as d where d.key is null)
    into of, keys, oldest, full_ones, large_ones, large_of
    from (
      select d.w, d.key, min(d.n) as n, min(d.place) as place, min(d.seq) as oldest
        from due as d
       where d.key is not null and d.operation <> 'REBUILD_ALL'
       group by d.w, d.key) as s;
end $$;


-- The sources of some rows, where they are not among those that are given already.
create or replace function public.sync_outbox_sources_of(
  ids uuid[], given_of uuid[], given_keys text[],
  out of uuid[], out keys text[], out oldest bigint[]
)
language plpgsql
as $$
begin
  select array_agg(s.w), array_agg(s.key), array_agg(s.oldest) into of, keys, oldest
    from (
      select o.w, o.key, min(o.seq) as oldest
        from unnest(ids) as i (id)
       cross join lateral (
         select o.workspace_id as w, public.sync_source_key(o.payload, o.id) as key, o.seq
           from public.sync_outbox as o where o.id = i.id and o.operation <> 'REBUILD_ALL' limit 1) as o
       group by o.w, o.key) as s
   where not exists (select from unnest(given_of, given_keys) as g (w, key) where g.w = s.w and g.key = s.key);
end $$;


-- Looks through workspaces by source key, from a cursor on, `page_keys` keys of each at most: the sources that were found
-- and are not among those that are given already, and for each workspace the last key that was looked at; null at the end.
-- A key is read out of its payload: where those are large, half a second is enough for one call.
create or replace function public.sync_outbox_look_by_key(
  workspaces uuid[], cursors text[], barred uuid[], page_keys integer, moment timestamptz,
  given_of uuid[], given_keys text[],
  out of uuid[], out keys text[], out last_of uuid[], out last_keys text[]
)
language plpgsql
as $$
begin
  with found as materialized (
    select a.w, k.key, k.n
      from unnest(workspaces, cursors) as a (w, cursor)
     cross join lateral (
       with recursive k as (
         (select 1 as n, public.sync_source_key(o.payload, o.id) as key
            from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = a.w
             and public.sync_source_key(o.payload, o.id) > a.cursor
           order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1)
         union all
         select k.n + 1, next.key
           from k cross join lateral (
             select public.sync_source_key(o.payload, o.id) as key
               from public.sync_outbox as o
              where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = a.w
                and public.sync_source_key(o.payload, o.id) > k.key
              order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as next
          where k.n < page_keys and clock_timestamp() < moment + interval '500 ms')
       select * from k) as k
     where a.cursor is not null and a.w <> all (barred)
  ), new as materialized (
    select f.w, f.key, f.n
      from found as f
     where not exists (select from unnest(given_of, given_keys) as g (w, key) where g.w = f.w and g.key = f.key)
  ), last as materialized (
    select f.w, max(f.key) as key
      from found as f
     group by f.w
    having count(*) >= page_keys or clock_timestamp() >= moment + interval '500 ms'
  )
  select (select array_agg(n.w order by n.n) from new as n), (select array_agg(n.key order by n.n) from new as n),
         (select array_agg(l.w) from last as l), (select array_agg(l.key) from last as l)
    into of, keys, last_of, last_keys;
end $$;


-- Looks sources up. Of each the newest open row is the candidate, if it is due and not below the floor, and if no row of the
-- source is PROCESSING: those are `able` (with their workspaces and losses), in the order in which the sources are given.
-- Sources of which something that was seen lies below the floor are `late`.
create or replace function public.sync_outbox_heads(
  of uuid[], keys text[], oldest bigint[], moment timestamptz, has_aside boolean,
  out able uuid[], out able_of uuid[], out able_losses integer[], out late_of uuid[], out late_keys text[]
)
language plpgsql
as $$
begin
  select array_agg(l.id order by l.n) filter (where l.is_able), array_agg(l.w order by l.n) filter (where l.is_able),
         array_agg(l.losses order by l.n) filter (where l.is_able),
         array_agg(l.w order by l.n) filter (where l.is_late), array_agg(l.key order by l.n) filter (where l.is_late)
    into able, able_of, able_losses, late_of, late_keys
    from (
      select x.n, x.w, x.key, h.id, h.losses, least(x.oldest, h.seq) < coalesce(s.floor_seq, 0) as is_late,
             h.status in ('PENDING', 'FAILED') and h.seq >= coalesce(s.floor_seq, 0) and h.next_attempt_at <= moment
             and p.is_busy is null
             and (not has_aside or not exists (
               select from public.sync_set_aside as a where a.item_id = h.id and a.retry_at > moment)) as is_able
        from unnest(of, keys, oldest) with ordinality as x (w, key, oldest, n)
       cross join lateral (
         select o.id, o.seq, o.status, o.next_attempt_at, coalesce(o.losses, 0)::integer as losses
           from public.sync_outbox as o
          where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = x.w
            and public.sync_source_key(o.payload, o.id) = x.key and o.operation <> 'REBUILD_ALL'
          order by public.sync_source_key(o.payload, o.id), o.seq desc limit 1) as h
        left join lateral (
          select true as is_busy
            from public.sync_outbox as o
           where o.status = 'PROCESSING' and o.workspace_id = x.w
             and public.sync_source_key(o.payload, o.id) = x.key limit 1) as p on true
        left join lateral (
          select s.floor_seq from public.sync_sources as s
           where s.workspace_id = x.w and s.source_key = x.key limit 1) as s on true) as l;
end $$;


-- Locks rows for the transaction, `room` at most, and passes by what another session has locked: that takes no room. What
-- was chosen is checked again on the locked row. The item's own lock, which an older worker takes too, comes last, in the
-- select list of a materialized step: in a WHERE clause it would be taken for rows that are then thrown away.
--
-- Payloads above `largest` are not returned, and so weigh nothing; when those before it weigh `bytes` or more, a row is left.
-- Returns the ids in their order, their payloads' sizes and weight, ids that an older worker has locked (`refused`), the
-- furthest place, how many of the given rows were tried, and whether any was left for its weight.
create or replace function public.sync_outbox_reserve(
  ids uuid[], room integer, bytes bigint, largest integer, moment timestamptz,
  out locked uuid[], out sizes integer[], out weight bigint, out refused uuid[], out furthest bigint, out tried integer,
  out is_cut boolean
)
language plpgsql
as $$
begin
  with free as materialized (
    select i.n, o.*
      from unnest(ids) with ordinality as i (id, n)
     cross join lateral (
       select o.id, case when o.parent_id is null then o.seq end as place,
              -- As JSON; what is small and not compressed is about as long as it is stored.
              case when pg_column_size(o.payload) > 4 * largest
                        or pg_column_size(o.payload) < 2048 and pg_column_compression(o.payload) is null
                   then pg_column_size(o.payload)
                   else coalesce(octet_length(o.payload::text), 0) end as size
         from public.sync_outbox as o
        where o.id = i.id and o.status::text in ('PENDING', 'FAILED') and o.next_attempt_at <= moment
          for update skip locked) as o
     limit room
  ), weighed as materialized (
    select f.*, sum(case when f.size <= largest then f.size end) over (order by f.n) as up_to_here from free as f
  ), had as materialized (
    select w.*, pg_try_advisory_xact_lock(hashtext(w.id::text)) as got
      from weighed as w
     where coalesce(w.up_to_here, 0) - case when w.size <= largest then w.size else 0 end < bytes
  )
  select array_agg(h.id order by h.n) filter (where h.got), array_agg(h.size order by h.n) filter (where h.got),
         coalesce(sum(h.size) filter (where h.got and h.size <= largest), 0),
         array_agg(h.id) filter (where not h.got), max(h.place) filter (where h.got),
         (select max(f.n) from free as f), count(*) < (select count(*) from free)
    into locked, sizes, weight, refused, furthest, tried, is_cut
    from had as h;
end $$;


-- Of items whose worker was lost only a few are claimed at once, and at last one alone: a quarter of the slots after the
-- first loss, a sixteenth after the second, and from the third on only at a `trial`; those are the `suspects`. `lost` says
-- how many with one loss and with two were seen earlier in the claim. Returns those that fit, and whether any does not.
create or replace function public.sync_outbox_fit(
  ids uuid[], ids_of uuid[], losses integer[], slots integer, trial boolean,
  inout lost integer[], out fit uuid[], out fit_of uuid[], out suspects uuid[], out suspects_of uuid[],
  out is_cut boolean
)
language plpgsql
as $$
begin
  select array_agg(f.id order by f.n) filter (where f.is_fit), array_agg(f.w order by f.n) filter (where f.is_fit),
         array_agg(f.id) filter (where f.losses >= 3), array_agg(f.w) filter (where f.losses >= 3),
         coalesce(bool_or(not f.is_fit), false),
         array[lost[1] + count(*) filter (where f.losses = 1), lost[2] + count(*) filter (where f.losses = 2)]
    into fit, fit_of, suspects, suspects_of, is_cut, lost
    from (
      select i.*,
             case when trial or i.losses >= 3 then trial and i.losses >= 3
                  when i.losses = 0 then true
                  else lost[i.losses] + row_number() over (partition by i.losses order by i.n)
                       <= greatest(1, slots >> (2 * i.losses)) end as is_fit
        from unnest(ids, ids_of, losses) with ordinality as i (id, w, losses, n)) as f;
end $$;


-- The states of some sources that lie below the floor and are due, `most` at most, and their workspaces; locked.
create or replace function public.sync_outbox_outdated(
  of uuid[], keys text[], most integer, moment timestamptz,
  out outdated uuid[], out outdated_of uuid[]
)
language plpgsql
as $$
begin
  select array_agg(l.id), array_agg(distinct l.w) into outdated, outdated_of
    from (
      select x.w, o.id
        from unnest(of, keys) as x (w, key)
        left join lateral (
          select s.floor_seq from public.sync_sources as s
           where s.workspace_id = x.w and s.source_key = x.key limit 1) as s on true
       cross join lateral (
         select o.id
           from public.sync_outbox as o
          where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.workspace_id = x.w
            and public.sync_source_key(o.payload, o.id) = x.key and o.seq < coalesce(s.floor_seq, 0)
            and o.status::text <> 'PROCESSING' and o.operation <> 'REBUILD_ALL' and o.next_attempt_at <= moment
            and not exists (select from public.sync_set_aside as a where a.item_id = o.id and a.retry_at > moment)
          order by public.sync_source_key(o.payload, o.id), o.seq desc
            for update skip locked) as o
       limit most) as l;
end $$;
