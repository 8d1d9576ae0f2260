-- The claim: the newest open item of a source, and the next source of a workspace. Queries must spell out the list of
-- statuses as it stands here, or the planner cannot prove that the index serves them. And order by the whole key, also where it is one
-- (`... = 'task:1' order by sync_source_key(payload, id), seq desc limit 1`): behind a policy of row level security the
-- planner concludes nothing from an equality that is not leakproof, and sorts all items of the source for its newest.
-- transactional: false
create index concurrently if not exists sync_outbox_open
  on public.sync_outbox (workspace_id, public.sync_source_key(payload, id), seq desc)
  where status in ('PENDING', 'FAILED', 'PROCESSING');
