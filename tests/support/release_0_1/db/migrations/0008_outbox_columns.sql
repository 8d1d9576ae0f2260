-- What the reactor adds to an item. All four columns are nullable and come without a default, which changes the
-- catalogue only; seq gets its default afterwards, so it holds for rows to come and rewrites none (an identity column
-- or a stored generated one would rewrite the table under an exclusive lock).
--
--   seq           its place among the changes of its source; the only order there is
--   claim_no      the claim that holds it, never used twice: the fence of every later write
--   parent_id     the REBUILD_ALL that made it
--   failure_code  why it ended as it did, from a small closed set
--
-- The lock excludes everybody, for an instant; it is waited for 2 s at most, because writers queue behind whoever
-- waits. `python -m reactor migrate` tries again; with another tool run the file again.
--
-- Rows that exist keep seq null until the backfill gives them a place (next files), and those places lie below the
-- sequence: it starts at the microseconds since 1970, or at 1 where there are no rows.
--
-- A default is evaluated with the rights of whoever inserts; without this grant the application's next insert would
-- fail. USAGE gives nextval and nothing else.
do $$
declare
  first_seq bigint := 1;
begin
  if exists (
    select from pg_catalog.pg_attribute
     where attrelid = 'public.sync_outbox'::regclass and attname = 'seq' and atthasdef and not attisdropped
  ) then
    return;
  end if;
  perform set_config('lock_timeout', '2s', true);
  alter table public.sync_outbox
    add column if not exists seq bigint,
    add column if not exists claim_no bigint,
    add column if not exists parent_id uuid,
    add column if not exists failure_code text;
  if exists (select from public.sync_outbox) then
    first_seq := extract(epoch from clock_timestamp()) * 1000000;
  end if;
  execute format('create sequence if not exists public.sync_outbox_seq as bigint start with %s', first_seq);
  alter sequence public.sync_outbox_seq owned by public.sync_outbox.seq;
  grant usage on sequence public.sync_outbox_seq to public;
  create sequence if not exists public.sync_claim_no as bigint;
  alter sequence public.sync_claim_no owned by public.sync_outbox.claim_no;
  alter table public.sync_outbox alter column seq set default nextval('public.sync_outbox_seq');
end $$;
