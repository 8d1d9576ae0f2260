"""The database that the console is measured on: whatever its pages count, there is more of it than they count.

A workspace has a number, k, and its state comes of that. Workspace 0 has a tenth of all rows, of 10,000 sources.
Of 200 the first and the fifth are stopped by the brake in the middle of many deletes; of ten the second and third have
an invalid connection and the fourth has none; of twenty the sixth is behind, and what waits in the others is due later.
A source has a number too, i, from which follows its workspace, so that they come in any order of the workspaces.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg

ROWS = int(os.environ.get("CONSOLE_ROWS", "1000000"))
"""That wait, and as many that are dead; ten times as many are finished."""
WORKSPACES = 6_000
LEASES = (70_001, 70_002)
"""Of the replicas that the pulses tell of."""
BIG = "md5('w0')::uuid"
_PORTION = 1_000_000

_FUNCTIONS = """
create function pg_temp.number(i bigint) returns integer language sql immutable
return case when i % 10 = 0 then 0
            else 1 + floor(power((i * 2654435761 % 4294967296) / 4294967296.0, 2) * ({workspaces} - 1))::integer end;

create function pg_temp.source(i bigint) returns bigint language sql immutable
return case when i % 10 = 0 then i % 100000 else i end;

create function pg_temp.payload(w uuid, k integer, i bigint, operation text) returns jsonb language sql immutable
return jsonb_build_object(
  'operation', operation, 'workspaceId', w, 'calendarId', 'team-' || k || '@example.com', 'sourceType', 'task',
  'sourceId', md5('s' || i)::uuid, 'eventType', 'MILESTONE',
  'event', jsonb_build_object(
    'title', 'Milestone ' || i || ' of a project', 'description', 'What has to be true by then.',
    'start', '2026-12-01T09:00:00Z', 'end', '2026-12-01T10:00:00Z'));
"""
_OF_SOURCE = """
       lateral (select pg_temp.number({source}) as k) as a,
       lateral (select md5('w' || a.k)::uuid as w) as b
"""
_FINISHED = """
insert into sync_outbox (workspace_id, operation, payload, status, failure_code, attempts, parent_id, created_at,
                         updated_at, processed_at)
select b.w, 'UPSERT_EVENT', pg_temp.payload(b.w, a.k, i.i, 'UPSERT_EVENT'), 'COMPLETED',
       case when n % 20 = 7 then 'SUPERSEDED' end, 1,
       case when n % 40 = 1 then md5('r' || n / 40 % 1500)::uuid when n % 400 = 2 then md5('r0')::uuid end,
       t.at - interval '3 s', t.at, t.at
  from generate_series({first}, {last}) as n,
       lateral (select now() - ({finished} - n) * interval '30 d' / {finished} as at) as t,
       lateral (select pg_temp.source(n % {rows}) as i) as i,
