-- What `lint` reads: what the application writes, to be checked as the reactor will check it. Nothing here writes.

-- name: of_view
-- The rows of the view, of one workspace or of all, as a rebuild reads them; `state_of_application` of rebuilds.sql comes
-- next. The key begins with the workspace, so that two workspaces may have sources of one name.
with source as (
  select coalesce(e.workspace_id::text, '') || ' ' || coalesce(e.source_type::text, '') || ':'
           || coalesce(e.source_id::text, '') as key,
         to_jsonb(e) as e
    from public.calendar_source_events as e
   where %(only)s::uuid is null or e.workspace_id = %(only)s::uuid
   limit %(rows)s
)

-- name: of_function
-- A function is asked workspace by workspace, of those that are connected.
with source as (
  select coalesce(e.workspace_id::text, '') || ' ' || coalesce(e.source_type::text, '') || ':'
           || coalesce(e.source_id::text, '') as key,
         to_jsonb(e) as e
    from public.google_connections as c
   cross join lateral public.calendar_source_events(c.workspace_id) as e
   where (%(only)s::uuid is null or c.workspace_id = %(only)s::uuid) and e.workspace_id = c.workspace_id
   limit %(rows)s
)

-- name: of_application
-- One that is too large is not fetched, as a claim does not fetch it.
select p.key, 'UPSERT_EVENT' as operation, split_part(p.key, ' ', 1) as workspace, octet_length(p.payload) as size,
       case when octet_length(p.payload) <= %(largest)s then p.payload end as payload
  from (select s.key, (s.payload || jsonb_build_object('workspaceId', split_part(s.key, ' ', 1)))::text as payload
          from state as s) as p

-- name: of_outbox
-- The newest rows: of those that wait or are in flight (of ten thousand at most, because no index has them in this
-- order), and of those that were settled last. Their payloads are fetched at the end, of so many only. Both are ordered
-- as an index has them: behind a policy of row level security the planner cannot tell how few wait, and would read the
-- whole table for them.
with waiting as (
  select o.id, o.seq
    from public.sync_outbox as o
   where o.status in ('PENDING', 'FAILED') and (%(only)s::uuid is null or o.workspace_id = %(only)s::uuid)
   order by o.workspace_id, o.next_attempt_at limit 10000
), in_flight as (
  select o.id, o.seq
    from public.sync_outbox as o
   where o.status = 'PROCESSING' and (%(only)s::uuid is null or o.workspace_id = %(only)s::uuid)
   order by o.workspace_id, public.sync_source_key(o.payload, o.id) limit 10000
), settled as (
  select o.id, o.seq
    from (select o.id, o.seq, o.workspace_id
            from public.sync_outbox as o
           where o.status in ('COMPLETED', 'DEAD_LETTER')
           order by o.updated_at desc limit 10000) as o
   where %(only)s::uuid is null or o.workspace_id = %(only)s::uuid
), newest as materialized (
  select n.id, n.seq
    from (select w.id, w.seq from waiting as w
          union all select f.id, f.seq from in_flight as f
          union all select s.id, s.seq from settled as s) as n
   order by n.seq desc nulls last limit %(rows)s
)
select o.id::text as key, o.operation::text as operation, o.workspace_id::text as workspace,
       octet_length(o.payload::text) as size,
       case when octet_length(o.payload::text) <= %(largest)s then o.payload::text end as payload
  from newest as n
  join public.sync_outbox as o on o.id = n.id
 order by n.seq desc nulls last
