-- The barrier: while a workspace has an open rebuild, nothing else of it is claimed.
-- transactional: false
create index concurrently if not exists sync_outbox_rebuild
  on public.sync_outbox (workspace_id, seq)
  where operation = 'REBUILD_ALL' and status in ('PENDING', 'FAILED', 'PROCESSING');
