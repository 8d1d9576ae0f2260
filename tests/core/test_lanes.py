"""Lanes, by example and against any sequence of events."""

import math
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reactor.core.calendar.answers import (
    LOST,
    NO_CALENDAR,
    QUOTA,
    RATE,
    READ_ONLY,
    REVOKED,
    SERVER,
    SERVICE_ACCOUNTS_PRIMARY,
    UNEXPECTED,
    UNSENT,
)
from reactor.core.calendar.intent import SyncIntent
from reactor.core.dispatch.breaker import Breaker, BreakerState
from reactor.core.dispatch.evidence import Answered
from reactor.core.dispatch.guard import PROBE_ANSWER_SECONDS, Guard, ProcessGuard
from reactor.core.dispatch.lane import Batch, LaneCache, QueuedItem
from reactor.core.dispatch.lanes import IN_FLIGHT_CLAIMS, Lanes
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.request_evidence import RequestEvidence
from reactor.core.item import Item, SourceState, WorkspaceConnection
from reactor.core.outcome import Done, Outcome, Retry, Scope
from reactor.core.policy import prepare
from reactor.core.stats import Histogram
from tests.support.loop_world import payload, source_id, unlimited, workspace

DONE = Done("event", "ada@example.com", 0, '"1"')
ALL = Retry("the secret is wrong", counts=False, scope=Scope.ALL)
OF_ALL = replace(ALL, after=3_600.0)
FOLLOWER = Retry("no token", counts=False, scope=Scope.LANE, after=5.0)


def claimed(number: int, source: int, *, version: str = "v1", key: str | None = None) -> Item:
    return Item(
        id=UUID(int=number * 1_000_000 + source),
        workspace_id=workspace(number),
        source_key=key or f"task:{source_id(source)}",
        seq=source,
        claim_no=1,
        operation="UPSERT_EVENT",
        payload=payload(workspace(number), source),
        attempts=0,
        max_attempts=5,
        age=0.0,
        is_child=False,
        memory=SourceState(),
        connection=WorkspaceConnection("encrypted", version),
    )


def lanes(*, concurrency: int = 8, lane_cap: int = 2, claim_size: int = 20, parts: int = 5, **more: Any) -> Lanes:
    given: dict[str, Any] = {"limits": lambda: unlimited(lane_cap)} | more
    return Lanes(process=unlimited(concurrency), claim_size=claim_size, parts=parts, **given)


def add(them: Lanes, number: int, *sources: int, now: float = 0.0, **more: Any) -> None:
    for source in sources:
        item = claimed(number, source, **more)
        work = prepare(item)
        assert isinstance(work, SyncIntent)
        them.add(them.claimed(item.workspace_id), [QueuedItem(item, work, now)], now)


def send(them: Lanes, now: float = 0.0) -> list[Batch]:
    batches = []
    while (batch := them.next(now)) is not None:
        batches.append(batch)
    return batches


def end(them: Lanes, batch: Batch, outcome: Outcome = DONE, now: float = 0.0) -> None:
    """The request is over and its items are settled."""
    for entry in batch.entries:
        them.answer_history.take_in(entry.item, outcome)
    them.ended(batch, RequestEvidence.of([outcome]), now, random=0.0)
    for entry in batch.entries:
        them.settled(entry.item.workspace_id, now)


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state  # through a function, since mypy believes that an attribute stays what it was


def sources(batch: Batch) -> list[int]:
    return [entry.item.seq for entry in batch.entries]


def test_one_item_leaves_at_once_and_what_piles_up_goes_together() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1)
    [first] = send(them)
    add(them, 1, 2, 3, 4)
    assert send(them) == [], "the lane is at its cap"
    end(them, first)
    assert [sources(batch) for batch in send(them)] == [[2, 3, 4]]


def test_a_lane_whose_queue_was_given_back_loses_its_turn() -> None:
    them = lanes()
    add(them, 1, 1)
    them.evict_all()
    assert send(them) == []
    assert len(them.evicted()) == 1


def test_a_lane_that_is_held_before_its_turn_comes_leaves_the_line_until_it_opens() -> None:
    them = lanes()
    add(them, 1, 1)
    [first] = send(them)
    add(them, 1, 2)
    them.ended(first, RequestEvidence.of([RATE]), 0.0, random=0.0)
    assert send(them) == []
    them.tick(1.0)
    assert [sources(batch) for batch in send(them, 1.0)] == [[2]]