""" + _OF_SOURCE.format(source="i.i")
_CONNECTIONS = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid, updated_at)
select md5('w' || k)::uuid, 'v1:k1:' || repeat('x', 200), 'team-' || k || '@example.com', k % 10 not in (1, 2),
       now() - k * interval '1 min'
  from generate_series(0, {workspaces} - 1) as k where k % 10 <> 3
"""
_SOURCES = (
    """
insert into sync_sources (workspace_id, source_key, floor_seq, google_event_id, calendar_id, payload, updated_at)
select b.w, 'task:' || md5('s' || i)::uuid, 1, md5('e' || i), 'team-' || a.k || '@example.com',
       pg_temp.payload(b.w, a.k, i, 'UPSERT_EVENT'), now() - i * interval '2 s'
  from generate_series(0, {rows} - 1) as i,
"""
    + _OF_SOURCE.format(source="i")
    + " where i % 10 > 0 or i < 100000"
)
_BINDINGS = (
    """
insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id, event_type,
                                     event_title, event_start, event_end, last_synced_at)
select b.w, md5('e' || i), 'team-' || a.k || '@example.com', 'task', md5('s' || i)::uuid, 'MILESTONE',
       'Milestone ' || i || ' of a project', now(), now(), now()
  from generate_series(0, {rows} - 1) as i,
"""
    + _OF_SOURCE.format(source="i")
    + " where i % 10 > 0 or i < 100000"
)
_WAITING = (
    """
insert into sync_outbox (workspace_id, operation, payload, status, attempts, last_error, next_attempt_at, created_at)
select b.w, o.operation::outbox_operation, pg_temp.payload(b.w, a.k, i.i, o.operation),
       (case when n % 5 = 0 then 'FAILED' else 'PENDING' end)::outbox_status, case when n % 5 = 0 then 2 else 0 end,
       case when n % 5 = 0 then 'HTTP 503: backendError' end,
       now() + case when a.k % 10 in (1, 2, 3) or a.k % 20 = 5 or a.k % 200 in (0, 4) then n % 86400 * interval '-1 s'
                    else interval '2 h' + n % 86400 * interval '1 s' end,
       now() - interval '1 d' - n % 86400 * interval '1 s'
  from generate_series(1, {rows}) as n,
       lateral (select pg_temp.source(n % greatest({rows} / 3, 1)) as i) as i,
"""
    + _OF_SOURCE.format(source="i.i")
    + """,
       lateral (select case when a.k % 200 in (0, 4) and i.i % 3 < 2 then 'CANCEL_EVENT' else 'UPSERT_EVENT' end
                       as operation) as o
"""
)
_DEAD = """
insert into sync_outbox (workspace_id, operation, payload, status, attempts, failure_code, last_error, created_at,
                         updated_at, processed_at)
select b.w, 'UPSERT_EVENT', pg_temp.payload(b.w, a.k, i.i, 'UPSERT_EVENT'), 'DEAD_LETTER', 5, c.code,
       'HTTP ' || (array[400, 403, 404, 410, 429, 500, 503])[1 + n % 7] || ': reason ' || n % 41 || ' of a calendar',
       t.at - interval '1 h', t.at, t.at
  from generate_series(1, {rows}) as n,
       lateral (select (array['EXHAUSTED', 'EXHAUSTED', 'EXHAUSTED', 'EXHAUSTED', 'BAD_REQUEST', 'BAD_REQUEST', 'AUTH',
                              'BAD_PAYLOAD', 'FORBIDDEN', 'EVENT_GONE', null])[1 + n % 11] as code) as c,
       lateral (select now() - interval '30 d' * power((n::bigint * 40503 % 65536) / 65536.0, 4) as at) as t,
       lateral (select pg_temp.source({rows} / 6 + n % greatest({rows} / 3, 1)) as i) as i,
""" + _OF_SOURCE.format(source="i.i")
_IN_FLIGHT = """
insert into sync_outbox (workspace_id, operation, payload, status, attempts, lease_no)
select b.w, 'UPSERT_EVENT', pg_temp.payload(b.w, 9, n, 'UPSERT_EVENT'), 'PROCESSING', 1, {lease} + n % 2
  from generate_series(1, 2000) as n, lateral (select md5('w' || 10 * n % {workspaces} + 9)::uuid as w) as b
"""
_REBUILDS = """
insert into sync_outbox (id, workspace_id, operation, payload, status, created_at, updated_at, processed_at)
select md5('r' || n)::uuid, b.w, 'REBUILD_ALL',
       jsonb_build_object('operation', 'REBUILD_ALL', 'workspaceId', b.w, 'calendarId', 'team@example.com'),
       (case when n < 1500 then 'COMPLETED' else 'PENDING' end)::outbox_status, now() - n * interval '20 min',
       now() - n * interval '20 min', case when n < 1500 then now() - n * interval '20 min' end
  from generate_series(0, 1519) as n,
       lateral (select md5('w' || case when n < 1500 then n % 300 else 10 * n + 1 end)::uuid as w) as b
"""
_BRAKES = """
insert into sync_brakes (workspace_id, cause, deletes, events, stopped_at)
select md5('w' || k)::uuid, case when k % 200 = 0 then 'BURST' else 'REBUILD' end, 400 + k, 500 + k,
       now() - k * interval '1 min'
  from generate_series(0, {workspaces} - 1) as k where k % 200 in (0, 4)
"""
_ASIDE = """
insert into sync_set_aside (item_id, workspace_id, sqlstate, constraint_name, retry_at)
select o.id, o.workspace_id, '23514', 'a_check_' || n % 3, now() + interval '1 min'
  from (select id, workspace_id, row_number() over () as n
          from sync_outbox where status = 'FAILED' limit 500) as o
"""
_ACTS = """
insert into sync_acts (at, who, how, act, workspace_id, target, reason, forecast, result)
select now() - (20000 - n) * interval '2 min', 'ada', 'console',
       (array['requeue', 'brake release', 'connection enable', 'rebuild'])[1 + n % 4],
       case when n % 3 > 0 then md5('w' || n % 40)::uuid end, '{{"code": "EXHAUSTED", "rate": 50}}', 'INC-' || n,
       '{{"sent": 900, "outdated": 100}}', '{{"state": "done", "of": 1000, "done": 1000}}'
  from generate_series(1, 20000) as n
"""
_INVITATIONS = """
insert into sync_invitations (hash, workspace_id, calendar_id, invited_by, invited_at, expires_at, revoked_at)
select sha256(convert_to(case n when 0 then repeat('A', 43) else 'i' || n end, 'UTF8')),
       md5('w' || n % 200)::uuid, 'team@example.com', 'ada',
       now() - n * interval '1 h', now() - n * interval '1 h' + interval '72 h',
       case when n % 2 = 1 then now() - n * interval '1 h' end
  from generate_series(0, 3999) as n
"""
_PULSES = """
insert into sync_pulses (minute, replica, started_at, host, version, settings, lease_no, gate, breaker, in_flight_items,
                         in_flight_requests, rate, lag, standings, lanes, counts, waited, done, answers)
select date_trunc('minute', now()) - n * interval '1 min', md5('p' || r)::uuid, now() - interval '9 d',
       'reactor-' || r, '0.2.0', '{{"calendar_sync_lane_requests_per_minute": 600}}', {lease} + r, 'armed', 'closed',
       1000, 40, 83, 0.004, '{{"held": 12, "broken": 8, "busy": 30}}', l.lanes, '{{"claimed": 2400, "applied": 2380}}',
       '{{"0.5": 2000, "1": 380, "60": 20}}', '{{"0.5": 1500, "1": 800, "60": 80}}', '{{"200": 2380, "503": 20}}'
  from generate_series(1, 48 * 60) as n, generate_series(0, 1) as r,
       lateral (select jsonb_agg(jsonb_build_object(
                  'workspace', md5('w' || 10 * m + 6)::uuid, 'breaker', 'closed', 'opens_in', 30, 'rate', 5,
                  'standing', (array['held', 'broken', 'busy'])[1 + m % 3], 'in_flight', m)) as lanes
                  from generate_series(1, 20) as m) as l
"""
_APPLICATION = (
    """
create table app_tasks (workspace_id uuid, source_id uuid, title text);
insert into app_tasks
select b.w, md5('s' || i)::uuid, 'Milestone ' || i || ' of a project'
  from generate_series(0, {rows} - 1) as i,
"""
    + _OF_SOURCE.format(source="i")
    + """
 where i % 20 = 0 and i < 100000 or i % 10 = 5;
create index on app_tasks (workspace_id);
create index on app_tasks (source_id);
create view calendar_source_events as
select t.workspace_id, 'task'::text as source_type, t.source_id, 'team@example.com'::text as calendar_id,
       'MILESTONE'::text as event_type, t.title, null::text as description,
       timestamptz '2026-12-01 09:00Z' as start_at, timestamptz '2026-12-01 10:00Z' as end_at
  from app_tasks as t;
grant select on calendar_source_events to calendar_sync_reactor
"""
)
_RESTING = """
update sync_outbox as o set next_attempt_at = now() + interval '1 d'
  from google_connections as c
 where o.status in ('PENDING', 'FAILED') and o.next_attempt_at < now() + interval '1 h'
   and c.workspace_id = o.workspace_id and c.is_valid
   and not exists (select from sync_brakes as b where b.workspace_id = o.workspace_id)
"""


