-- One order that survives time travel.
--
-- A state's place, `seq`, is a number of sync_outbox_seq. What is remembered elsewhere may be ahead of that sequence: a
-- backup was restored, a failover lost commits, a cut-over by logical replication left the sequence behind, somebody ran
-- TRUNCATE ... RESTART IDENTITY, or a workspace came from another database. Then every new state lies below its source's
-- floor, or below the place that its event shows at Google, and would be put away as outdated.
--
-- *How it is found out.* A place that the sequence has not given out yet cannot come from a later state of this database.
-- So a floor above the last place that was given out is proof: the service looks at its start, and a claim looks at what
-- it is about to put away. The sequence may have passed the floors before anybody looks; so the service also remembers how
-- far it was, and the database in which file it lies, which is another one after a restart. Of a place that is met at Google a
-- later state leaves a trace here: a floor that is as high, an open row or a dead letter. Where there is none, nobody here
-- has written it (reactor/postgres/settling.py). The last place is always read after the row or the floor that it is
-- compared with, so a place that was given out meanwhile is no proof of anything.
--
-- *How it is mended.* The sequence moves ahead, once, beyond every place that any sequence of ours can have given out by
-- now: they start at 1 or at the microseconds since 1970, and nobody inserts a million rows a second for years; so that is
-- the clock's microseconds. What was jumped over is a *gap*, and is remembered. A floor in a gap comes from another time
-- than the rows that lie before the gap. Such a row is not outdated: it gets a new place, beyond the gap, when it is met,
-- also if it commits long after the mending. Nor is one that was created before the mending, but after its floor was
-- written. Dead letters of the other time that lay below their floor are put away at
-- once, since they could not be told from such rows later.
--
-- *The sequence is not dragged to its end.* The application may write any column, and so may anybody who has the event.
-- Nothing above 2^53 is a place: a floor above it is lowered, such a row is no reason to move the sequence, and at Google
-- it is written over. So a mending never sets the sequence higher than 2^53, a thousandth of what it has (or four thousand
-- million further, where it is there already).
--
-- *A place that the sequence never gave out is no place.* Whoever inserts need not be asked, no trigger looks. The claim
-- compares what it has chosen with the last place, once for all. A row beyond it, in a gap or from before a mending gives no
-- order; then all that is known is when the rows of its source were created, and they get new places in that order, before
-- anything is sent. So no floor and no event ever carries such a number. (A worker of release 0.1 does not look; the floor that it leaves is
-- mended.) A negative number is none either.
--
-- *Writers are not held up, and nothing goes backwards.* Moving a sequence is one atomic step that writers do not wait for.
-- Between reading it and moving it they may draw places; so it is moved by four thousand million at least, and those who
-- move it exclude each other by a lock, (718300, 4). What is drawn in that instant lies in the gap, and gets its place by
-- when it was created.

-- The first row is no gap (low = high): it says where the sequence was when somebody looked first.
create table if not exists public.sync_order_gaps (
  high bigint primary key,
  low bigint not null,
  cause text not null check (cause in ('FIRST', 'START', 'CLAIM', 'SEQUENCE', 'GOOGLE')),
  file oid not null,
  mended_at timestamptz not null default clock_timestamp(),
  told_at timestamptz
);

comment on table public.sync_order_gaps is
  'calendar-sync reactor: places from low (exclusive) to high that the sequence was moved over, and why';

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_order_gaps enable row level security;

-- The sequence goes on by twos. The places between are for the children of rebuilds: each lies just beyond the newest row
-- of its source that it is newer than, and never has an edit's place (reactor/postgres/rebuilds.py). Whoever draws a place
-- keeps a lock on the sequence to the end of its transaction, and this waits for them, for 2 s at most.
do $$
begin
  if (select s.seqincrement from pg_catalog.pg_sequence as s
       where s.seqrelid = 'public.sync_outbox_seq'::pg_catalog.regclass) = 1 then
    perform set_config('lock_timeout', '2s', true);
    alter sequence public.sync_outbox_seq increment by 2;
  end if;
end $$;

-- The last place that was given out, to a row or to a child beyond it. USAGE, which everybody has, is enough to ask.
create or replace function public.sync_outbox_last_place()
returns bigint
language sql
volatile
as $$
  select coalesce(
    pg_catalog.pg_sequence_last_value('public.sync_outbox_seq'::pg_catalog.regclass) + 1,
    (select s.seqstart - 1 from pg_catalog.pg_sequence as s
      where s.seqrelid = 'public.sync_outbox_seq'::pg_catalog.regclass))
$$;

-- The file in which the sequence lies: ALTER SEQUENCE ... RESTART and TRUNCATE ... RESTART IDENTITY begin another.
create or replace function public.sync_outbox_seq_file()
returns oid
language sql
volatile
as $$
  select pg_catalog.pg_relation_filenode('public.sync_outbox_seq'::pg_catalog.regclass)
$$;

grant execute on function public.sync_outbox_last_place(), public.sync_outbox_seq_file() to public;

-- Moves the sequence ahead where something is ahead of it; says whether it did.
--
--   cause  START: looked for; CLAIM: a floor was met; SEQUENCE: it has gone backwards; GOOGLE: an event was met
--   met    a place that was met, null for none
--
-- With the owner's rights: the reactor may draw places, and may not move the sequence by itself.
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
  furthest bigint;
  highest_floor bigint;
  last bigint;
  beyond bigint;
  known_file oid;
  old_ones uuid[];