def test_a_batch_has_a_limit() -> None:
    them = lanes()
    add(them, 1, *range(8))
    assert [len(batch.entries) for batch in send(them)] == [5, 3]


def test_a_crowded_process_does_not_give_a_lane_a_second_small_request() -> None:
    them = lanes(concurrency=2)
    add(them, 1, 1)
    [first] = send(them)
    add(them, 1, 2)
    assert send(them) == []
    add(them, 1, 3, 4, 5, 6)
    assert [len(batch.entries) for batch in send(them)] == [5], "a full batch is worth it"
    end(them, first)


def test_a_lane_that_waited_goes_when_the_crowd_has_gone() -> None:
    them = lanes(concurrency=4)
    add(them, 1, 1)
    add(them, 2, 1)
    _, second = send(them)
    add(them, 1, 2)
    assert send(them) == []
    end(them, second)
    assert [sources(batch) for batch in send(them)] == [[2]]


def test_never_two_of_one_source_nor_two_consents_in_a_batch() -> None:
    them = lanes(lane_cap=9)
    add(them, 1, 1, 2)
    add(them, 1, 3, key=f"task:{source_id(1)}")
    add(them, 1, 4, version="v2")
    assert [sources(batch) for batch in send(them)] == [[1, 2], [3], [4]]


def test_lanes_take_turns() -> None:
    them = lanes(concurrency=1, lane_cap=1)
    add(them, 1, *range(20))
    add(them, 2, 1)
    add(them, 3, 1)
    order = []
    while batches := send(them):
        order.append(batches[0].lane.workspace_id)
        end(them, batches[0])
    assert order[:4] == [workspace(1), workspace(2), workspace(3), workspace(1)]


def test_a_lane_with_enough_is_not_claimed_for_and_its_reopening_is_told_once() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, *range(20))
    assert set(them.excluded) == {workspace(1)}
    while set(them.excluded):
        assert not them.reopened(0.0)
        for batch in send(them):
            end(them, batch)
    assert them.reopened(0.0)
    assert not them.reopened(0.0)


def test_room_in_hand_is_told_once() -> None:
    them = lanes(claim_size=4, concurrency=100, lane_cap=100, parts=1)
    add(them, 1, *range(4 * IN_FLIGHT_CLAIMS))
    assert them.slots(0.0) == 0
    batches = send(them)
    end(them, batches[0])
    assert not them.reopened(0.0), "not for a single place"
    for batch in batches[1:5]:
        end(them, batch)
    assert them.reopened(0.0)
    assert them.slots(0.0) == 4


def test_an_outage_opens_the_lanes_breaker_and_one_item_tries() -> None:
    them = lanes()
    for number in range(5):
        add(them, 1, number)
        [batch] = send(them)
        end(them, batch, SERVER)
        assert (batch.lane.guard.breaker.state is BreakerState.OPEN) is (number == 4)
    assert set(them.excluded) == {workspace(1)}
    assert them.process.opens_at(0.0) <= 0, "one workspace is one witness"
    assert them.alarm_at(0.0) == 1.0
    them.tick(1.0)
    assert them.reopened(1.0)
    add(them, 1, 10, 11, 12, now=1.0)
    [probe] = send(them, 1.0)
    assert sources(probe) == [10]
    assert [ready.item.seq for ready in them.evicted()] == [11, 12]
    end(them, probe, DONE, 1.0)


def test_a_lane_that_was_held_while_it_stood_in_line_is_passed_over() -> None:
    them = lanes(concurrency=1)
    add(them, 1, 1)
    [batch] = send(them)
    add(them, 1, 2)
    assert not send(them), "the process has as much under way as may be"
    end(them, batch, RATE)
    assert not send(them)
    assert them.in_flight_items == 1, "a second is not worth giving it back"
    them.tick(1.0)
    [batch] = send(them, 1.0)
    assert sources(batch) == [2]


def test_outages_of_many_lanes_stop_everything_and_one_item_tries() -> None:
    them = lanes()
    for number in range(5):
        add(them, number, 1)
    batches = send(them)
    add(them, 7, 1, 2)
    add(them, 8, 1)
    send(them)
    for batch in batches:
        assert them.process.breaker.state is BreakerState.CLOSED
        end(them, batch, LOST)
    assert state_of(them.process.breaker) is BreakerState.OPEN
    assert them.slots(0.0) == 0
    add(them, 9, 1, 2)
    assert send(them) == []


