"""Rows that are placed anew lie below what was written after them, though it may have drawn its place before.

A is an old state of a source and B a younger one, by another connection. Whatever the steps between: B is shown in the
end.
"""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg
import pytest

from reactor.core.item import Item, Settlement
from reactor.core.outcome import FailureCode
from reactor.postgres.connection.session import open_session
from reactor.postgres.order import mend
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database
from tests.support.outbox_world import World, source

Connection = psycopg.Connection[Any]
NEWEST = "select {} from sync_order_gaps order by high desc limit 1"
LAST = "select sync_outbox_last_place()"
MEND = "select sync_order_mend('GOOGLE', sync_outbox_last_place() + 1000)"
PUT_BACK = "update sync_outbox set status = 'PENDING', attempts = 0 where status = 'DEAD_LETTER'"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.connect()
    yield world
    world.close()


@pytest.fixture
def writer(database: Database) -> Iterator[Connection]:
    with closing(psycopg.connect(database.owner)) as writer:
        yield writer


@pytest.fixture
async def outbox(database: Database, world: World) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        outbox = Outbox(session)
        assert (await outbox.claim(slots=1)).items == []
        yield outbox


def completed(item: Item) -> Settlement:
    return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=item.memory)


def given_up(item: Item) -> Settlement:
    return Settlement(item, "DEAD_LETTER", 5, failure_code=FailureCode.EXHAUSTED, moves_floor=True)


def superseded(item: Item, newer: int) -> Settlement:
    code = FailureCode.SUPERSEDED
    return Settlement(item, "COMPLETED", item.attempts, failure_code=code, moves_floor=True, newer=newer)


async def claimed(outbox: Outbox) -> Item:
    """What is claimed at last; what was placed anew by a claim comes with the next one."""
    for _ in range(4):
        if items := (await outbox.claim(slots=5)).items:
            [item] = items
            return item
    raise AssertionError("nothing is claimed")


async def sent(outbox: Outbox) -> list[UUID]:
    """Settle all that is claimed as done; return it in its order."""
    done: list[UUID] = []
    for _ in range(5):
        items = (await outbox.claim(slots=5)).items
        await outbox.settle([completed(item) for item in items])
        done += [item.id for item in items]
    return done


COMMITS = ("at once", "before A is sent", "after A was sent")


async def b_is_shown(outbox: Outbox, writer: Connection, a: UUID, b: UUID, commits: str) -> None:
    """A is open and was placed anew, B is written: it commits as told, and is shown in the end."""
    if commits == "before A is sent":
        item = await claimed(outbox)
        assert item.id == a
        writer.commit()
        await outbox.settle([completed(item)])
    elif commits == "after A was sent":
        assert await sent(outbox) == [a]
        writer.commit()
    assert (await sent(outbox))[-1:] == [b]


@pytest.mark.parametrize("commits", COMMITS)
@pytest.mark.parametrize("drawn", ["before the mending", "after the mending"])
@pytest.mark.parametrize("met", ["ahead of the sequence", "passed by the sequence"])
async def test_what_met_a_place_of_another_time(
    world: World,
    outbox: Outbox,
    writer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    met: str,
    drawn: str,
    commits: str,
) -> None:
    a, ids = world.insert(), list[UUID]()
    item = await claimed(outbox)
    newer = item.seq + (70 if met == "ahead of the sequence" else 1)
    if met == "passed by the sequence":
        world.insert("another", next_attempt_at="infinity")

    def insert() -> None:
        ids.append(world.insert(by=writer))
        if commits == "at once":
            writer.commit()

    async def mend_and_insert(*args: Any) -> bool:
        is_mended = await mend(*args)
        insert()
        return is_mended

    if drawn == "before the mending":
        insert()
    else:
        monkeypatch.setattr("reactor.postgres.settling.mend", mend_and_insert)
    await outbox.settle([superseded(item, newer)])
    if world.status(a)[2] == "SUPERSEDED":  # B had the sequence's place above what was met, and was to be seen
        assert (drawn, commits, met) == ("before the mending", "at once", "passed by the sequence")
    else:
        assert newer < world.row(a)["seq"]
    await b_is_shown(outbox, writer, a, ids[0], commits)


@pytest.mark.parametrize("commits", COMMITS)
@pytest.mark.parametrize("drawn", ["before the mending", "after the mending"])
async def test_what_is_claimed_after_a_mending(
    world: World, outbox: Outbox, writer: Connection, drawn: str, commits: str
) -> None:
    """sync_outbox_take_in_order, and sync_outbox_order_by_age."""
    a = world.insert()
    b = world.insert(by=writer) if drawn == "before the mending" else None
    world.connection.execute(MEND.encode())
    b = b or world.insert(by=writer)
    if commits == "at once":
        writer.commit()
    await b_is_shown(outbox, writer, a, b, commits)


