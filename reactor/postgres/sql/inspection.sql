-- name: recorded_migrations
-- Names of the applied migrations.
select migration_id from public._yoyo_migration;

-- name: has_record
-- Whether a migration was ever recorded; a statement that names a table which is not there fails.
select to_regclass('public._yoyo_migration') is not null;

-- name: functions
-- Every function of the schema with its body.
select proname, prosrc
  from pg_catalog.pg_proc
 where pronamespace = 'public'::regnamespace;

-- name: triggers
-- Triggers with their state (O and A fire for an ordinary session) and comment.
select c.relname, t.tgname, t.tgenabled in ('O', 'A'), coalesce(pg_catalog.obj_description(t.oid, 'pg_trigger'), '')
  from pg_catalog.pg_trigger as t
  join pg_catalog.pg_class as c on c.oid = t.tgrelid
 where c.relnamespace = 'public'::regnamespace and not t.tgisinternal;

-- name: indexes
-- Indexes, and whether a build has finished.
select c.relname, i.indisvalid and i.indisready
  from pg_catalog.pg_index as i
  join pg_catalog.pg_class as c on c.oid = i.indexrelid
 where c.relnamespace = 'public'::regnamespace;

-- name: tables
-- A policy is looked for only where its table exists.
select relname
  from pg_catalog.pg_class
 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p');

-- name: policies
-- Policies of row level security, by table.
select c.relname, p.polname
  from pg_catalog.pg_policy as p
  join pg_catalog.pg_class as c on c.oid = p.polrelid
 where c.relnamespace = 'public'::regnamespace;
