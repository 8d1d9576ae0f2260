-- Dead letters by workspace and cause: requeued when the cause is gone (a connection comes back), listed for a person.
-- transactional: false
create index concurrently if not exists sync_outbox_dead_letter
  on public.sync_outbox (workspace_id, failure_code)
  where status = 'DEAD_LETTER';
