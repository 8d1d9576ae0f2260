"""What the loop tells its observer: each end once, and breakers when they change."""

from typing import Any

import pytest
from trio.testing import MockClock

from reactor.core.calendar.intent import SyncIntent
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.outcome import Outcome, Retry
from tests.support.loop_world import World, done, workspace

OUTAGE = Retry("no connection", counts=True, outage=True)


def listened(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    told: list[Any] = []
    observer = world.loop._observer
    monkeypatch.setattr(observer, "breaker", lambda *change: told.append(change))
    monkeypatch.setattr(
        observer, "ended", lambda end, *, seconds, written: told.append((end.item.id, end.status, seconds > 0, written))
    )
    return told


async def test_an_end_is_told_once_and_a_lost_claim_as_what_it_is(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    told = listened(world, monkeypatch)
    kept, lost = world.outbox.insert((workspace(1), 1), (workspace(2), 2))
    world.outbox.lost.add(lost)
    async with world.running():
        await world.until(lambda: len(told) == 2)
    assert sorted(told) == [(kept, "COMPLETED", True, True), (lost, "COMPLETED", True, False)]
    assert (world.stats.claims_lost, world.stats.processed) == (1, {("UPSERT_EVENT", "applied"): 1})
    assert sum(world.stats.waits.counts) == 2


async def test_breakers_are_told_when_they_open_and_close(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    told = listened(world, monkeypatch)

    def answers(work: SyncIntent, now: float) -> Outcome:
        return OUTAGE if now < 10 else done(work)

    world.calendar.answers = answers
    ids = world.outbox.insert(*((workspace(number), 1) for number in range(8)))
    async with world.running():
        await world.until_done(ids)
    of_all = [(before, after) for whose, before, after in (t for t in told if len(t) == 3) if whose is None]
    assert of_all[0] == (BreakerState.CLOSED, BreakerState.OPEN)
    assert of_all[-1] == (BreakerState.HALF_OPEN, BreakerState.CLOSED)
    assert of_all.count((BreakerState.CLOSED, BreakerState.OPEN)) == 1
