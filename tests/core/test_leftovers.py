"""What of a calendar's events is nobody's."""

from dataclasses import replace

import pytest

from reactor.core.calendar import ids
from reactor.core.calendar.messages import RemoteEvent
from reactor.core.calendar.prune import ListedEvent, PruneTarget, SourceFacts, by_source, plan_prune
from reactor.core.payload import Cancel
from tests.support.dialogues import CALENDAR, KEY, OTHER, SOURCE, WORKSPACE


def event_id(generation: int) -> str:
    return ids.event_id(WORKSPACE, KEY, generation)


def listed(event: str, calendar_id: str = CALENDAR, *, etag: str = '"1"', key: str | None = KEY) -> ListedEvent:
    return ListedEvent(calendar_id, RemoteEvent(event, etag, workspace_id=WORKSPACE, source_key=key, seq=3))


def removed(events: list[ListedEvent], known: SourceFacts, key: str = KEY) -> list[tuple[str, str]]:
    """The strays among them, by calendar and id."""
    found = plan_prune(WORKSPACE, key, events, known)
    assert all(isinstance(each, PruneTarget) for each in found)
    return [(each.calendar_id, each.event_id) for each in found if isinstance(each, PruneTarget)]


@pytest.mark.parametrize("wanted", [CALENDAR, None])
def test_of_two_events_the_one_that_is_remembered_stays(wanted: str | None) -> None:
    """Where the source is not to be there at all, its cancel removes the one that is remembered."""
    events = [listed(event_id(1)), listed(event_id(0)), listed("copy")]
    known = SourceFacts(wanted, event_id(0), CALENDAR)
    assert removed(events, known) == [(CALENDAR, event_id(1)), (CALENDAR, "copy")]


def test_an_event_in_a_calendar_that_the_source_has_left_goes() -> None:
    events = [listed(event_id(0), OTHER), listed(event_id(0), etag='"2"')]
    assert removed(events, SourceFacts(CALENDAR, event_id(0), CALENDAR)) == [(OTHER, event_id(0))]


def test_where_the_source_is_about_to_move_its_event_stays_until_then() -> None:
    assert removed([listed(event_id(0), OTHER)], SourceFacts(CALENDAR, event_id(0), OTHER)) == []


def test_an_event_that_has_moved_without_our_knowing_stays() -> None:
    assert removed([listed(event_id(0))], SourceFacts(CALENDAR, event_id(0), OTHER)) == []
    assert removed([listed("odd")], SourceFacts(CALENDAR, "odd", OTHER)) == []


def test_where_the_remembered_event_is_gone_the_one_that_a_write_comes_upon_stays() -> None:
    events = [listed(event_id(3)), listed(event_id(2)), listed("copy")]
    assert removed(events, SourceFacts(CALENDAR, event_id(1), CALENDAR, generation=1)) == [
        (CALENDAR, event_id(3)),
        (CALENDAR, "copy"),
    ]


def test_an_event_that_is_not_remembered_is_the_wanted_one_if_it_has_its_id() -> None:
    assert removed([listed("copy"), listed(event_id(0))], SourceFacts(CALENDAR)) == [(CALENDAR, "copy")]


def test_a_calendar_with_two_names_holds_each_event_once() -> None:
    remote = RemoteEvent(event_id(0), '"1"', workspace_id=WORKSPACE, source_key=KEY)
    events = by_source([("primary", [remote]), (CALENDAR, [remote])])[KEY]
    assert len(events) == 1
    assert removed(events, SourceFacts("primary", event_id(0), CALENDAR)) == []


@pytest.mark.parametrize(
    "known", [SourceFacts(CALENDAR, event_id(0), CALENDAR), SourceFacts("primary", event_id(0), CALENDAR)]
)
@pytest.mark.parametrize("names", [("primary", CALENDAR), (CALENDAR, "primary")])
@pytest.mark.parametrize("etag", ['"1"', '"2"'])
@pytest.mark.parametrize("own", [CALENDAR, None])
def test_an_event_under_either_name_of_its_calendar_is_no_stray(
    known: SourceFacts, names: tuple[str, str], etag: str, own: str | None
) -> None:
    """A list under each name, and a person edits the event in between; versions tell where events do not say it."""
    first = RemoteEvent(event_id(0), '"1"', workspace_id=WORKSPACE, source_key=KEY, calendar=own)
    other = RemoteEvent("other", '"7"', workspace_id=WORKSPACE, source_key="task:other", calendar=own)
    found = by_source([(names[0], [first, other]), (names[1], [replace(first, etag=etag), other])])[KEY]
    assert [each.event.etag for each in found] == [etag], "the later version counts"
    assert removed(found, known) == []


@pytest.mark.parametrize("listed_as", ["primary", CALENDAR])
def test_a_calendar_that_was_listed_once_goes_by_the_name_that_its_events_give(listed_as: str) -> None:
    remote = RemoteEvent(event_id(0), '"1"', workspace_id=WORKSPACE, source_key=KEY, calendar=CALENDAR)
    found = by_source([(OTHER, []), (listed_as, [remote])])[KEY]
    assert removed(found, SourceFacts(CALENDAR, event_id(0), CALENDAR)) == []
    assert removed(found, SourceFacts(CALENDAR)) == []
    assert removed(found, SourceFacts(OTHER, event_id(0), OTHER)) == [(listed_as, event_id(0))]


def test_events_of_a_source_that_nobody_knows_go_and_the_first_leaves_a_memory() -> None:
    first, second = plan_prune(WORKSPACE, KEY, [listed("a"), listed("b")], SourceFacts())
    assert isinstance(first, Cancel)
    assert (first.source_type, first.source_id, first.google_event_id) == ("task", SOURCE, "a")
    assert second == PruneTarget(WORKSPACE, CALENDAR, "b", '"1"')
    assert isinstance(second, PruneTarget)
    assert second.source == KEY


@pytest.mark.parametrize("key", ["", "task", "task:7", f"task:{SOURCE}:more", f"{'t' * 41}:{SOURCE}"])
def test_events_under_a_name_that_is_none_go(key: str) -> None:
    events = by_source([(CALENDAR, [listed("a", key=key or None).event])])[key]
    assert removed(events, SourceFacts(), key) == [(CALENDAR, "a")]
