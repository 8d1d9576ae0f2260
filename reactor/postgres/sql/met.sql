-- What waiting items have met when they were tried. An item that was released keeps the reason, and is due again some
-- time later; the items behind it were not tried. So of each workspace the first and the last by their due times are
-- looked at, two look-ups in the index of what is due, whatever waits there.

-- name: met
-- By reason: of the first `cap` + 1 workspaces with something open, those that are connected and not stopped.
with recursive ring as (
  (select o.workspace_id as w, 0 as n from public.sync_outbox as o
    where o.status in ('PENDING', 'FAILED') and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
    order by o.workspace_id limit 1)
  union all
  select f.w, ring.n + 1 from ring cross join lateral (
    select o.workspace_id as w from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id > ring.w and %(workspace)s::uuid is null
     order by o.workspace_id limit 1) as f
   where ring.n < %(cap)s
)
select left(t.last_error, 200) as error, count(distinct r.w)::integer as workspaces,
       min(r.w::text)::uuid as workspace,
       max(extract(epoch from now() - t.created_at))::double precision as waited
  from ring as r
  join public.google_connections as c on c.workspace_id = r.w and c.is_valid
 cross join lateral (
   (select o.last_error, o.created_at from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.w order by o.next_attempt_at limit 1)
   union all
   (select o.last_error, o.created_at from public.sync_outbox as o
     where o.status in ('PENDING', 'FAILED') and o.workspace_id = r.w order by o.next_attempt_at desc limit 1)) as t
 where t.last_error is not null and isfinite(t.created_at)
   and not exists (select from public.sync_brakes as b where b.workspace_id = r.w and b.released_at is null)
 group by 1 order by 2 desc, 1 limit %(top)s;
