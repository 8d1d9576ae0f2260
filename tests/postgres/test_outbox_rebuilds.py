"""How a rebuild and the other items of its workspace keep out of each other's way."""

from collections.abc import Iterator

import psycopg
import pytest

from reactor.core.calendar.prune import PruneTarget
from reactor.core.item import Item, Settlement
from reactor.core.payload import Rebuild, parse
from reactor.postgres.outbox import Outbox
from reactor.postgres.rebuilds import Expansion
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


def completed(item: Item) -> Settlement:
    return Settlement(item, "COMPLETED", item.attempts, moves_floor=True)


async def test_a_rebuild_waits_for_what_is_under_way_and_then_runs_alone(world: World, outbox: Outbox) -> None:
    world.connect()
    world.connect("other")
    world.insert("a")
    [first] = (await outbox.claim(slots=5)).items
    rebuild = world.insert(operation="REBUILD_ALL")
    later, elsewhere = world.insert("b"), world.insert(of="other")
    assert [item.id for item in (await outbox.claim(slots=5)).items] == [elsewhere]
    await outbox.settle([completed(first)])
    [item] = (await outbox.claim(slots=5)).items
    assert (item.id, item.source_key) == (rebuild, "REBUILD_ALL")
    assert (await outbox.claim(slots=5)).items == []
    await outbox.settle([completed(item)])
    assert [item.id for item in (await outbox.claim(slots=5)).items] == [later]


async def test_the_newest_rebuild_supersedes_older_ones_when_it_is_done(world: World, outbox: Outbox) -> None:
    world.connect()
    older, newer = (world.insert(operation="REBUILD_ALL") for _ in range(2))
    [item] = (await outbox.claim(slots=5)).items
    assert item.id == newer
    assert world.status(older) == ("PENDING", 0, None)
    await outbox.settle([completed(item)])
    assert (await outbox.claim(slots=5)).items == []
    assert world.status(older) == ("COMPLETED", 0, "SUPERSEDED")


async def test_a_rebuild_in_backoff_holds_up_nobody(world: World, outbox: Outbox) -> None:
    world.connect()
    world.insert(operation="REBUILD_ALL")
    row = world.insert()
    [rebuild] = (await outbox.claim(slots=5)).items
    await outbox.settle([Settlement(rebuild, "FAILED", 1, delay=60)])
    [item] = (await outbox.claim(slots=5)).items
    assert item.id == row


async def test_children_of_a_rebuild_say_so(world: World, outbox: Outbox) -> None:
    world.connect()
    parent = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    world.insert(parent_id=parent)
    [item] = (await outbox.claim(slots=5)).items
    assert item.is_child
    await outbox.settle([completed(item)])
    assert (world.memory() or {})["floor_seq"] == item.seq, "a child that was applied is the newest state"


async def test_the_source_of_a_stray_is_told_that_a_tombstone_may_be_ours(
    world: World, outbox: Outbox, database: Database
) -> None:
    """Unless it has an event: then a tombstone elsewhere says nothing. (Simulator, seed 921186.)"""
    world.connect()
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key, google_event_id) values (%s, %s, 'e'), (%s, %s, null)",
        (workspace(), f"task:{source('has one')}", workspace(), f"task:{source('lost its attempt')}"),
    )
    world.insert(operation="REBUILD_ALL")
    [item] = (await outbox.claim(slots=5)).items
    payload = parse(item.operation, item.workspace_id, item.payload)
    assert isinstance(payload, Rebuild)
    expansion = Expansion(item, payload)
    about = [f"task:{source(name)}" for name in ("has one", "lost its attempt", "is not known")]
    strays = [PruneTarget(str(workspace()), "there", f"event{n}", '"1"', key) for n, key in enumerate([*about, None])]
    with psycopg.connect(database.reactor, autocommit=True) as session:
        expansion.open(session)
        assert expansion.removals(session, strays) == 4
    assert [(world.memory(name) or {})["reopen"] for name in ("has one", "lost its attempt", "is not known")] == [
        False,
        True,
        True,
    ]
