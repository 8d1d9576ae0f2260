-- A row that gets a new place stays below what was written after it.
--
-- 0026_order.sql gives a row of another time the next number of the sequence. But that row is old: while it gets its
-- place, a writer may have drawn one for a newer state of the same source already, and may not have committed yet. Then
-- the older row lay above the newer one, which was put away as outdated: an update was lost. Now a mending reserves
-- places for such rows.
--
-- *The region.* A mending moves the sequence over a gap, (low, high], as before, and then over a *region*, (high, top],
-- for rows from before the mending. So they lie above every floor and every place of the other time that the mending
-- knows, and below every place that is drawn after it, whether that is visible yet or not: who draws a place after the
-- mending is newer than who drew it before. A place in the region follows from the gap and from when the row was
-- created. So there is no second sequence that a backup, a logical replica or TRUNCATE ... RESTART IDENTITY could take
-- back, and no two replicas disagree. The middle of the region is the moment of the mending. In the 18 minutes before it
-- two places are a microsecond, which is what created_at has; before that they are a fiftieth of a second, for 248 days;
-- what is older lies at the lower end. Rows of a source that are seen together get different places, in the order of
-- their age (those of one transaction in the order of their places). A row that lies in the region already never goes
-- down, as its place may have been shown.
--
-- *Which rows go there.* A row that is met and comes from before the newest mending; with it all open rows of its
-- source that do, by age. Rows that were drawn after the mending keep their places. A row below a floor in the region
-- that has not been there itself, because it was committed late or put back by a person, gets its place by its age too,
-- and then it is newer than the floor, or it ends. That is decided in the region in which the floor lies, also after
-- later mendings. A row of the same age as its floor is sent: it was committed later, and writers of a source wait for
-- each other.
--
-- *No region is used for two times.* The sequence is never below a region that is known: where it is, that is proof as
-- a floor is, and it is mended. Where sync_order_gaps was taken back, a region may be unknown. Then its places are like
-- all others of the other time. They may be ahead of the sequence, in a floor, a row or at Google, and then the next
-- mending goes beyond them. Or the sequence has passed them: then the event at Google shows a place that nothing here
-- explains (reactor/postgres/settling.py), and a mending is made for it, unless the newest region lies above it
-- already. (Before, the sequence was not moved then, and the row got its next number.)
--
-- *Children of rebuilds.* The gap, the region and the sequence go on by twos from the same number, so the places
-- between are for children there too. A child that met a place of another time at Google lies just beyond the newest
-- open row or dead letter that it lay beyond before, or else at the lower end of the region: below every row that its
-- rebuild has not seen.
--
-- *The end of the numbers.* A mending takes 2^32 places for the gap and 2^33 for the region; 560,000 of them fit
-- between the clock and 2^53. A gap ends at 2^53 at the latest, or where the sequence was beyond it already; its region
-- may lie above.
--
-- *What stays as it was.*
--   - A place that the sequence has not given out, of an application that writes `seq` itself. No mending is made for
--     it, or such an application would drag the sequence to its end. The row, and the younger ones of its source, get
--     numbers of the sequence, by age. A state of this source that has drawn its place by then and commits afterwards
--     lies below, and is lost. So `seq` is to be left to its default. (Such a row from before the newest mending goes
--     to the region.)
--   - Between rows from before a mending age decides, and created_at is when a transaction began. Of two transactions
--     of one source that overlap, and whose rows wait at the mending or come after it, the one that began first and
--     wrote last counts as the older one.
--   - Where the sequence falls back and the tables do not, floors of this time come to lie in the gap, also those of
--     items that were in flight. They look like floors of another time, and an older open row of such a source like a
--     newer one.
--   - A gap from before this release has no region. Until the next mending its rows get numbers of the sequence.
--   - A replica of an older release gives an item that met a place of another time a number of the sequence, by itself.
--     All else it asks the functions below for; their names, arguments and results are the same.
do $$
begin
  if exists (
    select from pg_catalog.pg_attribute
     where attrelid = 'public.sync_order_gaps'::regclass and attname = 'top' and not attisdropped
  ) then
    return;
  end if;
  perform set_config('lock_timeout', '2s', true);
  alter table public.sync_order_gaps add column if not exists top bigint;