def test_what_cannot_leave_soon_is_given_back() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1)
    [batch] = send(them)
    add(them, 1, 2, 3)
    end(them, batch, replace(RATE, after=30.0))
    assert [ready.item.seq for ready in them.evicted()] == [2, 3]
    assert them.evicted() == []
    them.settled(workspace(1), 0.0)
    them.settled(workspace(1), 0.0)
    assert set(them.excluded) == {workspace(1)}
    them.tick(29.0)
    assert set(them.excluded) == {workspace(1)}
    them.tick(30.0)
    assert not them.excluded


def test_a_low_rate_is_waited_for_without_claiming() -> None:
    them = lanes(limits=lambda: Limits(burst=1, ceiling=0.1, floor=0.1, in_flight_cap=4))
    add(them, 1, 1, 2)
    [batch] = send(them)
    end(them, batch)
    assert set(them.excluded) == {workspace(1)}
    assert [ready.item.seq for ready in them.evicted()] == [2]
    them.tick(10.0)
    assert not them.excluded


def test_a_fault_of_everybody_holds_everything_then_one_item_tries() -> None:
    them = lanes()
    for number in range(3):
        add(them, number, 1)
    batches = send(them)
    for batch in batches:
        end(them, batch, ALL)
    assert them.slots(0.0) == 0
    assert them.alarm_at(0.0) == 1.0, "three refusals of one moment are one"
    them.tick(1.0)
    assert them.reopened(1.0)
    assert them.slots(1.0) == 1
    add(them, 1, 3, now=1.0)
    [probe] = send(them, 1.0)
    assert them.slots(1.0) == 0
    end(them, probe, DONE, 1.0)
    assert them.slots(1.0) > 1


def test_a_request_that_hangs_does_not_delay_the_one_that_tries_for_all() -> None:
    """Seen in the simulator: a calendar that does not answer, then a refusal of the deployment that lasted a moment."""
    them = lanes(claim_size=5)
    add(them, 1, 1)
    [hanging] = send(them)
    add(them, 2, 2)
    [refused] = send(them)
    end(them, refused, ALL)
    assert them.slots(0.5) == 0
    assert them.alarm_at(0.5) == 1.0, "the end of the hold"
    assert them.slots(1.0) == 1
    add(them, 3, 3, now=1.0)
    assert them.slots(1.0) == 0, "one at a time"
    [trial] = send(them, 1.0)
    add(them, 3, 4, now=1.0)
    assert send(them, 1.0) == []
    end(them, trial, now=1.1)
    assert sources(*send(them, 1.1)) == [4]
    end(them, hanging, LOST, 20.0)
    assert them.slots(20.0) == 5


def test_an_item_that_tries_and_hangs_is_followed_by_another() -> None:
    them = lanes(claim_size=5)
    add(them, 1, 1)
    [refused] = send(them)
    end(them, refused, ALL)
    assert them.slots(1.0) == 1
    add(them, 2, 2, now=1.0)
    [hanging] = send(them, 1.0)
    assert them.slots(1.0) == 0
    assert them.alarm_at(1.0) == 1.0 + PROBE_ANSWER_SECONDS
    assert them.slots(1.0 + PROBE_ANSWER_SECONDS) == 1
    add(them, 3, 3, now=1.0 + PROBE_ANSWER_SECONDS)
    assert them.slots(1.0 + PROBE_ANSWER_SECONDS) == 0, "one at a time"
    [trial] = send(them, 1.0 + PROBE_ANSWER_SECONDS)
    end(them, trial, now=4.0)
    assert them.slots(4.0) == 5
    end(them, hanging, LOST, 20.0)
    assert them.slots(20.0) == 5


def test_a_request_that_hangs_does_not_delay_the_one_that_tries_for_its_lane() -> None:
    them = lanes(lane_cap=3)
    add(them, 1, 1)
    [hanging] = send(them)
    add(them, 1, 2)
    [refused] = send(them)
    end(them, refused, NO_CALENDAR)
    them.tick(1.0)
    assert workspace(1) not in them.excluded
    add(them, 1, 3, now=1.0)
    assert workspace(1) in them.excluded, "one at a time"
    [trial] = send(them, 1.0)
    end(them, trial, now=1.1)
    assert workspace(1) not in them.excluded
    end(them, hanging, LOST, 20.0)


