"""When cancels are counted, and how many are too many."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from reactor.core.brake import WINDOW, Limit, Tally
from reactor.core.item import Item, Memory
from tests.dialogues import cancel_json, upsert_json
from tests.test_policy import item

SPACE, OTHER = UUID(int=1), UUID(int=2)
BOUND = Memory(event_id="event1")


def cancel(workspace_id: UUID = SPACE, **fields: Any) -> Item:
    return item(cancel_json(), **{"id": uuid4(), "workspace_id": workspace_id, "memory": BOUND} | fields)


def cancels(number: int, **fields: Any) -> list[Item]:
    return [cancel(**fields) for _ in range(number)]


@pytest.mark.parametrize(
    ("deletes", "events", "stops"), [(1, 3, False), (19, 19, False), (20, 39, True), (20, 40, False), (51, 100, True)]
)
def test_more_than_half_and_at_least_twenty_stop_a_workspace(deletes: int, events: int, stops: bool) -> None:  # noqa: FBT001
    assert Limit().stops(deletes, events) == stops


def test_a_share_of_one_turns_the_brake_off() -> None:
    assert not Limit(share=1).stops(1_000, 1_000)


def test_a_few_cancels_are_not_worth_a_look() -> None:
    tally = Tally(Limit())
    assert tally.note(cancels(4), 0.0) == []
    assert tally.note(cancels(1), 1.0) == [SPACE]


def test_what_deletes_nothing_is_not_counted() -> None:
    tally = Tally(Limit(least=1))
    others = [item(upsert_json(), memory=BOUND), cancel(is_child=True), cancel(memory=Memory())]
    assert tally.note(others, 0.0) == []
    assert len(tally) == 0


def test_workspaces_are_counted_apart() -> None:
    tally = Tally(Limit())
    assert tally.note([*cancels(4), *cancels(4, workspace_id=OTHER)], 0.0) == []
    assert tally.note(cancels(1, workspace_id=OTHER), 0.0) == [OTHER]


def test_a_long_burst_is_counted_now_and_then() -> None:
    tally = Tally(Limit())
    counts = 0
    for _ in range(1_000):
        for workspace_id in tally.note(cancels(1), 0.0):
            counts += 1
            assert tally.recent(workspace_id)
            tally.counted(workspace_id, 0, stopped=False)
    assert 10 < counts < 40


def test_an_item_that_comes_again_counts_once() -> None:
    tally, same = Tally(Limit()), cancel()
    assert [tally.note([same], 0.0) for _ in range(10)] == [[]] * 10


def test_what_is_older_than_the_window_is_forgotten() -> None:
    tally = Tally(Limit())
    assert tally.note([*cancels(4), *cancels(2, workspace_id=OTHER)], 0.0) == []
    assert tally.note(cancels(2, workspace_id=OTHER), WINDOW / 2) == []
    assert tally.note(cancels(1, workspace_id=OTHER), WINDOW + 1) == []
    assert len(tally) == 1
    assert len(tally.recent(OTHER)) == 3


def test_a_workspace_that_was_stopped_begins_anew_and_what_was_released_does_not_count() -> None:
    tally = Tally(Limit())
    assert tally.note(cancels(30), 0.0) == [SPACE]
    tally.counted(SPACE, 0, stopped=True)
    assert tally.note(cancels(30, seq=5), 1.0) == [SPACE]
    tally.counted(SPACE, 10, stopped=False)
    assert tally.note(cancels(30, seq=10), 2.0) == []
    assert tally.note(cancels(4, seq=11), 3.0) == []
    assert tally.note(cancels(1, seq=11), 4.0) == [SPACE]
