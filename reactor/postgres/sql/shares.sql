-- Who shares the quota: reactor/core/dispatch/sharing.py argues it. (718303, n) is held, in common with others, by a
-- claims session that uses an n-th of the quota at most. A pair of integers, as the gate's key.

-- name: listen
-- A channel of its own: the calls of writers do not concern the session that settles.
listen sync_replicas;

-- name: publish
-- No session takes it exclusively, so it is granted at once. Taken twice it would have to be released twice.
select pg_catalog.pg_advisory_lock_shared(718303, %(divisor)s)
 where not exists (
   select from pg_catalog.pg_locks as l
    where l.locktype = 'advisory' and l.classid = 718303 and l.objid::bigint = %(divisor)s and l.objsubid = 2
      and l.pid = pg_catalog.pg_backend_pid());

-- name: retract
-- A part that is not used any more is free for others.
select pg_catalog.pg_advisory_unlock_shared(718303, %(divisor)s);

-- name: call
-- Has the other replicas count.
select pg_catalog.pg_notify('sync_replicas', '');

-- name: leave
-- The name says that this is no older replica, which publishes nothing either.
select pg_catalog.set_config('application_name', 'calendar-sync-reactor leaves', false),
       pg_catalog.pg_advisory_unlock_shared(718303, l.objid::bigint::integer)
  from pg_catalog.pg_locks as l
 where l.locktype = 'advisory' and l.classid = 718303 and l.objsubid = 2 and l.pid = pg_catalog.pg_backend_pid();

-- name: census
-- The smallest divisor of each of the others, and how many others there are that publish none: replicas of an older
-- release. A sweep asks it beside its orphans (shares.py, with_census).
with peers as materialized (
  select l.pid, min(l.objid::bigint) as divisor
    from pg_catalog.pg_locks as l
   where l.locktype = 'advisory' and l.classid = 718303 and l.objsubid = 2 and l.granted
     and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
   group by l.pid
)
select array(select p.divisor from peers as p where p.pid <> pg_catalog.pg_backend_pid()) as divisors,
       (select count(*) from pg_catalog.pg_stat_activity as a
         where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
           and pg_catalog.split_part(a.application_name, ',', 1) = 'calendar-sync-reactor claims'
           and a.pid not in (select p.pid from peers as p)) as older;
