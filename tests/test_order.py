"""The order of states after time travel: what is ahead of the sequence, and rows with places that it never gave out."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import pytest

from reactor.core.item import Item, Settlement
from reactor.core.outcome import FailureCode
from reactor.postgres.order import Mended, Order
from reactor.postgres.outbox import Outbox
from reactor.postgres.session import open_session
from tests.databases import Database
from tests.outbox_world import World

FOR_EVER = 2**63 - 1
LAST = "select last_value from sync_outbox_seq"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.connect()
    yield world
    world.close()


@asynccontextmanager
async def replica(database: Database, order: Order | None = None) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        yield Outbox(session, order=order)


async def sent(outbox: Outbox) -> list[UUID]:
    """Settle all that is claimed as done; return it in its order."""
    done: list[UUID] = []
    for _ in range(10):
        claimed = await outbox.claim(slots=5)
        await outbox.settle([completed(item) for item in claimed.items])
        done += [item.id for item in claimed.items]
    return done


def completed(item: Item) -> Settlement:
    return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=item.memory)


def superseded(item: Item, newer: int) -> Settlement:
    code = FailureCode.SUPERSEDED
    return Settlement(item, "COMPLETED", item.attempts, failure_code=code, moves_floor=True, newer=newer)


FALLS = {
    "restarted": "alter sequence sync_outbox_seq restart with 1",
    "behind its tables": "select setval('sync_outbox_seq', 2)",
    "a floor of another database": "update sync_sources set floor_seq = (select last_value from sync_outbox_seq) + 5000",
    "a floor that is no place": f"update sync_sources set floor_seq = {FOR_EVER}",
}


@pytest.mark.parametrize("when", ["before the start", "in flight"])
@pytest.mark.parametrize("fall", FALLS)
async def test_an_edit_is_sent_though_its_floor_is_ahead(database: Database, world: World, fall: str, when: str) -> None:
    told: list[Mended] = []
    async with AsyncExitStack() as stack:
        outbox = await stack.enter_async_context(replica(database, Order(told.append)))
        for _ in range(5):
            world.insert()
        await sent(outbox)
        world.connection.execute(FALLS[fall].encode())
        if when == "before the start":
            outbox = await stack.enter_async_context(replica(database, Order(told.append)))
        edits = []
        for _ in range(3):
            edits.append(world.insert())
            assert await sent(outbox) == edits[-1:]
        assert len(told) == 1, "told once"
        floor = (world.memory() or {})["floor_seq"]
        assert floor == world.row(edits[-1])["seq"] <= world.one(LAST) < 2**54
        assert (await outbox.claim(slots=5)).items == []
    assert len(told) == 1