def test_outages_before_the_breaker_opened_do_not_delay_its_probe() -> None:
    guard = ProcessGuard(unlimited(8))
    hanging = guard.take(0.0, 1)
    for number in range(5):
        guard.finish_for(workspace(number), guard.take(0.0, 1), RequestEvidence.of([LOST]), 0.0, random=0.0)
    assert guard.ready_at(0.0) == 1.0
    probe = guard.take(1.0, 1)
    guard.finish_for(workspace(9), hanging, RequestEvidence.of([LOST]), 2.0, random=0.0)
    assert guard.ready_at(2.0) == 1.0 + PROBE_ANSWER_SECONDS
    guard.finish_for(workspace(1), probe, RequestEvidence.of([DONE]), 2.0, random=0.0)
    assert guard.ready_at(2.0) == 2.0


def test_a_probe_of_the_breaker_that_hangs_is_followed_by_another() -> None:
    them = lanes()
    for number in range(5):
        add(them, number, number)
    for batch in send(them):
        end(them, batch, LOST)
    add(them, 6, 6, now=1.0)
    [hanging] = send(them, 1.0)
    assert them.slots(1.0) == 0, "one at a time"
    assert them.alarm_at(1.0) == 1.0 + PROBE_ANSWER_SECONDS
    assert them.slots(1.0 + PROBE_ANSWER_SECONDS) == 1
    add(them, 7, 7, now=1.0 + PROBE_ANSWER_SECONDS)
    [trial] = send(them, 1.0 + PROBE_ANSWER_SECONDS)
    assert them.slots(1.0 + PROBE_ANSWER_SECONDS) == 0, "one at a time"
    end(them, trial, now=4.0)
    assert them.process.breaker.state is BreakerState.CLOSED
    assert them.slots(4.0) > 1
    end(them, hanging, LOST, 20.0)
    assert them.process.breaker.state is BreakerState.CLOSED


def test_late_news_makes_no_workspace_a_witness_twice() -> None:
    guard = ProcessGuard(unlimited(8))
    old = guard.take(0.0, 1)
    for number in range(5):
        guard.finish_for(workspace(number), guard.take(0.0, 1), RequestEvidence.of([LOST]), 0.0, random=0.0)
    guard.finish_for(workspace(1), guard.take(1.0, 1), RequestEvidence.of([DONE]), 1.1, random=0.0)
    for number in (1, 2, 3, 4):
        guard.finish_for(workspace(number), guard.take(2.0, 1), RequestEvidence.of([LOST]), 2.0, random=0.0)
    guard.finish_for(workspace(9), old, RequestEvidence.of([DONE]), 2.0, random=0.0)
    guard.finish_for(workspace(1), guard.take(2.0, 1), RequestEvidence.of([LOST]), 2.0, random=0.0)
    assert guard.breaker.state is BreakerState.CLOSED, "four workspaces are no outage of Google"


def test_a_long_hold_of_everybody_gives_back_what_is_in_hand() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1)
    [batch] = send(them)
    add(them, 1, 2)
    add(them, 2, 1)
    them.process.limits.pause(30.0)
    assert send(them) == []
    them.tick(0.0)
    assert [ready.item.seq for ready in them.evicted()] == [2, 1]
    add(them, 3, 1)
    end(them, batch)
    assert [ready.item.seq for ready in them.evicted()] == [1]
    assert them.alarm_at(0.0) == 30.0


def test_a_condemned_lane_is_claimed_for_again_when_all_of_it_is_settled() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1, 2)
    [batch] = send(them)
    add(them, 1, 3)
    assert them.condemn(batch.lane, "v1")
    assert not them.condemn(batch.lane, "v1")
    them.ended(batch, RequestEvidence.of([REVOKED]), 0.0, random=0.0)
    assert set(them.excluded) == {workspace(1)}
    assert [ready.item.seq for ready in them.evicted()] == [3]
    for _ in range(3):
        assert set(them.excluded) == {workspace(1)}
        them.settled(workspace(1), 0.0)
    assert not them.excluded


def test_a_request_that_was_broken_off_frees_its_place() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1, 2)
    [batch] = send(them)
    them.aborted(batch, 0.0)
    assert them.in_flight_requests == 0