end $$;

comment on column public.sync_order_gaps.top is
  'calendar-sync reactor: places from high (exclusive) to top are for rows from before; null where none are';

-- As in 0026_order.sql, with a region. For GOOGLE a place that the sequence has passed is a reason too, unless the newest
-- region lies above it.
create or replace function public.sync_order_mend(cause text, met bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off  -- what is settled is many rows, and has no index that would serve
as $$
declare
  bound constant bigint := 9007199254740992;
  step constant bigint := 4294967296;
  region constant bigint := 8589934592;
  furthest bigint;
  highest_floor bigint;
  newest public.sync_order_gaps;
  last bigint;
  beyond bigint;
  known_file oid;
  old_ones uuid[];
begin
  perform pg_advisory_xact_lock(718300, 4);
  select max(s.floor_seq), max(s.floor_seq) filter (where s.floor_seq <= bound) into highest_floor, furthest
    from public.sync_sources as s;
  select g.* into newest from public.sync_order_gaps as g where g.high > g.low order by g.high desc limit 1;
  furthest := greatest(
    furthest,
    coalesce(newest.top, newest.high),
    case when met <= bound then met end,
    (select max(o.seq) from public.sync_outbox as o
      where o.status in ('PENDING', 'FAILED', 'PROCESSING') and o.parent_id is null and o.seq <= bound),
    (select max(o.seq) from public.sync_outbox as o
      where o.status = 'DEAD_LETTER' and o.parent_id is null and o.seq <= bound));
  last := public.sync_outbox_last_place();
  known_file := (select g.file from public.sync_order_gaps as g order by g.mended_at desc limit 1);
  if known_file is null then
    insert into public.sync_order_gaps (high, low, cause, file, told_at)
    values (0, 0, 'FIRST', public.sync_outbox_seq_file(), clock_timestamp());
  end if;
  if last > 4611686018427387904
     or not coalesce(
       greatest(furthest, highest_floor) > last or known_file <> public.sync_outbox_seq_file()
       or cause = 'GOOGLE' and met <= bound and (newest.top is null or met > newest.high), false) then
    return false;
  end if;
  beyond := greatest(furthest, last + step, least(extract(epoch from clock_timestamp()) * 1000000, bound)::bigint);
  perform setval('public.sync_outbox_seq'::regclass, beyond + region);
  insert into public.sync_order_gaps (high, low, cause, file, top)
  values (beyond, last, cause, public.sync_outbox_seq_file(), beyond + region);

  update public.sync_sources set floor_seq = beyond where floor_seq > beyond;
  begin
    update public.sync_outbox set seq = beyond where status = 'DEAD_LETTER' and seq > beyond;
    select array_agg(o.id) into old_ones
      from public.sync_outbox as o
      join public.sync_sources as s
        on s.workspace_id = o.workspace_id
       and s.source_key = case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                               else public.sync_source_key(o.payload, o.id) end
     where o.status = 'DEAD_LETTER' and o.parent_id is null and o.seq <= last and s.floor_seq > last;
    if old_ones is not null then
      perform public.sync_outbox_supersede(old_ones);
    end if;
  exception when assert_failure or others then
    null;  -- a row that the server does not let us change; the order of all others is not to wait for it
  end;
  return true;
end $$;

-- The newest mending, null for none; mends first where the sequence is below it.
create or replace function public.sync_outbox_newest_gap()
returns public.sync_order_gaps
language plpgsql
as $$
declare
  newest public.sync_order_gaps;
begin
  select g.* into newest from public.sync_order_gaps as g where g.high > g.low order by g.high desc limit 1;
  if coalesce(newest.top, newest.high) > public.sync_outbox_last_place() then
    perform public.sync_order_mend('CLAIM', null);
    select g.* into newest from public.sync_order_gaps as g where g.high > g.low order by g.high desc limit 1;
  end if;
  return newest;
end $$;

-- The open rows of an item's source that are not in flight, and the item, in the order in which they were created. A
-- child of a rebuild is as old as the newest row that it lies beyond.
create or replace function public.sync_outbox_kin(item uuid)
returns table (id uuid, seq bigint, is_child boolean, age timestamptz, n bigint)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  child public.sync_outbox;
  newest timestamptz;
begin
  select o.* into child
    from public.sync_outbox as o where o.id = item and o.parent_id is not null and o.operation <> 'REBUILD_ALL';
  if child.id is not null then
    select max(k.created_at) into newest
      from (
        select n.seq, n.created_at
          from public.sync_outbox as n
         where n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = child.workspace_id
           and public.sync_source_key(n.payload, n.id) = public.sync_source_key(child.payload, child.id)
           and n.parent_id is null and n.operation <> 'REBUILD_ALL'
        union all
        select n.seq, n.created_at
          from public.sync_outbox as n
         where n.status = 'DEAD_LETTER' and n.workspace_id = child.workspace_id
           and public.sync_source_key(n.payload, n.id) = public.sync_source_key(child.payload, child.id)
           and n.parent_id is null and n.operation <> 'REBUILD_ALL') as k
     where k.seq < child.seq and isfinite(k.created_at);
  end if;
  return query
  select k.id, k.seq, k.is_child, k.age, row_number() over (order by k.age nulls first, k.is_child, k.seq, k.id)
    from public.sync_outbox as o
   cross join lateral (
     select n.id, n.seq, false as is_child, case when isfinite(n.created_at) then n.created_at end as age
       from public.sync_outbox as n
      where o.operation <> 'REBUILD_ALL' and n.operation <> 'REBUILD_ALL'
        and n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = o.workspace_id
        and public.sync_source_key(n.payload, n.id) = public.sync_source_key(o.payload, o.id)
        and (n.status::text <> 'PROCESSING' or n.id = o.id) and n.parent_id is null
     union all
     select n.id, n.seq, false, case when isfinite(n.created_at) then n.created_at end
       from public.sync_outbox as n
      where o.operation = 'REBUILD_ALL' and n.operation = 'REBUILD_ALL'
        and n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = o.workspace_id
        and (n.status::text <> 'PROCESSING' or n.id = o.id)
     union all
     select child.id, child.seq, true, newest where child.id = o.id) as k
   where o.id = item;
end $$;

-- The places, in the region above a gap, of an item and the rows of its source that belong there and have another.
create or replace function public.sync_outbox_places_by_age(item uuid, gap bigint, out ids uuid[], out places bigint[])
language plpgsql
as $$
declare
  near constant bigint := 1073741824;  -- microseconds, 18 minutes
begin
  -- Each lies two above the one before at least, and a child one further.
  select coalesce(array_agg(p.id order by p.n), '{}'), coalesce(array_agg(p.place order by p.n), '{}')
    into ids, places
    from (
      select w.id, w.seq, w.n, 2 * w.n + max(w.place - 2 * w.n) over (order by w.n) + w.is_child::integer as place
        from (
          select k.id, k.seq, k.n, k.is_child,
                 greatest(
                   case when k.seq > g.high and k.seq <= g.top then k.seq - k.is_child::integer end,
                   g.high + 4294967296 - 2 * case
                     when b.before < near then greatest(b.before, - near)
                     else least(near + coalesce(floor((b.before - near) / 20000), near), 2 * near - 1) end::bigint
                 ) as place
            from public.sync_order_gaps as g
           cross join lateral public.sync_outbox_kin(item) as k
           cross join lateral (select extract(epoch from g.mended_at - k.age) * 1000000 as before) as b
           where g.high = gap
             and (k.seq between 0 and g.top
                  or (k.seq < 0 or k.seq > public.sync_outbox_last_place())
                     and coalesce(k.age, '-infinity') <= g.mended_at)) as w) as p
   where p.place <> p.seq;
end $$;

-- Gives places to rows, in the order in which they are given, and says to how many. What the server refuses is set aside.
create or replace function public.sync_outbox_place_at(ids uuid[], places bigint[])
returns integer
language plpgsql
set lock_timeout = '50ms'
as $$
declare
  n integer;
  placed integer := 0;
  state text;
  broken text;
begin
  for n in 1..cardinality(ids) loop
    begin
      update public.sync_outbox as o
         set seq = places[n]
       where o.id = ids[n];
      if not found then raise no_data_found; end if;
      placed := placed + 1;
    exception
      when query_canceled then raise query_canceled using detail = ids[n];
      when assert_failure or others then
        get stacked diagnostics state = returned_sqlstate, broken = constraint_name;
        perform public.sync_outbox_set_aside(ids[n], state, broken);
    end;
  end loop;
  return placed;
end $$;

-- Gives places to those that have none, of all open rows of the source of each of these, in the order in which they were
-- created; returns those of these that are the newest then. For the others we have to look once more.
create or replace function public.sync_outbox_order_by_age(ids uuid[])
returns uuid[]
language plpgsql
as $$
declare
  each_id uuid;
  gap public.sync_order_gaps := public.sync_outbox_newest_gap();
  wanted record;
  rest uuid[];
  head uuid;
  is_placed boolean;
  newest uuid[] := '{}';
begin
  foreach each_id in array ids loop
    is_placed := true;
    if gap.top is not null then
      wanted := public.sync_outbox_places_by_age(each_id, gap.high);
      is_placed := public.sync_outbox_place_at(wanted.ids, wanted.places) = cardinality(wanted.ids);
    end if;
    -- From the oldest on that still has none.
    select array_agg(k.id order by k.n) filter (where k.is_after), (array_agg(k.id order by k.seq desc))[1]
      into rest, head
      from (
        select f.id, f.n, f.seq, bool_or(
                 f.seq < 0 or f.seq > public.sync_outbox_last_place() or gap.top is null and f.seq <= gap.high
               ) over (order by f.n) as is_after
          from public.sync_outbox_kin(each_id) as f) as k;
    if rest is not null then
      is_placed := public.sync_outbox_place_anew(rest) = cardinality(rest) and is_placed;
      head := rest[cardinality(rest)];
    end if;
    if is_placed and each_id = head then
      newest := newest || each_id;
    else
      perform pg_catalog.pg_notify('sync_outbox', '');
    end if;
  end loop;
  return newest;
end $$;

-- Ends rows that lie below their source's floor, as sync_outbox_supersede does; returns how many. Those that may be newer
-- than their floor get a place by their age instead: it comes from another time, or from a row that was placed like that.
create or replace function public.sync_outbox_put_away(ids uuid[])
returns integer
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  highest_floor bigint;
  newer uuid[];
  gaps bigint[];
  unreserved uuid[];
  placeless uuid[];
  wanted record;
begin
  select max(s.floor_seq) into highest_floor
    from public.sync_outbox as o
    join public.sync_sources as s
      on s.workspace_id = o.workspace_id
     and s.source_key = case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                             else public.sync_source_key(o.payload, o.id) end
   where o.id = any (ids);
  if highest_floor > public.sync_outbox_last_place()
     or public.sync_outbox_seq_file() <> (
       select g.file from public.sync_order_gaps as g order by g.mended_at desc limit 1) then
    perform public.sync_order_mend('CLAIM', highest_floor);
  end if;
  perform public.sync_outbox_newest_gap();
  -- Of several mendings the first one whose gap or region has the floor; where only the times tell, the last one.
  select array_agg(o.id order by o.seq) filter (where o.seq >= 0 and m.top is not null),
         array_agg(m.high order by o.seq) filter (where o.seq >= 0 and m.top is not null),
         array_agg(o.id order by o.seq) filter (where o.seq >= 0 and m.top is null),
         array_agg(o.id) filter (where o.seq < 0)
    into newer, gaps, unreserved, placeless
    from public.sync_outbox as o
    left join public.sync_sources as s
      on s.workspace_id = o.workspace_id
     and s.source_key = case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                             else public.sync_source_key(o.payload, o.id) end
    left join lateral (
      select g.high, g.top
        from public.sync_order_gaps as g
       cross join lateral (
         select s.floor_seq > g.high and s.floor_seq <= g.top
                or s.floor_seq > g.low and s.floor_seq <= g.high and o.seq <= g.low as is_behind) as f
       where g.high > g.low and o.seq <= g.high
         and (f.is_behind or o.created_at <= g.mended_at and o.created_at > s.updated_at)
       order by f.is_behind desc nulls last, case when f.is_behind then g.high else - g.high end
       limit 1) as m on true
   where o.id = any (ids) and o.parent_id is null and (o.seq < 0 or m.high is not null);
  for n in 1..coalesce(cardinality(newer), 0) loop
    wanted := public.sync_outbox_places_by_age(newer[n], gaps[n]);
    perform public.sync_outbox_place_at(wanted.ids, wanted.places);
  end loop;
  if unreserved is not null then
    perform public.sync_outbox_place_anew(unreserved);
  end if;
  if placeless is not null then
    perform public.sync_outbox_order_by_age(placeless);
  end if;
  return public.sync_outbox_supersede(
    array(select unnest(ids) except select unnest(newer || unreserved || placeless)));
end $$;

-- Makes items PROCESSING under a lease, as sync_outbox_take does; first those get a place that have none.
create or replace function public.sync_outbox_take_in_order(ids uuid[], lease bigint)
returns uuid[]
language plpgsql
as $$
declare
  furthest bigint;
  last bigint;
  placeless uuid[];
begin
  select max(o.seq) into furthest from public.sync_outbox as o where o.id = any (ids) and o.parent_id is null;
  perform public.sync_outbox_newest_gap();
  last := public.sync_outbox_last_place();
  if furthest > last or exists (select from public.sync_order_gaps as g where g.high > g.low) then
    select array_agg(o.id) into placeless
      from public.sync_outbox as o
     where o.id = any (ids) and o.parent_id is null
       and (o.seq > last or exists (
         select from public.sync_order_gaps as g
          where o.seq > g.low and o.seq <= g.high or o.created_at <= g.mended_at and g.high > g.low and o.seq <= g.high));
    if placeless is not null then
      ids := array(select unnest(ids) except select unnest(placeless)) || public.sync_outbox_order_by_age(placeless);
    end if;
  end if;
  return public.sync_outbox_take(ids, lease);
end $$;

-- Gives places above what was met at Google to items that are ours, and to the rows of their sources from before the
-- mending that no other session has locked. The caller has called sync_order_mend before.
create or replace function public.sync_outbox_move_up(ids uuid[], leases bigint[])
returns void
language plpgsql
as $$
declare
  each_id uuid;
  gap public.sync_order_gaps := public.sync_outbox_newest_gap();
  wanted record;
  moved uuid[];
  places bigint[];
begin
  for each_id in
    select o.id
      from unnest(ids, leases) as i (id, lease_no)
      join public.sync_outbox as o on o.id = i.id and o.lease_no = i.lease_no
     order by o.id
       for no key update of o
  loop
    moved := '{}';
    if gap.top is not null then
      wanted := public.sync_outbox_places_by_age(each_id, gap.high);
      with free as materialized (
        select o.id from public.sync_outbox as o where o.id = any (wanted.ids) for no key update skip locked
      )
      select coalesce(array_agg(w.id order by w.n), '{}'), coalesce(array_agg(w.place order by w.n), '{}')
        into moved, places
        from unnest(wanted.ids, wanted.places) with ordinality as w (id, place, n)
       where w.id in (select f.id from free as f);
      perform public.sync_outbox_place_at(moved, places);
    end if;
    if each_id <> all (moved) then
      perform public.sync_outbox_place_anew(array[each_id]);
    end if;
  end loop;
end $$;
