"""What a row's payload may be, and that an error names fields and never repeats values."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from reactor.core import payload as payloads
from reactor.core.calendar.event import body
from reactor.core.item import Oversized
from reactor.core.payload import BadPayloadError, Cancel, EventType, Operation, Payload, Rebuild, Upsert, source_key
from reactor.errors import PermanentError
from tests.support.dialogues import CALENDAR, SOURCE, WORKSPACE, cancel_json, upsert_json

REMINDER = '{"method": "popup", "minutes": 10}'
REBUILD = {"operation": "REBUILD_ALL", "workspaceId": WORKSPACE, "calendarId": CALENDAR}


def parse(operation: str, workspace_id: UUID | str, payload: Any) -> Payload:
    """As JSON text and decoded a payload is read alike, or refused with the same problems."""
    decoded, text = (
        read_or_problems(operation, workspace_id, form) for form in (payload, json.dumps(payload).encode())
    )
    assert decoded == text
    return payloads.parse(operation, workspace_id, payload)


def read_or_problems(operation: str, workspace_id: UUID | str, payload: object) -> Payload | tuple[str, ...]:
    try:
        return payloads.parse(operation, workspace_id, payload)
    except BadPayloadError as error:
        return error.problems


def problems(payload: Any, operation: str = "UPSERT_EVENT", workspace_id: str = WORKSPACE) -> tuple[str, ...]:
    with pytest.raises(BadPayloadError) as caught:
        parse(operation, workspace_id, payload)
    return caught.value.problems


def event_problems(**event: Any) -> tuple[str, ...]:
    return problems(upsert_json(**event))


def test_an_upsert_is_read() -> None:
    payload = parse("UPSERT_EVENT", UUID(WORKSPACE), upsert_json("Gate", recurrence=["RRULE:FREQ=DAILY"], colorId="7"))
    assert isinstance(payload, Upsert)
    assert (payload.source_type, payload.source_id) == ("task", SOURCE)
    assert payload.event_type is EventType.GATE_REVIEW
    assert (payload.event.title, payload.event.is_all_day, payload.event.color_id) == ("Gate", False, "7")


def test_a_cancel_is_read() -> None:
    payload = parse(Operation.CANCEL_EVENT, WORKSPACE, cancel_json(googleEventId="abc"))
    assert isinstance(payload, Cancel)
    assert payload.google_event_id == "abc"


def test_a_rebuild_is_read() -> None:
    payload = parse("REBUILD_ALL", WORKSPACE, {**REBUILD, "recreate": True})
    assert isinstance(payload, Rebuild)
    assert payload.recreate


def test_what_is_not_known_is_tolerated() -> None:
    payload = upsert_json(attendees=["x"])
    parse("UPSERT_EVENT", WORKSPACE, {**payload, "traceId": {"a": 1}})


def test_a_row_and_its_payload_must_name_the_same_workspace() -> None:
    other = "00000000-0000-4000-8000-000000000000"
    said = ("workspaceId: must be the workspace_id of the row",)
    assert problems(upsert_json(), workspace_id=other) == said
    assert problems({**upsert_json(), "workspaceId": "x"}) == said


def test_the_workspace_may_be_spelled_in_upper_case_and_is_kept_in_the_usual_spelling() -> None:
    payload = parse("UPSERT_EVENT", WORKSPACE.upper(), {**upsert_json(), "workspaceId": WORKSPACE.upper()})
    assert payload.workspace_id == WORKSPACE


def test_a_row_and_its_payload_must_ask_for_the_same() -> None:
    assert problems(upsert_json(), "CANCEL_EVENT") == ("operation: must be the operation of the row, CANCEL_EVENT",)
    assert problems(upsert_json(), "DROP_TABLE") == (
        "operation: unknown; it is one of UPSERT_EVENT, CANCEL_EVENT, REBUILD_ALL",
    )


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (None, "null"),
        ([], "a list"),
        (json.dumps(upsert_json()), "a string: encoded twice?"),
        (1, "a number"),
        (True, "true or false"),
    ],
)
def test_a_payload_that_is_no_object_is_refused(payload: object, kind: str) -> None:
    fields = "workspaceId, calendarId, operation, sourceType, sourceId, eventType, event"
    assert problems(payload) == (f"payload: must be an object with {fields} (this is {kind})",)


def test_every_offending_field_is_named_by_its_path_with_what_it_must_be() -> None:
    reminders = {"overrides": [{"method": "fax", "minutes": 5}, {"method": "popup", "minutes": "5"}, 7]}
    payload = upsert_json(title="", colorId=[7], timeZone="Berlin time", reminders=reminders)
    del payload["calendarId"]
    said = problems({**payload, "eventType": "PARTY", "sourceId": 7})
    assert dict(line.split(": ", 1) for line in said) == {
        "calendarId": "is missing; it must be a calendar's id such as team@group.calendar.google.com, or primary",
        "sourceId": f"must be a UUID in lower case with hyphens, such as {SOURCE} (this is a number)",
        "eventType": "must be one of GATE_REVIEW, BLOCKER_DEADLINE, MILESTONE, PROJECT_REVIEW",
        "event.timeZone": "must be an IANA name such as Europe/Berlin",
        "event.title": "must be a text of 1 to 500 characters",
        "event.colorId": "must be the number of a colour of Google's palette for events, such as 7 (this is a list)",
        "event.reminders.overrides.0.method": "must be email or popup",
        "event.reminders.overrides.1.minutes": "must be a whole number of minutes, 0 to 40320 (this is a string)",
        "event.reminders.overrides.2": f"must be up to five objects such as {REMINDER} (this is a number)",
    }


ABSENT: Any = st.sampled_from(["", None])


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("isAllDay", "timeZone", "description", "recurrence", "location", "colorId", "reminders"), ABSENT
        ),
    )
)
def test_an_optional_field_that_is_empty_is_absent(event: dict[str, Any]) -> None:
    empty = parse("UPSERT_EVENT", WORKSPACE, {**upsert_json(**event), "recreate": None})
    absent = parse("UPSERT_EVENT", WORKSPACE, upsert_json())
    assert isinstance(empty, Upsert)
    assert isinstance(absent, Upsert)
    assert body(empty.event, {}) == body(absent.event, {})


def test_an_event_id_that_is_empty_is_absent() -> None:
    assert parse("CANCEL_EVENT", WORKSPACE, cancel_json(googleEventId="")) == parse(
        "CANCEL_EVENT", WORKSPACE, cancel_json()
    )
    assert parse("REBUILD_ALL", WORKSPACE, {**REBUILD, "recreate": None}) == parse("REBUILD_ALL", WORKSPACE, REBUILD)


@pytest.mark.parametrize(("number", "text"), [(5, "5"), (2026, "2026"), (1.5, "1.5")])
def test_a_number_where_a_text_is_wanted_is_its_digits(number: float, text: str) -> None:
    payload = parse("UPSERT_EVENT", WORKSPACE, upsert_json(number, description=number, location=number, colorId=5))
    assert isinstance(payload, Upsert)
    event = payload.event
    assert (event.title, event.description, event.location, event.color_id) == (text, text, text, "5")


@pytest.mark.parametrize("end", ["\n", " ", "\r\n", "\t", "\N{NO-BREAK SPACE}"])
@pytest.mark.parametrize("name", ["calendarId", "googleEventId"])
def test_white_space_at_an_end_is_refused_by_name(name: str, end: str) -> None:
    [said] = problems(cancel_json(**{name: f"team@example.com{end}"}), "CANCEL_EVENT")
    assert said == f"{name}: begins or ends with white space (a line break?): take it away"


def test_a_title_has_1_to_500_characters() -> None:
    parse("UPSERT_EVENT", WORKSPACE, upsert_json("\N{CALENDAR}" * 500))
    assert event_problems(title="x" * 501) == ("event.title: must be a text of 1 to 500 characters",)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-12-01T09:00:00+02:00", "2026-12-01T07:30:00Z"),
        ("2026-12-01T09:00:00.123Z", "2026-12-01T09:00:00.124Z"),
        ("2026-12-01T09:00:00+02:00", "2026-12-01T07:00:01Z"),
    ],
)
def test_times_with_an_offset_are_compared_as_instants(start: str, end: str) -> None:
    parse("UPSERT_EVENT", WORKSPACE, upsert_json(start=start, end=end))


def test_an_event_ends_after_it_starts() -> None:
    assert event_problems(end="2026-12-01T09:00:00Z") == ("event.end: must be later than start",)
    assert event_problems(end="2026-12-01T10:30:00+02:00") == ("event.end: must be later than start",)


def test_a_time_without_offset_needs_a_time_zone() -> None:
    naive = {"start": "2026-12-01T09:00:00", "end": "2026-12-01T10:00:00"}
    wrong = "has no offset, and the event no timeZone: give one of them, such as Europe/Berlin"
    assert event_problems(**naive) == (f"event.start: {wrong}", f"event.end: {wrong}")
    parse("UPSERT_EVENT", WORKSPACE, upsert_json(timeZone="Europe/Berlin", **naive))


def test_what_only_a_zone_could_order_is_left_to_google() -> None:
    times = {"start": "2026-12-01T09:00:00", "end": "2026-12-01T08:30:00Z", "timeZone": "Europe/Berlin"}
    parse("UPSERT_EVENT", WORKSPACE, upsert_json(**times))


def test_a_day_is_no_time() -> None:
    assert event_problems(start="2026-12-01") == (
        "event.start: is a day, and the event is not all-day: give a time, or isAllDay: true",
    )


@pytest.mark.parametrize("start", ["tomorrow", "2026-13-01", "2026-12-01T25:00:00Z", 1_764_579_600, None, ""])
def test_a_time_is_iso_8601(start: object) -> None:
    assert [line.partition(":")[0] for line in event_problems(start=start)] == ["event.start"]


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-12-01", "2026-12-01"), ("2026-12-01", "2026-12-02"), ("2026-12-01T00:00:00Z", "2026-12-01T23:59:59Z")],
)
def test_an_all_day_event_may_be_given_in_days_or_times(start: str, end: str) -> None:
    parse("UPSERT_EVENT", WORKSPACE, upsert_json(isAllDay=True, start=start, end=end))


def test_an_all_day_event_does_not_end_before_it_starts() -> None:
    assert event_problems(isAllDay=True, start="2026-12-02", end="2026-12-01") == (
        "event.end: must not be before start",
    )


def test_the_last_day_of_the_calendar_leaves_no_room_for_an_exclusive_end() -> None:
    last = {"start": "9999-12-31", "end": "9999-12-31", "isAllDay": True}
    assert event_problems(**last) == ("event.end: is too late: there must be a day after it",)


def test_whether_it_is_all_day_is_a_boolean() -> None:
    assert event_problems(isAllDay="yes") == ("event.isAllDay: must be true or false (this is a string)",)


@pytest.mark.parametrize("line", ["DTSTART:20261201", "RRULE", "RRULE:FREQ=DAILY\r\nX:1", "", "FREQ=DAILY"])
def test_recurrence_holds_rules_and_dates_only(line: str) -> None:
    assert event_problems(recurrence=["EXDATE;TZID=UTC:20261202T090000", line]) == (
        "event.recurrence.1: must be a line of RRULE, EXRULE, RDATE or EXDATE, such as RRULE:FREQ=WEEKLY;COUNT=4",
    )


def test_at_most_five_reminders() -> None:
    reminders = [{"method": "popup", "minutes": minutes} for minutes in range(6)]
    assert event_problems(reminders={"overrides": reminders}) == (
        'event.reminders.overrides: must be up to five objects such as {"method": "popup", "minutes": 10}',
    )
    parse("UPSERT_EVENT", WORKSPACE, upsert_json(reminders={"overrides": reminders[:5]}))


def test_reminders_are_the_calendars_or_their_own() -> None:
    reminders = {"useDefault": True, "overrides": [{"method": "popup", "minutes": 5}]}
    assert event_problems(reminders=reminders) == (
        "event.reminders.overrides: must be empty or absent where useDefault is true",
    )


@pytest.mark.parametrize("source_type", ["", "a:b", "a b", "x" * 41, 7, None])
def test_a_source_type_is_a_short_name_without_a_colon(source_type: object) -> None:
    assert [line.partition(":")[0] for line in problems({**upsert_json(), "sourceType": source_type})] == ["sourceType"]


def test_a_new_kind_of_source_needs_no_new_release() -> None:
    parse("UPSERT_EVENT", WORKSPACE, {**upsert_json(), "sourceType": "sprint_demo"})


@pytest.mark.parametrize("source_id", ["", "1", SOURCE.upper(), SOURCE.replace("-", ""), f"{{{SOURCE}}}", None])
def test_a_source_id_is_a_uuid_in_its_usual_spelling(source_id: object) -> None:
    assert [line.partition(":")[0] for line in problems({**upsert_json(), "sourceId": source_id})] == ["sourceId"]


@pytest.mark.parametrize("calendar_id", ["", ".", "..", "x" * 1025])
def test_a_calendar_id_names_a_calendar(calendar_id: str) -> None:
    assert [line.partition(":")[0] for line in problems(upsert_json(calendar_id=calendar_id))] == ["calendarId"]


def test_the_source_key_is_cut_by_characters() -> None:
    assert source_key("task", SOURCE) == f"task:{SOURCE}"
    assert source_key("\N{CALENDAR}" * 50, "b" * 50) == "\N{CALENDAR}" * 40 + ":" + "b" * 40


def test_a_bad_payload_is_permanent() -> None:
    assert issubclass(BadPayloadError, PermanentError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
SECRET = "Zx9-very-secret-text"


@given(st.sampled_from(list(Operation)), JSON)
def test_any_payload_is_read_or_refused(operation: Operation, payload: Any) -> None:
    with pytest.raises(BadPayloadError):
        parse(operation, WORKSPACE, payload)


@given(st.sampled_from(["title", "start", "end", "description", "recurrence", "timeZone", "colorId"]), JSON)
def test_any_value_of_a_field_is_read_or_refused(name: str, value: Any) -> None:
    problems: tuple[str, ...] = ()
    try:
        parse("UPSERT_EVENT", WORKSPACE, upsert_json(**{name: value}))
    except BadPayloadError as error:
        problems = error.problems
    assert all(line.startswith("event.") for line in problems)


@pytest.mark.parametrize("name", ["title", "start", "end", "timeZone", "colorId", "recurrence", "location"])
def test_no_error_repeats_a_value(name: str) -> None:
    value: Any = SECRET * 30 if name == "title" else {name: SECRET} if name == "location" else SECRET
    payload = {**upsert_json(**{name: value}), "sourceId": SECRET, "eventType": SECRET, "workspaceId": SECRET}
    with pytest.raises(BadPayloadError) as caught:
        parse("UPSERT_EVENT", WORKSPACE, payload)
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.problems} {caught.value.__cause__}"


def test_no_text_of_an_event_is_in_a_repr() -> None:
    payload = parse("UPSERT_EVENT", WORKSPACE, upsert_json(SECRET, SECRET, description=SECRET, location=SECRET))
    assert SECRET not in repr(payload)


# JSON text as it stands in the row


def text_problems(text: bytes) -> tuple[str, ...]:
    with pytest.raises(BadPayloadError) as caught:
        payloads.parse("UPSERT_EVENT", WORKSPACE, text)
    return caught.value.problems


def with_field(name: str, raw: str) -> bytes:
    """A good payload and one more field, whose value is given as JSON text."""
    return json.dumps({**upsert_json(), name: 0})[:-2].encode() + raw.encode("utf-8", "surrogatepass") + b"}"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("1" * 5_000, "payload: has a number of more than 4,300 digits: write it as a text, or leave it out"),
        ("[" * 3_000 + "]" * 3_000, "payload: is nested 200 deep or more: leave out what is nested so"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "payload: is nested 200 deep or more: leave out what is nested so"),
        ('"\\ud800"', "payload: has half of a character (a surrogate without its other half): take it out"),
        ('"\ud800"', "payload: must be JSON (this cannot be read)"),
        ("", "payload: must be JSON (this cannot be read)"),
    ],
)
def test_json_that_cannot_be_read_is_one_problem(raw: str, problem: str) -> None:
    assert text_problems(with_field("notes", raw)) == (problem,)


@pytest.mark.parametrize("raw", ["1" * 4_000, "1e400", "[" * 150 + "]" * 150, '"\\ud83d\\udcc5"', f'"{"x" * 200_000}"'])
def test_what_can_be_read_in_a_field_that_is_not_known_is_tolerated(raw: str) -> None:
    assert isinstance(payloads.parse("UPSERT_EVENT", WORKSPACE, with_field("notes", raw)), Upsert)


HOSTILE = st.one_of(
    st.integers(1, 10_000).map(lambda digits: "-" + "7" * digits),
    st.integers(1, 5_000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 5_000).map(lambda depth: '{"a":' * depth + "null" + "}" * depth),
    st.integers(1, 400).map(lambda exponent: f"1e{exponent}"),
    st.text(st.characters(), max_size=30),
    JSON.map(json.dumps),
)


@given(st.sampled_from(list(Operation)), st.binary(max_size=60) | HOSTILE.map(lambda raw: with_field("x", raw)))
def test_any_bytes_are_read_or_refused_with_a_sentence(operation: Operation, text: bytes) -> None:
    read_or_refused(operation, text)


@given(st.sampled_from(["notes", "workspaceId", "calendarId", "event", "eventType", "sourceId", "recreate"]), HOSTILE)
def test_any_text_in_any_field_is_read_or_refused_with_a_sentence(name: str, raw: str) -> None:
    read_or_refused(Operation.UPSERT_EVENT, with_field(name, raw))


def read_or_refused(operation: Operation, text: bytes) -> None:
    read = read_or_problems(operation, WORKSPACE, text)
    assert read, "a sentence, or the payload"
    assert not isinstance(read, tuple) or all(": " in line and len(line) < 250 for line in read)


def test_a_payload_that_is_too_large_is_refused_unseen() -> None:
    with pytest.raises(BadPayloadError) as caught:
        payloads.parse("UPSERT_EVENT", WORKSPACE, Oversized(5_000_213))
    assert caught.value.problems == (
        "payload: 5,000,213 bytes as JSON; at most 262,144 are read: keep large texts out of it",
    )
