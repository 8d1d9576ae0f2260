"""The order of states after time travel: what is ahead of the sequence, and rows with places that it never gave out."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import psycopg
import pytest

from reactor.core.item import Item, Settlement
from reactor.core.outcome import FailureCode
from reactor.postgres.connection.session import open_session
from reactor.postgres.order import Mended, Order
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database
from tests.support.outbox_world import World

FOR_EVER = 2**63 - 1
LAST = "select last_value from sync_outbox_seq"


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
    "a floor of another database": "update sync_sources set floor_seq = floor_seq + 5000",
    "a floor that is no place": f"update sync_sources set floor_seq = {FOR_EVER}",
}


@pytest.mark.parametrize("when", ["before the start", "in flight"])
@pytest.mark.parametrize("fall", FALLS)
async def test_an_edit_is_sent_though_its_floor_is_ahead(
    database: Database, world: World, fall: str, when: str
) -> None:
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


NO_PLACES = {"the highest": FOR_EVER, "beyond": 5_000, "negative": -5}


@pytest.mark.parametrize("place", NO_PLACES.values(), ids=NO_PLACES)
async def test_a_place_that_the_sequence_never_gave_out_is_none(database: Database, world: World, place: int) -> None:
    """What gives the order then is when the rows were created; the sequence is not dragged along."""
    async with replica(database) as outbox:
        before = world.insert()
        await sent(outbox)
        alone = world.insert(seq=place)
        assert await sent(outbox) == [alone], "the source is not frozen"
        older, newer = world.insert(seq=place), world.insert()
        assert (await sent(outbox))[-1] == newer
        assert world.row(older)["failure_code"] == "SUPERSEDED"
        older, newer = world.insert(), world.insert(seq=place)
        assert (await sent(outbox))[-1] == newer
        after = world.insert()
        assert await sent(outbox) == [after]
    assert world.row(before)["seq"] < world.row(after)["seq"] <= world.one(LAST) < 2**54
    assert (world.memory() or {})["floor_seq"] == world.row(after)["seq"]
    assert world.one("select count(*) from sync_order_gaps where high > low") == 0, "nobody travelled in time"


async def test_a_rebuild_is_no_exception(database: Database, world: World) -> None:
    async with replica(database) as outbox:
        first = world.insert(operation="REBUILD_ALL", seq=FOR_EVER)
        assert await sent(outbox) == [first]
        second = world.insert(operation="REBUILD_ALL")
        assert await sent(outbox) == [second]
        world.connection.execute("alter sequence sync_outbox_seq restart with 1")
        third = world.insert(operation="REBUILD_ALL")
        edit = world.insert()
        assert await sent(outbox) == [third, edit]


async def test_what_commits_after_the_mending_is_not_outdated(database: Database, world: World) -> None:
    async with replica(database) as outbox:
        for about in ("s", "late"):
            for _ in range(5):
                world.insert(about)
        await sent(outbox)
        world.connection.execute("select setval('sync_outbox_seq', 2)")
        with psycopg.connect(database.owner) as writer:
            late = world.insert("late", by=writer)
            mending = world.insert()
            assert await sent(outbox) == [mending]
            writer.commit()
            assert await sent(outbox) == [late]


async def test_a_place_in_a_gap_gives_no_order(database: Database, world: World) -> None:
    """Whoever drew it before the mending may commit after it; then the rows' age is all that is known."""
    world.connection.execute(
        "insert into sync_order_gaps (high, low, cause, file) values (5000, 100, 'START', sync_outbox_seq_file())"
    )
    world.connection.execute("select setval('sync_outbox_seq', 5001)")
    newest = world.insert(seq=301)
    older = world.insert(seq=401, created_at=world.one("select now() - interval '1 h'"))
    async with replica(database) as outbox:
        assert await sent(outbox) == [newest]
    assert 5000 < world.row(older)["seq"] < world.row(newest)["seq"]


async def test_a_sequence_that_has_passed_its_floors_before_anybody_looks(database: Database, world: World) -> None:
    async with replica(database) as outbox:
        for number in range(5):
            world.insert(f"{number}")
        assert len(await sent(outbox)) == 5
    world.connection.execute("alter sequence sync_outbox_seq restart with 1")
    edits = [world.insert(f"{number}") for number in reversed(range(5))]
    world.insert("another")
    async with replica(database) as outbox:
        assert set(edits) <= set(await sent(outbox))


async def test_dead_letters_of_the_other_time_do_not_come_back_over_newer_states(
    database: Database, world: World
) -> None:
    async with replica(database) as outbox:
        dead = world.insert()
        [item] = (await outbox.claim(slots=5)).items
        exhausted = FailureCode.EXHAUSTED
        await outbox.settle([Settlement(item, "DEAD_LETTER", 5, failure_code=exhausted, moves_floor=True)])
        for _ in range(5):
            world.insert()
        await sent(outbox)
        world.connection.execute("select setval('sync_outbox_seq', 2)")
        edit = world.insert()
        assert await sent(outbox) == [edit]
        world.connection.execute("update sync_outbox set status = 'PENDING' where status = 'DEAD_LETTER'")
        assert await sent(outbox) == []
    assert world.status(dead)[0] == "COMPLETED"


async def test_a_newer_place_that_nobody_here_knows_comes_from_another_time(database: Database, world: World) -> None:
    told: list[Mended] = []
    async with replica(database, Order(told.append)) as outbox:
        edit = world.insert()
        [item] = (await outbox.claim(slots=5)).items
        newer = item.seq + 70
        await outbox.settle([superseded(item, newer)])
        assert world.status(edit) == ("PENDING", 0, None)
        [item] = (await outbox.claim(slots=5)).items
        assert item.seq > newer
        await outbox.settle([completed(item)])
        assert [each.cause for each in told] == ["GOOGLE"]
        following = world.insert()
        assert await sent(outbox) == [following]
    assert world.row(following)["seq"] > item.seq


async def test_a_newer_place_that_is_known_here_puts_the_item_away(database: Database, world: World) -> None:
    async with replica(database) as outbox:
        for trace in ("floor", "open", "dead", "lost"):
            edit = world.insert(trace)
            [item] = (await outbox.claim(slots=1)).items
            newer = world.one("select nextval('sync_outbox_seq')")
            if trace == "floor":
                statement = "insert into sync_sources (workspace_id, source_key, floor_seq) values (%s, %s, %s)"
                world.connection.execute(statement, (item.workspace_id, item.source_key, newer))
            elif trace == "lost":
                world.connection.execute("update sync_outbox set lease_no = lease_no + 1 where id = %s", (edit,))
            else:
                status = "PENDING" if trace == "open" else "DEAD_LETTER"
                world.insert(trace, seq=newer, status=status, next_attempt_at="infinity")
            await outbox.settle([superseded(item, newer)])
            assert world.status(edit)[0] == ("PROCESSING" if trace == "lost" else "COMPLETED"), trace
            world.connection.execute("update sync_outbox set status = 'COMPLETED'")
    assert world.one("select count(*) from sync_order_gaps where high > low") == 0
