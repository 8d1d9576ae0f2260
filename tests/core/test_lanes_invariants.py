"""No state of the lanes leaves a workspace out without a time or an event that ends it, whatever has happened."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reactor.core.calendar.answers import LOST, NO_CALENDAR, RATE, REVOKED, SERVER, UNSENT
from reactor.core.calendar.intent import SyncIntent
from reactor.core.dispatch.lane import Batch, Lane, QueuedItem
from reactor.core.dispatch.lanes import MAX_QUEUE_SECONDS, Lanes
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.request_evidence import RequestEvidence
from reactor.core.item import Item
from reactor.core.outcome import Outcome
from reactor.core.policy import prepare
from tests.core.test_lanes import ALL, DONE, FOLLOWER, claimed, lanes, send
from tests.support.loop_world import source_id, unlimited, workspace

OUTCOMES = st.sampled_from([DONE, DONE, DONE, SERVER, LOST, RATE, NO_CALENDAR, ALL, FOLLOWER, UNSENT, REVOKED])
WHICH = st.integers(0, 1_000)
SPACES = 6
PARTS = 3


def slow() -> Limits:
    """A rate that is used up, so that lanes wait for it too."""
    return Limits(burst=4, ceiling=2.0, floor=0.25, in_flight_cap=2)


@dataclass(eq=False)
class Sent:
    """A request, and those of its items of which nothing was heard yet."""

    batch: Batch
    entries: list[QueuedItem]


class AnyLife(RuleBasedStateMachine):
    """What the loop may do to the lanes, in any order, with a model of what is in hand."""

    make: Callable[..., Lanes] = lanes

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.them = type(self).make(concurrency=4, claim_size=4, parts=PARTS, kept=4, limits=slow)
        self.under_way: list[Sent] = []
        self.lost: list[Batch] = []
        self.ends: list[UUID] = []  # workspaces, of ends that are to be written
        self.deferred: list[UUID] = []
        self.allowed: tuple[int, frozenset[UUID]] = (0, frozenset())
        self.source = self.taken = self.left = self.forgotten = 0

    def pump(self) -> None:
        self.under_way += [Sent(batch, list(batch.entries)) for batch in send(self.them, self.now)]
        self.ends += [ready.item.workspace_id for ready in self.them.evicted()]

    # What the loop does

    @rule()
    def ask(self) -> None:
        """A claim begins: what is claimed is decided now, and comes later."""
        self.allowed = (self.them.slots(self.now), frozenset(self.them.excluded))

    @rule(
        numbers=st.lists(st.integers(0, SPACES - 1), min_size=2, max_size=4), bad=st.integers(0, 4), late=st.booleans()
    )
    def claim(self, numbers: list[int], *, bad: int, late: bool) -> None:
        if not late:
            self.ask()
        slots, excluded = self.allowed
        self.allowed = (0, frozenset())
        for number in [n for n in numbers if workspace(n) not in excluded][:slots]:
            self.source += 1
            self.taken += 1
            item = claimed(number, self.source, key=f"task:{source_id(self.source % 4)}")
            lane = self.them.claimed(item.workspace_id)
            if bad == 1:  # it ends without being sent
                self.ends.append(item.workspace_id)
            else:
                self.them.add(lane, [QueuedItem(item, works(item), self.now)], self.now)
        self.pump()

    @rule(which=WHICH, outcome=OUTCOMES)
    def report(self, which: int, outcome: Outcome) -> None:
        """One item of a request is answered, and perhaps settled, before the request is over."""
        if self.under_way:
            sent = self.under_way[which % len(self.under_way)]
            if sent.entries:
                self.take(sent, sent.entries.pop(), outcome)

    @rule(which=WHICH, outcome=OUTCOMES)
    def end(self, which: int, outcome: Outcome) -> None:
        if self.under_way:
            sent = self.under_way.pop(which % len(self.under_way))
            for entry in sent.entries:
                self.take(sent, entry, outcome)
            self.them.ended(sent.batch, RequestEvidence.of([outcome]), self.now, random=0.5)
            self.pump()

    def take(self, sent: Sent, entry: QueuedItem, outcome: Outcome) -> None:
        self.them.answer_history.take_in(entry.item, outcome)
        if outcome is REVOKED:
            self.them.condemn(sent.batch.lane, "v1")
        self.ends.append(entry.item.workspace_id)

    @rule(which=WHICH)
    def break_off(self, which: int) -> None:
        if self.under_way:
            sent = self.under_way.pop(which % len(self.under_way))
            self.them.aborted(sent.batch, self.now)
            self.ends += [entry.item.workspace_id for entry in sent.entries]
            self.pump()

    @rule(which=WHICH)
    def settle(self, which: int) -> None:
        if self.ends:
            self.left += 1
            self.them.settled(self.ends.pop(which % len(self.ends)), self.now)
            self.pump()

    @rule()
    def settle_all(self) -> None:
        while self.ends:
            self.settle(0)

    @rule(which=WHICH)
    def defer(self, which: int) -> None:
        if self.ends:
            workspace_id = self.ends.pop(which % len(self.ends))
            self.them.deferred(workspace_id, self.now)
            self.deferred.append(workspace_id)
            self.pump()

    @rule(which=WHICH)
    def resume(self, which: int) -> None:
        if self.deferred:
            workspace_id = self.deferred.pop(which % len(self.deferred))
            self.them.resumed(workspace_id, self.now)
            self.ends.append(workspace_id)
            self.pump()

    @rule()
    def drain(self) -> None:
        self.them.evict_all()
        self.pump()

    @rule()
    def lose_the_session(self) -> None:
        self.forgotten += self.them.in_flight_items
        self.lost = [sent.batch for sent in self.under_way]
        for own in (self.under_way, self.ends, self.deferred):
            own.clear()
        self.allowed = (0, frozenset())
        self.them.clear()
        assert not self.them.evicted()

    @rule(which=WHICH, outcome=OUTCOMES)
    def hear_of_a_lost_request(self, which: int, outcome: Outcome) -> None:
        if self.lost:
            batch = self.lost.pop(which % len(self.lost))
            if which % 2:
                self.them.aborted(batch, self.now)
            else:
                self.them.ended(batch, RequestEvidence.of([outcome]), self.now, random=0.5)

    @rule(seconds=st.sampled_from([0.01, 0.4, 1.0, 1.5, 5.0, 70.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (alarm := self.them.alarm_at(self.now)) <= until:
            assert alarm > self.now, "an alarm is never now: its time would not pass"
            self.advance(alarm)
        self.now = until

    def advance(self, now: float) -> None:
        self.now = now
        self.them.tick(now)
        self.pump()

    # What must hold

    @invariant()
    def what_is_in_hand_agrees(self) -> None:
        out = [entry.item.workspace_id for sent in self.under_way for entry in sent.entries]
        queued = [ready.item.workspace_id for lane in self.them for ready in lane.queue]
        in_hand = Counter([*out, *queued, *self.ends, *self.deferred])
        assert {lane.workspace_id: lane.in_flight_items for lane in self.them if lane.in_flight_items} == in_hand
        assert {lane.workspace_id: lane.deferred for lane in self.them if lane.deferred} == Counter(self.deferred)
        assert self.them._deferrals.total == len(self.deferred)
        assert self.them._deferrals._lanes.keys() == set(self.deferred)
        assert self.them.in_flight_items == in_hand.total() == self.taken - self.left - self.forgotten
        requests = Counter(sent.batch.lane.workspace_id for sent in self.under_way)
        assert {lane.workspace_id: lane.guard.in_flight for lane in self.them if lane.guard.in_flight} == requests
        assert self.them.in_flight_requests == requests.total()

    @invariant()
    def nothing_is_bounded_by_hope(self) -> None:
        assert self.them.in_flight_items - len(self.deferred) <= self.them.in_flight_items_cap
        assert self.them.in_flight_items <= 2 * self.them.in_flight_items_cap
        assert len(self.them._alarms) <= 2 * len(list(self.them)) + 65

    @invariant()
    def the_line_and_who_waits_are_lanes_with_a_reason(self) -> None:
        line = list(self.them._line)
        assert len(line) == len(set(line)), "twice in the line is two turns"
        assert all(lane.in_line for lane in line)
        assert all(lane in line for lane in self.them if lane.in_line)
        assert all(lane.guard.in_flight for lane in self.them._waiting.values())
        assert set(self.them._waiting.values()) <= set(self.them)

    @invariant()
    def what_is_ready_gets_its_turn(self) -> None:
        for lane in self.them:
            if lane.queue and not lane.guard.in_flight and not lane.in_line:
                assert self.wakes(lane) <= max(lane.guard.ready_at(self.now), self.closed_until(lane))
        if self.them._line and any(lane.queue for lane in self.them._line) and not self.them.in_flight_requests:
            assert self.them.alarm_at(self.now) <= self.them.process.ready_at(self.now)

    @invariant()
    def who_is_left_out_comes_back(self) -> None:
        self.them.slots(self.now)
        cached = {lane.workspace_id: lane for lane in self.them}
        assert set(self.them.excluded) <= cached.keys()
        for workspace_id in self.them.excluded:
            lane = cached[workspace_id]
            if not lane.in_flight_items and not lane.guard.in_flight:
                assert not lane.condemned, "it is being settled, or it is over"
                assert self.now < self.closed_until(lane) < math.inf, "nothing holds it back any more"
                assert self.wakes(lane) <= self.closed_until(lane)

    def closed_until(self, lane: Lane) -> float:
        return lane.guard.closed_until(self.now, MAX_QUEUE_SECONDS)

    def wakes(self, lane: Lane) -> float:
        """When `tick` looks at the lane: both it and the loop must know."""
        assert any(at == lane.alarm_at and each is lane for at, each in self.them._alarms)
        assert self.them.alarm_at(self.now) <= lane.alarm_at
        return lane.alarm_at

    def teardown(self) -> None:
        """Everything that is under way ends, all locks go, time passes: nothing is left, and nobody is left out."""
        for _ in range(1_000):
            while self.under_way or self.ends or self.deferred:
                self.end(0, DONE)
                self.resume(0)
                self.settle_all()
            slots = self.them.slots(self.now)
            if slots > 1 and not self.them.excluded and not self.them.in_flight_items:
                break
            if slots == 1 and not self.them.in_flight_items:  # somebody has to try first
                self.allowed = (1, frozenset(self.them.excluded))
                self.claim([n for n in range(20) if workspace(n) not in self.them.excluded][:1], bad=0, late=True)
                continue
            alarm = self.them.alarm_at(self.now)
            assert alarm < math.inf, "something waits, and nothing will wake it"
            self.advance(max(alarm, self.now))
        self.what_is_in_hand_agrees()
        assert self.them.in_flight_items == 0
        assert not self.them.excluded
        assert self.them.slots(self.now) > 1


def works(item: Item) -> SyncIntent:
    work = prepare(item)
    assert isinstance(work, SyncIntent)
    return work


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=25, stateful_step_count=50, deadline=None)


# Each of these faults was made once, or could be; the machine finds every one.


class Excluding(Lanes):
    """What was excluded stays so when the claims are lost."""

    def clear(self) -> None:
        before = dict(self._excluded)
        super().clear()
        self._excluded |= before


class Lining(Lanes):
    def clear(self) -> None:
        line = list(self._line)
        super().clear()
        self._line.extend(line)


class Waiting(Lanes):
    def clear(self) -> None:
        waiting = dict(self._waiting)
        super().clear()
        self._waiting |= waiting


class Flying(Lanes):
    """Requests that will never report stay under way."""

    def clear(self) -> None:
        self._under_way.clear()
        super().clear()


class Deferring(Lanes):
    def clear(self) -> None:
        total = self._deferrals.total
        super().clear()
        self._deferrals.total = total


class Dropping(Lanes):
    """A lane is dropped whose request has not ended."""

    def claimed(self, workspace_id: UUID, items: int = 1) -> Lane:
        for lane in list(self):
            if not lane.in_flight_items and len(list(self)) > 4:
                del self._lanes._lanes[lane.workspace_id]
        return super().claimed(workspace_id, items)


class Condemning(Lanes):
    """A condemned lane is not looked at again when the last of it is settled."""

    def settled(self, workspace_id: UUID, now: float, items: int = 1) -> None:
        condemned = self._lanes.get(workspace_id).condemned
        super().settled(workspace_id, now, items)
        self._lanes.get(workspace_id).condemned = condemned


SELDOM = [pytest.param(fault, marks=pytest.mark.soak) for fault in (Dropping, Condemning, Excluding, Waiting)]
"""Found after hundreds of lives."""


@pytest.mark.no_cover
@pytest.mark.parametrize("fault", [Lining, Flying, Deferring, *SELDOM])
def test_a_fault_put_back_is_found(fault: type[Lanes]) -> None:
    def broken(*, concurrency: int, **given: object) -> Lanes:
        return fault(process=unlimited(concurrency), **given)  # type: ignore[arg-type]

    class Broken(AnyLife):
        make = staticmethod(broken)

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
    with pytest.raises((AssertionError, KeyError, ValueError)):
        run_state_machine_as_test(Broken, settings=some)
