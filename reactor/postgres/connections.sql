-- The workspaces' connections to Google, off the hot path.

-- name: stored_token
-- What is stored of a workspace's consent.
select refresh_token_encrypted from public.google_connections where workspace_id = %(workspace_id)s

-- name: replace_token
-- Stores a refresh token that Google rotated, unless somebody stored another one meanwhile.
update public.google_connections
   set refresh_token_encrypted = %(new)s, updated_at = now()
 where workspace_id = %(workspace_id)s and refresh_token_encrypted = %(old)s
returning workspace_id
