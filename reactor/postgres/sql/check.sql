-- What `check` asks of the database.

-- name: server
-- The server's version and clock, how full its queue of notifications is, and our role.
select current_setting('server_version_num')::integer as version, current_setting('server_version') as text,
       clock_timestamp() as now, pg_catalog.pg_notification_queue_usage() as queue,
       (select rolsuper from pg_catalog.pg_roles where rolname = current_user) as is_superuser,
       current_user as role;

-- name: lock_table
-- How many locks the server promises to hold, all databases together; it has some room beyond that for its own processes.
select current_setting('max_locks_per_transaction')::integer
       * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer) as slots;

-- name: rights
-- What the reactor needs and this role has not: rights on the schema, tables, sequences and functions (db/roles.sql). Of
-- functions and sequences those that the migrations make; a trigger's function needs no right.
select lacking.kinds || ' on ' || wanted.name as missing
  from (values ('select, insert, update, delete', 'sync_outbox'),
               ('select, insert, update, delete', 'calendar_event_bindings'),
               ('select, insert, update, delete', 'sync_sources'),
               ('select, insert, update, delete', 'sync_brakes'),
               ('select, insert, update, delete', 'sync_departures'),
               ('select, insert, update, delete', 'sync_set_aside'),
               ('select, update', 'sync_order_gaps'),
               ('select, insert, update, delete', 'sync_pulses'),
               ('select, insert, update, delete', 'sync_acts'),
               ('select, insert, update, delete', 'sync_invitations'),
               ('select, insert, update', 'google_connections'),
               ('select', '_yoyo_migration')) as wanted (kind, name)
  cross join lateral (
         select string_agg(k.kind, ', ') as kinds
           from unnest(string_to_array(wanted.kind, ', ')) as k (kind)
          where to_regclass('public.' || wanted.name) is not null
            and not pg_catalog.has_table_privilege('public.' || wanted.name, k.kind)) as lacking
 where lacking.kinds is not null
union all
select 'usage on schema public' where not pg_catalog.has_schema_privilege('public', 'usage')
union all
select 'usage on ' || s.name
  from unnest(%(sequences)s::text[]) as s (name)
 where to_regclass('public.' || s.name) is not null
   and not pg_catalog.has_sequence_privilege('public.' || s.name, 'usage')
union all
select 'execute on ' || p.proname
  from pg_catalog.pg_proc as p
 where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
   and p.proname = any (%(functions)s::text[])
   and not pg_catalog.has_function_privilege(p.oid, 'execute');

-- The following statements are a dry run: each is run and rolled back. What the server would refuse the service, it
-- refuses here; with `where false` no row is touched, and missing rights, triggers' tables and a read-only database are
-- found all the same.

-- name: rehearse_claim
select count(*) from public.sync_outbox_claim_next(
  array[]::uuid[], array[]::text[], null, 0, array[]::uuid[], 0, 0, 0, 1, 0, false, 0, 0);

-- name: rehearse_items
-- A row as it is, with the application's own triggers and constraints.
update public.sync_outbox as o
   set attempts = o.attempts
 where o.id = (select p.id from public.sync_outbox as p limit 1 for no key update skip locked);

-- name: rehearse_children
insert into public.sync_outbox (workspace_id, operation, payload)
select o.workspace_id, o.operation, o.payload from public.sync_outbox as o where false;

-- name: rehearse_memory
insert into public.sync_sources (workspace_id, source_key) values (pg_catalog.gen_random_uuid(), 'check');

-- name: rehearse_brake
insert into public.sync_brakes (workspace_id, cause, deletes, events) values (pg_catalog.gen_random_uuid(), 'BURST', 1, 1);

-- name: rehearse_bindings
update public.calendar_event_bindings as b set google_event_id = b.google_event_id where false;

-- name: rehearse_connections
update public.google_connections as c set is_valid = c.is_valid where false;

-- name: order
-- Whether anything is ahead of the places that were given out, and what was mended in the last thirty days. A state at
-- Google that the database does not know is counted apart: another database may serve the same calendars.
-- No index has the floors, so `cap` of them are looked at: a sequence that was not carried over is behind nearly all.
select coalesce((select max(s.floor_seq) from (select f.floor_seq from public.sync_sources as f limit %(cap)s) as s)
                > public.sync_outbox_last_place(), false) as is_behind,
       count(*) filter (where g.high > g.low)::integer as mended,
       count(*) filter (where g.cause = 'GOOGLE')::integer as unknown,
       max(g.mended_at) filter (where g.high > g.low) as last
  from public.sync_order_gaps as g
 where g.mended_at > clock_timestamp() - interval '30 days';

-- name: refused
-- What replicas report in the names of their sessions.
select distinct code
  from pg_catalog.pg_stat_activity as a,
       string_to_table(split_part(a.application_name, ', refused: ', 2), ' ') as code
 where a.datname = current_database() and a.application_name like 'calendar-sync-reactor claims, refused: %%'
 order by code;
