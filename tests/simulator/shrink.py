"""Makes a history that fails smaller: by leaving events out, and then by making what is left simpler.

Why not Hypothesis's shrinker. It shrinks the choices from which events are drawn, so each step changes what comes
later, and it wants to run the drawing: a seed would not name a history any more. Here a history is a list of values;
what is left out changes nothing about the others, as each names its subject by number and does nothing where there is
no such thing. Lots (latencies, jitter, the scheduler's order) are drawn from streams of their own, so most of them
stay the same too. Delta debugging over that list is thirty lines, and a failure that needs two events is found among
fifty in some forty runs.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulator.history import Blow, Event, History, Write
from tests.simulator.run import Result, run


def kind(problem: str) -> str:
    """What kind of finding it is: its words, without numbers and what follows a colon or a semicolon."""
    return re.sub(r"[0-9.]+", "#", re.split(r"[:;]", problem)[0])


def shrink(result: Result, *, runs: int = 400, told: Callable[[str], object] = lambda _: None) -> Result:
    """Return a smaller history that fails in the same way.

    Args:
        result: A failure.
        runs: How many histories may be tried.
        told: Told each success.
    """
    wanted, best, left = kind(result.problem), result, runs
    progress = True
    while progress and left > 0:
        progress = False
        for history in _smaller(best.history):
            left -= 1
            tried = run(history)
            if kind(tried.problem) == wanted:
                best, progress = tried, True
                told(f"{len(history.events)} events, {history.setup.replicas} replicas")
                break
            if left <= 0:
                break
    return best


def _smaller(history: History) -> Iterator[History]:
    events = history.events
    size = max(1, len(events) // 2)
    while True:
        for start in range(0, len(events), size):
            yield replace(history, events=(*events[:start], *events[start + size :]))
        if size == 1:
            break
        size //= 2
    setup = history.setup
    for replicas in range(1, setup.replicas):
        yield replace(history, setup=replace(setup, replicas=replicas))
    for n, event in enumerate(events):
        for simpler in _simpler(event):
            yield replace(history, events=(*events[:n], simpler, *events[n + 1 :]))


def _simpler(event: Event) -> Iterator[Event]:
    match event.what:
        case Write(edits, commit_after):
            for n in range(len(edits) if len(edits) > 1 else 0):
                yield Event(event.at, replace(event.what, edits=(*edits[:n], *edits[n + 1 :])))
            if commit_after:
                yield Event(event.at, replace(event.what, commit_after=0.0))
        case Blow(steps=steps, linger=linger):
            if linger:
                yield Event(event.at, replace(event.what, linger=0.0))
            if steps:
                yield Event(event.at, replace(event.what, steps=0))
        case _:
            pass