def test_lost_claims_are_forgotten_and_lessons_kept() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1)
    [batch] = send(them)
    end(them, batch, NO_CALENDAR)
    add(them, 2, 1, 2)
    send(them)
    add(them, 2, 3)
    them.clear()
    assert them.in_flight_items == 0
    assert set(them.excluded) == {workspace(1)}


def test_lost_claims_are_not_given_back() -> None:
    them = lanes(lane_cap=1)
    add(them, 1, 1)
    [batch] = send(them)
    add(them, 1, 2, 3)
    end(them, batch, replace(RATE, after=30.0))
    them.clear()
    assert them.evicted() == []


def test_lost_claims_keep_no_place_in_the_line_and_wait_for_nothing() -> None:
    them = lanes(concurrency=4)
    for number in (1, 2, 3):
        add(them, number, 1)
    busy = send(them)
    add(them, 1, 2)
    assert send(them) == [], "it waits for the end of its request, as most requests are out"
    add(them, 4, 1)
    them.clear()
    assert not them._waiting
    add(them, 5, 1)
    add(them, 4, 2)
    assert [batch.lane.workspace_id for batch in send(them)] == [workspace(5), workspace(4)], "in the order they came"
    for batch in busy:
        them.ended(batch, RequestEvidence.of([DONE]), 0.0, random=0.0)


def test_lanes_without_items_are_bounded_and_dropping_one_that_is_held_is_told() -> None:
    them = lanes(kept=10)
    add(them, 0, 1)
    [batch] = send(them)
    end(them, batch, NO_CALENDAR)
    add(them, 1, 1)
    busy = send(them)
    for number in range(2, 40):
        now = number / 100
        add(them, number, 1, now=now)
        for batch in send(them, now):
            end(them, batch, now=now)
    assert len(list(them)) <= 11
    assert them.reopened(0.0)
    assert not them.excluded
    end(them, busy[0])
    assert them.in_flight_items == 0


def test_an_item_that_failed_while_others_got_through_travels_alone() -> None:
    them = lanes(lane_cap=9)
    for source, outcome in ((1, SERVER), (2, DONE)):
        add(them, 1, source)
        [batch] = send(them)
        end(them, batch, outcome)
    add(them, 1, 4, 1, 5, 6)
    batches = send(them)
    assert [sources(batch) for batch in batches] == [[4], [1], [5, 6]]
    assert [batch.entries[0].answered for batch in batches] == [Answered.NONE, Answered.NEIGHBOUR, Answered.NONE]


def test_old_alarms_are_forgotten() -> None:
    """A lane that was dropped, and an earlier alarm, leave theirs behind; waits of a day are long."""
    them = lanes(kept=10, lane_cap=1)
    for number in range(500):
        add(them, number, 1)
        [batch] = send(them, float(number))
        end(them, batch, replace(RATE, after=86_400.0), float(number))
    assert len(list(them)) <= 11
    assert len(them._alarms) <= 2 * 11 + 65
    assert them.alarm_at(500.0) < 1_000 + 86_400


def test_lanes_whose_bucket_is_not_full_are_kept() -> None:
    """A new one would have a full bucket, and the minute more than the quota."""
    cache = LaneCache(lambda: Limits(burst=2, ceiling=1.0, floor=1.0, in_flight_cap=9), kept=1)
    for number in range(3):
        limits = cache.use(workspace(number)).guard.limits
        limits.take(0.0, 1)
        limits.release()
    assert cache.drop_idle(0.5) == []
    assert len(cache.drop_idle(1.0)) == 2


def few(burst: int = 8, rate: float = 4.0) -> Limits:
    return Limits(burst=burst, ceiling=rate, floor=rate, in_flight_cap=100)


def test_a_part_of_the_quotas_is_one_of_the_whole_and_of_every_lane() -> None:
    them = lanes(limits=few)
    them.unshare()
    add(them, 1, *range(20))
    assert send(them) == []
    assert them.slots(0.0) == 0
    them.share(0.0, 4, good_until=10.0)
    assert them.divisor == 4
    assert send(them) == [], "buckets are empty at first"
    assert [len(batch.entries) for batch in send(them, 1.0)] == [1]
    add(them, 2, 1, now=1.0)
    assert [batch.lane.workspace_id for batch in send(them, 1.0)] == [workspace(2)], "as if it had been there"
    assert send(them, 10.1) == [], "the part is not good any more"