begin
  perform pg_advisory_xact_lock(718300, 4);
  select max(s.floor_seq), max(s.floor_seq) filter (where s.floor_seq <= bound) into highest_floor, furthest
    from public.sync_sources as s;
  furthest := greatest(
    furthest,
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
     or not coalesce(greatest(furthest, highest_floor) > last or known_file <> public.sync_outbox_seq_file(), false) then
    return false;
  end if;
  beyond := greatest(furthest, last + step, least(extract(epoch from clock_timestamp()) * 1000000, bound)::bigint);
  perform setval('public.sync_outbox_seq'::regclass, beyond);
  insert into public.sync_order_gaps (high, low, cause, file)
  values (beyond, last, cause, public.sync_outbox_seq_file());

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

revoke all on function public.sync_order_mend(text, bigint) from public;

-- Gives new places to rows, in the order in which they are given; says to how many. What the server refuses is set aside.
create or replace function public.sync_outbox_place_anew(ids uuid[])
returns integer
language plpgsql
set lock_timeout = '50ms'
as $$
declare
  each_id uuid;
  placed integer := 0;
  state text;
  broken text;
begin
  foreach each_id in array ids loop
    begin
      update public.sync_outbox as o set seq = nextval('public.sync_outbox_seq') where o.id = each_id;
      if not found then raise no_data_found; end if;
      placed := placed + 1;
    exception
      when query_canceled then raise query_canceled using detail = each_id;
      when assert_failure or others then
        get stacked diagnostics state = returned_sqlstate, broken = constraint_name;
        perform public.sync_outbox_set_aside(each_id, state, broken);
    end;
  end loop;
  return placed;
end $$;

-- Gives new places to all open rows of the source of each of these, in the order in which they were created; returns those
-- of these that are the newest then. For the others somebody has to look once more.
create or replace function public.sync_outbox_order_by_age(ids uuid[])
returns uuid[]
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  each_id uuid;
  kin uuid[];
  newest uuid[] := '{}';
begin
  foreach each_id in array ids loop
    select array_agg(k.id order by case when isfinite(k.created_at) then k.created_at end nulls first, k.seq) into kin
      from public.sync_outbox as o
     cross join lateral (
       select n.id, n.created_at, n.seq
         from public.sync_outbox as n
        where o.operation <> 'REBUILD_ALL' and n.operation <> 'REBUILD_ALL'
          and n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = o.workspace_id
          and public.sync_source_key(n.payload, n.id) = public.sync_source_key(o.payload, o.id)
          and n.status::text <> 'PROCESSING' and n.parent_id is null
       union all
       select n.id, n.created_at, n.seq
         from public.sync_outbox as n
        where o.operation = 'REBUILD_ALL' and n.operation = 'REBUILD_ALL'
          and n.status in ('PENDING', 'FAILED', 'PROCESSING') and n.workspace_id = o.workspace_id
          and n.status::text <> 'PROCESSING') as k
     where o.id = each_id;
    if public.sync_outbox_place_anew(kin) = cardinality(kin) and kin[cardinality(kin)] = each_id then
      newest := newest || each_id;
    else
      perform pg_catalog.pg_notify('sync_outbox', '');
    end if;
  end loop;
  return newest;
end $$;

-- Ends rows that lie below their source's floor, as sync_outbox_supersede does; returns how many. Those whose floor comes
-- from another time are newer than it, and get a new place instead.
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
  placeless uuid[];
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
  select array_agg(o.id order by o.seq) filter (where o.seq >= 0), array_agg(o.id) filter (where o.seq < 0)
    into newer, placeless
    from public.sync_outbox as o
    left join public.sync_sources as s
      on s.workspace_id = o.workspace_id
     and s.source_key = case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                             else public.sync_source_key(o.payload, o.id) end
   where o.id = any (ids) and o.parent_id is null
     and (o.seq < 0 or exists (
       select from public.sync_order_gaps as g
        where (o.seq <= g.low and s.floor_seq > g.low and s.floor_seq <= g.high)
           or (g.high > g.low and o.created_at <= g.mended_at and o.created_at > s.updated_at)));
  if newer is not null then
    perform public.sync_outbox_place_anew(newer);
  end if;
  if placeless is not null then
    perform public.sync_outbox_order_by_age(placeless);
  end if;
  return public.sync_outbox_supersede(
    array(select unnest(ids) except select unnest(newer) except select unnest(placeless)));
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

-- The claim: the text of sync_outbox_claim_items (0025_claim_items.sql, which stays for replicas that call it) with these
-- two in the place of the ones that do not look at the order. What `migrate --check` looks for is:
-- create function public.sync_outbox_claim_in_order(
do $$
begin
  execute replace(replace(replace(
    pg_catalog.pg_get_functiondef('public.sync_outbox_claim_items'::pg_catalog.regproc),
    'sync_outbox_claim_items', 'sync_outbox_claim_in_order'),
    'public.sync_outbox_supersede(', 'public.sync_outbox_put_away('),
    'public.sync_outbox_take(', 'public.sync_outbox_take_in_order(');
end $$;
