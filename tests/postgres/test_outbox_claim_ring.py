"""What a claim sees of the ring, the brake and what is set aside; called as in test_outbox_claim_steps.py."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.outbox_world import World, claim, settled_to_99, source, workspace

HOUR = 3600


@pytest.mark.parametrize(
    ("due_in", "first", "next_one"),
    [
        ([-1], -1, None),
        ([-2, -1], -2, None),
        ([1], 1, 1),
        ([2, 1], 1, 1),
        ([-1, 2, 1], -1, 1),
    ],
)
def test_the_ring_has_the_first_item_and_the_first_that_is_not_due(
    world: World, due_in: list[int], first: int, next_one: int | None
) -> None:
    """In hours, of a workspace between two others."""
    low, middle, high = sorted("wxy", key=workspace)
    for name in ("x", "y"):
        world.connect(name)
    for name in (low, high):
        world.insert("s", of=name, next_attempt_at=world.one("select now() + interval '9 h'"))
    for n, hours in enumerate(due_in):
        world.insert(f"s{n}", of=middle, next_attempt_at=world.one("select now() + %s * interval '1 h'", hours))
    statement = "select first_due_in, next_due_in from sync_outbox_ring_of_due() where workspace_id = %s"
    [found] = world.connection.execute(statement, (workspace(middle),)).fetchall()
    assert found[0] == pytest.approx(first * HOUR, abs=60)
    assert found[1] == (None if next_one is None else pytest.approx(next_one * HOUR, abs=60))
    assert world.one("select count(*) from sync_outbox_ring_of_due()") == 3


@pytest.mark.parametrize("connection", ["none", "revoked"])
def test_a_workspace_without_a_connection_is_not_in_the_ring(world: World, connection: str) -> None:
    if connection == "revoked":
        world.connect("x", valid=False)
    world.insert(of="x")
    assert claim(world, workspaces=None, cursors=None).report["ring"] == []


def test_turns_begin_behind_the_workspace_that_was_last(world: World) -> None:
    names = sorted("wxyz", key=workspace)
    for name in names:
        if name != "w":
            world.connect(name)
    rows = [world.insert(of=name) for name in names]
    at_once: dict[str, Any] = {"workspaces": None, "cursors": None, "width": 1}
    assert claim(world, past=workspace(names[1]), **at_once).ids == [rows[2]]
    assert claim(world, past=workspace(names[3]), **at_once).ids == [rows[0]]
    assert claim(world, past=workspace(names[0]), **at_once).ids == [rows[1]]
    assert claim(world, **at_once).ids == [rows[3]]


def test_what_the_brake_has_stopped_meanwhile_gets_no_turn(world: World) -> None:
    """Whoever calls may not know of it yet; the turn is another workspace's."""
    stopped, other = sorted("wx", key=workspace)
    world.connect("x")
    world.insert(of=stopped)
    row = world.insert(of=other)
    statement = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 9, 9)"
    world.connection.execute(statement, (workspace(stopped),))
    assert claim(world, workspaces=None, cursors=None, width=1).ids == [row]


def set_aside(world: World, row: UUID) -> None:
    """It was refused an hour ago, and may be tried again."""
    world.connection.execute(
        "insert into sync_set_aside (item_id, sqlstate, retry_at) values (%s, 'P0001', now() - interval '1 h')", (row,)
    )


@pytest.mark.parametrize("lock", ["lock table sync_set_aside in share mode", "select from sync_set_aside for update"])
def test_what_is_set_aside_and_locked_is_not_waited_for(world: World, database: Database, lock: str) -> None:
    """What is claimed stands there a while longer."""
    row = world.insert()
    set_aside(world, row)
    world.connection.execute("set statement_timeout = '3s'")
    with psycopg.connect(database.owner) as other:
        other.execute(lock.encode())
        assert claim(world).ids == [row]
    assert world.one("select count(*) from sync_set_aside") == 1


def test_what_is_outdated_and_ends_is_set_aside_no_more(world: World) -> None:
    """The workspace is told: something was to be had in it."""
    settled_to_99(world, f"task:{source()}")
    set_aside(world, world.insert(seq=11))
    report = claim(world).report
    assert (report["superseded"], report["tidied"], report["aside"]) == (1, [str(workspace())], [])
    assert world.one("select count(*) from sync_set_aside") == 0


def test_only_what_is_refused_now_is_told(world: World, database: Database) -> None:
    """Not what was refused before and is claimed now, though it still stands there as its entry is locked."""
    refuse = "create function no() returns trigger language plpgsql as 'begin raise ''no''; end'"
    world.connection.execute(refuse)
    world.connection.execute(
        "create trigger no before update on sync_outbox for each row when (new.payload ? 'bad') execute function no()"
    )
    good, bad = world.insert("good"), world.insert("bad", payload={"bad": True})
    set_aside(world, good)
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_set_aside for update")
        found = claim(world)
    assert found.ids == [good]
    assert [item for item, *_ in found.report["aside"]] == [str(bad)]