def test_more_of_the_quotas_comes_in_and_less_is_let_go_of() -> None:
    them = lanes(limits=few)
    them.share(0.0, 2, good_until=100.0)
    add(them, 1, *range(20))
    them.tick(10.0)
    assert sum(len(batch.entries) for batch in send(them, 10.0)) == 4
    them.share(10.0, 1, good_until=100.0)
    assert send(them, 10.0) == []
    assert them.alarm_at(10.0) == 10.25
    them.share(20.0, 4, good_until=100.0)
    them.tick(20.0)
    assert sum(len(batch.entries) for batch in send(them, 20.0)) == 2


def test_no_more_is_claimed_than_can_leave_soon() -> None:
    them = lanes(limits=few, parts=50)
    add(them, 1, *range(15))
    assert not them.excluded
    add(them, 1, 15)
    assert them.excluded == {workspace(1)}, "the burst and two seconds"
    assert them.per_workspace == 16
    them = Lanes(process=few(), limits=lambda: unlimited(9), claim_size=200, parts=50)
    assert them.slots(0.0) == 28, "the burst and five seconds"
    them.share(0.0, 4, good_until=100.0)
    assert them.slots(0.0) == 7


def test_busy_lanes_are_never_dropped() -> None:
    cache = LaneCache(lambda: unlimited(1), kept=1)
    for number in range(20):
        cache.use(workspace(number)).in_flight_items = 1
        assert cache.drop_idle(0.0) == []
    assert len(cache) == 20
    assert [lane.in_flight_items for lane in cache] == [1] * 20


# Verdicts and guards


@pytest.mark.parametrize(
    ("outcome", "life", "outage"),
    [
        (DONE, True, False),
        (NO_CALENDAR, True, False),
        (UNEXPECTED, True, False),
        (SERVER, False, True),
        (UNSENT, False, True),
        (FOLLOWER, False, False),
        (RATE, False, False),
        (replace(UNEXPECTED, asked=False), False, False),
        (SERVICE_ACCOUNTS_PRIMARY, False, False),
    ],
)
def test_what_an_outcome_proves(outcome: Outcome, *, life: bool, outage: bool) -> None:
    evidence = RequestEvidence.of([outcome])
    assert (evidence.answered, evidence.outage) == (life, outage)


def test_the_longest_wait_holds() -> None:
    after = [replace(FOLLOWER, after=seconds) for seconds in (3.0, 7.0, None, 5.0)]
    assert RequestEvidence.of(after).lane_after == 7.0
    assert RequestEvidence.of(replace(retry, outage=True) for retry in after).outage_after == 7.0


@pytest.mark.parametrize(
    ("reasons", "lane", "whole", "lane_breaker"),
    [
        ([OF_ALL, READ_ONLY], 1, 1, 0),  # seen: the lane was held for the hour that was for everybody
        ([OF_ALL, SERVER], 0, 1, 1),
        ([QUOTA, SERVER], 3600, 0, 1),
        ([QUOTA, OF_ALL], 3600, 1, 0),
        ([READ_ONLY, replace(SERVER, after=90.0)], 1, 0, 0),
        ([RATE, replace(SERVER, after=90.0)], 1, 0, 90),
        ([replace(RATE, after=30.0), SERVER], 30, 0, 1),
    ],
)
def test_a_time_to_wait_holds_for_what_its_reason_holds_back(
    reasons: list[Outcome], lane: float, whole: float, lane_breaker: float
) -> None:
    """One batch, several answers. A breaker that is about to open asks for its side's time, not for another's."""
    them = lanes()
    add(them, 1, 1, 2)
    [batch] = send(them)
    for guard in (batch.lane.guard, them.process):
        guard.breaker.threshold = 1
    them.ended(batch, RequestEvidence.of(reasons), 0.0, random=0.0)
    assert (max(batch.lane.guard.held_until, 0), max(them.process.held_until, 0)) == (lane, whole)
    assert batch.lane.guard.breaker.ready_at(0.0) == them.process.breaker.ready_at(0.0) == lane_breaker


