"""A client whose answers are lost after the deed, again and again: each event exists once, with the last content.

A thousand operations, each carried out by the emulator over real HTTP while its answer is lost at a random point: the
connection is cut, cut half-way, or the batch's answer or a part of it is missing. Nothing is remembered of what was not
answered; every item is simply sent again until it is done.
"""

import random
from collections import Counter

import pytest

from calendar_emulator import Fault, WriteKind
from reactor.core.calendar.intent import SyncIntent
from reactor.core.outcome import Done, Outcome, Retry
from reactor.google.client import GoogleCalendar
from tests.support.google_client import Tokens, after, item
from tests.support.google_fixtures import USER, GoogleServer

OPERATIONS = 1_000
SOURCES = 40
ALONE = [
    Fault(operation=operation, in_batch=False, times=1, effect=effect, commit=1.0)
    for operation in ("insert", "update", "delete", "get")
    for effect in ("drop", "truncate", "malformed", "length", "garbage", "html")
]
TOGETHER = [
    *(Fault(operation="batch", times=1, effect=effect, commit=0.6) for effect in ("drop", "truncate", "malformed")),
    *(Fault(in_batch=True, times=4, probability=0.3, effect=effect, commit=1.0) for effect in ("drop", "malformed")),
]


class Sources:
    """What is remembered of each source, and what its event should look like."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.memory: dict[int, tuple[SyncIntent, Done]] = {}
        self.wanted: dict[int, str | None] = dict.fromkeys(range(SOURCES))
        self.seq = 0

    def next(self, number: int) -> SyncIntent:
        """A new item of a source: usually another title, sometimes a cancel."""
        self.seq += 1
        cancel = self.wanted[number] is not None and self.rng.random() < 0.25
        title = f"state {self.seq}"
        self.wanted[number] = None if cancel else title
        following = item(number, title, cancel=cancel, seq=self.seq)
        return after(*self.memory[number], following) if number in self.memory else following

    def settle(self, number: int, work: SyncIntent, outcome: Outcome) -> bool:
        if isinstance(outcome, Done):
            self.memory[number] = (work, outcome)
            return True
        assert isinstance(outcome, Retry), outcome
        return False


@pytest.mark.parametrize("seed", [1])
async def test_each_event_exists_exactly_once_with_the_last_content(google: GoogleServer, seed: int) -> None:
    rng = random.Random(seed)
    sources, tokens = Sources(rng), Tokens(google.emulator)
    lost: Counter[str] = Counter()
    async with GoogleCalendar(google.api_root) as client:
        while lost.total() < OPERATIONS:
            together = rng.random() < 0.4
            numbers = rng.sample(range(SOURCES), rng.randint(2, 12)) if together else [rng.randrange(SOURCES)]
            works = {number: sources.next(number) for number in numbers}
            google.emulator.faults.clear()
            rules = [google.emulator.fault(fault) for fault in (TOGETHER if together else ALONE) if rng.random() < 0.5]
            while works:
                outcomes = await client.send(list(works.values()), tokens)
                pairs = zip(list(works.items()), outcomes, strict=True)
                works = {number: work for (number, work), out in pairs if not sources.settle(number, work, out)}
            for rule in rules:
                lost[f"{rule.fault.operation} {rule.fault.effect}"] += rule.fired
    assert min(lost[f"{operation} drop"] for operation in ("insert", "update", "delete", "batch")) > 0, lost
    titles = sorted(event["summary"] for event in google.emulator.events(USER))
    assert titles == sorted(title for title in sources.wanted.values() if title)
    writes = google.emulator.writes(USER)
    assert len(writes) == len({number for number, _ in sources.memory.items()}), "an id of a source was made twice"
    assert all(kinds[WriteKind.INSERT] == 1 for kinds in writes.values())
