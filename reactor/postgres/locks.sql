-- Who holds what: advisory locks of this database, by the keys of DESIGN: items are one bigint, everything else a pair.

-- name: locks
-- Every item lock that is held, with the item if it is PROCESSING, and every PROCESSING item whose lock nobody holds. A
-- key is a hash of the id: found by hashing the few ids that are PROCESSING.
with held as materialized (
  select ((l.classid::bigint << 32) | l.objid::bigint) as key, l.pid
    from pg_catalog.pg_locks as l
   where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
     and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
), busy as materialized (
  select o.id, o.workspace_id, o.operation::text, public.sync_source_key(o.payload, o.id) as source, o.claim_no,
         o.updated_at, pg_catalog.hashtext(o.id::text)::bigint as key
    from public.sync_outbox as o
   where o.status = 'PROCESSING'
   limit 10000
)
select b.workspace_id as workspace, b.id as item, b.operation, b.source, coalesce(h.key, b.key) as key, h.pid,
       a.application_name as application, host(a.client_addr) as client,
       case when isfinite(b.updated_at)
            then greatest(extract(epoch from clock_timestamp() - b.updated_at), 0)::double precision end as age,
       case when b.id is null then 'lock without item'
            when h.pid is null and b.claim_no is null then 'older worker, no lock'
            when h.pid is null then 'orphan'
            when b.claim_no is null then 'older worker'
            else 'reactor' end as holder
  from busy as b
  full join held as h on h.key = b.key
  left join pg_catalog.pg_stat_activity as a on a.pid = h.pid
 where b.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null
 order by age desc nulls last, key;