def fill(owner: psycopg.Connection[Any], rows: int = ROWS, workspaces: int = WORKSPACES) -> Iterator[str]:
    """Insert all of it; yields what comes next.

    Args:
        owner: A session of the owner's.
        rows: How many wait, and how many are dead.
        workspaces: How many there are.

    The finished rows are vacuumed, what waits and is dead is not: rows that come and go every second stand on pages of
    which the server does not know that all may be seen, and an index alone does not do for them.
    """
    finished = 10 * rows
    values = {"rows": rows, "workspaces": workspaces, "finished": finished, "lease": LEASES[0]}
    owner.execute("set session_replication_role = replica")
    owner.execute(_FUNCTIONS.format(**values).encode())
    yield f"{finished:,} finished rows"
    for first in range(1, finished + 1, _PORTION):
        last = min(first + _PORTION - 1, finished)
        owner.execute(_FINISHED.format(**values, first=first, last=last).encode())
    owner.execute("vacuum analyze sync_outbox")
    parts = (_CONNECTIONS, _SOURCES, _BINDINGS, _WAITING, _DEAD, _IN_FLIGHT, _REBUILDS, _BRAKES, _ASIDE, _ACTS)
    yield f"{rows:,} waiting, {rows:,} dead, and what belongs to them"
    for part in (*parts, _INVITATIONS, _PULSES, _APPLICATION):
        owner.execute(part.format(**values).encode())
    yield "statistics"
    owner.execute("analyze")
    owner.execute("select count(*) from sync_outbox where attempts < 0")  # so that the first reader marks no rows
    owner.execute("set session_replication_role = origin")
    owner.execute("checkpoint")


def rest(owner: psycopg.Connection[Any]) -> None:
    """Leave a reactor nothing to do: what it could send is due tomorrow, and what is in flight has ended."""
    owner.execute("set session_replication_role = replica")
    owner.execute("update sync_outbox set status = 'COMPLETED', lease_no = null where status = 'PROCESSING'")
    owner.execute(_RESTING)
    owner.execute("set session_replication_role = origin")
    owner.execute("checkpoint")


def workspace(owner: psycopg.Connection[Any], number: int) -> UUID:
    """The id of a workspace."""
    [[found]] = owner.execute("select md5('w' || %s::integer)::uuid", (number,)).fetchall()
    return UUID(str(found))
