-- Invitations to connect a workspace (db/migrations/0033_invitations.sql). The database's clock decides about all of them.

-- name: insert
-- Of the link's secret the table has a hash.
insert into public.sync_invitations (hash, workspace_id, calendar_id, invited_by, expires_at)
values (%(hash)s, %(workspace)s, %(calendar)s, %(by)s, clock_timestamp() + pg_catalog.make_interval(hours => %(hours)s))
returning expires_at;

-- name: open
-- How many of a workspace are good at this moment.
select count(*)::integer as n
  from public.sync_invitations as i
 where i.workspace_id = %(workspace)s and i.used_at is null and i.revoked_at is null
   and i.expires_at > clock_timestamp();

-- name: list
-- The newest of a workspace.
select encode(i.hash, 'hex') as id, i.calendar_id as calendar, i.invited_by, i.invited_at, i.expires_at, i.used_at,
       i.revoked_at, i.expires_at <= clock_timestamp() as is_expired
  from public.sync_invitations as i
 where i.workspace_id = %(workspace)s
 order by i.invited_at desc limit %(rows)s;

-- name: find
-- One by the hash of its secret, in whatever state: the page says which.
select i.workspace_id as workspace, i.calendar_id as calendar, i.invited_by, i.invited_at, i.expires_at, i.used_at,
       i.revoked_at, i.expires_at <= clock_timestamp() as is_expired
  from public.sync_invitations as i
 where i.hash = %(hash)s;

-- name: use
-- Marks one as used, if it still is good: of two at the same time one waits for the other's lock, and finds it used.
update public.sync_invitations as i
   set used_at = clock_timestamp()
 where i.hash = %(hash)s and i.used_at is null and i.revoked_at is null and i.expires_at > clock_timestamp()
returning i.workspace_id as workspace, i.calendar_id as calendar, i.invited_by;

-- name: revoke
-- Only one that is still good.
update public.sync_invitations as i
   set revoked_at = clock_timestamp()
 where i.hash = decode(%(id)s, 'hex') and i.workspace_id = %(workspace)s and i.used_at is null and i.revoked_at is null
   and i.expires_at > clock_timestamp()
returning i.calendar_id as calendar;
