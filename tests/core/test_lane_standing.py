"""Where a lane stands, for whoever looks at it."""

from uuid import UUID

from reactor.core.dispatch.guard import Guard
from reactor.core.dispatch.lane import Lane, LaneStatus, QueuedItem
from reactor.core.dispatch.limits import Limits
from tests.core.test_stats import item
from tests.support.dialogues import upsert_json, work


def a_lane() -> Lane:
    return Lane(UUID(int=1), Guard(Limits(burst=1, ceiling=1.0, floor=0.1, in_flight_cap=2)))


def test_it_is_idle_until_it_has_something_in_hand() -> None:
    lane = a_lane()
    assert lane.standing(0.0) is LaneStatus.IDLE
    lane.in_flight_items = 1
    assert lane.standing(0.0) is LaneStatus.BUSY


def test_it_waits_for_its_rate_only_with_something_to_send() -> None:
    lane = a_lane()
    lane.guard.take(0.0, 1)
    lane.in_flight_items = 1
    assert lane.standing(0.5) is LaneStatus.BUSY
    lane.queue.append(QueuedItem(item(), work(upsert_json()), 0.0))
    assert lane.standing(0.5) is LaneStatus.LIMITED
    assert lane.standing(1.5) is LaneStatus.BUSY


def test_what_holds_it_back_comes_first() -> None:
    lane = a_lane()
    lane.guard.held_until = 5.0
    assert lane.standing(1.0) is LaneStatus.HELD
    for _ in range(lane.guard.breaker.threshold):
        lane.guard.breaker.failed(0, 1.0, random=0.0)
    assert lane.standing(1.0) is LaneStatus.BROKEN
    lane.condemned = "version"
    assert lane.standing(1.0) is LaneStatus.CONDEMNED
