"""`status` and `locks`: what they say is so."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from reactor.desk import outbox_status
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.support.commands import call, document
from tests.support.databases import Database
from tests.support.outbox_world import World as Rows, workspace


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="calendar-sync-reactor claims") as session:
        yield Outbox(session)


def test_an_empty_outbox(database: Database) -> None:
    result = call(database.reactor, "status")
    assert result.exit_code == 0
    assert "none is connected: nothing is sent" in result.stdout
    assert document(database, "status")["items"]["open"] == 0


def test_what_waits_and_for_whom(database: Database, rows: Rows) -> None:
    rows.connect("busy")
    rows.connect("fine")
    rows.connect("invalid", valid=False)
    for about in "abc":
        rows.insert(about, of="busy")
    rows.insert(of="busy", about="later", status="FAILED", next_attempt_at="2100-01-01")
    rows.insert(of="invalid")
    rows.insert(of="stranger")
    rows.connection.execute(
        "update sync_outbox set next_attempt_at = now() - interval '1 h' where next_attempt_at < now()"
    )
    rows.insert(of="fine")
    rows.insert(of="fine", about="x", status="DEAD_LETTER", failure_code="BAD_REQUEST")
    found = document(database, "status")
    counts = {name: found["items"][name] for name in ("open", "pending", "failed", "later")}
    assert counts == {"open": 7, "pending": 6, "failed": 1, "later": 1}
    worst = found["backlog"]["worst"]
    assert [(each["workspace"], each["due"]) for each in worst] == [
        (str(workspace("busy")), 3),
        (str(workspace("fine")), 1),
    ]
    assert 3_600 <= found["backlog"]["oldest_due_seconds"] < 3_700
    parked = {each["workspace"]: (each["connected"], each["waiting"]) for each in found["parked"]["workspaces"]}
    assert parked == {str(workspace("invalid")): (True, 1), str(workspace("stranger")): (False, 1)}
    assert (found["parked"]["total"], found["parked"]["invalid"]) == (3, 1)
    assert found["dead_letters"] == {"codes": {"BAD_REQUEST": 1}, "capped": False}

    one = document(database, "status", "--workspace", str(workspace("busy")))
    assert (one["items"]["open"], one["dead_letters"]["codes"], one["parked"]["workspaces"]) == (4, {}, [])
    shown = call(database.reactor, "status").stdout
    assert "1 h" in shown
    assert "2 items of 2 workspaces without a valid connection" in shown
    assert "\nParked: connect them again with `python -m reactor connect`\n" in shown, "a command is not folded"


def test_who_is_stopped_by_the_brake(database: Database, rows: Rows) -> None:
    rows.connection.execute(
        "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 40, 50), "
        "(%s, 'BURST', 30, 50)",
        (workspace("stopped"), workspace("released")),
    )
    rows.connection.execute(
        "update sync_brakes set released_at = now() where workspace_id = %s", (workspace("released"),)
    )
    [found] = document(database, "status")["stopped"]
    assert found == {"workspace": str(workspace("stopped")), "cause": "BURST", "deletes": 40, "events": 50}
    shown = call(database.reactor, "status").stdout
    assert "40 of 50" in shown
    assert "brake list" in shown


def test_it_never_counts_everything(database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_status, "CAP", 3)
    rows.connect()
    for number in range(6):
        rows.insert(str(number))
        rows.insert(str(number), status="DEAD_LETTER", failure_code="AUTH")
    rows.connection.execute("analyze sync_outbox")
    found = document(database, "status")
    assert (found["items"]["open"], found["items"]["capped"]) == (4, True)
    assert found["dead_letters"] == {"codes": {"AUTH": 4}, "capped": True}
    shown = call(database.reactor, "status").stdout
    assert "over 3, about 6\n" in shown
    assert "over 3, of which at least 4 AUTH" in shown


async def test_replicas_and_what_they_hold(database: Database, rows: Rows, outbox: Outbox) -> None:
    rows.connect()
    rows.insert()
    [item] = (await outbox.claim(slots=1)).items
    with psycopg.connect(database.reactor, application_name="calendar-sync-reactor listen") as listening:
        listening.execute("select pg_advisory_lock(718300, 1)")
        found = document(database, "status")
        held = {each["application"]: (each["has_gate"], each["items"]) for each in found["replicas"]}
        assert {each["quota_divisor"] for each in found["replicas"]} == {None}
        assert held == {"calendar-sync-reactor claims": (False, 1), "calendar-sync-reactor listen": (True, 0)}
        assert found["in_hand"] == {"processing": 1, "of_older_workers": 0, "orphans": 0}
        listening.execute("select pg_advisory_lock_shared(718303, 2147483647), pg_advisory_lock(718300, 1)")
        with psycopg.connect(database.reactor, application_name="calendar-sync-reactor claims") as other:
            other.execute("select pg_advisory_lock_shared(718303, 2), pg_advisory_lock_shared(718303, 3)")
            assert "0 items, 1/2 of the quota" in call(database.reactor, "status").stdout
        shown = call(database.reactor, "status").stdout
        assert "of the quota" not in shown
        assert "the gate: sleeps" in shown
        assert "1 item\n" in shown or "1 item " in shown
    [lock] = document(database, "locks")
    assert (lock["workspace"], lock["item"], lock["holder"]) == (str(workspace()), str(item.id), "reactor")
    assert (lock["application"], lock["age"] >= 0) == ("calendar-sync-reactor claims", True)


def test_locks_of_every_kind(database: Database, rows: Rows) -> None:
    items = {name: rows.insert(name) for name in ("old", "lost", "orphan")}
    for name, claim in (("old", None), ("lost", None), ("orphan", 7)):
        state = "update sync_outbox set status = 'PROCESSING', claim_no = %s where id = %s"
        rows.connection.execute(state, (claim, items[name]))
    rows.connection.execute("select try_lock_outbox_item(%s)", (items["old"],))
    rows.connection.execute("select try_lock_outbox_item(%s)", (uuid4(),))
    found = {lock["holder"]: lock["item"] for lock in document(database, "locks")}
    assert found == {
        "older worker": str(items["old"]),
        "older worker, no lock": str(items["lost"]),
        "orphan": str(items["orphan"]),
        "lock without item": None,
    }
    shown = call(database.reactor, "locks", "--workspace", str(workspace())).stdout
    assert str(items["old"]) in shown
    assert "lock without item" not in shown
    rows.connection.execute("select pg_advisory_unlock_all()")
    rows.connection.execute("delete from sync_outbox")
    assert call(database.reactor, "locks").stderr == "No item is in flight.\n"


def rebuild_of(rows: Rows, **columns: Any) -> UUID:
    return rows.insert(operation="REBUILD_ALL", **columns)


def test_how_far_a_rebuild_is(database: Database, rows: Rows) -> None:
    rows.connect()
    rebuild = rebuild_of(rows, status="COMPLETED", processed_at="2026-01-01")
    states = ("COMPLETED",) * 3 + ("PENDING", "FAILED", "PROCESSING")
    for number, state in enumerate(states):
        rows.insert(str(number), status=state, parent_id=rebuild)
    rows.insert("overtaken", status="COMPLETED", failure_code="SUPERSEDED", parent_id=rebuild)
    rows.insert("dead", status="DEAD_LETTER", failure_code="BAD_REQUEST", parent_id=rebuild)
    found = document(database, "status", "--rebuild", str(rebuild))
    assert (found["expanded"], found["over"]) == (True, False)
    assert found["children"] == {
        "total": 8,
        "done": 4,
        "overtaken": 1,
        "capped": False,
        "by_status": {"COMPLETED": 4, "DEAD_LETTER": 1, "FAILED": 1, "PENDING": 1, "PROCESSING": 1},
        "dead": {"BAD_REQUEST": 1},
    }
    assert "5 of 8 settled (62 %), 3 to go" in call(database.reactor, "status", "--rebuild", str(rebuild)).stdout
    rows.connection.execute(
        "update sync_outbox set status = 'COMPLETED' where parent_id is not null and status <> 'DEAD_LETTER'"
    )
    assert document(database, "status", "--rebuild", str(rebuild))["over"] is True


def test_a_rebuild_that_has_not_begun_or_is_none(database: Database, rows: Rows) -> None:
    waits = rebuild_of(rows, status="FAILED", last_error="Google is away", next_attempt_at="2100-01-01")
    shown = call(database.reactor, "status", "--rebuild", str(waits)).stdout
    assert "waits until 2100-01-01" in shown
    assert "after: Google is away" in shown
    unknown, upsert = uuid4(), rows.insert()
    for wrong, sentence in ((unknown, f"There is no item {unknown}"), (upsert, f"Item {upsert} is UPSERT_EVENT, not")):
        result = call(database.reactor, "status", "--rebuild", str(wrong))
        assert result.exit_code == 2
        assert result.stderr.startswith(sentence)


def test_what_a_terminal_would_obey_is_not_shown(database: Database, rows: Rows) -> None:
    rebuild = rebuild_of(rows, status="DEAD_LETTER", failure_code="EXHAUSTED", last_error="\x1b[2Jgone")
    shown = call(database.reactor, "status", "--rebuild", str(rebuild)).stdout
    assert "\x1b" not in shown
    assert "[2Jgone" in shown


def test_nothing_of_a_table_is_cut_off(database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are there to be copied, in a narrow terminal too."""
    rows.insert()
    rows.connection.execute("update sync_outbox set status = 'PROCESSING', claim_no = 1")
    for width in ("40", "400"):
        for terminal in (False, True):
            monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
            shown = call(database.reactor, "locks", COLUMNS=width).stdout
            assert str(workspace()) in shown
            assert str(rows.one("select id from sync_outbox")) in shown


def test_what_the_database_refuses_to_change(database: Database, rows: Rows) -> None:
    rows.connect()
    items = [rows.insert(f"s{n}") for n in range(3)]
    for item, constraint in zip(items, ("located", "located", ""), strict=True):
        state = "23514" if constraint else "P0001"
        rows.connection.execute("select sync_outbox_set_aside(%s, %s, %s)", (item, state, constraint))
    found = document(database, "status")["set_aside"]
    assert [(each["n"], each["sqlstate"], each["constraint"]) for each in found] == [
        (2, "23514", "located"),
        (1, "P0001", ""),
    ]
    shown = " ".join(call(database.reactor, "status").stdout.split())
    assert "3 that the database refuses to change: 2 23514 located, 1 P0001; one is" in shown
