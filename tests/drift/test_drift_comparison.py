"""An event beside what is wanted: what the reactor writes agrees, and every change of it is found by its field."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from calendar_emulator.store.bodies import content
from reactor.core.calendar.event import body
from reactor.core.payload import Upsert, parse
from reactor.drift import calendar_event, wanted
from reactor.drift.calendar_event import CalendarEvent
from reactor.drift.comparison import FieldDifference, differences
from reactor.drift.wanted import Field, Unusable, WantedEvent
from tests.support.dialogues import WORKSPACE, upsert_json

Json = dict[str, Any]

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe")
zones = st.sampled_from(ZONES)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=40)
descriptions = texts | st.sampled_from(["<b>a & b</b>", "&amp;", "a < b", "x" * 8_001, "&" * 2_000, "ü" * 7_999])
moments = st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2060-01-01"))
recurrences = st.sampled_from([["RRULE:FREQ=WEEKLY;COUNT=3"], ["RRULE:FREQ=DAILY", "EXDATE:20260301T090000Z"]])
reminders = st.sampled_from(
    [{"useDefault": True}, {"useDefault": False}, {"overrides": [{"method": "popup", "minutes": 5}]}]
)


@st.composite
def events(draw: st.DrawFn) -> Json:
    """The `event` of a payload."""
    start = draw(moments).replace(microsecond=0)
    long = draw(st.timedeltas(timedelta(minutes=1), timedelta(days=3)))
    zone, form = draw(zones), draw(st.sampled_from(["days", "times of days", "offset", "wall"]))
    end = start + timedelta(seconds=long // timedelta(seconds=1))
    event: Json = {"title": "t" + draw(texts)[:400]}
    match form:
        case "days":
            event |= {"isAllDay": True, "start": str(start.date()), "end": str(end.date())}
        case "times of days":
            event |= {"isAllDay": True, "start": start.isoformat(), "end": end.isoformat()}
        case "offset":
            there = ZoneInfo(zone)
            event |= {
                "start": start.replace(tzinfo=UTC).astimezone(there).isoformat(),
                "end": end.replace(tzinfo=UTC).isoformat(),
            }
        case _:
            late = start + timedelta(days=1)  # no hour that the clocks skip or repeat lies between the two
            event |= {"start": start.isoformat(), "end": max(end, late).isoformat(), "timeZone": zone}
    for name, values in (("description", descriptions), ("location", texts), ("recurrence", recurrences)):
        if (value := draw(st.none() | values)) is not None:
            event[name] = value
    if color := draw(st.none() | st.sampled_from(["1", "11"])):
        event["colorId"] = color
    if told := draw(st.none() | reminders):
        event["reminders"] = told
    return event


@st.composite
def loose_events(draw: st.DrawFn) -> Json:
    """The same as applications write it where payloads are lenient: numbers for texts, nothing in place of absence."""
    event, absent = draw(events()), st.sampled_from([None, ""])
    for name in draw(st.sets(st.sampled_from(["title", "description", "location", "colorId"]))):
        event[name] = draw(st.integers(1, 11))
    for name in ("isAllDay", "timeZone", "description", "location", "recurrence", "colorId", "reminders"):
        if name not in event and draw(st.booleans()):
            event[name] = draw(absent)
    return event


def written(payload: Json, zone: str = "UTC") -> CalendarEvent:
    """What the reactor would write, as Google would show it in a calendar of some zone."""
    parsed = parse("UPSERT_EVENT", WORKSPACE, payload)
    assert isinstance(parsed, Upsert)
    shown = content(body(parsed.event, {"reactorWorkspace": WORKSPACE, "reactorSource": "task:1"}), ZoneInfo(zone))
    return there({**shown, "id": "e1"})


def there(event: Json) -> CalendarEvent:
    found = calendar_event.read(event)
    assert found is not None
    return found


@settings(max_examples=60)
@given(events() | loose_events(), zones)
def test_what_the_reactor_writes_is_what_the_application_wants(event: Json, zone: str) -> None:
    payload = upsert_json() | {"event": event}
    read = wanted.from_payload(payload)
    assert isinstance(read, WantedEvent)
    assert differences(read, written(payload, zone)) == ()


@settings(max_examples=30)
@given(events(), zones, st.sampled_from(["start", "end", "summary", "description", "location", "recurrence"]))
def test_whatever_is_changed_is_found_by_its_field(event: Json, zone: str, place: str) -> None:
    payload = upsert_json() | {"event": event}
    shown = content(body(parse("UPSERT_EVENT", WORKSPACE, payload).event, {}), ZoneInfo(zone))  # type: ignore[union-attr]
    if place in ("start", "end"):
        [(name, value)] = [(n, v) for n, v in shown[place].items() if n != "timeZone"]
        later = date.fromisoformat(value) if name == "date" else datetime.fromisoformat(value)
        shown[place] = {**shown[place], name: (later + timedelta(days=1)).isoformat()}
    elif place == "recurrence":
        shown["recurrence"] = ["RRULE:FREQ=YEARLY"]
    else:
        shown[place] = "!" + shown.get(place, "")
    read = wanted.from_payload(payload)
    assert isinstance(read, WantedEvent)
    assert [each.field for each in differences(read, there({**shown, "id": "e1"}))] == [
        {"summary": "title"}.get(place, place)
    ]


ROW: Json = {
    "calendar_id": "ada@example.com",
    "title": "Go?",
    "description": "a < b",
    "location": "Room 1",
    "start_at": "2024-05-08T13:00:00+00:00",
    "end_at": "2024-05-08T14:00:00+00:00",
    "is_all_day": False,
    "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"],
    "color_id": "5",
    "time_zone": "Europe/Berlin",
}
EVENT: Json = {
    "id": "r1",
    "summary": "Go?",
    "description": "a &lt; b",
    "location": "Room 1",
    "start": {"dateTime": "2024-05-08T15:00:00+02:00", "timeZone": "Europe/Berlin"},
    "end": {"dateTime": "2024-05-08T16:00:00+02:00", "timeZone": "Europe/Berlin"},
    "recurrence": ["RRULE:COUNT=3;FREQ=WEEKLY"],
    "colorId": "5",
    "attendees": [{"email": "bob@example.com"}],
}
LONG = ("(9,000 characters)", "(7,000 characters)")
ONE_DAY = {"start": {"date": "2024-05-07"}, "end": {"date": "2024-05-08"}}
DAYS: Json = ROW | {"is_all_day": "t", "start_at": "2024-05-07", "end_at": "2024-05-07T00:00:00", "recurrence": None}


def compare(row: Mapping[str, Any], event: Mapping[str, Any], *, words: bool = False) -> dict[str, tuple[str, str]]:
    read = wanted.from_row(dict(row))
    assert isinstance(read, WantedEvent), read
    found: tuple[FieldDifference, ...] = differences(read, there(dict(event)), words=words)
    return {each.field.value: (each.wanted, each.actual) for each in found}


@pytest.mark.parametrize(
    ("row", "event", "expected"),
    [
        ({}, {}, {}),
        ({}, {"summary": "Gone"}, {"title": ("(3 characters)", "(4 characters)")}),
        ({}, {"description": "a <b>&lt;</b> b"}, {"description": ("(5 characters)", "(15 characters)")}),
        ({}, {"description": "a < b"}, {}),
        ({"description": "<i>a</i>"}, {"description": "&lt;i&gt;a&lt;/i&gt;"}, {}),
        ({"description": "<i>"}, {"description": "<i>"}, {"description": ("(3 characters)", "(3 characters)")}),
        ({"description": None}, {"description": None}, {}),
        ({"description": ""}, {}, {"description": ("(0 characters)", "(8 characters)")}),
        ({"description": "x" * 9_000}, {"description": "x" * 8_000}, {}),
        ({"description": "&" * 9_000}, {"description": "&amp;" * 1_600}, {}),
        ({"description": "x" * 9_000}, {"description": "x" * 7_000}, {"description": LONG}),
        ({"description": "x" * 9_000}, {"description": "y" * 7_000}, {"description": LONG}),
        ({"title": 7, "location": 1.5, "color_id": 5}, {"summary": "7", "location": "1.5"}, {}),
        ({"location": "R"}, {}, {"location": ("(1 character)", "(6 characters)")}),
        ({"color_id": None}, {"colorId": "11"}, {}),
        ({}, {"colorId": None}, {"color": ("5", "none")}),
        ({}, {"recurrence": None}, {"recurrence": ("RRULE:COUNT=3;FREQ=WEEKLY", "none")}),
        ({"recurrence": None}, {"recurrence": None}, {}),
        ({}, {"start": EVENT["start"] | {"timeZone": "Europe/Paris"}}, {}),
        ({}, {"start": EVENT["start"] | {"timeZone": "UTC"}}, {"time_zone": ("Europe/Berlin", "UTC")}),
        ({"time_zone": None}, {"start": EVENT["start"] | {"timeZone": "Etc/UTC"}}, {}),
        (
            {},
            {"end": {"dateTime": "2024-05-08T16:00:00+01:00"}},
            {"end": ("2024-05-08T14:00:00+00:00", "2024-05-08T16:00:00+01:00")},
        ),
        ({}, {"end": "soon"}, {"end": ("2024-05-08T14:00:00+00:00", "none")}),
        (DAYS, ONE_DAY | {"recurrence": None}, {}),
        (
            DAYS,
            {"start": {"date": "2024-05-06"}, "end": {"date": "2024-05-08"}, "recurrence": None},
            {"start": ("2024-05-07", "2024-05-06")},
        ),
        (DAYS | {"recurrence": ROW["recurrence"]}, ONE_DAY, {}),
        (
            DAYS | {"end_at": "2024-05-08T10:00:00+00:00"},
            {"start": {"date": "2024-05-07"}, "end": {"date": "2024-05-09"}, "recurrence": None},
            {},
        ),
    ],
)  # fmt: skip
def test_each_field(row: Json, event: Json, expected: Json) -> None:
    assert compare(ROW | row, EVENT | event) == expected


def test_texts_are_told_on_demand() -> None:
    assert compare(ROW, EVENT | {"summary": "Stop"}, words=True) == {"title": ("Go?", "Stop")}
    assert compare(ROW, EVENT | {"location": ""}, words=True) == {"location": ("Room 1", "none")}


@pytest.mark.parametrize(
    ("told", "shown", "expected"),
    [
        ({"useDefault": True}, None, ()),
        ({"useDefault": True}, {"overrides": "odd"}, ("the calendar's own", "none")),
        (
            {"overrides": [{"method": "popup", "minutes": 5}]},
            {"useDefault": True},
            ("popup:5", "the calendar's own"),
        ),
        ({"overrides": [{"method": "popup", "minutes": 5}]}, {"overrides": [{"minutes": 5, "method": "popup"}]}, ()),
    ],
)
def test_reminders(told: Json, shown: object, expected: tuple[str, ...]) -> None:
    payload = upsert_json(reminders=told)
    read = wanted.from_payload(payload)
    assert isinstance(read, WantedEvent)
    event = body(parse("UPSERT_EVENT", WORKSPACE, payload).event, {}) | {"id": "r1", "reminders": shown}  # type: ignore[union-attr]
    found = differences(read, there(event))
    assert [(each.field, each.wanted, each.actual) for each in found] == (
        [(Field.REMINDERS, *expected)] if expected else []
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("odd", "row"),
        (ROW | {"is_all_day": "perhaps"}, "is_all_day"),
        (ROW | {"is_all_day": 7}, "is_all_day"),
        (ROW | {"start_at": "infinity"}, "start_at"),
        (ROW | {"end_at": None}, "end_at"),
        (ROW | {"end_at": "9999-12-31T23:00:00-05:00"}, "end_at"),
        (ROW | {"calendar_id": ""}, "calendar_id"),
        (ROW | {"title": "x" * 501}, "title"),
        (ROW | {"title": None}, "title"),
    ],
)
def test_a_row_that_makes_no_event(row: object, problem: str) -> None:
    assert wanted.from_row(row) == Unusable(problem)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (None, "event"),
        ({"event": 7}, "event"),
        (upsert_json(start="2026-12-01"), "is_all_day"),
        (upsert_json(start="2026-12-01T09:00:00"), "start"),
        (upsert_json(start="2026-12-01T09:00:00", timeZone=7), "start"),
        (upsert_json(end="later"), "end"),
        (upsert_json(isAllDay=True, end="9999-12-31T09:00:00Z"), "end"),
        (upsert_json(isAllDay=True, end="later"), "end"),
    ],
)
def test_a_payload_that_makes_no_event(payload: object, problem: str) -> None:
    assert wanted.from_payload(payload) == Unusable(problem)


def test_the_last_day_that_there_is() -> None:
    read = wanted.from_row(DAYS | {"start_at": "9999-12-31", "end_at": "9999-12-31"})
    assert isinstance(read, WantedEvent)
    assert read.fields[Field.END] == date.max


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        ({"calendar_id": "c", "event_title": "t"}, WantedEvent("c", {Field.TITLE: "t"})),
        ({"calendar_id": "c", "event_title": None}, WantedEvent("c", {})),
        (None, Unusable("calendar_id")),
    ],
)
def test_a_binding(binding: object, expected: WantedEvent | Unusable) -> None:
    assert wanted.from_binding(binding) == expected


@pytest.mark.parametrize("event", [None, {}, {"id": 7}])
def test_what_is_no_event(event: object) -> None:
    assert calendar_event.read(event) is None


@pytest.mark.parametrize("place", ["organizer", "extendedProperties", "start"])
def test_odd_parts_of_an_event(place: str) -> None:
    change: Callable[[Json], Json] = lambda event: {**event, place: "odd"}  # noqa: E731
    assert there(change(EVENT)).event_id == "r1"


def test_a_key_that_no_database_can_be_asked_for() -> None:
    odd = {"private": {"reactorWorkspace": WORKSPACE, "reactorSource": "task:\x00\ud800"}}
    assert there({**EVENT, "extendedProperties": odd}).source == "task:??"