def test_holds_grow_and_success_ends_them() -> None:
    guard = Guard(unlimited(1))
    now, holds = 0.0, []
    for _ in range(8):
        guard.hold(now, sent_at=now - 0.5 if now else 0.0, random=0.0, after=None)
        holds.append(guard.held_until - now)
        now = guard.held_until + 1
    assert holds == [1, 2, 4, 8, 16, 32, 60, 60]
    guard.record_success(sent_at=0.0)
    assert guard.needs_probe, "an old success is no news"
    guard.record_success(sent_at=now)
    assert not guard.needs_probe


def test_a_probe_that_says_nothing_gives_its_place_to_the_next() -> None:
    guard = ProcessGuard(unlimited(4))
    for number in range(5):
        permit = guard.take(0.0, 1)
        guard.finish_for(workspace(number), permit, RequestEvidence.of([LOST]), 0.0, random=0.0)
    assert guard.ready_at(0.0) == 1.0
    permit = guard.take(1.0, 1)
    assert guard.ready_at(1.0) == 1.0 + PROBE_ANSWER_SECONDS
    guard.finish_for(workspace(1), permit, RequestEvidence.of([FOLLOWER]), 1.0, random=0.0)
    assert guard.ready_at(1.0) == 1.0


OUTCOMES = st.sampled_from([DONE, DONE, DONE, SERVER, LOST, RATE, NO_CALENDAR, ALL, FOLLOWER, UNSENT, REVOKED])


class AnyUse(RuleBasedStateMachine):
    """Items come, requests end in any way, time passes; in the end everything has been sent or given back."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.them = lanes(concurrency=4, lane_cap=2, claim_size=4, parts=3, kept=5)
        self.under_way: list[Batch] = []
        self.source = 0
        self.handed_in = self.handed_out = 0

    def pump(self) -> None:
        for batch in send(self.them, self.now):
            self.under_way.append(batch)
        for ready in self.them.evicted():
            self.them.settled(ready.item.workspace_id, self.now)
            self.handed_out += 1

    @rule(numbers=st.lists(st.integers(0, 9), max_size=4))
    def claim(self, numbers: list[int]) -> None:
        allowed = [n for n in numbers if workspace(n) not in self.them.excluded]
        slots = self.them.slots(self.now)
        for number in allowed[:slots]:
            self.source += 1
            self.handed_in += 1
            add(self.them, number, self.source, now=self.now)
        self.pump()

    @rule(which=st.integers(0, 100), outcome=OUTCOMES)
    def end(self, which: int, outcome: Outcome) -> None:
        if self.under_way:
            batch = self.under_way.pop(which % len(self.under_way))
            self.handed_out += len(batch.entries)
            if outcome is REVOKED:
                self.them.condemn(batch.lane, "v1")
            end(self.them, batch, outcome, self.now)
            self.pump()

    @rule(which=st.integers(0, 100))
    def break_off(self, which: int) -> None:
        if self.under_way:
            batch = self.under_way.pop(which % len(self.under_way))
            self.handed_out += len(batch.entries)
            self.them.aborted(batch, self.now)
            for entry in batch.entries:
                self.them.settled(entry.item.workspace_id, self.now)
            self.pump()

    @rule(seconds=st.floats(0, 5))
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

    @invariant()
    def the_caps_hold(self) -> None:
        assert self.them.in_flight_items == self.handed_in - self.handed_out <= self.them.in_flight_items_cap
        assert self.them.in_flight_requests == len(self.under_way) <= 4
        for batch in self.under_way:
            assert 1 <= len(batch.entries) <= 3
            assert len({entry.item.source_key for entry in batch.entries}) == len(batch.entries)
        for number in range(10):
            assert sum(batch.lane.workspace_id == workspace(number) for batch in self.under_way) <= 2
        assert len(list(self.them)) <= 5 + self.them.in_flight_items_cap

    def teardown(self) -> None:
        """Nothing starves: with every request answered and time passing, all lanes empty and open again."""
        for _ in range(500):
            while self.under_way:
                self.end(0, DONE)
            if not self.them.in_flight_items and not self.them.excluded and self.them.slots(self.now) > 0:
                break
            alarm = self.them.alarm_at(self.now)  # behind `slots`: an alarm for room is for who was told of none
            assert alarm < math.inf, "something waits, and nothing will wake it"
            self.advance(max(alarm, self.now))
        assert self.them.in_flight_items == 0
        assert not self.them.excluded


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


def test_a_histogram_counts_by_size() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 12.0)
