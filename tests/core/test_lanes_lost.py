"""What lanes know after their claims were lost: for every workspace that was left out, something is claimed again."""

import math
from collections.abc import Callable

import pytest

from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.request_evidence import RequestEvidence
from tests.core.test_lanes import ALL, add, lanes, send
from tests.core.test_lanes_locks import waiting_for_locks
from tests.support.loop_world import workspace


def has_enough(them: Lanes) -> None:
    """Enough in its queue, and all of its requests out: nothing but their end would let it in again."""
    add(them, 1, *range(1, 41))
    send(them)


def is_condemned(them: Lanes) -> None:
    """Its token is dead, which is being written."""
    add(them, 1, 1)
    [batch] = send(them)
    assert them.condemn(batch.lane, "v1")
    them.ended(batch, RequestEvidence(answered=True), 0.0, random=0.0)


def has_its_share_deferred(them: Lanes) -> None:
    """What it has in hand waits for locks."""
    waiting_for_locks(them, 1, rounds=1_000)
    assert them.slots(0.0)


@pytest.mark.parametrize("why", [has_enough, is_condemned, has_its_share_deferred])
def test_what_was_left_out_when_the_claims_were_lost_is_claimed_for_again(why: Callable[[Lanes], None]) -> None:
    them = lanes()
    why(them)
    assert them.excluded == {workspace(1)}
    assert them.alarm_at(0.0) == math.inf, "no time ends it"
    them.clear()
    assert not them.excluded
    assert them.slots(0.0) > 0


def test_a_request_that_ends_after_its_claims_were_lost_changes_nothing() -> None:
    them = lanes()
    for source in (1, 2):
        add(them, source, source)
    answered, aborted = send(them)
    them.clear()
    them.ended(answered, RequestEvidence.of([ALL]), 1.0, random=0.0)
    them.aborted(aborted, 1.0)
    assert them.in_flight_requests == 0
    assert them.slots(1.0) == 20, "nothing is held"
