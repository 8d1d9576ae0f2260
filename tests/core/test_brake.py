"""When cancels are counted, how many are too many, and that no order of events lets more pass."""

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, strategies as st

from reactor.core.brake import WINDOW, Limit, deletes, is_removal
from reactor.core.item import Item, SourceState
from tests.core.test_policy import item
from tests.simulator.stored import Row, Source
from tests.simulator.tables import Tables
from tests.support.dialogues import cancel_json, upsert_json

SPACE, OTHER = UUID(int=1), UUID(int=2)
BOUND = SourceState(event_id="event1")
GONE = SourceState(cancelled=True)


def cancel(workspace_id: UUID = SPACE, **fields: Any) -> Item:
    return item(cancel_json(), **{"id": uuid4(), "workspace_id": workspace_id, "memory": BOUND} | fields)


@pytest.mark.parametrize(
    ("deletes", "events", "stops"), [(1, 3, False), (19, 19, False), (20, 39, True), (20, 40, False), (51, 100, True)]
)
def test_more_than_half_and_at_least_twenty_stop_a_workspace(deletes: int, events: int, stops: bool) -> None:  # noqa: FBT001
    assert Limit().stops(deletes, events) == stops


def test_a_share_of_one_turns_the_brake_off() -> None:
    assert not Limit(share=1).stops(1_000, 1_000)
    assert Limit(share=1).is_off
    assert not Limit().is_off


def test_what_waits_is_counted_when_a_few_have_come_and_then_now_and_then() -> None:
    limit = Limit()
    assert [n for n in range(1, 30) if limit.asks_what_waits(n - 1, n)] == [5, 6, 7, 8, 10, 12, 15, 18, 22, 27]
    assert sum(limit.asks_what_waits(n - 1, n) for n in range(1, 10_001)) < 40
    assert limit.asks_what_waits(0, 200)
    assert not limit.asks_what_waits(30, 30)
    assert Limit(least=1).asks_what_waits(0, 1)


def test_cancels_are_counted_by_workspace_and_what_deletes_nothing_is_not() -> None:
    others = [item(upsert_json(), memory=BOUND), cancel(is_child=True), cancel(memory=SourceState())]
    assert deletes([*others, cancel(), cancel(), cancel(OTHER)]) == {SPACE: 2, OTHER: 1}


@pytest.mark.parametrize(
    ("before", "after", "removes"),
    [
        (cancel(), GONE, True),
        (cancel(), BOUND, False),
        (cancel(is_child=True), GONE, False),
        (cancel(memory=SourceState()), GONE, False),
        (item(upsert_json(), memory=BOUND), SourceState(), False),
    ],
)
def test_a_removal_is_of_an_event_that_was_known(before: Item, after: SourceState, removes: bool) -> None:  # noqa: FBT001
    assert is_removal(before, after) == removes


@dataclass
class Fleet:
    """Replicas, each step of which may come between any two of another's; and what they have let through."""

    tables: Tables
    limit: Limit
    now: float = 0.0
    claimed: list[Row] = field(default_factory=list)
    sent: list[Row] = field(default_factory=list)
    removed: dict[UUID, float] = field(default_factory=dict)
    made: int = 0

    def make(self, number: int) -> None:
        """Make events."""
        for _ in range(number):
            self.tables.sources[SPACE, f"task:{self.made}"] = Source(SourceState(event_id="e"))
            self.made += 1

    @property
    def events(self) -> int:
        return sum(source.memory.event_id is not None for source in self.tables.sources.values())

    def claim(self, number: int) -> None:
        """Claim cancels of sources that have an event; they are committed, and not counted yet."""
        taken = {row.key for row in self.tables.rows.values()}
        free = [key for (_, key), source in self.tables.sources.items() if source.memory.event_id and key not in taken]
        for key in free[:number]:
            about = dict(zip(("sourceType", "sourceId"), key.split(":"), strict=True))
            seq = self.tables.next_seq()
            row = Row(UUID(int=seq), SPACE, "CANCEL_EVENT", b"", about, seq, self.now, self.now, status="PROCESSING")
            self.tables.rows[row.id] = row
            self.claimed.append(row)

    def check(self, number: int) -> None:
        """Have a replica count, and send what may pass."""
        mine, self.claimed = self.claimed[:number], self.claimed[number:]
        if mine:
            is_stopped, so_far = self.tables.claimed_deletes(SPACE, self.now)
            asks = self.limit.asks_what_waits(so_far - len(mine), so_far)
            if not is_stopped and (asks or so_far >= self.limit.least):
                is_stopped = self.tables.count(SPACE, self.limit, self.now, waiting=asks).is_too_much
            if is_stopped:
                for row in mine:
                    del self.tables.rows[row.id]
            else:
                self.sent += mine

    def end(self, number: int) -> None:
        """Settle what was sent."""
        for row in self.sent[:number]:
            source = self.tables.sources[SPACE, row.key]
            source.memory, source.removed_at = replace(GONE, floor_seq=row.seq), self.now
            row.status = "COMPLETED"
            self.removed[row.id] = self.now
        del self.sent[:number]

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    @property
    def let_through(self) -> int:
        """Deletes within the window."""
        return len(self.sent) + sum(at >= self.now - WINDOW for at in self.removed.values())


STEPS = st.one_of(
    st.tuples(st.sampled_from(("make", "claim", "claim", "claim", "check", "check", "end")), st.integers(1, 12)),
    st.tuples(st.just("wait"), st.integers(1, 700)),
)


@given(start=st.integers(0, 40), steps=st.lists(STEPS, min_size=10, max_size=60))
def test_no_order_of_claims_counts_and_ends_lets_more_pass_than_the_limit(
    start: int, steps: list[tuple[str, int]]
) -> None:
    fleet = Fleet(Tables(), Limit(share=0.5, least=6))
    fleet.make(start)
    for step, number in steps:
        before = fleet.let_through
        getattr(fleet, step)(number)
        through = fleet.let_through
        if through > before:
            gone = through - len(fleet.sent)
            assert not fleet.limit.stops(through, gone + fleet.events)
        if fleet.tables.brakes:
            stop = fleet.tables.brakes[SPACE]
            assert fleet.limit.stops(stop.deletes, stop.events), "stopped for what was no burst"
            return


@given(replicas=st.integers(1, 4), events=st.integers(12, 80), pause=st.integers(0, 10))
def test_a_trickle_stops_at_the_same_count_whatever_the_number_of_replicas(
    replicas: int, events: int, pause: int
) -> None:
    fleet = Fleet(Tables(), Limit(share=0.5, least=6))
    fleet.make(events)
    while not fleet.tables.brakes:
        for _ in range(replicas):
            fleet.claim(1)
            fleet.check(1)
        fleet.end(replicas)
        fleet.wait(pause)
    assert len(fleet.removed) == events // 2


@pytest.mark.no_cover
def test_a_busy_workspace_that_loses_one_a_minute_is_never_stopped() -> None:
    fleet = Fleet(Tables(), Limit())
    fleet.make(60)
    for _ in range(1_500):
        fleet.make(1)
        fleet.claim(1)
        fleet.check(1)
        fleet.end(1)
        fleet.wait(60)
    assert fleet.tables.brakes == {}
    assert len(fleet.removed) == 1_500
