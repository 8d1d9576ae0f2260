-- A claim is held by a lease: one advisory lock for each session that claims, and not one for each item. The row says
-- whose it is; while that session lives, its lock is held, and the moment it ends the server lets go of it.
--
--   lease_no  the lease of the session that has the item in hand; null otherwise
--   losses    how often in a row its worker was lost while it had the item in hand (reactor/postgres/outbox.sql, sweep)
--
-- Why not a lock for each item, as release 0.1 had it: they are entries in a table that all sessions of the server share.
-- With default settings there is room for about 6,400 locks of any kind; three replicas with 3,000 items in hand each
-- fill it, and then every transaction that writes fails, in every database of the server. A lease is one entry, however
-- many items it is for.
--
-- Release 0.1 and the polling worker go on beside it. A row that they have in hand has no lease, and is judged by its
-- item's lock as before. A row that has a lease has no claim_no: a sweep of release 0.1 takes it for the polling worker's
-- and leaves it alone for ten minutes, where an item is in hand for seconds.
do $$
begin
  if exists (
    select from pg_catalog.pg_attribute
     where attrelid = 'public.sync_outbox'::regclass and attname = 'losses' and not attisdropped
  ) then
    return;
  end if;
  perform set_config('lock_timeout', '2s', true);
  alter table public.sync_outbox
    add column if not exists lease_no bigint,
    add column if not exists losses smallint;
  create sequence if not exists public.sync_lease_no as bigint;
  alter sequence public.sync_lease_no owned by public.sync_outbox.lease_no;
end $$;

-- The sessions that hold a lease in this database: the number by which a row names it, and the session's process id. A key
-- of two integers has 31 bits for it: a number comes again after two billion sessions.
create or replace function public.sync_lease_holders()
returns table (lease bigint, pid integer)
language sql
stable
as $$
  select l.objid::bigint, l.pid
    from pg_catalog.pg_locks as l
   where l.locktype = 'advisory' and l.objsubid = 2 and l.granted and l.classid = 718302
     and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
$$;

-- The sessions that hold the lock of an item: of release 0.1, of the polling worker, and for an instant of a claim.
create or replace function public.sync_item_holders()
returns table (key bigint, pid integer)
language sql
stable
as $$
  select (l.classid::bigint << 32) | l.objid::bigint, l.pid
    from pg_catalog.pg_locks as l
   where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
     and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
$$;

-- The key of an item's lock as pg_locks shows it; the lock is taken with the hash itself.
create or replace function public.sync_item_key(id uuid)
returns bigint
language sql
immutable
parallel safe
as $$
  select pg_catalog.hashtext(id::text)::bigint
$$;
