-- Items over all statuses and 60 days, as many as the setting tests.items says; 20 workspaces with a connection and
-- bindings.

insert into workspaces (id, name)
select md5('workspace ' || w)::uuid, 'workspace ' || w from generate_series(0, 19) as w;

insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid)
select id, 'token of ' || name, 'calendar of ' || name, name not like '%7' from workspaces;

insert into calendar_event_bindings (
  workspace_id, google_event_id, calendar_id, source_type, source_id, event_type, event_title, event_start, event_end
)
select md5('workspace ' || n % 20)::uuid, 'event' || n, 'primary', 'task', md5('source ' || n)::uuid, 'MILESTONE',
       'Title ' || n, now(), now() + interval '1 hour'
  from generate_series(1, 2000) as n;

insert into sync_outbox (
  id, workspace_id, operation, payload, status, attempts, next_attempt_at, last_error, created_at, updated_at, processed_at
)
select md5('item ' || n)::uuid,
       md5('workspace ' || n / 5 % 20)::uuid,
       (case when n % 1000 = 0 then 'REBUILD_ALL' when n / 5 % 3 = 1 then 'CANCEL_EVENT' else 'UPSERT_EVENT' end)::outbox_operation,
       case when n % 1000 = 0 then '{}' else
         jsonb_build_object('sourceType', 'task', 'sourceId', md5('source ' || n % 5000), 'event', jsonb_build_object('title', n))
       end,
       ((enum_range(null::outbox_status))[1 + n % 5])::outbox_status,
       n % 6,
       at + interval '1 minute',
       case when n % 5 in (3, 4) then 'error ' || n end,
       at,
       at + interval '2 minutes',
       case when n % 5 = 2 then at + interval '2 minutes' end
  from (
    select n, date_trunc('hour', now()) - interval '60 days' + (n / 2) * (interval '59 days' / (rows / 2)) as at
      from (select current_setting('tests.items')::int as rows) as setting, generate_series(1, rows) as n
  ) as item;

analyze;
