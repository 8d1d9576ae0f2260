-- The clean-up: the oldest settled items.
-- transactional: false
create index concurrently if not exists sync_outbox_settled
  on public.sync_outbox (updated_at)
  where status in ('COMPLETED', 'DEAD_LETTER');
