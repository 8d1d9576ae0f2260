"""Attempts are for what was tried: an outage costs none, a bad item ends as a dead letter, its neighbours do not."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from reactor.core.calendar.answers import LOST, SERVER
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.token_answers import NO_ANSWER
from reactor.core.dispatch.lanes import Lanes
from reactor.core.outcome import Outcome, Retry, Scope
from reactor.core.stats import Stats
from reactor.loop import Loop
from tests.support.loop_world import (
    FakeCalendar,
    FakeClaimed,
    FakeOutbox,
    FakeRebuilds,
    FakeTokens,
    FakeWakeups,
    Row,
    done,
    source_id,
    unlimited,
    workspace,
)

BAD = 13
DAY = 86_400.0


class Ordered(FakeOutbox):
    """Gives what has been due for longest first, as the database does."""

    async def claim(self, *, slots: int, excluded: Collection[UUID] = ()) -> FakeClaimed:
        for queue in self.open.values():
            rows = sorted(queue, key=lambda row: row.due)
            queue.clear()
            queue.extend(rows)
        return await super().claim(slots=slots, excluded=excluded)


class Deployment:
    """Some replicas, one outbox, one Google."""

    def __init__(self) -> None:
        self.outbox = Ordered()
        self.calendar = FakeCalendar()
        self.wakeups: list[FakeWakeups] = []
        self.outbox.inserted = self._inserted

    def _inserted(self) -> None:
        for each in self.wakeups:
            each.inserted()

    @asynccontextmanager
    async def replicas(self, number: int) -> AsyncIterator[list["Replica"]]:
        async with trio.open_nursery() as nursery:
            replicas = [Replica(self, nursery) for _ in range(number)]
            yield replicas
            nursery.cancel_scope.cancel()

    async def healthy(self, every: float) -> None:
        """Other workspaces fare well the whole time."""
        for number in range(1_000_000):
            self.outbox.insert((workspace(100 + number % 3), 1_000 + number))
            await trio.sleep(every)

    async def until_over(self, *ids: UUID, within: float) -> list[Row]:
        rows = [self.outbox.rows[row_id] for row_id in ids]
        with trio.fail_after(within):
            while not all(row.status in ("COMPLETED", "DEAD_LETTER") for row in rows):  # noqa: ASYNC110
                await trio.sleep(0.05)
        return rows

    def attempts(self) -> int:
        """The most that was ever written for any item."""
        return max((settlement.attempts for settlement in self.outbox.settlements), default=0)

    def tries(self, source: int) -> int:
        return sum(is_about(source, work) for _, works in self.calendar.requests for work in works)


class Replica:
    def __init__(self, deployment: Deployment, nursery: trio.Nursery) -> None:
        wakeups = FakeWakeups()
        deployment.wakeups.append(wakeups)
        self.lanes = Lanes(process=unlimited(32), limits=lambda: unlimited(4), claim_size=200, parts=50)
        self.loop = Loop(
            deployment.outbox,
            deployment.calendar,
            FakeRebuilds(),
            FakeTokens,
            wakeups,
            lanes=self.lanes,
            stats=Stats(),
            ceiling=5,
        )
        nursery.start_soon(self.loop.run)


def is_about(source: int, work: SyncIntent) -> bool:
    return work.source_key.endswith(source_id(source))


def refusing(source: int, outcome: Outcome) -> Callable[[SyncIntent, float], Outcome]:
    return lambda work, _: outcome if is_about(source, work) else done(work)


TOKEN = NO_ANSWER
"""Of the token endpoint: it holds the whole lane."""


@pytest.mark.parametrize("failure", [SERVER, LOST, TOKEN])
@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 3])
async def test_an_outage_costs_no_attempt_however_few_items_there_are(
    autojump_clock: MockClock, replicas: int, rows: int, failure: Retry
) -> None:
    world = Deployment()
    world.calendar.answers = lambda work, now: failure if 5 < now < 5 + 17 else done(work)
    async with world.replicas(replicas):
        await world.until_over(*world.outbox.insert(*((workspace(n), n) for n in range(rows))), within=5)
        await trio.sleep(6 - trio.current_time())
        ids = world.outbox.insert(*((workspace(n), n) for n in range(rows)))
        await world.until_over(*ids, within=120)
        assert world.tries(0) > 3, "it was tried in the outage"
        assert world.attempts() == 0
        assert world.outbox.statuses() == {"COMPLETED": 2 * rows}


async def test_an_outage_costs_no_attempt_over_restarts(autojump_clock: MockClock) -> None:
    world = Deployment()
    world.calendar.answers = lambda work, now: SERVER if now < 60 else done(work)
    [only] = world.outbox.insert((workspace(1), 1))
    for _ in range(12):
        async with world.replicas(1) as [replica]:
            await trio.sleep(5)
            replica.loop.drain(1.0)
            await trio.sleep(2)
    assert world.tries(1) > 12
    assert world.attempts() == 0
    assert world.outbox.rows[only].status == "COMPLETED"


@pytest.mark.parametrize("failure", [SERVER, LOST, TOKEN])
@pytest.mark.parametrize("neighbours", [0, 3, 120])
async def test_a_bad_item_ends_while_others_fare_well(
    autojump_clock: MockClock, neighbours: int, failure: Retry
) -> None:
    """Its lane's breaker opens on the way, or not; the neighbours pay for nothing."""
    world = Deployment()
    world.calendar.answers = refusing(BAD, failure)
    async with world.replicas(1), trio.open_nursery() as nursery:
        nursery.start_soon(world.healthy, 0.5)
        ids = world.outbox.insert((workspace(1), BAD), *((workspace(1), 200 + n) for n in range(neighbours)))
        [bad, *others] = await world.until_over(*ids, within=900)
        nursery.cancel_scope.cancel()
    assert (bad.status, bad.code, bad.attempts) == ("DEAD_LETTER", "EXHAUSTED", 5)
    assert {row.status for row in others} <= {"COMPLETED"}
    assert {row.attempts for row in others} <= {0}
    if failure.scope is Scope.ITEM:
        assert world.tries(BAD) == 6, "one for nothing, and its attempts"


