-- Off the hot path, now and then.

-- name: clean
-- One portion of what was settled long ago; returns how many rows went.
select public.sync_outbox_cleanup_chunk(%(days)s::integer, %(rows)s::integer)

-- name: backlog
-- For how long the oldest due item has waited, and how many workspaces have one.
select coalesce(max(-first_due_in), 0)::double precision, count(*)
  from public.sync_outbox_ring()
 where first_due_in <= 0

-- name: brakes
select count(*) from public.sync_brakes where released_at is null
