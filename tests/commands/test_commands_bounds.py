"""What a command reads is bounded, whatever the outbox holds: every query is counted in buffers at two sizes."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from reactor.commands import brake
from reactor.desk import connections, locks, outbox_status, rebuild_progress
from reactor.desk.check import database as database_check, stored_tokens
from reactor.desk.letters import dead_letters
from reactor.postgres import brakes
from reactor.postgres.shown import shown
from reactor.postgres.statements import statements
from tests.support.commands import call, document
from tests.support.databases import Database, Server

Connection = psycopg.Connection[tuple[Any, ...]]

REBUILD = "5e8f7a0c-0000-4000-8000-000000000001"
FILL = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid)
select md5(n::text)::uuid, 'token', 'primary', n %% 2 = 0 from generate_series(0, 40) as n;
insert into sync_outbox (workspace_id, operation, payload, status, failure_code, updated_at, parent_id, lease_no)
select md5((n %% greatest(%(rows)s / 4, 1))::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object('sourceType', 'task', 'sourceId', md5('s' || n)::uuid),
       kind.status::outbox_status, case when kind.status = 'DEAD_LETTER' then 'BAD_PAYLOAD' end, now(),
       case when n %% 2 = 0 then %(rebuild)s::uuid end, case when kind.status = 'PROCESSING' then 7 end
  from generate_series(1, %(rows)s) as n,
       (values ('PENDING'), ('DEAD_LETTER'), ('PROCESSING')) as kind (status)
 where kind.status <> 'PROCESSING' or n <= %(processing)s;
insert into sync_outbox (id, workspace_id, operation, payload, status)
values (%(rebuild)s, md5('0')::uuid, 'REBUILD_ALL', '{}', 'COMPLETED');
insert into sync_sources (workspace_id, source_key, floor_seq, google_event_id)
select md5((n %% 40)::text)::uuid, 'task:' || md5('s' || n)::uuid, n, 'e' || n from generate_series(1, %(rows)s) as n;
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)
select md5('c' || n)::uuid, 'token', 'primary' from generate_series(1, %(rows)s / 10) as n;
insert into sync_brakes (workspace_id, cause, deletes, events)
select md5(n::text)::uuid, 'BURST', 30, 40 from generate_series(0, 9) as n;
"""
CONSOLE = (Path(__file__).resolve().parents[2] / "db" / "console.sql").read_bytes()
OF_TOKENS = ("connections.stored_token", "connections.tokens_after", "connections.of_persons")
LONG = "00000000-0000-4000-8000-00000000000a"
CANCELS = """
insert into sync_outbox (workspace_id, operation, payload)
select %(long)s, 'CANCEL_EVENT', jsonb_build_object('sourceType', 'task', 'sourceId', md5('l' || n)::uuid)
  from generate_series(1, %(rows)s) as n;
insert into sync_sources (workspace_id, source_key, google_event_id)
select %(long)s, 'task:' || md5('l' || n)::uuid, 'e' || n from generate_series(1, %(rows)s) as n;
"""
"""A workspace that is long by itself."""
WRITES = {
    "admin": {"keep_read_only"},
    "dead_letters": {"requeue"},
    "connections": {"replace_token", "connect", "set_valid", "reencrypt"},
    "check": {name for name in statements("check") if name.startswith("rehearse_")},
}
FILES = ("status", "met", "dead_letters", "connections", "locks", "lock_holders", "admin", "check", "workspaces")
BIG = "cfcd2084-95d5-65ef-66e7-dff9f98764da"  # md5('0'): it waits, is stopped, and has a connection


def reads() -> Iterator[tuple[str, LiteralString]]:
    """Every query of the commands that only look; a new one is one more."""
    for file in FILES:
        wanted = {name: text for name, text in statements(file).items() if name not in WRITES.get(file, ())}
        yield from ((f"{file}.{name}", text) for name, text in wanted.items())
    yield "brakes.stopped", statements("brakes")["stopped"]


def given(connection: Connection, cap: int) -> dict[str, Any]:
    """Parameters for all of them."""
    dead = b"select array_agg(id) from (select id from sync_outbox where status = 'DEAD_LETTER' limit 50) as d"
    [[ids]] = connection.execute(dead).fetchall()
    return {
        **dict.fromkeys(("workspace", "code", "before", "age", "error", "after", "looks")),
        **dict.fromkeys(("state", "after_state", "after_since", "after_valid", "before_id")),
        "read_only": "off",
        "lanes": [],
        "standings": [],
        "late": 300,
        "count": cap,
        "cap": cap,
        "top": 20,
        "rows": 50,
        "most": 262_144,
        "invalid": False,
        "id": REBUILD,
        "workspaces": [BIG],
        "workspace_id": BIG,
        "functions": ["sync_source_key"],
        "sequences": ["sync_outbox_seq"],
        "ids": ids,
        "ages": [600.0, 3600.0],
    }


LETTERS = tuple(f"dead_letters.{name}" for name in ("by_cause", "by_error", "requeue_outcomes", "has_more"))
OF_ONE = ("workspaces.waiting", "workspaces.in_flight", "workspaces.burst_sample")
RARE: list[dict[str, Any]] = [
    {},
    {"code": "AUTH"},  # no letter died of it
    {"code": "NONE"},
    {"code": "BAD_PAYLOAD", "workspace": BIG},
    {"code": "AUTH", "workspace": BIG},
    {"before": "2020-01-01"},  # none died before: what is looked at is bounded
    {"age": "7 days", "code": "BAD_PAYLOAD"},
    {"age": "7 days", "workspace": BIG},
    {"error": "never met"},
]
"""Filters that leave few of the letters, or none."""


