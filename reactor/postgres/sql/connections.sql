-- The workspaces' connections to Google, off the hot path.

-- name: stored_token
-- The stored credential of a workspace.
select refresh_token_encrypted from public.google_connections where workspace_id = %(workspace_id)s

-- name: replace_token
-- Stores a refresh token that Google rotated, unless another one was stored meanwhile.
update public.google_connections
   set refresh_token_encrypted = %(new)s, updated_at = now()
 where workspace_id = %(workspace_id)s and refresh_token_encrypted = %(old)s
returning workspace_id;

-- name: list
-- Up to `rows` + 1 of them behind a place, the invalid ones first, with what waits for each, up to `cap` + 1. The
-- stored text is read for the name of its key alone, and of those that are shown: a viewer's login has a pattern taken
-- off it.
select c.workspace_id as workspace, left(c.calendar_id, 1024) as calendar, c.is_valid as valid,
       left(c.refresh_token_encrypted, 10000) as stored, c.updated_at,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status in ('PENDING', 'FAILED') and o.workspace_id = c.workspace_id limit %(cap)s + 1) as w
       )::integer as waiting,
       (select count(*) from (
          select from public.sync_outbox as o
           where o.status = 'DEAD_LETTER' and o.workspace_id = c.workspace_id and o.failure_code = 'AUTH'
           limit %(cap)s + 1) as d)::integer as dead
  from (select k.workspace_id as w
          from public.google_connections as k
         where (k.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
           and (not k.is_valid or not %(invalid)s)
           and (%(after)s::uuid is null or (k.is_valid, k.workspace_id) > (%(after_valid)s::boolean, %(after)s::uuid))
         order by k.is_valid, k.workspace_id limit %(rows)s + 1) as p
  join public.google_connections as c on c.workspace_id = p.w
 order by c.is_valid, c.workspace_id;

-- name: connection
-- A workspace's connection, without its credential.
select workspace_id as workspace, calendar_id as calendar, is_valid as valid
  from public.google_connections where workspace_id = %(workspace)s;

-- name: dead_of_auth
-- What died because this workspace's consent failed, up to `cap` + 1: a trigger puts it back when the connection is
-- valid again.
select count(*)::integer as n
  from (select from public.sync_outbox as o
         where o.status = 'DEAD_LETTER' and o.workspace_id = %(workspace)s and o.failure_code = 'AUTH'
         limit %(cap)s + 1) as d;

-- name: connect
-- Stores a consent, in the workspace's own row if it has one. Triggers put back what died without it, and wake the
-- reactor. `before` is the calendar that was there, null for a new row: the statement's snapshot is older than its write.
insert into public.google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid)
values (%(workspace)s, %(token)s, %(calendar)s, true)
on conflict (workspace_id) do update
  set refresh_token_encrypted = excluded.refresh_token_encrypted, calendar_id = excluded.calendar_id, is_valid = true
returning (select c.calendar_id from public.google_connections as c where c.workspace_id = %(workspace)s) as before;

-- name: set_valid
-- Only a change is written, because a trigger acts on each row that is: it puts back what died of AUTH.
update public.google_connections
   set is_valid = %(valid)s
 where workspace_id = %(workspace)s and is_valid is distinct from %(valid)s
returning workspace_id;

-- name: tokens_after
-- One portion of the stored tokens, in the order of the workspaces.
select workspace_id as workspace, refresh_token_encrypted as stored
  from public.google_connections
 where workspace_id > %(after)s::uuid or %(after)s::uuid is null
 order by workspace_id
 limit %(rows)s;

-- name: how_many
-- How many tokens a rotation looks at.
select count(*)::integer as n from public.google_connections;

-- name: of_persons
-- Refresh tokens: everything that is not marked as a service account's key (reactor/token_encryption.py).
select count(*)::integer as n from public.google_connections where refresh_token_encrypted not like 'v2:%%';

-- name: reencrypt
-- The same token under another key, unless another one was stored meanwhile: Google rotated it, or a person connected
-- again. The trigger for connections that work again fires where the connection is valid: it finds no AUTH dead letter
-- there (they are put back when a connection becomes valid), and at most wakes a sleeping reactor.
update public.google_connections
   set refresh_token_encrypted = %(new)s
 where workspace_id = %(workspace)s and refresh_token_encrypted = %(old)s
returning workspace_id;
