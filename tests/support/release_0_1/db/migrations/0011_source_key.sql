-- What an item is about: items with the same key in a workspace are changes of one source, and only the newest is sent.
--
-- Bounded: an index row above a third of a page would make the application's insert fail, and the payload is the
-- application's. An item without a source (REBUILD_ALL, or a broken payload) is its own source. An expression index
-- over this function needs no column: a stored generated one would rewrite the table.
--
-- No SET clause, so that it is inlined; only operators and functions of pg_catalog, so that search_path is no matter.
-- Whoever inserts evaluates it for the indexes, hence the grant, which is the default unless somebody revoked that.
create or replace function public.sync_source_key(payload jsonb, id uuid)
returns text
language sql
immutable
parallel safe
as $$
  select coalesce(left(payload ->> 'sourceType', 40) || ':' || left(payload ->> 'sourceId', 40), id::text)
$$;

grant execute on function public.sync_source_key(jsonb, uuid) to public;
