-- Which session has which item: a lease is the advisory lock of a session that claims (db/migrations/0023_lease.sql), an
-- item's lock is an older worker's.

-- name: locks
-- Items that are PROCESSING, up to `cap` + 1, with the session that has each, and every item lock without such
-- an item. A key is a hash of the id: found by hashing the few ids that are PROCESSING. In the order of their index, or the
-- planner may look for so many in the table, where all others stand before them.
with busy as materialized (
  select o.id, o.workspace_id, o.operation::text, public.sync_source_key(o.payload, o.id) as source, o.claim_no,
         o.lease_no, o.updated_at, public.sync_item_key(o.id) as key
    from public.sync_outbox as o
   where o.status = 'PROCESSING' and (o.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
   order by o.workspace_id limit %(cap)s + 1
), leased as materialized (
  select b.*, h.pid from busy as b left join public.sync_lease_holders() as h on h.lease = (b.lease_no & 2147483647)
   where b.lease_no is not null
), locked as materialized (
  select b.id, b.workspace_id, b.operation, b.source, b.claim_no, b.lease_no, b.updated_at,
         coalesce(h.key, b.key) as key, h.pid
    from (select * from busy where lease_no is null) as b
    full join public.sync_item_holders() as h on h.key = b.key
), found as (
  select l.id, l.workspace_id, l.operation, l.source, l.updated_at, l.lease_no as key, l.pid,
         case when l.pid is null then 'orphan' else 'reactor' end as holder
    from leased as l
  union all
  select l.id, l.workspace_id, l.operation, l.source, l.updated_at, l.key, l.pid,
         case when l.id is null then 'lock without item'
              when l.pid is null and l.claim_no is null then 'older worker, no lock'
              when l.pid is null then 'orphan'
              when l.claim_no is null then 'older worker'
              else 'release 0.1' end
    from locked as l
   -- For an instant a claim has the lock of each item that it takes.
   where l.id is not null or l.pid not in (select h.pid from public.sync_lease_holders() as h)
)
select f.workspace_id as workspace, f.id as item, f.operation, f.source, f.key, f.pid,
       a.application_name as application, host(a.client_addr) as client,
       case when f.id is not null and isfinite(f.updated_at)
            then greatest(extract(epoch from clock_timestamp() - f.updated_at), 0)::double precision end as age,
       f.holder
  from found as f
  left join pg_catalog.pg_stat_activity as a on a.pid = f.pid
 where f.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
 order by age desc nulls last, key;
