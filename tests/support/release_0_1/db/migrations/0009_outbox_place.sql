-- Every open item has a place. A null would sort before everything in `seq desc`, look like the newest state of its
-- source, and never be at or above any floor: it would block its source for good.
--
-- Rows from before seq was there: all that is known of their order is when they were created, so that is their place,
-- in microseconds, and it is the same whenever it is asked for. The backfill writes it to the rows that are not
-- COMPLETED; a COMPLETED one gets it when somebody reopens it, and so comes before everything newer, and in the order
-- of creation among its like. Zero for all of them would lose that order, and a negative number would lie under the
-- floor of a source that was never settled, 0, and never be sent. Rows of one transaction have the same created_at
-- and the same place: their order is not known (ids are random).
create or replace function public.sync_outbox_legacy_seq(created_at timestamptz)
returns bigint
language sql
stable
parallel safe
as $$
  select least(
           greatest(coalesce(extract(epoch from created_at) * 1000000, 0), 0),
           (select seqstart - 1 from pg_catalog.pg_sequence
             where seqrelid = 'public.sync_outbox_seq'::pg_catalog.regclass)
         )::bigint
$$;

-- The backfill must change nothing but seq, but the table's own trigger, whose name and text we do not know, would set
-- updated_at. Triggers fire in the order of their names: this one is last, and puts updated_at back where a row got a
-- place and nothing else. (*= compares bytes, so it needs no operator for types that we do not know.)
create or replace function public.sync_outbox_place()
returns trigger
language plpgsql
as $$
declare
  placed public.sync_outbox;
begin
  if tg_op = 'INSERT' then
    new.seq := pg_catalog.nextval('public.sync_outbox_seq');  -- somebody inserted an explicit null
  elsif new.seq is null then
    new.seq := case
      when old.seq is not null then old.seq
      when new.status <> 'COMPLETED' then public.sync_outbox_legacy_seq(new.created_at)
    end;
  else
    placed := old;
    placed.seq := new.seq;
    placed.updated_at := new.updated_at;
    if placed operator(pg_catalog.*=) new then
      new.updated_at := old.updated_at;
    end if;
  end if;
  return new;
end $$;

-- The rights of whoever writes apply in here too.
grant execute on function public.sync_outbox_legacy_seq(timestamptz) to public;

set lock_timeout = '2s';

create or replace trigger zz_sync_outbox_place_insert
  before insert on public.sync_outbox
  for each row when (new.seq is null)
  execute function public.sync_outbox_place();

comment on trigger zz_sync_outbox_place_insert on public.sync_outbox is 'calendar-sync reactor, 3a5b0430';

create or replace trigger zz_sync_outbox_place_update
  before update on public.sync_outbox
  for each row when (old.seq is null or new.seq is null)
  execute function public.sync_outbox_place();

comment on trigger zz_sync_outbox_place_update on public.sync_outbox is 'calendar-sync reactor, b7c2fd3b';

reset lock_timeout;  -- psql goes on in the same session
