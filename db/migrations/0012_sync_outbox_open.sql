-- The claim: the newest open item of a source, and the next source of a workspace. Queries must spell out the list of
-- statuses as it stands here, or the planner cannot prove that the index serves them.
-- transactional: false
create index concurrently if not exists sync_outbox_open
  on public.sync_outbox (workspace_id, public.sync_source_key(payload, id), seq desc)
  where status in ('PENDING', 'FAILED', 'PROCESSING');
