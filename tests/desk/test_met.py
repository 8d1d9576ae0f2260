"""What waiting items have met: said of a lane that is held, whatever waits behind, and of none that awaits a person."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from reactor.desk.met import met
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from tests.support.databases import Database
from tests.support.outbox_world import World, workspace

NOW = datetime.now(UTC)
KEY, GOOGLE = "the stored token cannot be decrypted with our keys", "Google failed (503)"
STOP = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 40, 50)"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
def admin(database: Database) -> Iterator[AdminSession]:
    with open_admin_session(database.reactor, name="test") as admin:
        yield admin


def tried(world: World, name: str, error: str) -> None:
    """An item that was released to a later time, behind ten that were not tried."""
    world.connect(name)
    for number in range(10):
        world.insert(f"{number}", of=name)
    world.insert(
        "tried",
        of=name,
        last_error=error,
        next_attempt_at=NOW + timedelta(hours=1),
        created_at=NOW - timedelta(hours=2),
    )


def test_what_was_met_is_said_by_reason(world: World, admin: AdminSession) -> None:
    assert met(admin) == []
    for name, error in (("a", GOOGLE), ("b", KEY), ("c", GOOGLE), ("d", KEY), ("e", KEY)):
        tried(world, name, error)
    world.connect("first")
    world.insert(of="first", last_error="at once")
    found = met(admin)
    assert [(each["error"], each["workspaces"]) for each in found] == [(KEY, 3), (GOOGLE, 2), ("at once", 1)]
    assert 7_200 <= found[0]["waited"] <= 7_200 + (datetime.now(UTC) - NOW).total_seconds()
    assert found[1]["workspace"] in (workspace("a"), workspace("c"))
    assert [each["error"] for each in met(admin, workspace("b"))] == [KEY]


def test_who_waits_for_a_person_is_told_of_elsewhere(world: World, admin: AdminSession) -> None:
    for name in ("parked", "stopped", "released"):
        tried(world, name, GOOGLE)
    world.connection.execute(
        "update google_connections set is_valid = false where workspace_id = %s", (workspace("parked"),)
    )
    for name in ("stopped", "released"):
        world.connection.execute(STOP, (workspace(name),))
    world.connection.execute(
        "update sync_brakes set released_at = now() where workspace_id = %s", (workspace("released"),)
    )
    [found] = met(admin)
    assert (found["workspaces"], found["workspace"]) == (1, workspace("released"))
