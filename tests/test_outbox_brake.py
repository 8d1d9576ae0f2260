"""The brake where items are claimed."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
import trio

from reactor.core.brake import Limit
from reactor.core.gate import Found
from reactor.core.item import Item, Memory, Settlement
from reactor.postgres.brakes import Brakes, Pulled, release, stopped
from reactor.postgres.outbox import Outbox
from reactor.postgres.session import open_session
from tests.databases import Database
from tests.outbox_world import World, workspace

STOP = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 60, 80)"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
def pulled() -> list[Pulled]:
    return []


@pytest.fixture
async def outbox(database: Database, pulled: list[Pulled]) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        yield Outbox(session, brake=Limit(share=0.5, least=4), on_pull=pulled.append)


def applied(item: Item) -> Settlement:
    memory = Memory(event_id=f"event{item.source_key}", calendar_id="primary")
    return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=memory)


async def bind(world: World, outbox: Outbox, names: str) -> None:
    """Give sources events."""
    for name in names:
        world.insert(name)
    while items := (await outbox.claim(slots=50)).items:
        await outbox.settle([applied(item) for item in items])


async def ids(outbox: Outbox) -> list[UUID]:
    return [item.id for item in (await outbox.claim(slots=50)).items]


async def test_nothing_is_claimed_of_a_workspace_that_is_stopped_in_the_middle_of_a_round(
    world: World, outbox: Outbox
) -> None:
    world.connect()
    world.connect("other")
    for name in "abc":
        world.insert(name)
    first = (await outbox.claim(slots=1)).items
    assert len(first) == 1
    world.connection.execute(STOP, [workspace()])
    elsewhere = world.insert(of="other")
    found: list[UUID] = []
    while (claimed := await outbox.claim(slots=1)).look.found is Found.WORK:
        found += [item.id for item in claimed.items]
    assert found == [elsewhere]
    assert not (await outbox.claim(slots=0)).look.left_behind
    assert release(world.connection, workspace())
    found = []
    while (claimed := await outbox.claim(slots=1)).look.found is Found.WORK:
        found += [item.id for item in claimed.items]
    assert len(found) == 2


async def test_a_burst_is_handed_back_and_the_others_are_not(
    world: World, outbox: Outbox, pulled: list[Pulled]
) -> None:
    world.connect()
    world.connect("other")
    await bind(world, outbox, "abcdef")
    burst = {world.insert(name, operation="CANCEL_EVENT") for name in "abcd"}
    elsewhere = world.insert(of="other")
    claimed = await outbox.claim(slots=50)
    assert [item.id for item in claimed.items] == [elsewhere]
    assert {item.id for item in claimed.held} == burst
    assert pulled == [Pulled(workspace(), "BURST", 4, 6)]
    await outbox.give_back(claimed.held)
    assert await ids(outbox) == []
    [found] = stopped(world.connection)
    assert (found.workspace_id, found.waiting) == (workspace(), 4)
    assert stopped(world.connection, workspace("other")) == []
    assert release(world.connection, workspace())
    assert not release(world.connection, workspace())
    assert (await outbox.claim(slots=50)).look.found is Found.WORK
    assert set(await ids(outbox)) == burst
    assert len(pulled) == 1


async def test_what_has_no_event_is_no_delete(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    world.connect()
    await bind(world, outbox, "ab")
    for name in "abcdefgh":
        world.insert(name, operation="CANCEL_EVENT")
    assert len(await ids(outbox)) == 8
    assert pulled == []


async def test_children_of_a_rebuild_were_counted_before(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    world.connect()
    await bind(world, outbox, "abcdef")
    parent = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    own = world.insert("f", operation="CANCEL_EVENT")
    for name in "abcde":
        world.insert(
            name, operation="CANCEL_EVENT", parent_id=parent, seq=world.one("select max(seq) from sync_outbox")
        )
    assert [item.id for item in (await outbox.claim(slots=1)).items] == [own]
    assert len(await ids(outbox)) == 5
    assert pulled == []


async def test_what_cannot_be_counted_waits(
    world: World, outbox: Outbox, pulled: list[Pulled], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    await bind(world, outbox, "abcd")
    burst = {world.insert(name, operation="CANCEL_EVENT") for name in "abcd"}
    with monkeypatch.context() as patched:
        patched.setattr(Brakes, "count", lambda _, connection, *__: connection.execute("select 1 / 0"))
        claimed = await outbox.claim(slots=50)
        assert (claimed.items, {item.id for item in claimed.held}) == ([], burst)
        await outbox.give_back(claimed.held)
    assert (await outbox.claim(slots=50)).look.found is Found.NOTHING, "it is asked again after a second"
    while not (claimed := await outbox.claim(slots=50)).held:  # noqa: ASYNC110
        await trio.sleep(0.01)
    assert {item.id for item in claimed.held} == burst
    assert len(pulled) == 1
