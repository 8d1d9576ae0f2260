-- Which sources are being worked on, and the sweep for items whose worker died. A few entries, many of them dead: never
-- put status = 'PROCESSING' into a statement that finds its row by id, the planner would walk them.
-- transactional: false
create index concurrently if not exists sync_outbox_processing
  on public.sync_outbox (workspace_id, public.sync_source_key(payload, id))
  where status = 'PROCESSING';
