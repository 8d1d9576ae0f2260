-- name: holders
-- The sessions that hold the claim's lock, (718300, 0), and the gate's, (718300, 1). Of other roles' sessions Postgres
-- tells the name, and the age of their transactions only to a role that may read all statistics. A prepared transaction
-- has no session.
select l.objid::integer as number, l.pid, l.virtualtransaction as transaction, l.mode = 'ExclusiveLock' as exclusive,
       coalesce(a.application_name, case when l.pid is null then 'a prepared transaction' else '' end) as application,
       extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::double precision as seconds
  from pg_catalog.pg_locks as l
  left join pg_catalog.pg_stat_activity as a on a.pid = l.pid
 where l.locktype = 'advisory' and l.classid = 718300 and l.objid in (0, 1) and l.objsubid = 2 and l.granted
   and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
 order by l.objid, l.pid;
