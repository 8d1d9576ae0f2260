"""Time goes back, accounts and calendars come and go, people do things by hand: in the end the calendars are right.

A history is drawn from a seed. What remains different must be of a kind that docs/google.md or docs/operations.md
names (`tests.support.travel_verdict`), our fields are what the application wants, and what other hands did is still
there.

One history again, told, and made smaller where it fails:

    TRAVEL_SEED=17 python -m pytest -q -s tests/system/test_histories_travel.py -k again
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from tests.core.test_other_hands import HANDS
from tests.support.background import Background
from tests.support.databases import Database
from tests.support.travel_history import DEEDS, OF_OURS, History, draw
from tests.support.travel_mutations import FAULTS
from tests.support.travel_verdict import DOCS, Divergence, Verdict
from tests.support.travel_world import TravelWorld

SEEDS = (28, 42, 122)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are a fiftieth of what they are: what comes after them is asked here, not how long they last."""
    monkeypatch.setattr("reactor.core.backoff.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("reactor.core.dispatch.guard.HOLD_CAP", 0.1)
    monkeypatch.setattr("reactor.core.calendar.upsert._REPLICATION", 0.02)
    monkeypatch.setattr("reactor.loop.sweeper.SWEEP", 0.2)
    monkeypatch.setattr("reactor.loop.sweeper.SWEEP_IDLE", 0.2)


def tell(database: Database, background: Background, history: History) -> Counter[str]:
    """Let a history happen; return what happened in it."""
    world = TravelWorld(database, background, history)
    try:
        world.start()
        for event in history.events:
            world.befall(event)
        world.finish()
        verdict = Verdict(world)
        verdict.verdict()
        return world.seen + world.tally() + Counter({kind.name: n for kind, n in verdict.found.items()})
    finally:
        world.close()


def run_histories(database: Database, background: Background, seeds: Iterable[int]) -> Counter[str]:
    """Run histories; return what happened in them."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            seen += tell(database, background, draw(seed))
        except AssertionError as error:
            error.add_note(f"TRAVEL_SEED={seed}\n{draw(seed)}")
            raise
    return seen


def problem_of(database: Database, background: Background, history: History) -> str:
    """What is wrong in the end of a history; empty for nothing."""
    try:
        tell(database, background, history)
    except AssertionError as error:
        return str(error)
    return ""


def kind(problem: str) -> str:
    """What kind of finding it is: its words without what is quoted, and without numbers."""
    return re.sub(r"'[^']*'|[0-9]+", "#", problem.partition(";")[0])


def smaller(history: History, fails: Callable[[History], bool]) -> History:
    """Leave out what can be left out, by halves, quarters ... and one by one."""
    size = len(history.events) // 2
    while size:
        start = 0
        while start < len(history.events):
            tried = replace(history, events=history.events[:start] + history.events[start + size :])
            if fails(tried):
                history = tried
            else:
                start += size
        size //= 2
    return history


@pytest.mark.skipif("TRAVEL_SEED" not in os.environ, reason="takes TRAVEL_SEED")
def test_again(database: Database, background: Background) -> None:
    history = draw(int(os.environ["TRAVEL_SEED"]))
    problem = problem_of(database, background, history)
    if problem:
        history = smaller(history, lambda tried: kind(problem_of(database, background, tried)) == kind(problem))
        problem = problem_of(database, background, history) or problem
    print(history)  # noqa: T201  (asked for)
    assert not problem, problem


@pytest.mark.parametrize("divergence", Divergence)
def test_what_may_remain_different_is_in_the_docs(divergence: Divergence) -> None:
    page, words = divergence.value
    assert words in " ".join((DOCS / page).read_text().split())


def test_time_travel_and_other_hands(database: Database, background: Background) -> None:
    seen = run_histories(database, background, SEEDS)
    assert min(seen[name] for name in ("Hand", "Restore", "Share", "Connect", "Rebuild", "Recreate")) > 0, seen


@pytest.mark.soak
def test_time_travel_and_other_hands_in_many_histories(database: Database, background: Background) -> None:
    seen = run_histories(database, background, range(1_000, 1_260))
    print(seen)  # noqa: T201  (for `make soak ARGS=-s`)
    wanted = [f"hand: {what}" for what in (*HANDS, *OF_OURS, *DEEDS)] + [each.name for each in Divergence]
    assert not [name for name in wanted if not seen[name]], seen


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_put_back_is_found(
    database: Database, background: Background, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    FAULTS[fault](monkeypatch, database.owner)
    for number, seed in enumerate(range(2_000, 2_040), 1):
        if problem := problem_of(database, background, draw(seed)):
            print(f"{fault}: found after {number} histories, as {kind(problem)}")  # noqa: T201  (asked for)
            return
    raise AssertionError(f"{fault}: not found")
