"""Bugs in the handling of single items: each costs its own item, and its neighbours, the loop and the rest go on.

The faults are put in at random: in the preparation, the tokens, the exchange, the decision, the writing of an end, and
in whoever is told of all that.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from reactor.core.calendar.intent import SyncIntent
from reactor.core.item import Item, Settlement
from reactor.core.outcome import Outcome, Retry
from reactor.core.policy import UNEXPECTED_ERROR
from reactor.loop import guarded_policy as module
from reactor.loop.ports import Observer
from tests.support.loop_world import FakeTokens, World, done, source_id, workspace

SECRET = "dinner with ada@example.com"


class BrokenObserver(Observer):
    """Fails at everything, at each end of everything."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        class Broken(AbstractContextManager[object]):
            def __exit__(self, *_: object) -> bool:
                raise ValueError(SECRET)

        if len(items) % 2:
            raise ValueError(SECRET)
        return Broken()

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        del settlement, seconds, written
        raise ValueError(SECRET)

    def breaker(self, *_: object) -> None:
        raise ValueError(SECRET)

    def crashed(self, error: Exception) -> None:
        self.errors.append(error)
        raise ValueError(SECRET)


class Faults:
    """Bugs that some items bring out, always or sometimes."""

    def __init__(self, draw: random.Random, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._draw = draw
        self._poison: dict[str, tuple[str, float]] = {}
        self.met = 0
        for name in ("prepare", "settle", "release_unknown"):
            monkeypatch.setattr(module, name, self._spoilt(name, getattr(module, name)))
        monkeypatch.setattr(world.outbox, "settle", self._writing(world.outbox.settle))
        world.calendar.answers = self.answers
        monkeypatch.setattr(world.loop, "_tokens_of", self.tokens_of)

    def poison(self, source: int, place: str, often: float) -> None:
        self._poison[f"task:{source_id(source)}"] = place, often

    def check(self, source_key: str, place: str) -> None:
        where, often = self._poison.get(source_key, ("", 0.0))
        if where == place and self._draw.random() < often:
            self.met += 1
            raise RuntimeError(SECRET)

    def answers(self, work: SyncIntent, _: float) -> Outcome:
        self.check(work.source_key, "exchange")
        return Retry("try again", counts=False) if self._draw.random() < 0.05 else done(work)

    def tokens_of(self, item: Item) -> FakeTokens:
        self.check(item.source_key, "tokens")
        return FakeTokens(item)

    def _spoilt(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def spoilt(item: Item, *arguments: Any, **named: Any) -> Any:
            self.check(item.source_key, name)
            return function(item, *arguments, **named)

        return spoilt

    def _writing(self, settle: Callable[..., Any]) -> Callable[..., Any]:
        async def writing(settlements: Sequence[Settlement], **named: Any) -> Any:
            for each in settlements:
                if each.last_error != UNEXPECTED_ERROR:
                    self.check(each.item.source_key, "write")
            return await settle(settlements, **named)

        return writing


@pytest.mark.parametrize("seed", range(30))
async def test_a_bug_costs_the_item_that_brings_it_out_and_no_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    world = World(observers=[BrokenObserver([])] if draw.random() < 0.5 else [])
    faults = Faults(draw, world, monkeypatch)
    sources = range(120)
    always = {s: draw.choice(("prepare", "exchange", "settle", "write")) for s in draw.sample(sources, 4)}
    sometimes = {
        s: draw.choice(("prepare", "tokens", "exchange", "settle", "release_unknown", "write"))
        for s in draw.sample([s for s in sources if s not in always], 6)
    }
    for source, place in always.items():
        faults.poison(source, place, 1.0)
    for source, place in sometimes.items():
        faults.poison(source, place, 0.3)
    world.outbox.insert(*((workspace(source % 7), source) for source in sources))
    async with world.running():
        with trio.fail_after(4000):
            while world.outbox.statuses().keys() - {"COMPLETED", "DEAD_LETTER"}:  # noqa: ASYNC110 - virtual time
                await trio.sleep(1)
    ended = {row.source: row for row in world.outbox.rows.values()}
    assert {source for source in always if ended[source].status != "DEAD_LETTER"} == set()
    assert {ended[source].code for source in always} == {"EXHAUSTED"}
    innocent = [ended[source] for source in sources if source not in always and source not in sometimes]
    assert {(row.status, row.attempts) for row in innocent} == {("COMPLETED", 0)}
    assert {row.status for row in ended.values()} == {"COMPLETED", "DEAD_LETTER"}
    assert faults.met > 0
    assert world.stats.crashes >= min(faults.met, 5 * len(always))
    assert world.lanes.in_flight_items == 0
    assert world.lanes.in_flight_requests == 0


async def test_a_bug_in_writing_is_told_once_however_many_ends_are_written_with_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    faults = Faults(random.Random(1), world, monkeypatch)
    faults.poison(13, "write", 1.0)
    rows = world.outbox.insert(*((workspace(s), s) for s in range(100)), max_attempts=1)
    async with world.running():
        await world.until_done(rows)
    assert len(world.errors) == world.stats.crashes == 1
    assert world.outbox.statuses() == {"COMPLETED": 99, "DEAD_LETTER": 1}


async def test_an_item_whose_end_cannot_be_written_at_all_ends_the_session(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeps of others count how often it loses its worker; the service goes on with a new session."""
    world = World()

    async def failing(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(world.outbox, "settle", failing)
    world.outbox.insert((workspace(1), 1))
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        await world.loop.run()


async def test_an_observer_that_always_fails_is_told_once_a_minute(autojump_clock: MockClock) -> None:
    errors: list[Exception] = []
    world = World(observers=[BrokenObserver(errors)])
    rows = world.outbox.insert(*((workspace(s), s) for s in range(100)))
    async with world.running():
        await world.until_done(rows)
    assert world.outbox.statuses() == {"COMPLETED": 100}
    assert len(errors) == 2, "at sending and at ends"
    assert world.errors == errors, "the next one is told"
    assert world.stats.crashes >= 150
