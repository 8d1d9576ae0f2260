"""A pulse tells what happened and how a replica stands; while nothing happens there is none."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from reactor.core.calendar.messages import Method, NoResponse, Response
from reactor.core.dispatch.gate import GateState
from reactor.core.dispatch.guard import Guard
from reactor.core.dispatch.lane import Lane, LaneStatus, QueuedItem
from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.limits import Limits
from reactor.core.item import Settlement
from reactor.core.outcome import FailureCode
from reactor.core.pulse import WORST, LanePulse, PulseCounts, PulseMemory, ReplicaState, minute_of, worst
from reactor.core.stats import Calls, Stats
from tests.core.test_stats import item
from tests.support.dialogues import upsert_json, work

AT_REST = ReplicaState(7, "armed", "closed", 0, 0, 160.0, 0.001, {"idle": 3}, ())
AT_WORK = replace(AT_REST, gate="awake", items=4, requests=1)
NOON = 12 * 3600.0


def counted(**numbers: int) -> PulseCounts:
    return PulseCounts(Counter(numbers), Counter(), Counter(), Counter())


def lane(number: int, **limits: float) -> Lane:
    bounds = {"burst": 10, "ceiling": 10.0, "floor": 0.1, "in_flight_cap": 4, **limits}
    return Lane(UUID(int=number), Guard(Limits(**bounds)))  # type: ignore[arg-type]


def seen(*lanes: Lane, now: float = 0.0) -> tuple[LanePulse, ...]:
    return worst([(each, each.standing(now)) for each in lanes], now)


def test_counters_become_columns() -> None:
    stats, calls = Stats(), Calls()
    stats.claimed = 5
    stats.written(Settlement(item(), "COMPLETED", 0))
    stats.written(Settlement(item("CANCEL_EVENT"), "COMPLETED", 0))
    stats.written(Settlement(item(), "DEAD_LETTER", 0, failure_code=FailureCode.AUTH))
    for seconds in (0.3, 0.4, 90_000.0):
        stats.seconds.observe(seconds)
    stats.waits.observe(0.02)
    calls.part(Method.INSERT, Response(200))
    calls.part(Method.UPDATE, Response(412))
    calls.request(Method.BATCH, Response(200), 0.1)
    calls.request(Method.BATCH, Response(503), 0.1)
    calls.request(Method.GET, NoResponse("no connection"), 0.1)
    assert PulseCounts.of(stats, calls) == PulseCounts(
        Counter(claimed=5, applied=2, dead=1),
        Counter({"0.025": 1}),
        Counter({"0.5": 2, "inf": 1}),
        Counter({"200": 1, "412": 1, "503": 1, "none": 1}),
    )


def test_a_process_that_has_just_begun_has_counted_nothing() -> None:
    assert PulseCounts.of(Stats(), Calls()) == PulseCounts.none() == PulseMemory().counted


def test_a_state_is_taken_from_the_lanes() -> None:
    lanes = Lanes(
        process=Limits.per_minute(600, in_flight_cap=8),
        limits=lambda: Limits(burst=100_000, ceiling=100_000, floor=0.1, in_flight_cap=4),
        claim_size=10,
        parts=5,
    )
    a_lane = lanes.claimed(item().workspace_id)
    lanes.add(a_lane, [QueuedItem(item(), work(upsert_json()), 0.0)], 0.0)
    assert lanes.next(0.0)
    state = ReplicaState.of(lanes, GateState.AWAKE, 9, 0.00012345, 0.0)
    assert state == ReplicaState(
        9,
        "awake",
        "closed",
        1,
        1,
        pytest.approx(9.719, abs=0.001),  # type: ignore[arg-type]
        0.0001,
        {"busy": 1},
        (LanePulse(UUID(int=2), LaneStatus.BUSY, "closed", 0.0, None, 1),),
    )
    assert state.is_at_work


def test_the_lanes_that_are_held_back_most_come_first() -> None:
    idle, busy, busier, held, broken, condemned = map(lane, range(6))
    busy.in_flight_items, busier.in_flight_items = 1, 2
    held.guard.held_until = 5.0
    for _ in range(broken.guard.breaker.threshold):
        broken.guard.breaker.failed(0, 0.0, random=0.0)
    condemned.condemned = "version"
    found = seen(idle, busy, busier, held, broken, condemned)
    assert [(each.workspace.int, str(each.standing)) for each in found] == [
        (5, "condemned"),
        (4, "broken"),
        (3, "held"),
        (2, "busy"),
        (1, "busy"),
    ]
    assert [each.breaker for each in found] == ["closed", "open", "closed", "closed", "closed"]
    assert found[0].opens_in is None, "a person opens it"
    assert found[2].opens_in == 5.0


def test_a_lane_says_when_its_rate_lets_something_leave() -> None:
    limited = lane(1, burst=1)
    limited.guard.take(0.0, 1)
    limited.in_flight_items = 2
    limited.queue.append(QueuedItem(item(), work(upsert_json()), 0.0))
    [told] = seen(limited)
    assert (told.standing, told.opens_in, told.rate) == (LaneStatus.LIMITED, 0.1, 10.0)


def test_a_lane_whose_requests_are_all_out_does_not_know_when_it_opens() -> None:
    full = lane(1, in_flight_cap=1)
    full.guard.take(0.0, 1)
    full.in_flight_items = 1
    [told] = seen(full)
    assert told.opens_in is None


def test_a_pulse_names_some_lanes_only() -> None:
    many = [lane(number) for number in range(WORST + 5)]
    for each in many:
        each.in_flight_items = 1
    assert [each.workspace.int for each in seen(*reversed(many))] == list(range(WORST))


def test_the_minute_is_the_one_that_has_just_ended() -> None:
    assert [minute_of(NOON + second) for second in (5, 25, 29)] == [NOON - 60] * 3
    assert minute_of(NOON + 31) == NOON


def test_the_first_pulse_is_written_though_nothing_happened() -> None:
    told = PulseMemory().next(NOON, PulseCounts.none(), AT_REST)
    assert told is not None
    assert told[0].state == AT_REST


@pytest.mark.parametrize(
    ("state", "is_news"),
    [
        (AT_REST, False),
        (replace(AT_REST, lag=0.2, rate=80.0, standings={"idle": 4}), False),
        (AT_WORK, True),
        (replace(AT_REST, requests=1), True),
        (replace(AT_REST, gate="deaf"), True),
        (replace(AT_REST, lease=8), True),
        (replace(AT_REST, breaker="open"), True),
        (replace(AT_REST, lanes=(LanePulse(UUID(int=1), LaneStatus.HELD, "closed", 3.0, 1.0, 0),)), True),
    ],
)
def test_a_state_is_told_where_it_says_something_new(state: ReplicaState, *, is_news: bool) -> None:
    memory = PulseMemory(int(NOON), counted(claimed=1), counted(claimed=2), AT_REST)
    assert (memory.next(NOON + 120, counted(claimed=2), state) is not None) == is_news


def test_a_hold_that_goes_on_is_told_once() -> None:
    def held(opens_in: float) -> ReplicaState:
        return replace(AT_REST, lanes=(LanePulse(UUID(int=1), LaneStatus.HELD, "closed", opens_in, 1.0, 0),))

    memory = PulseMemory(written=held(60.0))
    assert memory.next(NOON, PulseCounts.none(), held(1.0)) is None


def test_a_minute_has_one_pulse() -> None:
    told = PulseMemory().next(NOON + 10, counted(claimed=3), AT_WORK)
    assert told is not None
    assert told[1].next(NOON + 20, counted(claimed=5), AT_WORK) is None


def test_the_last_pulse_of_a_minute_takes_the_place_of_its_first() -> None:
    memory = PulseMemory(counted=counted(claimed=10))
    told = memory.next(NOON + 10, counted(claimed=13), AT_WORK)
    assert told is not None
    again = told[1].next(NOON + 20, counted(claimed=15), AT_REST, last=True)
    assert again is not None
    assert (again[0].minute, again[0].counts) == (told[0].minute, counted(claimed=5))


def test_a_process_that_ends_at_rest_says_nothing_twice() -> None:
    memory = PulseMemory(int(NOON), PulseCounts.none(), PulseCounts.none(), AT_REST)
    assert memory.next(NOON + 90, PulseCounts.none(), AT_REST, last=True) is None


def test_a_pulse_that_was_lost_is_made_up_for_by_the_next_minutes() -> None:
    """How it stands is told again; what it counted is not."""
    told = PulseMemory().next(NOON, counted(claimed=3), AT_REST)
    assert told is not None
    lost = replace(told[1], written=None)
    after = lost.next(NOON + 60, counted(claimed=3), AT_REST)
    assert after is not None
    assert after[0].counts == PulseCounts.none()


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5), st.booleans()), max_size=30))
def test_what_arrives_adds_up_to_what_was_counted(steps: list[tuple[int, int, bool]]) -> None:
    """Rows by minute, as the table has them: the last one written for a minute stays."""
    memory, now, total, rows = PulseMemory(), NOON, 0, dict[int, int]()
    for seconds, gained, last in steps:
        now, total = now + seconds, total + gained
        told = memory.next(now, counted(claimed=total), AT_REST, last=last)
        if told is None:
            continue
        pulse, memory = told
        rows[pulse.minute] = pulse.counts.counts["claimed"]
    assert sum(rows.values()) == memory.counted.counts["claimed"]
