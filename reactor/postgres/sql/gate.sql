-- The gate's key is (718300, 1): a pair of integers, so that it cannot meet an item's key, which is one bigint.

-- name: listen
-- Writers' triggers notify this channel (db/triggers.sql).
listen sync_outbox;

-- name: still_listening
-- A ping that also tells whether this is still the session that listens (a pooler may have swapped it).
select 1 from pg_catalog.pg_listening_channels() as channel where channel = 'sync_outbox';

-- name: ask
-- Waits for writers that kept silent, for as long as the session's lock_timeout.
select pg_catalog.pg_advisory_lock(718300, 1);

-- name: peer_is_armed
-- Writers share the lock; only a sleeping replica holds it exclusively.
select 1
from pg_catalog.pg_locks
where locktype = 'advisory' and classid = 718300 and objid = 1 and objsubid = 2
  and database = (select oid from pg_catalog.pg_database where datname = current_database())
  and mode = 'ExclusiveLock' and granted and pid <> pg_catalog.pg_backend_pid();

-- name: release
-- This session holds nothing else.
select pg_catalog.pg_advisory_unlock_all();

-- name: announce
-- Wakes the other replicas, as a writer would.
select pg_catalog.pg_notify('sync_outbox', '');

-- name: own_pid
-- So that we can tell our own notifications from those of others.
select pg_catalog.pg_backend_pid();
