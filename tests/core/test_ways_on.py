"""No state of the gate, of a guard or of a breaker is without a way on."""

import math
from typing import NamedTuple

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reactor.core.backoff import HOLD_CAP, JITTER
from reactor.core.calendar.answers import LOST, NO_CALENDAR, RATE, SERVER, UNSENT
from reactor.core.dispatch.gate import Gate, GateAction, GateState, LockAttempt, Look, LookResult, Timings
from reactor.core.dispatch.guard import ProcessGuard, Ticket
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.request_evidence import RequestEvidence
from reactor.core.outcome import Outcome, Retry
from tests.core.test_lanes import ALL, DONE, FOLLOWER
from tests.support.loop_world import workspace

LOOKS = st.builds(
    Look,
    found=st.sampled_from(LookResult),
    due_in=st.sampled_from([-math.inf, -1.0, 0.0, 0.01, 3.0, math.inf]),
    left_behind=st.booleans(),
)
ANSWERS = st.sampled_from(LockAttempt)


class AnyGate(RuleBasedStateMachine):
    """Steps with any result, events at any moment, also while a step is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.timings = Timings()
        self.gate = Gate(self.timings, lambda: 0.5)

    @rule(
        look=LOOKS, answer=ANSWERS, armed=st.booleans(), between=st.sampled_from(["", "call", "free", "lose", "have"])
    )
    def step(self, look: Look, answer: LockAttempt, between: str, *, armed: bool) -> None:
        step = self.gate.next(self.now)
        self.happen(between)
        match step.do:
            case GateAction.LOOK:
                self.gate.looked(look, self.now)
            case GateAction.ASK:
                self.gate.asked(answer, self.now)
            case GateAction.SEE_PEER:
                self.gate.saw_peer(armed=armed, now=self.now)
            case GateAction.RELEASE:
                self.gate.released()
            case GateAction.ANNOUNCE:
                self.gate.announced(self.now)
            case GateAction.SLEEP:
                self.now = max(self.now, step.until)

    @rule(event=st.sampled_from(["call", "free", "lose", "have"]))
    def happen(self, event: str) -> None:
        match event:
            case "call":
                self.gate.notified(self.now)
            case "free":
                self.gate.freed(self.now)
            case "lose":
                self.gate.disconnected(self.now)
            case "have":
                self.gate.connected(self.now)

    @rule(seconds=st.sampled_from([0.001, 0.06, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def it_never_sleeps_for_longer_than_a_poll(self) -> None:
        step = self.gate.next(self.now)
        if step.do is GateAction.SLEEP:
            assert self.now < step.until <= self.now + 1.25 * self.timings.poll
        if self.gate.has_lock:
            assert self.gate.state is GateState.ARMED or step.do is GateAction.RELEASE, (
                "what is not needed is given back"
            )

    @invariant()
    def from_here_it_comes_to_rest_and_looks_again(self) -> None:
        """Whatever has happened: left alone with nothing to do, it sleeps soon, armed if it can hear, and looks on."""
        gate, now, looks, asleep = copied(self.gate), self.now, 0, 0
        until = now + 4 * self.timings.poll
        for _ in range(1_000):
            step = gate.next(now)
            match step.do:
                case GateAction.LOOK:
                    looks += 1
                    gate.looked(Look(LookResult.NOTHING), now)
                case GateAction.ASK:
                    gate.asked(LockAttempt.GRANTED, now)
                case GateAction.SEE_PEER:
                    gate.saw_peer(armed=False, now=now)
                case GateAction.RELEASE:
                    gate.released()
                case GateAction.ANNOUNCE:
                    gate.announced(now)
                case GateAction.SLEEP:
                    asleep += 1
                    now = step.until
            if now > until:
                break
        assert now > until, "it spins"
        assert looks >= 2
        assert gate.state in (GateState.ARMED, GateState.DEAF)


def copied(gate: Gate) -> Gate:
    copy = Gate(gate._timings, gate._jitter)
    copy.__dict__.update(gate.__dict__)
    return copy


TestAnyGate = AnyGate.TestCase
TestAnyGate.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


OUTCOMES = st.sampled_from(
    [DONE, SERVER, LOST, RATE, NO_CALENDAR, ALL, FOLLOWER, UNSENT, Retry("x", counts=False, after=40)]
)


class _Sent(NamedTuple):
    """A request under way; `after` is how often the guard had closed by then."""

    ticket: Ticket
    at: float
    after: int


class AnyGuard(RuleBasedStateMachine):
    """Requests that end in any way, or are broken off: there is a time at which the next may go.

    It depends on no request that left before the guard closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.guard = ProcessGuard(Limits(burst=5, ceiling=2.0, floor=0.5, in_flight_cap=3))
        self.out: list[_Sent] = []
        self.closings = 0

    @rule(units=st.integers(1, 5))
    def send(self, units: int) -> None:
        if self.guard.ready_at(self.now) <= self.now:
            units = min(units, self.guard.limits.available(self.now))
            self.out.append(_Sent(self.guard.take(self.now, units), self.now, self.closings))

    @rule(which=st.integers(0, 9), outcome=OUTCOMES, whose=st.integers(0, 7), random=st.floats(0, 0.99))
    def end(self, which: int, outcome: Outcome, whose: int, random: float) -> None:
        """As the lanes do for the process; for a lane it is the same without the witness."""
        if not self.out:
            return
        sent = self.out.pop(which % len(self.out))
        evidence = RequestEvidence.of([outcome])
        before = self.guard.opens_at(self.now)
        self.guard.finish_for(workspace(whose), sent.ticket, evidence, self.now, random=random)
        if evidence.throttled:
            self.guard.limits.throttled(self.now, sent_at=sent.at, retry_after=evidence.lane_after)
        if evidence.holds_lane or evidence.holds_all:
            self.guard.hold(self.now, sent_at=sent.at, random=random, after=evidence.lane_after)
        elif evidence.answered:
            self.guard.record_success(sent.at)
        self.closings += self.guard.opens_at(self.now) > max(before, self.now)

    @rule(which=st.integers(0, 9))
    def break_off(self, which: int) -> None:
        if self.out:
            self.guard.abandon(self.out.pop(which % len(self.out)).ticket, self.now)

    @rule(seconds=st.sampled_from([0.01, 1.0, 20.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def there_is_a_way_on(self) -> None:
        ready_at = self.guard.ready_at(self.now)
        waits = len(self.out) == 3 or any(sent.after == self.closings for sent in self.out)
        assert waits or ready_at <= self.now + HOLD_CAP * (1 + JITTER) + 5
        assert self.guard.closed_until(self.now, 1.0) < math.inf
        assert len(self.guard._witnesses) <= 8

    def teardown(self) -> None:
        """One that works, in the end, and it is no suspect any more."""
        while self.out:
            self.break_off(0)
        for _ in range(3):
            self.now = max(self.now, self.guard.ready_at(self.now)) + 0.001
            self.send(1)
            self.end(0, DONE, 0, 0.0)
        assert not self.guard.needs_probe


TestAnyGuard = AnyGuard.TestCase
TestAnyGuard.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
