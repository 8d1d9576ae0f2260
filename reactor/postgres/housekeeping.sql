-- Off the hot path, now and then.

-- name: clean
-- One portion of what was settled long ago; returns how many rows went.
select public.sync_outbox_cleanup_chunk(%(days)s::integer, %(rows)s::integer)

-- name: backlog
-- For how long the oldest due item has waited, and how many workspaces have one; how many items wait and how old the
-- oldest is, counted so far and no further; how many consents do not work; how full the queue of notifications is.
with due as (
  select coalesce(max(-first_due_in), 0)::double precision as oldest, count(*) as workspaces
    from public.sync_outbox_ring()
   where first_due_in <= 0
), counted as materialized (
  select o.workspace_id, o.created_at
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED')
   limit %(most)s
), pending as (
  select count(*) as items,
         coalesce(extract(epoch from pg_catalog.clock_timestamp() - min(o.created_at)), 0)::double precision as oldest
    from counted as o
    join public.google_connections as c on c.workspace_id = o.workspace_id and c.is_valid
)
select due.oldest, due.workspaces, pending.items, greatest(pending.oldest, due.oldest),
       (select count(*) from public.google_connections where not is_valid),
       pg_catalog.pg_notification_queue_usage()
  from due, pending;
