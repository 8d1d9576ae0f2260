-- The brake's window (reactor/core/brake.py): when we removed a source's event because the application cancelled it; null
-- again once the source has an event. Ten minutes later the time has no meaning any more, and it stays: to clear it would
-- be a second write for each cancel.
--
-- The column comes without a default, which changes the catalogue only. A replica of an older release neither writes nor
-- reads it: it counts what it has removed for itself, as before.
--
-- The index answers how many events of a workspace were removed lately, and how many it has (removed_at null), however
-- many tombstones lie beside them. An edit changes neither column, so its update stays on its page as before (HOT); a new
-- source and a cancel write one entry.
-- transactional: false
do $$
begin
  if exists (
    select from pg_catalog.pg_attribute
     where attrelid = 'public.sync_sources'::regclass and attname = 'removed_at' and not attisdropped
  ) then
    return;
  end if;
  perform set_config('lock_timeout', '2s', true);
  alter table public.sync_sources add column if not exists removed_at timestamptz;
end $$;

create index concurrently if not exists sync_sources_events
  on public.sync_sources (workspace_id, removed_at)
  where google_event_id is not null or removed_at is not null;
