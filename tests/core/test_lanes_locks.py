"""What waits for a lock takes its lane's share, and leaves the room of the whole to the others."""

import pytest

from reactor.core.calendar.answers import NO_CALENDAR
from reactor.core.dispatch.lane import LANE_SHARE
from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.request_evidence import RequestEvidence
from tests.core.test_lanes import DONE, add, end, lanes, send
from tests.support.loop_world import workspace


def waiting_for_locks(them: Lanes, spaces: int, rounds: int) -> None:
    """So many workspaces have a backlog of which every row is locked; claims take turns."""
    source = 0
    for _ in range(rounds):
        slots = them.slots(0.0)
        for number in range(1, spaces + 1):
            if slots and workspace(number) not in them.excluded:
                slots -= 1
                source += 1
                add(them, number, source)
        for batch in send(them):
            for entry in batch.entries:
                them.answer_history.take_in(entry.item, DONE)
            them.ended(batch, RequestEvidence.of([DONE]), 0.0, random=0.0)
            for entry in batch.entries:
                them.deferred(entry.item.workspace_id, 0.0)
        assert not them.evicted()


@pytest.mark.parametrize("spaces", [1, 2, 8, 20, 100])
def test_workspaces_whose_rows_are_locked_leave_room_for_the_others(spaces: int) -> None:
    them = lanes(concurrency=100, claim_size=20)
    waiting_for_locks(them, spaces, rounds=1_000)
    by_lane = [lane.deferred for lane in them]
    assert max(by_lane) <= LANE_SHARE * them.in_flight_items_cap, "its share"
    assert sum(by_lane) <= them.in_flight_items_cap + spaces, "one more than its part, of those that come late"
    assert them.slots(0.0) == 20
    assert workspace(0) not in them.excluded
    add(them, 0, 1)
    [batch] = send(them)
    end(them, batch)


def test_a_workspace_is_claimed_for_again_when_its_locks_are_gone() -> None:
    them = lanes(concurrency=100, claim_size=20)
    waiting_for_locks(them, 8, rounds=1_000)
    assert them.slots(0.0)
    assert len(them.excluded) == 8
    them.reopened(0.0)
    for lane in list(them):
        for _ in range(lane.deferred):
            them.resumed(lane.workspace_id, 0.0)
            them.settled(lane.workspace_id, 0.0)
    assert them.reopened(0.0)
    assert them.slots(0.0) == 20
    assert not them.excluded
    assert them.in_flight_items == 0


def test_what_waits_for_a_lock_does_not_keep_a_suspect_from_being_tried() -> None:
    them = lanes()
    add(them, 1, 1, 2)
    [first] = send(them)
    them.ended(first, RequestEvidence.of([NO_CALENDAR]), 0.0, random=0.0)
    them.settled(workspace(1), 0.0)
    them.deferred(workspace(1), 0.0)
    them.process.hold(0.0, sent_at=0.0, random=0.0, after=None)
    them.tick(1.0)
    assert them.slots(1.0) == 1, "the process may try, and the lane too"
    assert not them.excluded


def test_what_is_deferred_beyond_the_cap_takes_up_room() -> None:
    them = lanes(concurrency=1_000, claim_size=20)
    source = 0
    while slots := them.slots(0.0):  # each workspace has an item or two, and the lock is met at once
        for _ in range(slots):
            source += 1
            add(them, source, 1)
            them.next(0.0)
            them.deferred(workspace(source), 0.0)
    assert them.in_flight_items_cap < them.in_flight_items <= 2 * them.in_flight_items_cap


def test_a_lost_session_ends_what_waits_for_its_locks() -> None:
    them = lanes(concurrency=100, claim_size=20)
    waiting_for_locks(them, 8, rounds=1_000)
    assert them.slots(0.0)
    assert len(them.excluded) == 8
    them.clear()
    for number in range(1, 9):
        them.claimed(workspace(number), them.in_flight_items_cap // 8 - 1)
    them.slots(0.0)
    assert not them.excluded, "each has an eighth, and a quarter is a lane's share"
