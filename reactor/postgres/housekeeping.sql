-- Off the hot path, now and then.

-- name: clean
-- One portion of what was settled long ago; returns how many rows went.
select public.sync_outbox_cleanup_chunk(%(days)s::integer, %(rows)s::integer)
