-- The children of a rebuild: its progress.
-- transactional: false
create index concurrently if not exists sync_outbox_parent
  on public.sync_outbox (parent_id)
  where parent_id is not null;
