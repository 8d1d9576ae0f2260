-- name: wait_for_locks
-- An index built concurrently waits for the transactions that began before it, and delays no session meanwhile.
select set_config('lock_timeout', '0', false);

-- name: try_lock
-- One migration at a time. Tried and not waited for: a session that waits inside a statement has a snapshot, and the
-- other one's CREATE INDEX CONCURRENTLY would wait for that, both for good.
select pg_try_advisory_lock(718300, 2);

-- name: pages
-- How many pages the outbox has: it is filled in by portions of them.
select pg_relation_size('public.sync_outbox') / current_setting('block_size')::bigint;

-- name: backfill_pages
-- Places for the rows of some pages, except those that another session has locked.
update public.sync_outbox
   set seq = public.sync_outbox_legacy_seq(created_at)
 where ctid = any (array(
         select ctid
           from public.sync_outbox
          where ctid >= format('(%%s,0)', %(first)s::bigint)::tid
            and ctid < format('(%%s,0)', %(end)s::bigint)::tid
            and seq is null
            and status <> 'COMPLETED'
            for no key update skip locked
       ));