async def test_an_item_that_takes_its_whole_request_down_is_found_alone(autojump_clock: MockClock) -> None:
    """Nothing says which of fifty it was: none is charged, and each that failed is tried alone."""
    world = Deployment()
    lost: set[str] = set()

    def latency(works: Collection[SyncIntent]) -> float:
        if any(is_about(BAD, work) for work in works):
            lost.update(work.source_key for work in works)
            return 5.0
        lost.difference_update(work.source_key for work in works)
        return 0.1

    world.calendar.latency = latency
    world.calendar.answers = lambda work, _: LOST if work.source_key in lost else done(work)
    async with world.replicas(1), trio.open_nursery() as nursery:
        nursery.start_soon(world.healthy, 0.5)
        ids = world.outbox.insert(*((workspace(1), n) for n in range(100)))
        rows = await world.until_over(*ids, within=900)
        nursery.cancel_scope.cancel()
    assert [(row.source, row.code) for row in rows if row.code] == [(BAD, "EXHAUSTED")]
    assert {row.attempts for row in rows if row.source != BAD} == {0}


async def test_a_bad_item_does_not_keep_its_neighbours_waiting(autojump_clock: MockClock) -> None:
    """They come one by one, each while the breaker is open for the bad one, which nothing lets end here."""
    world = Deployment()
    world.calendar.answers = refusing(BAD, SERVER)
    async with world.replicas(1):
        world.outbox.insert((workspace(1), BAD), max_attempts=1_000)
        await trio.sleep(300)
        waited = []
        for number in range(20):
            began = trio.current_time()
            await world.until_over(*world.outbox.insert((workspace(1), 200 + number)), within=600)
            waited.append(trio.current_time() - began)
            await trio.sleep(number * 7)
    longest_pause = 60 * 1.25
    assert max(waited) <= 2 * longest_pause + 2


async def test_an_outage_costs_no_attempt_however_old_the_items_are(autojump_clock: MockClock) -> None:
    """Seen: a backlog of two days (a workspace that was stopped by its brake) paid for each minute of an outage."""
    world = Deployment()
    world.calendar.answers = lambda work, now: SERVER if now < 120 else done(work)
    async with world.replicas(2):
        ids = world.outbox.insert(*((workspace(n % 3), n) for n in range(30)))
        for row_id in ids:
            world.outbox.rows[row_id].born -= 2 * DAY
        await world.until_over(*ids, within=300)
    assert world.attempts() == 0
    assert world.outbox.statuses() == {"COMPLETED": 30}


async def test_a_bad_item_that_is_alone_waits_for_company(autojump_clock: MockClock) -> None:
    """It cannot be told from an outage, whatever its age; each time that something else is answered it can."""
    world = Deployment()
    world.calendar.answers = refusing(BAD, SERVER)
    async with world.replicas(1):
        [bad] = world.outbox.insert((workspace(1), BAD))
        world.outbox.rows[bad].born -= 2 * DAY
        await trio.sleep(900)
        assert world.attempts() == 0
        assert 900 / 75 <= world.tries(BAD) < 900 / 60 + 15, "once a minute, in the end"
        for number in range(5):
            world.outbox.insert((workspace(2), 200 + number))
            await trio.sleep(100)
    assert (world.outbox.rows[bad].code, world.outbox.rows[bad].attempts) == ("EXHAUSTED", 5)
