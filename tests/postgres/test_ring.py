"""The ring, against any outbox: whoever is due gets a turn soon, and nothing is said to be nowhere unseen."""

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reactor.postgres.ring import PERIOD, WIDTH, Looked, Ring

SPACES = [UUID(int=n) for n in range(1, 7)]
PAGE = 3
"""Due rows, and keys, that a pass looks at in a workspace."""
BATCH = 4


@dataclass
class Source:
    """The due rows of a source, the oldest first by number; while one is in flight none can be claimed."""

    rows: list[int]
    busy: bool = False


@dataclass
class Space:
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def is_due(self) -> bool:
        return any(source.rows for source in self.sources.values())

    @property
    def is_claimable(self) -> bool:
        return any(source.rows and not source.busy for source in self.sources.values())

    def look(self, after: str | None, slots: int) -> tuple[list[str], bool, str | None, bool]:
        """What a claim sees: the sources claimed, whether there may be more, the last key, whether the page is full."""
        rows = sorted((row, key) for key, source in self.sources.items() for row in source.rows)[:PAGE]
        keys = {key for _, key in rows}
        by_key: list[str] = []
        if after is not None:
            by_key = sorted(key for key, source in self.sources.items() if source.rows and key > after)[:PAGE]
        candidates = sorted(key for key in keys | set(by_key) if not self.sources[key].busy)
        full = len(rows) >= PAGE
        more = full or len(candidates) > slots
        return candidates[:slots], more, by_key[-1] if len(by_key) >= PAGE else None, full