@pytest.mark.parametrize("commits", COMMITS)
@pytest.mark.parametrize("drawn", ["before the mending", "after the mending"])
async def test_what_lies_below_a_floor_of_another_time(
    world: World, outbox: Outbox, writer: Connection, drawn: str, commits: str
) -> None:
    """sync_outbox_put_away, and sync_outbox_place_anew."""
    world.insert()
    await sent(outbox)
    world.connection.execute("update sync_sources set floor_seq = floor_seq + 5000")
    a = world.insert()
    b = world.insert(by=writer) if drawn == "before the mending" else None
    world.connection.execute("select sync_order_mend('START', null)")
    b = b or world.insert(by=writer)
    if commits == "at once":
        writer.commit()
    await b_is_shown(outbox, writer, a, b, commits)


async def test_a_later_mending_does_not_make_an_older_state_newer(
    database: Database, world: World, outbox: Outbox, writer: Connection
) -> None:
    """Age decides in the region in which the floor lies."""
    with closing(psycopg.connect(database.owner)) as another:
        older = world.insert(by=writer, created_at=world.one("select now() - interval '1 min'"))
        middle = world.insert()
        newest = world.insert(by=another)
        world.connection.execute(MEND.encode())
        assert await sent(outbox) == [middle]
        world.connection.execute(MEND.encode())
        writer.commit()
        assert await sent(outbox) == []
        assert world.status(older)[2] == "SUPERSEDED"
        another.commit()
        assert await sent(outbox) == [newest]


async def test_a_dead_letter_that_is_put_back_is_not_newer_than_what_was_placed_anew(
    world: World, outbox: Outbox
) -> None:
    dead = world.insert(created_at=world.one("select now() - interval '1 min'"))
    await outbox.settle([given_up(await claimed(outbox))])
    edit = world.insert()
    world.connection.execute(MEND.encode())
    assert await sent(outbox) == [edit]
    world.connection.execute(PUT_BACK.encode())
    assert await sent(outbox) == []
    assert world.status(dead)[2] == "SUPERSEDED"


@pytest.mark.parametrize("before", ["nothing", "a state that was given up"])
async def test_a_rebuilds_child_stays_older_than_what_its_rebuild_did_not_see(
    world: World, outbox: Outbox, writer: Connection, before: str
) -> None:
    older = world.insert()
    item = await claimed(outbox)
    await outbox.settle([completed(item) if before == "nothing" else given_up(item)])
    child = world.insert(parent_id=older, seq=item.seq + (before != "nothing"))
    unseen = world.insert(by=writer)
    item = await claimed(outbox)
    assert item.id == child
    await outbox.settle([superseded(item, item.seq + 70)])
    item = await claimed(outbox)
    assert (item.id, (item.seq - world.one(NEWEST.format("high"))) % 2) == (child, 1), "between the places of edits"
    await outbox.settle(
        [
            superseded(item, item.seq + 70),
        ]
    )
    assert await sent(outbox) == [child]
    world.connection.execute(PUT_BACK.encode())
    assert await sent(outbox) == []
    writer.commit()
    assert await sent(outbox) == [unseen]


@pytest.mark.parametrize("operation", ["UPSERT_EVENT", "REBUILD_ALL"])
async def test_rows_of_one_transaction_keep_their_order(world: World, outbox: Outbox, operation: str) -> None:
    moment = world.one("select now()")
    rows = [world.insert(operation=operation, created_at=moment, next_attempt_at="infinity") for _ in range(3)]
    world.connection.execute(MEND.encode())
    world.connection.execute("update sync_outbox set next_attempt_at = now()")
    assert await sent(outbox) == rows[-1:]
    high, top = world.one(NEWEST.format("high")), world.one(NEWEST.format("top"))
    places = [world.row(each)["seq"] for each in rows]
    assert high < places[0] < places[1] < places[2] < top <= world.one(LAST)
    assert {(place - high) % 2 for place in places} == {0}, "the places between are for children"


@pytest.mark.parametrize("age", ["1 s", "247 d", "300 d", "300 y", "-1 h", "-300 y"])
async def test_whatever_its_age_a_row_lies_in_the_region(world: World, outbox: Outbox, age: str) -> None:
    row = world.insert(created_at=world.one(f"select now() - interval '{age}'"), next_attempt_at="infinity")
    world.connection.execute(MEND.encode())
    high, top = world.one(NEWEST.format("high")), world.one(NEWEST.format("top"))
    world.connection.execute("update sync_outbox set seq = %s, next_attempt_at = now()", (high - 2,))
    assert await sent(outbox) == [row]
    assert high < world.row(row)["seq"] < top


