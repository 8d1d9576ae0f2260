-- The claim, put together of the steps in 0028_claim_looks.sql, which argues their plans.

-- Claims up to `slots` items: returns a row for each, and a last one without an id whose payload is the report.
--
--   workspaces  where to look, in this order; null to read the ring and to look at the first `width` of it that are due,
--               not `excluded`, and come after `past`. Not where the brake has stopped
--   cursors     beside each workspace: null, or the source key behind which to look for more by key (0021_claim.sql)
--   due_rows    how many due rows to read in all, `key_rows` how many keys; divided among the workspaces
--   ceiling     most attempts, whatever the row says
--   lease       the caller's session's
--   trial       claim only what lost its worker three times; otherwise that is left out
--   bytes       how many bytes of payloads to return at most, but for the first
--   largest     the largest payload to return
--
-- The report: busy (somebody else is claiming: nothing was looked at), ring, looked (for each workspace: its id, whether
-- there may be more, the last key, null at the end, whether more rows are due than were read), superseded (how many
-- rows), tidied (their workspaces), refused (ids that an older worker has locked), aside (what was set aside: id,
-- workspace, SQLSTATE, constraint), cut (whether `bytes` or losses kept anything back), trials (workspaces with
-- something that waits for a trial), stopped (by the brake), last_place (that was given out), untold (whether there is a
-- gap in the order that no log tells of yet).
create or replace function public.sync_outbox_claim_next(
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
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  moment timestamptz;
  stopped uuid[];
  has_aside boolean;
  has_rebuild boolean;
  found_ring jsonb;
  rebuilds uuid[] := '{}';        -- that were taken
  tried uuid[] := '{}';           -- all that were to be taken or ended
  barred uuid[] := '{}';          -- workspaces in which a rebuild bars the rest
  trials uuid[] := '{}';
  page_rows integer;
  page_keys integer;
  page record;
  found record;
  more uuid[] := '{}';            -- workspaces in which there may be more to claim
  last_of uuid[];                 -- where the look by key stopped: workspaces,
  last_keys text[];               -- and keys
  reached integer := 0;           -- so many of the sources were looked up
  portion integer;
  room integer := slots;
  heads record;
  lost integer[] := '{0,0}';
  suspects uuid[] := '{}';        -- that lost their worker three times: ids,
  suspects_of uuid[] := '{}';     -- and workspaces
  late_of uuid[] := '{}';
  late_keys text[] := '{}';
  got record;
  chosen uuid[] := '{}';
  sizes integer[] := '{}';
  weight bigint := 0;
  furthest bigint;
  refused uuid[] := '{}';
  is_cut boolean := false;
  outdated uuid[] := '{}';
  outdated_of uuid[] := '{}';
  superseded integer := 0;
  taken uuid[] := '{}';
  aside jsonb := '[]';
begin
  if not pg_try_advisory_xact_lock(718300, 0) then
    payload := '{"busy": true}';
    return next;
    return;
  end if;
  moment := clock_timestamp();
  select array(select b.workspace_id from public.sync_brakes as b where b.released_at is null),
         exists (select from public.sync_set_aside),
         (select o.id
            from public.sync_outbox as o
           where o.operation = 'REBUILD_ALL' and o.status in ('PENDING', 'FAILED', 'PROCESSING')
           order by o.workspace_id, o.seq limit 1) is not null
    into stopped, has_aside, has_rebuild;

  if workspaces is null then
    select coalesce(jsonb_agg(jsonb_build_array(r.workspace_id, r.first_due_in, r.next_due_in)), '[]'),
           coalesce((array_agg(r.workspace_id order by past is not null and r.workspace_id <= past, r.workspace_id)
             filter (where r.first_due_in <= 0 and r.workspace_id <> all (excluded || stopped)))[:width], '{}')
      into found_ring, workspaces
      from public.sync_outbox_ring_of_due() as r;
  elsif workspaces && stopped then
    select coalesce(array_agg(w.id order by w.place), '{}'), array_agg(w.key order by w.place) into workspaces, cursors
      from unnest(workspaces, cursors) with ordinality as w (id, key, place)
     where w.id <> all (stopped);
  end if;

  if has_rebuild then
    select coalesce(r.taken, '{}'), coalesce(r.chosen || r.outdated, '{}'), coalesce(r.barred, '{}'),
           coalesce(r.trials, '{}')
      into rebuilds, tried, barred, trials
      from public.sync_outbox_claim_rebuilds(workspaces, moment, slots, lease, trial) as r;
    room := slots - cardinality(rebuilds);
  end if;

  -- The sources to look up: those on the page; in front of them up to eight whose payload is large, as to read the key of
  -- one takes milliseconds; behind them those that are found by key, where the caller asks for that.
  page_rows := greatest(8, due_rows / greatest(1, cardinality(workspaces)));
  page := public.sync_outbox_page(workspaces, barred, page_rows, moment);
  if page.large_ones is not null then
    found := public.sync_outbox_sources_of(page.large_ones[1:8], page.of, page.keys);
    page.of := found.of || page.of;
    page.keys := found.keys || page.keys;
    page.oldest := found.oldest || page.oldest;
  end if;
  if array_remove(cursors, null) <> '{}' then
    page_keys := greatest(8, key_rows / greatest(1, cardinality(workspaces)));
    found := public.sync_outbox_look_by_key(workspaces, cursors, barred, page_keys, moment, page.of, page.keys);
    page.of := page.of || found.of;
    page.keys := page.keys || found.keys;
    last_of := found.last_of;
    last_keys := found.last_keys;
  end if;

  -- Portion by portion, until the slots are filled: what may be claimed is found, and locked. A trial takes one, and says
  -- what else waits for one: it looks at all.
  while reached < cardinality(page.of) and room > 0 and weight < bytes loop
    portion := case when trial then cardinality(page.of) when reached = 0 then room else greatest(room, 32) end;
    heads := public.sync_outbox_heads(
      page.of[reached + 1:reached + portion], page.keys[reached + 1:reached + portion],
      page.oldest[reached + 1:reached + portion], moment, has_aside);
    reached := reached + portion;
    late_of := late_of || heads.late_of;
    late_keys := late_keys || heads.late_keys;
    if 0 < any (heads.able_losses) or trial then
      select f.fit, f.fit_of, suspects || f.suspects, suspects_of || f.suspects_of, f.lost, is_cut or f.is_cut
        into heads.able, heads.able_of, suspects, suspects_of, lost, is_cut
        from public.sync_outbox_fit(heads.able, heads.able_of, heads.able_losses, slots, trial, lost) as f;
    end if;
    continue when heads.able is null;
    got := public.sync_outbox_reserve(heads.able, room, bytes - weight, largest, moment);
    chosen := chosen || got.locked;
    sizes := sizes || got.sizes;
    weight := weight + got.weight;
    furthest := greatest(furthest, got.furthest);
    refused := refused || got.refused;
    is_cut := is_cut or got.is_cut;
    room := slots - cardinality(rebuilds) - cardinality(chosen);
    if room <= 0 or got.is_cut then
      more := more || heads.able_of[got.tried + 1:];
    end if;
  end loop;
  more := more || page.full_ones || page.large_of[9:] || page.of[reached + 1:];
  if suspects <> '{}' then
    trials := trials || array(
      select distinct s.w from unnest(suspects, suspects_of) as s (id, w) where s.id <> all (chosen));
  end if;

  if late_of <> '{}' then
    select coalesce(o.outdated, '{}'), coalesce(o.outdated_of, '{}') into outdated, outdated_of
      from public.sync_outbox_outdated(late_of, late_keys, due_rows, moment) as o;
    superseded := case outdated when '{}' then 0 else public.sync_outbox_put_away(outdated) end;
  end if;

  if chosen <> '{}' then
    if furthest > coalesce(pg_sequence_last_value('public.sync_outbox_seq'::regclass) + 1, 0)
       or exists (select from public.sync_order_gaps as g where g.high > g.low) then
      taken := public.sync_outbox_take_in_order(chosen, lease);
    else
      taken := public.sync_outbox_take(chosen, lease);
    end if;
  end if;

  -- What is set aside, and is not any more.
  if has_aside then
    begin
      lock table public.sync_set_aside in row exclusive mode nowait;
      delete from public.sync_set_aside as d
       where d.item_id in (
         select a.item_id
           from public.sync_set_aside as a
          where a.item_id = any (rebuilds || taken) or (a.item_id = any (outdated) and a.retry_at <= moment)
            for update skip locked);
    exception when lock_not_available then
      null;  -- what is claimed or ended is not looked up there; housekeeping forgets it
    end;
  end if;
  tried := tried || chosen || outdated;
  if cardinality(rebuilds) + cardinality(taken) + superseded < cardinality(tried) then
    select coalesce(jsonb_agg(jsonb_build_array(a.item_id, a.workspace_id, a.sqlstate, a.constraint_name)), '[]')
      into aside
      from public.sync_set_aside as a
     where a.refused_at >= moment and a.item_id = any (tried);
  end if;
  if cardinality(taken) < cardinality(chosen) then
    select array_agg(c.id order by c.n), array_agg(c.size order by c.n) into chosen, sizes
      from unnest(chosen, sizes) with ordinality as c (id, size, n)
     where c.id = any (taken);
  end if;

  return query
  select o.id, o.workspace_id, k.key, o.seq, o.operation::text,
         case when k.size <= largest then o.payload end, k.size::bigint,
         coalesce(o.attempts, 0), least(o.max_attempts, ceiling), coalesce(o.losses, 0)::integer,
         case when isfinite(o.created_at) then date_part('epoch', moment - o.created_at) else 0 end,
         o.parent_id is not null, coalesce(s.floor_seq, 0), coalesce(s.generation, 0),
         coalesce(s.google_event_id, b.google_event_id),
         case when s.google_event_id is null then b.calendar_id else s.calendar_id end, s.etag,
         coalesce(s.cancelled, false), coalesce(s.reopen, false), coalesce(s.strays, '{}'),
         left(coalesce(c.refresh_token_encrypted, ''), 8192)
    from unnest(rebuilds || chosen, array_fill(null::integer, array[cardinality(rebuilds)]) || sizes) as t (id, size)
   cross join lateral (select o.* from public.sync_outbox as o where o.id = t.id limit 1) as o
   cross join lateral (
     select case when o.operation = 'REBUILD_ALL' then 'REBUILD_ALL'
                 else public.sync_source_key(o.payload, o.id) end as key,
            coalesce(t.size, octet_length(o.payload::text), 0) as size) as k
   cross join lateral (
     select c.refresh_token_encrypted from public.google_connections as c
      where c.workspace_id = o.workspace_id limit 1) as c
    left join lateral (
      select s.* from public.sync_sources as s
       where s.workspace_id = o.workspace_id and s.source_key = k.key limit 1) as s on true
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
         and length(b.google_event_id) between 1 and 1024 and length(b.calendar_id) between 1 and 1024 limit 1) as b
      on true;

  payload := jsonb_build_object(
    'ring', found_ring,
    'superseded', superseded,
    'tidied', outdated_of,
    'refused', refused,
    'cut', is_cut,
    'trials', trials,
    'aside', aside,
    'looked', (
      select coalesce(jsonb_agg(jsonb_build_array(
               w.id, coalesce(w.id = any (more), false),
               (select k.key from unnest(last_of, last_keys) as k (w, key) where k.w = w.id),
               coalesce(w.id = any (page.full_ones), false))), '[]')
        from unnest(workspaces) as w (id)),
    'stopped', stopped,
    'last_place', coalesce(
      pg_sequence_last_value('public.sync_outbox_seq'::regclass) + 1, public.sync_outbox_last_place()),
    'untold', exists (select from public.sync_order_gaps as g where g.told_at is null));
  return next;
end $$;
