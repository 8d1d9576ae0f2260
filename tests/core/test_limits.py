"""Rate limits, by example and against any sequence of uses."""

import math

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from reactor.core.dispatch.limits import RECOVERY_SECONDS, Limits


def bucket(*, burst: int = 50, ceiling: float = 10.0, floor: float = 0.5, in_flight_cap: int = 1000) -> Limits:
    return Limits(burst=burst, ceiling=ceiling, floor=floor, in_flight_cap=in_flight_cap)


def test_a_batch_counts_as_its_parts() -> None:
    limits = bucket()
    assert limits.take(0, 50) == 50
    assert limits.available(0) == 0
    assert limits.ready_at(0, 50) == 5


def test_a_request_gets_what_there_is() -> None:
    limits = bucket()
    limits.take(0, 30)
    assert limits.take(0, 50) == 20
    assert limits.take(0, 1) == 0


def test_more_than_the_burst_is_ready_when_the_burst_is() -> None:
    limits = bucket(burst=10)
    assert limits.ready_at(0, 99) == 0
    assert limits.take(0, 99) == 10


def test_an_idle_bucket_holds_no_more_than_the_burst() -> None:
    limits = bucket()
    limits.take(0, 50)
    assert limits.available(1e9) == 50


def test_nothing_is_granted_for_nothing() -> None:
    limits = bucket()
    assert [limits.take(0, 0), limits.take(0, -3)] == [0, 0]
    assert limits.in_flight == 0


def test_the_cap_counts_requests_and_only_a_release_frees_a_place() -> None:
    limits = bucket(in_flight_cap=2)
    assert [limits.take(0, 20), limits.take(0, 20), limits.take(0, 1)] == [20, 20, 0]
    assert limits.ready_at(0) == math.inf
    limits.release()
    assert limits.ready_at(0) == 0
    assert limits.take(0, 50) == 10


def test_releasing_twice_is_an_error() -> None:
    limits = bucket()
    limits.take(0)
    limits.release()
    with pytest.raises(ValueError, match="released"):
        limits.release()


def test_a_rate_limit_answer_halves_the_rate_and_empties_the_bucket() -> None:
    limits = bucket()
    limits.take(0)
    limits.throttled(1, sent_at=0)
    assert limits.rate == 5
    assert limits.available(1) == 0
    assert limits.ready_at(1) == 1.2


def test_one_batch_of_refusals_halves_the_rate_once() -> None:
    limits = bucket()
    limits.take(0, 50)
    limits.take(5, 50)
    for _ in range(50):
        limits.throttled(6, sent_at=0)
    limits.throttled(7, sent_at=5)  # left before the reduction
    assert limits.rate == pytest.approx(5, rel=0.01)
    limits.throttled(9, sent_at=7.5)
    assert limits.rate == pytest.approx(2.5, rel=0.03)


def test_the_rate_stops_at_the_floor() -> None:
    limits = bucket()
    for now in range(1, 20):
        limits.throttled(now, sent_at=now)
    assert limits.rate == 0.5


def test_the_rate_climbs_back_to_the_ceiling_in_a_straight_line() -> None:
    limits = bucket()
    limits.throttled(1, sent_at=0)
    seen = []
    for now in range(1, int(RECOVERY_SECONDS) + 2, 60):
        limits.available(now)
        seen.append(limits.rate)
    assert seen == pytest.approx([5, 6, 7, 8, 9, 10, 10, 10, 10, 10, 10])


def test_a_retry_after_lets_nothing_leave_before() -> None:
    limits = bucket()
    limits.throttled(1, sent_at=0, retry_after=30)
    assert limits.available(30.9) == 0
    assert limits.ready_at(2) == 31
    assert limits.available(31) > 0


def test_a_late_refusal_still_brings_its_retry_after() -> None:
    limits = bucket()
    limits.throttled(1, sent_at=0)
    limits.throttled(2, sent_at=0, retry_after=30)
    assert limits.ready_at(2) == 32


def test_a_pause_is_never_shortened() -> None:
    limits = bucket()
    limits.pause(30)
    limits.pause(10)
    assert limits.ready_at(0) == 30


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    limits = bucket()
    limits.take(100, 50)
    assert limits.available(50) == 0
    assert limits.available(100) == 0
    assert limits.available(101) == 10


@pytest.mark.parametrize("wrong", [{"burst": 0}, {"in_flight_cap": 0}, {"floor": 0}, {"floor": 11}])
def test_limits_that_could_never_grant_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bucket(**wrong)


