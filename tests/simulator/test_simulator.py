"""Simulated histories: whatever happens, what must hold holds (docs/simulation.md).

Also of the simulator itself: that one seed is one history, that a failure shrinks, and that faults which are put back
are found.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from reactor.core.calendar.answers import TABLE
from reactor.core.dispatch.lanes import Lanes
from tests.simulator.google_faults import BY_ITSELF, KINDS
from tests.simulator.history import Blow, Event, draw
from tests.simulator.judge import Judge, Violation
from tests.simulator.mutations import MUTATIONS, Mutation
from tests.simulator.run import Result, run
from tests.simulator.shrink import kind, shrink

ROOT = Path(__file__).parents[2]
QUICK = 40
"""Histories in `make test`."""
LONG = 10_000
"""Histories in `make soak`, which begin where those end."""


def found(seed: int) -> tuple[int, str, Counter[str]]:
    result = run(draw(seed))
    return seed, result.problem, result.seen


def together(results: Iterable[tuple[int, str, Counter[str]]]) -> Counter[str]:
    """What happened in histories that keep every promise."""
    seen: Counter[str] = Counter()
    problems: dict[int, str] = {}
    for seed, problem, happened in results:
        seen.update(happened)
        if problem:
            problems[seed] = problem
    told = [f"python -m tests.simulator --seed {seed}: {problem}" for seed, problem in sorted(problems.items())]
    assert not problems, "\n".join(told[:20])
    return seen


def test_simulated_histories_keep_every_promise() -> None:
    seen = together(map(found, range(QUICK)))
    wanted = ("insert", "update", "delete", "revive", "SUPERSEDED", "BAD_PAYLOAD", "BAD_REQUEST", "session lost")
    assert min(seen[name] for name in wanted) > 0, seen


@pytest.mark.soak
def test_ten_thousand_simulated_histories_keep_every_promise() -> None:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        seen = together(pool.map(found, range(QUICK, QUICK + LONG), chunksize=10))
    print(seen)  # noqa: T201  (for `make soak ARGS=-s`)
    assert {rule.name for rule in TABLE if not seen[f"answer {rule.name}"]} == set()
    assert min(seen[name] for name in ("EXHAUSTED", "AUTH", "FORBIDDEN", "breaker", "lost", "WORKER_LOST")) > 0, seen


def test_a_seed_is_one_history_in_any_process() -> None:
    told = {_told_elsewhere(hash_seed) for hash_seed in ("1", "2")}
    assert len(told) == 1
    assert told == {run(draw(7)).told()}


def _told_elsewhere(hash_seed: str) -> str:
    program = (
        "from tests.simulator.history import draw; from tests.simulator.run import run; print(run(draw(7)).told())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.removesuffix("\n")


def test_every_row_of_the_table_of_answers_is_drawn_or_comes_by_itself() -> None:
    """That each is really met is looked at in the ten thousand."""
    drawn = {row for kind in KINDS.values() for row in kind.rows}
    assert drawn | BY_ITSELF.keys() == {rule.name for rule in TABLE}
    assert not drawn & BY_ITSELF.keys()


def test_a_failure_shrinks_to_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a whole history one event is left where one is to blame."""

    def objects(self: Judge) -> None:
        if any("drain" in what for _, who, what, _ in self.world.story if who == "event"):
            raise Violation("somebody drains a replica")

    monkeypatch.setattr(Judge, "check", objects)
    result = _first_failure()
    small = shrink(result)
    assert len(result.history.events) > 5
    [event] = small.history.events
    assert isinstance(event, Event)
    assert isinstance(event.what, Blow)
    assert kind(small.problem) == kind(result.problem)


def _first_failure() -> Result:
    return next(result for seed in range(200) if (result := run(draw(seed))).problem)


def test_events_can_be_left_out_and_the_rest_stays_the_same() -> None:
    history = draw(3)
    assert draw(3) == history
    assert len({event.at for event in history.events}) > 1


@pytest.mark.soak
@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if not m.is_rare], ids=lambda mutation: mutation.name)
def test_a_fault_that_is_put_back_is_found(mutation: Mutation) -> None:
    with mutation.applied():
        assert any(run(draw(seed)).problem for seed in range(1_500))


def test_a_fault_that_is_put_back_is_found_soon() -> None:
    """The commonest of them, so that the simulator is seen to find something in every run of the suite."""
    [mutation] = [each for each in MUTATIONS if each.name == "clear"]
    with mutation.applied():
        assert any("without a reason" in run(draw(seed)).problem for seed in range(50))
    assert Lanes.clear.__qualname__ == "Lanes.clear"


def test_a_session_lost_in_the_step_of_a_settle_ends_no_process() -> None:
    """Seen: the settler sent what is next into a nursery that had closed, and a RuntimeError ended the process."""
    [mutation] = [each for each in MUTATIONS if each.name == "sent into a closed nursery"]
    with mutation.applied():
        assert "RuntimeError" in run(draw(698)).problem, "where histories are drawn otherwise: look for another seed"
    assert run(draw(698)).problem == ""
