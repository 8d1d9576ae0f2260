-- How workers exclude each other: hashtext of the id's text, widened to one bigint. This exact key, so that an older
-- worker and the reactor exclude each other while both run. Functions that exist are left as they are: they take the
-- same key, and replacing them could change the name of their argument, which callers over PostgREST use.
do $$
begin
  if to_regprocedure('public.try_lock_outbox_item(uuid)') is null then
    create function public.try_lock_outbox_item(item_id uuid)
    returns boolean
    language sql
    as $body$ select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext(item_id::text)) $body$;
  end if;
  if to_regprocedure('public.unlock_outbox_item(uuid)') is null then
    create function public.unlock_outbox_item(item_id uuid)
    returns boolean
    language sql
    as $body$ select pg_catalog.pg_advisory_unlock(pg_catalog.hashtext(item_id::text)) $body$;
  end if;
end $$;
