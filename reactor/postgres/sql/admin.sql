-- What every command checks first.

-- name: database_and_role
-- The database, and whether this role would see rows: it owns the table, row level security does not hold for it, or it
-- has the reactor's policy or a viewer's; and whether texts are hidden from it.
select current_database() as database,
       current_user as role,
       to_regclass('public.sync_outbox') is not null as has_outbox,
       coalesce(row_security_active(to_regclass('public.sync_outbox')::oid), false)
         and not coalesce((
           select bool_or(pg_catalog.pg_has_role(current_user, r.oid, 'usage'))
             from pg_catalog.pg_roles as r
            where r.rolname in ('calendar_sync_reactor', 'calendar_sync_viewer')), false) as is_blind,
       not coalesce(
         pg_catalog.has_column_privilege(to_regclass('public.sync_outbox')::oid, 'payload', 'select'), true) as hides_texts;

-- name: workspace_is_known
-- By the partial indexes: finished items of a workspace cannot be found without reading the table.
select exists (select from public.google_connections where workspace_id = %(workspace)s)
    or exists (select from public.sync_outbox
                where workspace_id = %(workspace)s and status in ('PENDING', 'FAILED', 'PROCESSING'))
    or exists (select from public.sync_outbox where workspace_id = %(workspace)s and status = 'DEAD_LETTER')
    or exists (select from public.sync_sources where workspace_id = %(workspace)s) as known;

-- name: keep_read_only
-- For a session that is kept: it reads, unless an act asks to write.
select pg_catalog.set_config('default_transaction_read_only', %(read_only)s, false);
