"""A calendar is not shared for a moment in the middle of a dialogue: no event is taken for gone, none is made twice.

Google answers "no such event" for every event of a calendar that the account cannot see. So the sharing is taken back
before each request of each dialogue, and given again before each later one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from reactor.core.calendar.dialogue import Send
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.prune import PruneTarget
from reactor.core.outcome import Dead, Done, FailureCode
from reactor.core.payload import Upsert
from tests.core.test_calendar_names import remembered
from tests.core.test_upsert import done
from tests.support.dialogues import CALENDAR, OTHER, WORKSPACE, Google, cancel_json, upsert_json, work

FIRST, SECOND = upsert_json("first", OTHER), upsert_json("second", OTHER)


def edited(google: Google) -> SyncIntent:
    return work(SECOND, seq=2, **remembered(done(google.run(work(FIRST)))))


def edited_by_hand(google: Google) -> SyncIntent:
    item = edited(google)
    google.emulator.edit_by_hand(OTHER, str(item.bound_event_id), {"colorId": "3"})
    return item


def not_settled(google: Google) -> SyncIntent:
    google.run(work(FIRST))
    return work(SECOND, seq=2)


def not_settled_and_reopened(google: Google) -> SyncIntent:
    google.run(work(FIRST))
    return work(SECOND, seq=2, reopen=True)


def cancelled(google: Google) -> SyncIntent:
    return work(cancel_json(OTHER), seq=2, **remembered(done(google.run(work(FIRST)))))


def cancelled_after_an_edit_by_hand(google: Google) -> SyncIntent:
    item = cancelled(google)
    google.emulator.edit_by_hand(OTHER, str(item.bound_event_id), {"colorId": "3"})
    return item


def cancelled_from_memory_alone(google: Google) -> SyncIntent:
    memory = remembered(done(google.run(work(FIRST)))) | {"etag": None}
    return work(cancel_json(OTHER), seq=2, **memory)


def moved(google: Google) -> SyncIntent:
    return work(upsert_json("second", CALENDAR), seq=2, **remembered(done(google.run(work(FIRST)))))


def pruned(google: Google) -> SyncIntent:
    event = done(google.run(work(FIRST)))
    return replace(work(cancel_json(OTHER)), payload=PruneTarget(WORKSPACE, OTHER, event.event_id, str(event.etag)))


KINDS: tuple[Callable[[Google], SyncIntent], ...] = (
    edited,
    edited_by_hand,
    not_settled,
    not_settled_and_reopened,
    cancelled,
    cancelled_after_an_edit_by_hand,
    cancelled_from_memory_alone,
    moved,
    pruned,
)
MOST = 14
"""Requests of a dialogue, with those that are asked again."""


def moments() -> Iterator[tuple[int, int]]:
    for hidden in range(MOST):
        for shown in range(hidden + 1, MOST + 1):
            yield hidden, shown


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_calendar_that_is_shared_again_in_the_middle(kind: Callable[[Google], SyncIntent]) -> None:
    for hidden, shown in moments():
        google = Google()
        item = kind(google)
        google.asked.clear()

        def share(_: Send, google: Google = google, hidden: int = hidden, shown: int = shown) -> None:
            if len(google.asked) - 1 in (hidden, shown):
                google.emulator.share(OTHER, CALENDAR, "owner" if len(google.asked) - 1 == shown else None)

        outcome = google.run(item, share)
        google.emulator.share(OTHER, CALENDAR, "owner")
        there = (google.titles(OTHER), google.titles(CALENDAR))
        told = (hidden, shown, google.steps, outcome, there)
        if isinstance(outcome, Done):
            wanted = ["second"] if isinstance(item.payload, Upsert) else []
            assert there == (([], wanted) if kind is moved else (wanted, [])), told
        else:
            assert not (isinstance(outcome, Dead) and outcome.code is FailureCode.EVENT_GONE), told
            assert len(there[0]) <= 1, told
