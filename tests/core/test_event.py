"""Event bodies and event ids."""

import re
import string
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, strategies as st

from reactor.core.calendar import event
from reactor.core.calendar.ids import event_id
from reactor.core.payload import Upsert, parse
from tests.support.dialogues import KEY, WORKSPACE, upsert_json


def body(**fields: Any) -> dict[str, Any]:
    payload = parse("UPSERT_EVENT", WORKSPACE, upsert_json(**fields))
    assert isinstance(payload, Upsert)
    return event.body(payload.event, {"key": "value"})


def test_a_plain_event_holds_no_more_than_was_given() -> None:
    assert body() == {
        "summary": "Review",
        "start": {"dateTime": "2026-12-01T09:00:00+00:00"},
        "end": {"dateTime": "2026-12-01T10:00:00+00:00"},
        "extendedProperties": {"private": {"key": "value"}},
    }


def test_everything_that_was_given_is_passed_on() -> None:
    reminders = {"overrides": [{"method": "popup", "minutes": 10}]}
    full = body(description="d", location="Room 1", colorId="11", recurrence=["RRULE:FREQ=DAILY"], reminders=reminders)
    assert (full["description"], full["location"], full["colorId"]) == ("d", "Room 1", "11")
    assert full["recurrence"] == ["RRULE:FREQ=DAILY"]
    assert full["reminders"] == {"useDefault": False, **reminders}


def test_the_calendars_own_reminders_are_asked_for_without_any_others() -> None:
    assert body(reminders={"useDefault": True})["reminders"] == {"useDefault": True}


def test_an_offset_and_a_zone_are_both_passed_on() -> None:
    start = body(start="2026-12-01T09:00:00+01:00", end="2026-12-01T10:00:00+01:00", timeZone="Europe/Berlin")["start"]
    assert start == {"dateTime": "2026-12-01T09:00:00+01:00", "timeZone": "Europe/Berlin"}


def test_a_time_without_offset_goes_with_its_zone() -> None:
    start = body(start="2026-12-01T09:00:00", end="2026-12-01T10:00:00", timeZone="Europe/Berlin")["start"]
    assert start == {"dateTime": "2026-12-01T09:00:00", "timeZone": "Europe/Berlin"}


def test_recurrence_has_a_zone_where_only_an_offset_was_given() -> None:
    daily = body(start="2026-12-01T09:00:00+01:00", end="2026-12-01T10:00:00+01:00", recurrence=["RRULE:FREQ=DAILY"])
    assert daily["start"] == {"dateTime": "2026-12-01T09:00:00+01:00", "timeZone": "UTC"}
    assert daily["end"]["timeZone"] == "UTC"


@pytest.mark.parametrize(
    ("start", "end", "first", "after"),
    [
        ("2026-12-01", "2026-12-02", "2026-12-01", "2026-12-02"),
        ("2026-12-01", "2026-12-01", "2026-12-01", "2026-12-02"),
        ("2026-12-01", "2026-12-04", "2026-12-01", "2026-12-04"),
        ("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", "2026-12-01", "2026-12-02"),
        ("2026-12-01T00:00:00Z", "2026-12-01T23:59:59Z", "2026-12-01", "2026-12-02"),
        ("2026-12-01T09:00:00+14:00", "2026-12-02T17:00:00-12:00", "2026-12-01", "2026-12-03"),
        ("2026-12-31", "2026-12-31", "2026-12-31", "2027-01-01"),
        ("2028-02-29", "2028-02-29T08:00:00", "2028-02-29", "2028-03-01"),
        ("9999-12-30", "9999-12-30T12:00:00", "9999-12-30", "9999-12-31"),
    ],
)
def test_an_all_day_event_covers_whole_days_as_written(start: str, end: str, first: str, after: str) -> None:
    found = body(isAllDay=True, start=start, end=end, timeZone="Pacific/Kiritimati", recurrence=["RRULE:FREQ=YEARLY"])
    assert (found["start"], found["end"]) == ({"date": first}, {"date": after})


def test_a_description_is_text_and_is_escaped() -> None:
    assert body(description='a < b & "c" <script>')["description"] == 'a &lt; b &amp; "c" &lt;script&gt;'


def test_an_empty_description_clears_it() -> None:
    assert "description" not in body(description="")


@given(st.text(alphabet="ab&<>\N{CALENDAR}\N{COMBINING ACUTE ACCENT}", min_size=1, max_size=20))
def test_a_description_is_cut_without_splitting_anything(piece: str) -> None:
    text = piece * (8_200 // len(piece))
    found = body(description=text)["description"]
    assert len(found) <= event.DESCRIPTION_LIMIT
    assert not re.search(r"&(?!(amp|lt|gt);)", found)
    assert len(found) > event.DESCRIPTION_LIMIT - 5
    found.encode()


def test_an_entity_at_the_limit_is_left_out_whole() -> None:
    assert body(description="x" * 7_997 + "&" + "y" * 100)["description"] == "x" * 7_997


def test_properties_fit_into_googles_limits_and_name_the_event() -> None:
    found = event.properties(workspace_id=WORKSPACE, source_key="\N{CALENDAR}" * 81, seq=2**63 - 1, generation=3)
    assert all(len(name) <= 44 and len(value) <= 1_024 for name, value in found.items())
    assert found[event.WORKSPACE] == WORKSPACE
    assert found[event.SEQ] == "9223372036854775807"


def test_an_event_id_is_what_google_accepts() -> None:
    alphabet = set(string.digits + "abcdefghijklmnopqrstuv")
    for generation in range(100):
        found = event_id(str(uuid4()), KEY, generation)
        assert len(found) == 33
        assert set(found) <= alphabet


def test_an_event_id_never_changes() -> None:
    """Ids are in calendars already: another hash would make every event twice."""
    assert event_id(WORKSPACE, KEY, 0) == "r6c2ig0prueipcuao6riqncotchefj07r"


@given(st.lists(st.tuples(st.uuids().map(str), st.text(max_size=81), st.integers(0, 99)), unique=True, max_size=20))
def test_different_sources_and_generations_have_different_ids(names: list[tuple[str, str, int]]) -> None:
    assert len({event_id(*name) for name in names}) == len(names)
