-- A place for every row that is not COMPLETED: open items, and dead letters, which may be requeued.
--
-- `python -m reactor migrate` walks the table first, a few hundred pages per transaction, past rows that somebody has
-- locked, so that this statement finds next to nothing left. Alone it is correct too, in one transaction.
do $$
begin
  perform set_config('lock_timeout', '2s', true);
  update public.sync_outbox
     set seq = public.sync_outbox_legacy_seq(created_at)
   where seq is null and status <> 'COMPLETED';
end $$;
