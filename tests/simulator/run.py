"""Runs a history: everything random comes from its seed, and time passes only when nothing else can happen."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import trio
from trio._core import _run as scheduler
from trio.testing import MockClock

from reactor import rebuild
from reactor.core.calendar import answers
from tests.simulator.history import History
from tests.simulator.judge import Violation
from tests.simulator.rebuilds import ModelExpansion
from tests.simulator.world import World


@dataclass
class Result:
    """What a history came to.

    Attributes:
        problem: What must hold and does not; empty where all is well.
        story: What happened: when, to whom, what, more.
        seen: How often things happened, and rows of the table of answers decided.
        seconds: Of virtual time.
    """

    history: History
    problem: str
    story: list[tuple[float, str, str, dict[str, Any]]]
    seen: Counter[str]
    seconds: float

    def told(self) -> str:
        """The story as lines."""
        lines = [f"{at:9.3f}  {who:12} {what} {_details(details)}" for at, who, what, details in self.story]
        return "\n".join([*lines, f"{self.seconds:9.3f}  {self.problem or 'all is well'}"])


def _details(details: dict[str, Any]) -> str:
    return ", ".join(f"{name.rstrip('_')} {value}" for name, value in details.items() if value not in (None, "", []))


@contextmanager
def _determined(seed: int) -> Iterator[Counter[str]]:
    """Everything that draws lots draws them from the seed; counts the rows of the table of answers that decide."""
    rows: Counter[str] = Counter()
    before = random.getstate(), scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    random.seed(f"process {seed}")
    scheduler._r.seed(f"scheduler {seed}")
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # as Hypothesis does
    parts: Any = rebuild
    table: Any = answers
    expansion, parts.Expansion = parts.Expansion, ModelExpansion
    matching_rule = table.matching_rule

    def counted(*asked: Any) -> answers.AnswerRule:
        found: answers.AnswerRule = matching_rule(*asked)
        rows[f"answer {found.name}"] += 1
        return found

    table.matching_rule = counted
    try:
        with structlog.testing.capture_logs():
            yield rows
    finally:
        parts.Expansion, table.matching_rule = expansion, matching_rule
        random.setstate(before[0])
        scheduler._r.setstate(before[1])
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[2]  # type: ignore[misc]


def _clock() -> MockClock:
    """A clock that jumps, and does not look at the real one for that: it is read a thousand times a step."""
    clock: Any = MockClock(autojump_threshold=0)
    clock.current_time = lambda: clock._virtual_base
    return clock  # type: ignore[no-any-return]


def run(history: History) -> Result:
    """Run a history."""
    worlds: list[World] = []
    problem = ""
    seconds = 0.0

    async def main() -> None:
        nonlocal seconds
        async with trio.open_nursery() as nursery:
            world = World(history, nursery)
            worlds.append(world)
            try:
                await world.run()
            finally:
                seconds = trio.current_time()
            nursery.cancel_scope.cancel()

    with _determined(history.seed) as rows:
        try:
            trio.run(main, clock=_clock())
        except BaseExceptionGroup as group:
            problem = _problem(group)
    [world] = worlds
    return Result(history, problem, world.story, _seen(world) + rows, seconds)


def _problem(group: BaseExceptionGroup[BaseException]) -> str:
    """The finding, or what nobody expected; a person who interrupts is no finding."""
    errors = list(_leaves(group))
    for error in errors:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
    found = next((error for error in errors if isinstance(error, Violation)), None)
    if found is not None:
        return str(found)
    error = errors[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"a replica ends: {error!r} at {where}"


def _leaves(group: BaseException) -> Iterator[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        for each in group.exceptions:
            yield from _leaves(each)
    else:
        yield group


def _seen(world: World) -> Counter[str]:
    seen = Counter(what for _, who, what, _ in world.story if who != "event")
    seen.update(type(event.what).__name__ for event in world.history.events)
    seen.update({f"statement {kind}": count for kind, count in world.server.counts.items()})
    seen.update(row.code for row in world.tables.rows.values() if row.code)
    return seen
