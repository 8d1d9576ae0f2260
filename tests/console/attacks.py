"""A database whose every text is an attack on the pages that show it.

First comes one row of each kind that a page shows, with ids that `tests.console.examples` names. Then every column of
every table that may hold any text is filled with attacks; a column that a constraint protects keeps what it has. So a
table that a later migration brings is attacked without a line here.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.databases import Database
from tests.support.dialogues import upsert_json

ATTACK = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)><svg/onload=alert(3)><a href='javascript:alert(4)'>x</a>"
    "{{7*7}}${7*7}</title></textarea></table><!-- ` onfocus=alert(5) autofocus style=color:red x=`"
    "\x1b[31m\x07\u202etxt.exe"
)
MARKS = ("alert(", "onerror", "javascript:")
"""What must never be more than text in a page."""
NAMES = (
    "<img src=x onerror=alert(6)>",
    "calendar-sync-reactor claims, refused: <svg/onload=alert(7)>",
    "calendar-sync-reactor listen",
)
"""Of sessions; the first holds the lock of the claims."""

WORKSPACE = UUID("7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10")
SOURCE = UUID("0b9f2a4e-3c61-4d0e-8f57-2f6f0c1d9a01")
ITEMS = {
    status: UUID(f"00000000-0000-4000-8000-{number:012d}")
    for number, status in enumerate(("PENDING", "FAILED", "PROCESSING", "COMPLETED", "DEAD_LETTER"))
}
INVITATION = "A" * 43
REBUILD = UUID("00000000-0000-4000-8000-00000000000f")

LEASE = 7
"""Of the replica that lives, and the next number that of another."""
_LANE = {"opens_in": 600.0, "rate": 10.0, "in_flight": 3}
_LANE_QUOTA = {"calendar_sync_lane_requests_per_minute": 600}

_TEXTS = """
select c.relname, a.attname, a.atttypid::regtype::text as kind
  from pg_catalog.pg_attribute as a join pg_catalog.pg_class as c on c.oid = a.attrelid
 where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
   and a.atttypid::regtype::text in ('text', 'character varying', 'text[]') and a.attgenerated = ''
   and c.relname !~ 'yoyo'
 order by 1, 2
"""


def attack(database: Database) -> list[str]:
    """Fill a migrated database; return the columns that are attacked."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("set session_replication_role = replica")  # no trigger mends what is wrong
        _insert(owner)
        return list(_fill(owner))


def _insert(owner: psycopg.Connection[tuple[object, ...]]) -> None:
    payload = Jsonb({**upsert_json(ATTACK.replace("\x1b", "").replace("\x07", "")), "sourceId": str(SOURCE)})
    other = UUID(int=WORKSPACE.int + 1)
    owner.execute(
        "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid) "
        "values (%s, 'x', 'x', false), (%s, 'x', 'x', true)",
        (WORKSPACE, other),
    )
    for status, item in ITEMS.items():
        owner.execute(
            "insert into sync_outbox (id, workspace_id, operation, payload, status, failure_code, last_error, "
            "next_attempt_at) values (%s, %s, 'UPSERT_EVENT', %s, %s, 'x', 'x', now() - interval '1 h')",
            (item, WORKSPACE, payload, status),
        )
    owner.execute(
        "insert into sync_outbox (id, workspace_id, operation, payload) values (%s, %s, 'REBUILD_ALL', '{}')",
        (REBUILD, other),
    )
    owner.execute(
        "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'UPSERT_EVENT', %s)", (other, payload)
    )
    owner.execute(  # what it has met is said on the first page, because it has waited for long
        "insert into sync_outbox (workspace_id, operation, payload, last_error, next_attempt_at, created_at) "
        "values (%s, 'UPSERT_EVENT', %s, 'x', now() + interval '2 h', now() - interval '1 h')",
        (other, payload),
    )
    owner.execute("insert into sync_sources (workspace_id, source_key) values (%s, 'x')", (WORKSPACE,))
    owner.execute(
        "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 40, 50)", (WORKSPACE,)
    )
    owner.execute(
        "insert into sync_set_aside (item_id, workspace_id, sqlstate, retry_at) values (%s, %s, '23514', now())",
        (ITEMS["FAILED"], WORKSPACE),
    )
    owner.execute(
        "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id, "
        "event_type, event_title) values (%s, 'x', 'x', 'task', %s, 'MILESTONE', 'x')",
        (WORKSPACE, SOURCE),
    )
    owner.execute(
        "insert into sync_acts (who, how, act, workspace_id, reason, target, result) "
        "values ('x', 'console', 'x', %s, 'x', %s, "
        "jsonb_build_object('state', 'running', 'done', 3, 'of', 10, 'at', now()))",
        (WORKSPACE, Jsonb({"code": ATTACK.replace("\x1b", "").replace("\x07", ""), "ids": []})),
    )
    owner.execute(
        "insert into sync_invitations (hash, workspace_id, calendar_id, invited_by, expires_at) values "
        "(sha256(%s), %s, 'x', 'x', now() + interval '1 d')",
        (INVITATION.encode(), WORKSPACE),
    )
    for minutes, replica, lease in ((3, 1, LEASE), (5, 2, LEASE + 1), (7, 3, None)):
        owner.execute(
            "insert into sync_pulses (minute, replica, started_at, host, version, settings, lease_no, gate, breaker, "
            "in_flight_items, in_flight_requests, lag, lanes, counts, done, answers) values "
            "(date_trunc('minute', now()) - make_interval(mins => %s), %s, now(), 'x', 'x', %s, %s, 'x', 'x', 3, 1, "
            "0.01, %s, %s, %s, %s)",
            (
                minutes,
                UUID(int=replica),
                Jsonb({ATTACK: replica, "log_level": f"{ATTACK}{replica}", **_LANE_QUOTA}),
                lease,
                Jsonb([{**_LANE, "workspace": str(WORKSPACE), "standing": ATTACK, "breaker": ATTACK}]),
                Jsonb({"applied": 40, "retried": 2, "dead": 1, ATTACK: 1}),
                Jsonb({"0.5": 30, "60": 10}),
                Jsonb({"200": 40, "": 1, ATTACK: 30, "503": 2, "none": 1}),
            ),
        )


def _fill(owner: psycopg.Connection[tuple[object, ...]]) -> Iterator[str]:
    for table, column, kind in owner.execute(_TEXTS).fetchall():
        value = sql.SQL("array[%s || ctid::text]" if kind == "text[]" else "%s || ctid::text")
        statement = sql.SQL("update {} set {} = ").format(sql.Identifier(str(table)), sql.Identifier(str(column)))
        with suppress(psycopg.errors.CheckViolation, psycopg.errors.StringDataRightTruncation):
            if owner.execute(statement + value, (ATTACK,)).rowcount:
                yield f"{table}.{column}"


@contextmanager
def attacking_sessions(database: Database) -> Iterator[None]:
    """Keep sessions whose names are attacks: one that holds what a reactor needs, and two that pass for a replica."""
    sessions = [psycopg.connect(database.owner, application_name=name, autocommit=True) for name in NAMES]
    sessions[0].execute("select pg_advisory_lock(718300, 0)")
    for number, session in enumerate(sessions[1:]):
        session.execute("select pg_advisory_lock(718302, %s)", (LEASE + number,))
    try:
        yield
    finally:
        for session in sessions:
            session.close()