async def test_a_sequence_below_a_region_is_mended_when_a_row_is_met(world: World, outbox: Outbox) -> None:
    world.connection.execute(MEND.encode())
    high, top = world.one(NEWEST.format("high")), world.one(NEWEST.format("top"))
    assert world.one(LAST) > top > high
    world.connection.execute("select setval('sync_outbox_seq', %s)", (high,))
    row = world.insert()
    assert await sent(outbox) == [row]
    assert world.one(NEWEST.format("high")) >= top
    assert world.row(row)["seq"] > top


async def test_a_gap_of_an_older_release_has_no_region(world: World, outbox: Outbox) -> None:
    a = world.insert()
    world.connection.execute(
        "insert into sync_order_gaps (high, low, cause, file) values (5000, 100, 'START', sync_outbox_seq_file())"
    )
    world.connection.execute("select setval('sync_outbox_seq', 5000)")
    assert await sent(outbox) == [a]
    assert 5000 < world.row(a)["seq"] <= world.one(LAST) < 6000


async def test_a_mending_is_not_made_twice_for_one_time(world: World, outbox: Outbox) -> None:
    """The region that lies above what is met serves again."""
    for about in ("s", "t"):
        world.insert(about)
    items = (await outbox.claim(slots=2)).items
    for item in items:
        await outbox.settle([superseded(item, item.seq + 70)])
    assert world.one("select count(*) from sync_order_gaps where high > low") == 1
    assert len(await sent(outbox)) == 2


class Story:
    """Random steps. A source has one writer at a time, as applications see to it.

    Attributes:
        written: What was committed last, by source.
        shown: What was sent last, by source.
    """

    def __init__(self, database: Database, world: World, outbox: Outbox, seed: int) -> None:
        self.random = random.Random(seed)
        self.database, self.world, self.outbox = database, world, outbox
        self.writers: dict[str, tuple[Connection, UUID]] = {}
        self.held: list[Item] = []
        self.written: dict[str, UUID] = {}
        self.shown: dict[str, UUID] = {}

    async def step(self) -> None:
        steps = {self.edit: 6, self.begin: 5, self.over: 4, self.claim: 8, self.end: 8, self.fall: 1, self.mend: 1}
        [step] = self.random.choices(list(steps), list(steps.values()))
        await step()

    async def edit(self) -> None:
        about = self.random.choice("st")
        if about not in self.writers:
            self.written[f"task:{source(about)}"] = self.world.insert(about)

    async def begin(self) -> None:
        about = self.random.choice("st")
        if about not in self.writers:
            writer = psycopg.connect(self.database.owner)
            self.writers[about] = writer, self.world.insert(about, by=writer)

    async def over(self) -> None:
        if self.writers:
            about = self.random.choice(list(self.writers))
            writer, self.written[f"task:{source(about)}"] = self.writers.pop(about)
            writer.commit()
            writer.close()

    async def claim(self) -> None:
        self.held += (await self.outbox.claim(slots=self.random.randint(1, 3))).items

    async def end(self) -> None:
        if self.held:
            item = self.held.pop(self.random.randrange(len(self.held)))
            if self.random.random() < 0.4:
                newer = self.random.choice([item.seq + 1, item.seq + 70, self.world.one(LAST) + 70])
                await self.outbox.settle([superseded(item, newer)])
            else:
                await self.send(item)

    async def send(self, item: Item) -> None:
        self.shown[item.source_key] = item.id
        await self.outbox.settle([completed(item)])

    async def fall(self) -> None:
        is_open = "select count(*) from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING')"
        if (
            self.world.one(is_open) == 0
        ):  # else a floor of this time looks like one of another, and what is open like newer
            self.world.connection.execute("select setval('sync_outbox_seq', sync_outbox_last_place() - 500001)")

    async def mend(self) -> None:
        self.world.connection.execute(MEND.encode())

    async def finish(self) -> None:
        while self.writers:
            await self.over()
        for item in self.held:
            await self.send(item)
        for _ in range(20):
            for item in (await self.outbox.claim(slots=3)).items:
                await self.send(item)


async def tell(database: Database, world: World, outbox: Outbox, seeds: range) -> None:
    for seed in seeds:
        world.connection.execute("truncate sync_outbox, sync_sources, sync_order_gaps")
        world.connection.execute("select setval('sync_outbox_seq', 10000000)")
        story = Story(database, world, outbox, seed)
        for _ in range(30):
            await story.step()
        await story.finish()
        assert story.shown == story.written, seed
        assert world.one("select count(*) from sync_outbox where status <> 'COMPLETED'") == 0, seed


async def test_what_was_written_last_is_shown(database: Database, world: World, outbox: Outbox) -> None:
    await tell(database, world, outbox, range(12))


@pytest.mark.soak
async def test_what_was_written_last_is_shown_in_many_stories(database: Database, world: World, outbox: Outbox) -> None:
    await tell(database, world, outbox, range(100, 700))
