-- The reactor's triggers. Run again and again: everything here replaces itself. `python -m reactor migrate` runs the
-- file only when something in it is absent, disabled or outdated in the database; CREATE TRIGGER holds writers off for
-- an instant, and is waited for 2 s at most because writers queue behind whoever waits.
--
-- The gate
--
-- NOTIFY takes a lock of the whole database at commit: transactions that notify commit one after another, at 32 writers
-- a quarter of what they could. So a writer notifies only when somebody sleeps, and it learns that from one advisory
-- lock, G = (718300, 1): who sleeps holds it exclusively, and a writer tries to share it until the end of its
-- transaction.
--
-- Why a writer that got the share need not notify: it holds G to its end, commit included, so G can be granted
-- exclusively only after its row is visible or gone. Whoever is granted G looks at the outbox once more before it
-- sleeps, with a snapshot taken after that, and sees the row. And a writer that comes later fails the try, since the
-- sleeper holds G, and notifies; its notification arrives at its commit, and the sleeper is listening already.
-- Neither waits for the other: a writer only tries, and the reactor asks with a time-out.
--
-- The try stands in the triggers' conditions, not in the function: a condition is evaluated by the executor, and where
-- it is false, nearly always, no PL/pgSQL is called at all. With the try in the function 16 writers made 0.85 of their
-- commits without a trigger, in the condition 0.97 (python -m benchmarks writers compares). A condition's functions are
-- looked up when the trigger is made, so the writer's search_path does not matter.
create or replace function public.sync_outbox_wake()
returns trigger
language plpgsql
as $$
begin
  perform pg_catalog.pg_notify('sync_outbox', '');
  return null;
end $$;

-- An older worker claims without a number of its own. Its row must not keep the last one's: it would look like a claim of
-- the reactor whose session is gone, and be taken away from the worker.
create or replace function public.sync_outbox_forget_claim()
returns trigger
language plpgsql
as $$
begin
  new.claim_no := null;
  return new;
end $$;

-- A connection that works again: what died for want of it is tried again, and the reactor is woken even where nothing
-- was requeued, because items may be parked. It runs with the owner's rights: row level security hides the outbox from
-- whoever reconnects.
create or replace function public.sync_connection_restored()
returns trigger
language plpgsql
security definer
set search_path = public, pg_temp
as $$
begin
  update public.sync_outbox
     set status = 'PENDING', attempts = 0, next_attempt_at = now(), processed_at = null,
         failure_code = null, last_error = null
   where workspace_id = new.workspace_id and status = 'DEAD_LETTER' and failure_code = 'AUTH';
  if not pg_catalog.pg_try_advisory_xact_lock_shared(718300, 1) then
    perform pg_catalog.pg_notify('sync_outbox', '');
  end if;
  return null;
end $$;

set lock_timeout = '2s';

-- One try per statement, however many rows.
create or replace trigger sync_outbox_wake_insert
  after insert on public.sync_outbox
  for each statement when (not pg_catalog.pg_try_advisory_xact_lock_shared(718300, 1))
  execute function public.sync_outbox_wake();

comment on trigger sync_outbox_wake_insert on public.sync_outbox is 'calendar-sync reactor, 5d4e8506';

-- Updates that make a row claimable, or claimable earlier: a requeue, a give-back. Per row, with a condition: a trigger
-- per statement would fire on every claim, and neither a claim nor a settle passes this condition. CASE, because AND
-- promises no order, and who claims must not share the gate's lock.
create or replace trigger sync_outbox_wake_update
  after update of status, next_attempt_at on public.sync_outbox
  for each row when (
    case
      when (new.status = 'PENDING' and old.status <> 'PENDING')
        or (new.status in ('PENDING', 'FAILED') and new.next_attempt_at < old.next_attempt_at)
      then not pg_catalog.pg_try_advisory_xact_lock_shared(718300, 1)
    end
  )
  execute function public.sync_outbox_wake();

comment on trigger sync_outbox_wake_update on public.sync_outbox is 'calendar-sync reactor, 5028a6df';

create or replace trigger zz_sync_outbox_forget_claim
  before update on public.sync_outbox
  for each row when (
    new.status = 'PROCESSING' and old.status <> 'PROCESSING' and new.claim_no = old.claim_no
  )
  execute function public.sync_outbox_forget_claim();

comment on trigger zz_sync_outbox_forget_claim on public.sync_outbox is 'calendar-sync reactor, 3df9806d';

create or replace trigger google_connections_restored_insert
  after insert on public.google_connections
  for each row when (new.is_valid)
  execute function public.sync_connection_restored();

comment on trigger google_connections_restored_insert on public.google_connections is 'calendar-sync reactor, 4e73c17d';

create or replace trigger google_connections_restored_update
  after update on public.google_connections
  for each row when (
    new.is_valid
    and (old.is_valid is not true or new.refresh_token_encrypted is distinct from old.refresh_token_encrypted)
  )
  execute function public.sync_connection_restored();

comment on trigger google_connections_restored_update on public.google_connections is 'calendar-sync reactor, 85a418ba';

reset lock_timeout;  -- psql goes on in the same session
