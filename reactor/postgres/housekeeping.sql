-- Off the hot path, now and then.

-- name: clean
-- One portion of what was settled long ago; returns how many rows went, or null where another replica is at it: two would
-- read the same rows and lock each other's. The lock is the statement's transaction's. CASE, because the portion must not
-- be deleted before the lock is there.
select case when pg_catalog.pg_try_advisory_xact_lock(718300, 3)
            then public.sync_outbox_cleanup_chunk(%(days)s::integer, %(rows)s::integer) end

-- name: backlog
-- For how long the oldest due item has waited, and how many workspaces have one.
select coalesce(max(-first_due_in), 0)::double precision, count(*)
  from public.sync_outbox_ring()
 where first_due_in <= 0
