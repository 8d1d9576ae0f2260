-- For a login that may not read texts (db/console.sql).

-- name: source
-- `source` of rebuilds.sql: where the current state comes from. A function of ours returns it without its words.
select case when v.oid is not null or f.oid is not null then 'function' else 'memory' end as kind, true as is_readable
  from (select to_regclass('public.calendar_source_events')::oid as oid) as v,
       (select to_regprocedure('public.calendar_source_events(uuid)')::oid as oid) as f;

-- name: function_of_text
-- `function_of_text` of chains.sql: the function of ours looks for the source itself, before it takes the words out.
select e.workspace_id as workspace, to_jsonb(e) as event
  from calendar_sync.calendar_source_events(%(workspace)s::uuid, %(id)s::text) as e
 where e.source_type = %(type)s::text or %(type)s::text is null
 limit %(matches)s;

-- name: words
-- A function that records the look, for a login that may not read payloads by itself.
select calendar_sync.words(%(item)s, %(who)s, %(how)s, %(reason)s) as payload;

-- name: payload
-- For a login that may read them by itself.
select o.workspace_id as workspace, o.payload from public.sync_outbox as o where o.id = %(item)s;

-- name: rights
-- What the login may do: see, act, read words. Asked by privilege and not by role: an owner is in no role.
select pg_catalog.has_table_privilege('public.sync_acts', 'select')
         and pg_catalog.has_column_privilege('public.sync_outbox', 'status', 'select') as viewer,
       pg_catalog.has_column_privilege('public.sync_outbox', 'status', 'update')
         and pg_catalog.has_column_privilege('public.sync_outbox', 'payload', 'insert')
         and pg_catalog.has_column_privilege('public.sync_brakes', 'released_at', 'update')
         and pg_catalog.has_column_privilege('public.google_connections', 'is_valid', 'update')
         and pg_catalog.has_column_privilege('public.sync_acts', 'act', 'insert') as operator,
       pg_catalog.has_column_privilege('public.sync_outbox', 'payload', 'select')
         or exists (
           select from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
            where n.nspname = 'calendar_sync' and p.proname = 'words'
              and pg_catalog.has_schema_privilege(n.oid, 'usage')
              and pg_catalog.has_function_privilege(p.oid, 'execute')) as words;
