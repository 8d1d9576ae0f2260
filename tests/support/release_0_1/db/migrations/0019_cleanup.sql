-- One portion of the clean-up: the oldest rows first, by their index. It takes the rows that it can lock at once and
-- waits for none. The reactor calls it with a commit after each portion.
create or replace function public.sync_outbox_cleanup_chunk(older_than_days integer, chunk integer)
returns integer
language sql
as $$
  with old as materialized (
    select id
      from public.sync_outbox
     where status in ('COMPLETED', 'DEAD_LETTER')
       and updated_at < now() - make_interval(days => older_than_days)
     order by updated_at
     limit chunk
       for update skip locked
  ), gone as (
    delete from public.sync_outbox as o using old where o.id = old.id returning 1
  )
  select count(*)::integer from gone
$$;

-- The contract's clean-up, all in one call and so in one transaction. It, too, works in portions, with bounded memory
-- and without waiting for a lock, and remembers how far it came: each portion would otherwise walk past the index
-- entries of everything this transaction has deleted before it.
--
-- CREATE OR REPLACE must not change the name of the argument, and callers over PostgREST use it: an existing function
-- keeps it, and with it its owner, its grants and whose rights it runs with.
do $$
declare
  existing record;
begin
  select coalesce(proargnames[1], 'older_than_days') as argument, prosecdef into existing
    from pg_catalog.pg_proc
   where oid = to_regprocedure('public.cleanup_old_outbox_items(integer)');
  execute format($definition$
create or replace function public.cleanup_old_outbox_items(%I integer default 30)
returns integer
language plpgsql
security %s
set search_path = public, pg_temp
as $body$
declare
  cutoff constant timestamptz := now() - make_interval(days => $1);
  reached timestamptz := '-infinity';
  portion integer;
  total integer := 0;
begin
  loop
    with old as materialized (
      select id, updated_at
        from public.sync_outbox
       where status in ('COMPLETED', 'DEAD_LETTER') and updated_at >= reached and updated_at < cutoff
       order by updated_at
       limit 5000
         for update skip locked
    ), gone as (
      delete from public.sync_outbox as o using old where o.id = old.id returning old.updated_at
    )
    select count(*), coalesce(max(gone.updated_at), reached) into portion, reached from gone;
    total := total + portion;
    exit when portion = 0;
  end loop;
  return total;
end $body$
$definition$,
    coalesce(existing.argument, 'older_than_days'),
    case when existing.prosecdef then 'definer' else 'invoker' end
  );
end $$;
