-- What an older worker has locked takes no room in a claim, as the head of sync_outbox_reserve always said.
--
-- It tried the locks of as many rows as there was room for, and no further. So where a claim had room for one item (after a
-- refusal that held everybody one is tried), and one in front of it was locked by an older worker for long, the rows behind
-- it were not seen, and the claim said that there was nothing. Now it goes on with the rest of the rows until the room is
-- filled. Name, arguments and result are the same. In the common case no lock is refused, and the loop is gone through once.
create or replace function public.sync_outbox_reserve(
  ids uuid[], room integer, bytes bigint, largest integer, moment timestamptz,
  out locked uuid[], out sizes integer[], out weight bigint, out refused uuid[], out furthest bigint, out tried integer,
  out is_cut boolean
)
language plpgsql
as $$
declare
  got record;
begin
  weight := 0;
  tried := 0;
  loop
    with free as materialized (
      select i.n, o.*
        from unnest(ids[tried + 1:]) with ordinality as i (id, n)
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
       limit room - coalesce(cardinality(locked), 0)
    ), weighed as materialized (
      select f.*, sum(case when f.size <= largest then f.size end) over (order by f.n) as up_to_here from free as f
    ), had as materialized (
      select w.*, pg_try_advisory_xact_lock(hashtext(w.id::text)) as got
        from weighed as w
       where coalesce(w.up_to_here, 0) - case when w.size <= largest then w.size else 0 end < bytes - weight
    )
    select array_agg(h.id order by h.n) filter (where h.got) as locked,
           array_agg(h.size order by h.n) filter (where h.got) as sizes,
           coalesce(sum(h.size) filter (where h.got and h.size <= largest), 0) as weight,
           array_agg(h.id) filter (where not h.got) as refused, max(h.place) filter (where h.got) as furthest,
           (select max(f.n) from free as f) as tried, count(*) < (select count(*) from free) as is_cut
      into got
      from had as h;
    locked := locked || got.locked;
    sizes := sizes || got.sizes;
    weight := weight + got.weight;
    refused := refused || got.refused;
    furthest := greatest(furthest, got.furthest);
    tried := tried + coalesce(got.tried, 0);
    is_cut := got.is_cut;
    exit when got.refused is null or is_cut or tried >= cardinality(ids);
  end loop;
end $$;