class AnyOutbox(RuleBasedStateMachine):
    """Claims as `Outbox.claim` makes them, over rows that come and go between them."""

    make: Callable[[int], Ring] = Ring

    def __init__(self) -> None:
        super().__init__()
        self.ring = type(self).make(BATCH)
        self.now = 0.0
        self.row = 0
        self.spaces = {workspace: Space() for workspace in SPACES}
        self.excluded: set[UUID] = set()
        self.passed_over = dict.fromkeys(SPACES, 0)

    @rule(which=st.sampled_from(SPACES), keys=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6))
    def insert(self, which: UUID, keys: Iterable[str]) -> None:
        for key in keys:
            self.row += 1
            self.spaces[which].sources.setdefault(key, Source([])).rows.append(self.row)

    @rule(which=st.sampled_from(SPACES), rows=st.integers(1, 9))
    def edit_one_again_and_again(self, which: UUID, rows: int) -> None:
        self.insert(which, "c" * rows)

    @rule(which=st.sampled_from(SPACES))
    def settle(self, which: UUID) -> None:
        for source in self.spaces[which].sources.values():
            source.busy = False

    @rule(which=st.sampled_from(SPACES))
    def exclude_or_open(self, which: UUID) -> None:
        self.excluded ^= {which}
        self.passed_over[which] = 0

    @rule(seconds=st.sampled_from([0.01, PERIOD / 3, 2 * PERIOD]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def full(self) -> None:
        if self.ring.is_stale(self.now):
            self.fill()

    @rule(slots=st.integers(1, 20))
    def claim(self, slots: int) -> None:
        self.claimed(slots)

    def claimed(self, slots: int) -> bool:
        """Whether anything was."""
        read = False
        self.ring.begin()
        for _ in range(1_000):
            refresh = not read and self.ring.is_stale(self.now)
            window = [] if refresh else self.ring.next_workspaces(slots, self.excluded)
            if not window and read:
                assert not any(self.spaces[w].is_claimable for w in SPACES if w not in self.excluded), "it was there"
                return False
            if not window:
                read = True
                window = self.first(self.ring.width(slots))
                self.fill()
                assert self.ring.cursors(()) == []
                cursors: list[str | None] = [None] * len(window)
            else:
                cursors = self.ring.cursors(window)
            assert len(window) <= WIDTH
            assert not set(window) & self.excluded
            if self.look(window, cursors, slots):
                return True
        raise AssertionError("it goes round for ever")

    def keys(self, which: UUID) -> set[str]:
        return {key for key, source in self.spaces[which].sources.items() if source.rows}

    def first(self, width: int) -> list[UUID]:
        """What a claim that reads the ring looks at."""
        past = self.ring.last_workspace
        due = [w for w in SPACES if self.spaces[w].is_due and w not in self.excluded]
        return sorted(due, key=lambda w: (past is not None and w <= past, w))[:width]

    def fill(self) -> None:
        due = [(w, 0.0, None) for w in SPACES if self.spaces[w].is_due]
        self.ring.fill(due, began=self.now, now=self.now)

    def look(self, window: list[UUID], cursors: list[str | None], slots: int) -> bool:
        looked: list[Looked] = []
        successful = set()
        for workspace, after in zip(window, cursors, strict=True):
            keys, more, last_key, full = self.spaces[workspace].look(after, slots)
            slots -= len(keys)
            for key in keys:
                self.spaces[workspace].sources[key].rows.pop()
                self.spaces[workspace].sources[key].busy = True
                successful.add(workspace)
            looked.append((workspace, more, last_key, full))
        self.ring.looked(looked, successful=successful)
        for workspace in SPACES:
            waits = self.spaces[workspace].is_due and workspace not in self.excluded and workspace not in window
            self.passed_over[workspace] = self.passed_over[workspace] + 1 if waits else 0
        return bool(successful)

    @invariant()
    def a_claim_takes_its_time(self) -> None:
        self.now += PERIOD / 4

    def longest_wait(self) -> int:
        """How many windows have passed by a workspace in which something could be claimed."""
        return max(n for workspace, n in self.passed_over.items() if self.spaces[workspace].is_claimable or not n)

    def teardown(self) -> None:
        """Whatever was left is found: when everything is settled and nothing comes any more, all is claimed."""
        self.excluded = set()
        for _ in range(1_000):
            for workspace in SPACES:
                self.settle(workspace)
            if not self.claimed(20):
                break
            self.now += PERIOD / 4
        assert not any(space.is_due for space in self.spaces.values())


TestAnyOutbox = AnyOutbox.TestCase
TestAnyOutbox.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


class Forgetting(Ring):
    """A workspace that was looked at is finished with, whatever is left in it."""

    def looked(self, looked: Sequence[Looked], *, successful: Collection[UUID]) -> None:
        super().looked([(w, False, None, False) for w, *_ in looked], successful=successful)


class Standing(Ring):
    """It begins at the same place each time."""

    @property
    def last_workspace(self) -> UUID | None:
        return None


class Lazy(Ring):
    """It is not read again before it is used up."""

    def is_stale(self, now: float) -> bool:
        return now < 0


class Mixing(Ring):
    """A pass that looked at no keys counts as one that looked at all."""

    def looked(self, looked: Sequence[Looked], *, successful: Collection[UUID]) -> None:
        self._by_key = dict.fromkeys(self._scans, "")
        super().looked(looked, successful=successful)


@pytest.mark.parametrize("fault", [Forgetting, Mixing])
def test_a_fault_put_back_is_found(fault: type[Ring]) -> None:
    class Broken(AnyOutbox):
        make = fault

    some = settings(
        max_examples=1_000,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Broken, settings=some)


WINDOWS = 2 * len(SPACES) + 2


def longest_wait(make: Callable[[int], Ring], hot: set[UUID], slots: int, step: float, seed: int) -> float:
    """Windows that the unluckiest workspace had to wait for beside a backlog without end, beyond `PERIOD`."""

    outbox, chance, longest = AnyOutbox(), random.Random(seed), 0.0
    outbox.ring = make(BATCH)
    for _ in range(120):
        for workspace in SPACES:
            if workspace in hot:
                outbox.settle(workspace)
                outbox.insert(workspace, [k for k in "abcdefgh" if k not in outbox.keys(workspace)])
            elif chance.random() < 0.2:
                outbox.settle(workspace)
                outbox.insert(workspace, chance.choice("abc"))
        outbox.claimed(slots)
        outbox.now += step
        longest = max(longest, outbox.longest_wait() - PERIOD / step)
    return longest


@given(
    st.sets(st.sampled_from(SPACES), min_size=1), st.integers(1, 12), st.sampled_from([0.02, 0.06, 0.3]), st.integers()
)
@settings(max_examples=50, deadline=None)
def test_beside_backlogs_everybody_gets_a_turn(hot: set[UUID], slots: int, step: float, seed: int) -> None:
    """A ring is read again after `PERIOD`; from then on it takes at most two windows for each workspace.

    Two, because windows go by turns to those with much to do and to those with little.
    """
    assert longest_wait(Ring, hot, slots, step, seed) <= WINDOWS


@pytest.mark.parametrize("fault", [Standing, Lazy])
def test_a_ring_that_passes_somebody_over_is_found(fault: type[Ring]) -> None:
    assert longest_wait(fault, {SPACES[0], SPACES[1]}, 4, 0.06, 1) > WINDOWS


def test_what_is_not_due_yet_is_told_from_now_on() -> None:
    ring = Ring(BATCH)
    ring.fill([(SPACES[0], 2.0, 2.0), (SPACES[1], -1.0, 9.0)], began=0.0, now=1.0)
    assert ring.due_in((), 1.5) == 1.5
    assert ring.due_in({SPACES[0]}, 1.5) == 8.5
    assert ring.due_in((), 5.0) == 0.0
    assert ring.due_in(SPACES, 5.0) == float("inf")
    assert ring.has_due(())
    assert not ring.has_due({SPACES[1]})
