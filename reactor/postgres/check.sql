-- What `check` asks of the database.

-- name: server
select current_setting('server_version_num')::integer as version, current_setting('server_version') as text,
       clock_timestamp() as now, pg_catalog.pg_notification_queue_usage() as queue,
       (select rolsuper from pg_catalog.pg_roles where rolname = current_user) as is_superuser,
       current_user as role;

-- name: lock_table
-- How many locks the server promises to hold, all databases together; it has some room beyond that for its own processes.
select current_setting('max_locks_per_transaction')::integer
       * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer) as slots;

-- name: rights
-- What the reactor needs and this role has not: rights on tables, sequences and functions (db/roles.sql).
select wanted.kind || ' on ' || wanted.name as missing
  from (values ('select, insert, update, delete', 'sync_outbox'),
               ('select, insert, update, delete', 'calendar_event_bindings'),
               ('select, insert, update, delete', 'sync_sources'),
               ('select, insert, update', 'google_connections')) as wanted (kind, name)
 where to_regclass('public.' || wanted.name) is not null
   and exists (
     select from unnest(string_to_array(wanted.kind, ', ')) as k (kind)
      where not pg_catalog.has_table_privilege('public.' || wanted.name, k.kind))
union all
select 'usage on ' || s.name
  from (values ('sync_outbox_seq'), ('sync_claim_no')) as s (name)
 where to_regclass('public.' || s.name) is not null
   and not pg_catalog.has_sequence_privilege('public.' || s.name, 'usage')
union all
select 'execute on ' || p.proname
  from pg_catalog.pg_proc as p
 where p.pronamespace = 'public'::regnamespace
   and p.proname in ('try_lock_outbox_item', 'unlock_outbox_item', 'sync_outbox_claim', 'sync_outbox_ring',
                     'sync_source_key', 'sync_outbox_cleanup_chunk')
   and not pg_catalog.has_function_privilege(p.oid, 'execute');
