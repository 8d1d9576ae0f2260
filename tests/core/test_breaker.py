"""The circuit breaker, by example and against a model."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reactor.core.dispatch.breaker import Breaker, BreakerState, Permit


def opened(*, threshold: int = 3, now: float = 0.0, cap: float = 60.0) -> Breaker:
    breaker = Breaker(threshold=threshold, cap=cap, probe_seconds=30.0)
    permit = admitted(breaker, now)
    for _ in range(threshold):
        breaker.failed(permit, now, random=0.0)
    return breaker


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state  # through a function, since mypy believes that an attribute stays what it was


def admitted(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def test_it_opens_after_the_threshold_and_not_before() -> None:
    breaker = Breaker(threshold=3)
    permit = admitted(breaker, 0)
    breaker.failed(permit, 0, random=0)
    breaker.failed(permit, 0, random=0)
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.admit(0) == permit
    breaker.failed(permit, 0, random=0)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.admit(0.99) is None


def test_one_answer_in_between_starts_the_count_again() -> None:
    breaker = Breaker(threshold=2)
    permit = admitted(breaker, 0)
    breaker.failed(permit, 0, random=0)
    breaker.succeeded(permit)
    breaker.failed(permit, 0, random=0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_probe_is_single() -> None:
    breaker = opened()
    assert breaker.ready_at(0) == 1
    admitted(breaker, 1)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert [breaker.admit(1), breaker.admit(30.9)] == [None, None]


def test_an_answered_probe_closes_it() -> None:
    breaker = opened()
    breaker.succeeded(admitted(breaker, 1))
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.ready_at(1) == 1


def test_the_pause_doubles_with_every_failed_probe_up_to_the_cap() -> None:
    breaker, now, pauses = opened(cap=8.0), 0.0, []
    for _ in range(6):
        pauses.append(breaker.ready_at(now) - now)
        now = breaker.ready_at(now)
        breaker.failed(admitted(breaker, now), now, random=0.0)
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_a_recovery_forgets_how_long_the_last_outage_was() -> None:
    breaker = opened()
    breaker.failed(admitted(breaker, 1), 1, random=0.0)
    breaker.succeeded(admitted(breaker, 3))
    permit = admitted(breaker, 3)
    for _ in range(3):
        breaker.failed(permit, 3, random=0.0)
    assert breaker.ready_at(3) == 4


def test_jitter_and_a_longer_retry_after_lengthen_the_pause() -> None:
    breaker = opened()
    breaker.failed(admitted(breaker, 1), 1, random=0.5)
    assert breaker.ready_at(1) == 1 + 2 * 1.125
    now = breaker.ready_at(1)
    breaker.failed(admitted(breaker, now), now, random=0.0, retry_after=300)
    assert breaker.ready_at(now) == now + 300


def test_calls_from_before_the_opening_neither_close_it_nor_lengthen_the_pause() -> None:
    breaker = Breaker(threshold=3)
    burst = [admitted(breaker, 0) for _ in range(20)]
    for permit in burst:
        breaker.failed(permit, 5, random=0.0)
    assert breaker.ready_at(5) == 6
    probe = admitted(breaker, 6)
    breaker.succeeded(burst[0])
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.succeeded(probe)
    breaker.failed(burst[0], 7, random=0.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_probe_that_hangs_is_followed_by_another_and_the_first_answer_counts() -> None:
    breaker = opened()
    hanging = admitted(breaker, 1)
    assert breaker.ready_at(2) == 31
    breaker.succeeded(admitted(breaker, 31))
    assert state_of(breaker) is BreakerState.CLOSED
    for _ in range(3):
        breaker.failed(hanging, 32, random=0.0)
    assert state_of(breaker) is BreakerState.CLOSED, "late news"


def test_the_first_outage_of_any_probe_counts() -> None:
    breaker = opened()
    hanging, probe = admitted(breaker, 1), admitted(breaker, 31)
    breaker.failed(hanging, 32, random=0.0)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.ready_at(32) == 34
    breaker.failed(probe, 33, random=0.0)
    breaker.succeeded(probe)
    assert (state_of(breaker), breaker.ready_at(33)) == (BreakerState.OPEN, 34), "late news"


def test_an_abandoned_probe_frees_its_place_at_once() -> None:
    breaker = opened()
    breaker.abandon(admitted(breaker, 1), 2)
    assert breaker.ready_at(2) == 2
    admitted(breaker, 2)
    assert breaker.admit(2) is None


def test_abandoning_an_ordinary_call_changes_nothing() -> None:
    breaker = Breaker()
    breaker.abandon(admitted(breaker, 0), 0)
    assert state_of(breaker) is BreakerState.CLOSED


class BreakerModel(RuleBasedStateMachine):
    """Any order of calls, reports, losses and steps of the clock, also backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(threshold=3, cap=16.0, probe_seconds=10.0)
        self.now = 0.0
        self.calls: list[tuple[Permit, float, bool]] = []  # permit, admitted at, whether as a probe

    def _probes(self) -> list[tuple[Permit, float, bool]]:
        return [call for call in self.calls if call[2] and self.now < call[1] + 10.0]

    @rule(step=st.floats(-3, 20))
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule()
    def admit(self) -> None:
        before = self._probes() if self.breaker.state is BreakerState.HALF_OPEN else []
        ready = self.breaker.ready_at(self.now)
        permit = self.breaker.admit(self.now)
        assert (permit is not None) == (ready <= self.now)
        if permit is not None:
            probe = self.breaker.state is BreakerState.HALF_OPEN
            assert not (probe and before), "a second probe while one is out"
            self.calls.append((permit, self.now, probe))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), random=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["good", "bad", "lost"]))
    def report(self, data: st.DataObject, random: float, kind: str) -> None:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        stale = call[0] != self.breaker._permit
        state, ready = self.breaker.state, self.breaker.ready_at(self.now)
        match kind:
            case "good":
                self.breaker.succeeded(call[0])
            case "bad":
                self.breaker.failed(call[0], self.now, random=random)
            case _:
                self.breaker.abandon(call[0], self.now)
        if stale:
            assert (self.breaker.state, self.breaker.ready_at(self.now)) == (state, ready)

    @invariant()
    def it_is_never_stuck(self) -> None:
        longest = max(16.0 * 1.25, 10.0)
        slack = 3 * 50  # every step of the clock backwards
        assert self.breaker.ready_at(self.now) <= self.now + longest + slack

    @precondition(lambda self: self.breaker.state is not BreakerState.CLOSED)
    @rule()
    def a_good_probe_recovers_it(self) -> None:
        self.now = max(self.now, self.breaker.ready_at(self.now))
        self.breaker.succeeded(admitted(self.breaker, self.now))
        assert state_of(self.breaker) is BreakerState.CLOSED
        assert math.isfinite(self.breaker.ready_at(self.now))


TestBreakerModel = BreakerModel.TestCase
