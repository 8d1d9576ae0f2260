"""How a rebuild and the other items of its workspace keep out of each other's way."""

from collections.abc import AsyncIterator, Iterator

import pytest

from reactor.core.item import Item, Settlement
from reactor.postgres.outbox import Outbox
from reactor.postgres.session import open_session
from tests.databases import Database
from tests.outbox_world import World


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        yield Outbox(session)


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