def buffers(connection: Connection, name: str, text: str, cap: int, **filters: Any) -> int:
    """How many pages a query touches."""
    params = {**given(connection, cap), **filters}
    if name in LETTERS:
        params |= {"ids": None, "looks": cap}
    if name == "admin.workspace_is_known":
        params["workspace"] = BIG
    if name in OF_ONE:
        params["workspace"] = LONG
    if name.startswith("workspaces."):
        params["looks"] = cap
    explain = f"explain (analyze, buffers, timing off, summary off, format json) {text}"
    [[plan]] = connection.execute(explain.encode(), params).fetchall()
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


def cases() -> Iterator[tuple[str, LiteralString, dict[str, Any]]]:
    """Every query, and those of dead letters with every filter."""
    for name, text in reads():
        yield from ((name, text, filters) for filters in (RARE if name in LETTERS else [{}]))


def filled(postgres: Server, template: str, rows: int) -> str:
    name = postgres.create_database(template)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as owner:
        psycopg.ClientCursor(owner).execute(FILL, {"rows": rows, "processing": rows // 2, "rebuild": REBUILD})
        psycopg.ClientCursor(owner).execute(CANCELS, {"rows": rows, "long": LONG})
        owner.execute("vacuum analyze")
    return name


def cases_of_a_viewer(*sessions: Connection) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same as the console's login asks it: by views, and under policies."""
    for session in sessions:
        session.execute(CONSOLE)
        session.execute("set role calendar_sync_viewer")
    for name, text, filters in cases():
        if not name.startswith("check.") and name not in OF_TOKENS:
            yield name, shown(text), filters


@pytest.mark.parametrize(
    ("rows", "cap"),
    [((1_000, 12_000), 50), pytest.param((100_000, 1_000_000), 10_000, marks=pytest.mark.soak)],
    ids=["small", "a million"],
)
def test_no_query_reads_more_for_a_longer_queue(
    postgres: Server, migrated_template: str, rows: tuple[int, int], cap: int
) -> None:
    names = [filled(postgres, migrated_template, number) for number in rows]
    few, many = (psycopg.connect(postgres.dsn(name), autocommit=True) for name in names)
    with few, many:
        grown = {}
        for name, text, filters in chain(cases(), cases_of_a_viewer(few, many)):
            less, more = (buffers(each, name, text, cap, **filters) for each in (few, many))
            bound = (10 if name == "dead_letters.requeue_outcomes" else 2) * cap  # pages for each row that is shown
            if more > max(1.5 * less, bound) + 50:  # a plan may change with the size
                grown[name, *filters.items()] = (less, more)
    for name in names:
        postgres.drop_database(name)
    assert not grown, "buffers at the two sizes"


@pytest.fixture
def busy(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A few rows, and bounds that are lower."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        psycopg.ClientCursor(owner).execute(FILL, {"rows": 60, "processing": 30, "rebuild": REBUILD})
    for module, name, value in (
        *(
            (module, "CAP", 5)
            for module in (outbox_status, connections, dead_letters, locks, database_check, stored_tokens)
        ),
        (brakes, "CAP", 3),
        (brake, "CAP", 3),
        (outbox_status, "LISTED", 1),
        (outbox_status, "TOP", 1),
        (rebuild_progress, "CHILDREN", 5),
        (brakes, "TOP", 4),
        (brake, "TOP", 4),
        (connections, "LISTED", 10),
        (stored_tokens, "PORTION", 3),
    ):
        monkeypatch.setattr(module, name, value)
    return database


def test_what_is_not_counted_to_its_end_is_said(busy: Database) -> None:
    shown = call(busy.reactor, "status").stdout
    for said in (
        "waiting       over 5",
        "over 5 PROCESSING",
        "of over 1 workspaces without a valid connection",
        "connections   over 5",
        "dead letters  over 5",
        "Stopped by the brake (over 1 workspaces)",
    ):
        assert said in shown
    assert "of over 5 settled" in call(busy.reactor, "status", "--rebuild", REBUILD).stdout
    listed = call(busy.reactor, "brake", "list")
    assert "over 3" in listed.stdout
    assert "Over 4 workspaces are stopped" in listed.stderr
    assert "Over 10 connections" in call(busy.reactor, "connections", "list").stderr
    assert len(document(busy, "connections", "list")) == 10
    assert "over 5 in all" in call(busy.reactor, "dead-letters", "list").stderr
    assert "Over 5 items are in flight" in call(busy.reactor, "locks").stderr
    forecast = call(busy.reactor, "dead-letters", "requeue", "--all", "--dry-run").stderr
    assert "5 dead letters would be put back (run it again for the rest)" in forecast


def test_a_workspace_is_found_behind_many_others(busy: Database) -> None:
    """The bound is on what is walked through, and with --workspace there is nothing to walk."""
    last = (
        b"select max(workspace_id::text) filter (where is_valid), max(workspace_id::text) filter (where not is_valid)"
        b" from sync_outbox as o join google_connections as c using (workspace_id) where status = 'PENDING'"
    )
    with psycopg.connect(busy.owner, autocommit=True) as owner:
        [[valid, invalid]] = owner.execute(last).fetchall()
    assert document(busy, "status", "--workspace", valid)["backlog"]["workspaces"] == 1
    assert len(document(busy, "status", "--workspace", invalid)["parked"]["workspaces"]) == 1