def test_a_part_of_burst_and_rate() -> None:
    limits = bucket()
    limits.share(0, 5)
    assert limits.take(0, 50) == 10
    assert limits.ready_at(0, 50) == 5
    limits.throttled(1, sent_at=0)
    assert limits.rate == 1
    for now in range(2, 20):
        limits.throttled(now, sent_at=now)
    assert limits.rate == pytest.approx(0.1)


def test_whoever_begins_anew_begins_with_nothing_and_whoever_gets_more_waits_for_it() -> None:
    limits = bucket()
    limits.share(0, 2, anew=True)
    assert limits.available(0) == 0
    assert limits.available(100) == 25
    assert limits.is_full(100)
    limits.share(100, 1)
    assert limits.available(100) == 25
    assert not limits.is_full(100)
    assert limits.available(101) == 35


def test_a_part_of_a_small_burst_is_one_unit_at_least() -> None:
    limits = bucket(burst=2)
    limits.share(0, 4)
    assert limits.take(0, 2) == 1
    assert limits.ready_at(0) == pytest.approx(0.4)


def test_what_may_leave_soon() -> None:
    limits = bucket()
    assert limits.within(2) == 70
    limits.share(0, 10)
    assert limits.within(2) == 7


@given(
    limit=st.sampled_from([60, 600, 10_000]),
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60)), min_size=1, max_size=300),
    start=st.floats(-1e9, 2e9),
)
def test_no_window_of_a_minute_exceeds_the_quota(limit: int, steps: list[tuple[float, int]], start: float) -> None:
    """A user who takes all that is offered, at any moments: no 60 seconds contain more than the quota."""
    limits = Limits.per_minute(limit, in_flight_cap=10**6)
    now, taken = start, []
    for pause, wanted in steps:
        now += pause / 10
        taken += [(now, limits.take(now, wanted)) for _ in range(3)]
    for first, (begin, _) in enumerate(taken):
        assert sum(units for at, units in taken[first:] if at - begin <= 60.5) <= limit


def test_the_quota_is_reached_by_a_user_who_never_pauses() -> None:
    """The bound above is not met by granting too little."""
    limits = Limits.per_minute(600, in_flight_cap=10**6)
    minutes = [sum(limits.take(minute * 60 + tenth / 10, 60) for tenth in range(600)) for minute in range(3)]
    assert minutes[0] == 594
    assert min(minutes) >= 0.96 * 600


class LimitsModel(RuleBasedStateMachine):
    """Any order of uses, refusals, releases and steps of the clock, also backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = bucket(burst=50, ceiling=9.0, floor=0.25, in_flight_cap=5)
        self.now = self.latest = 1000.0
        self.limits.available(self.now)
        self.start = math.nan  # of the window that is looked at: the first use
        self.used = self.in_flight = 0

    @rule(step=st.floats(-5, 5) | st.floats(0, 500))
    def time_passes(self, step: float) -> None:
        self.now += step
        self.latest = max(self.latest, self.now)
        self.limits.available(self.now)  # it knows no time that it was not told

    @rule(units=st.integers(-1, 70))
    def take(self, units: int) -> None:
        offered = self.limits.available(self.now)
        granted = self.limits.take(self.now, units)
        assert granted == max(0, min(offered, units))
        if granted:
            self.start = min(self.latest, self.start) if self.used else self.latest
            self.used += granted
            self.in_flight += 1
            assert self.used <= 50 + 9.0 * (self.latest - self.start) + 0.01

    @precondition(lambda self: self.in_flight)
    @rule()
    def release(self) -> None:
        self.limits.release()
        self.in_flight -= 1

    @rule(age=st.floats(0, 20), retry_after=st.none() | st.floats(0, 60))
    def throttled(self, age: float, retry_after: float | None) -> None:
        before = self.limits.rate
        self.limits.available(self.now)
        self.limits.throttled(self.now, sent_at=self.now - age, retry_after=retry_after)
        assert max(0.25, before / 2) <= self.limits.rate <= 9.0
        if retry_after is not None:
            assert self.limits.ready_at(self.now) >= self.now + retry_after

    @rule(units=st.integers(1, 70))
    def what_is_promised_is_kept(self, units: int) -> None:
        """`ready_at` names a time at which that much is there, and never one in the past."""
        ready = self.limits.ready_at(self.now, units)
        assert ready >= self.now
        assert self.limits.in_flight == self.in_flight
        if self.in_flight == 5:
            assert ready == math.inf
        else:
            self.now, self.latest = ready, max(self.latest, ready)
            assert self.limits.available(ready) >= min(units, 50)


TestLimitsModel = LimitsModel.TestCase
