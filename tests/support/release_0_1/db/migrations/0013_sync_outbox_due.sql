-- The claim: what is due longest in a workspace; items in back-off cost nothing.
-- transactional: false
create index concurrently if not exists sync_outbox_due
  on public.sync_outbox (workspace_id, next_attempt_at)
  where status in ('PENDING', 'FAILED');
