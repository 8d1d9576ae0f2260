"""The demo's judge finds every kind of difference."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reactor.demo.comparison import Disagreement, ViewRow, differences

Json = dict[str, Any]

CALENDAR, OTHER = "ada@example.com", "bob@example.com"
TIMED = ViewRow(
    workspace_id="w",
    calendar_id=CALENDAR,
    source_type="gate_run",
    source_id="1",
    title="Go?",
    description="a < b",
    location="Room 1",
    start_at=datetime(2024, 5, 8, 13, tzinfo=UTC),
    end_at=datetime(2024, 5, 8, 14, tzinfo=UTC),
    is_all_day=False,
    recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"],
    color_id="5",
    time_zone="Europe/Berlin",
)
WHOLE_DAY = ViewRow(
    workspace_id="w",
    calendar_id=CALENDAR,
    source_type="task",
    source_id="2",
    title="Due",
    description=None,
    location=None,
    start_at=datetime(2024, 5, 7, tzinfo=UTC),
    end_at=datetime(2024, 5, 8, tzinfo=UTC),
    is_all_day=True,
    recurrence=None,
    color_id=None,
    time_zone=None,
)
FOREIGN: Json = {"id": "dentist", "summary": "Dentist", "start": {"date": "2024-05-08"}, "end": {"date": "2024-05-09"}}


def private(source: str) -> Json:
    return {"private": {"reactorWorkspace": "w", "reactorSource": source}}


def held() -> dict[str, list[Json]]:
    """Calendars that agree with the two rows."""
    timed = {
        "id": "r1",
        "summary": "Go?",
        "description": "a &lt; b",
        "location": "Room 1",
        "start": {"dateTime": "2024-05-08T15:00:00+02:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": "2024-05-08T16:00:00+02:00", "timeZone": "Europe/Berlin"},
        "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"],
        "colorId": "5",
        "extendedProperties": private("gate_run:1"),
    }
    whole_day = {
        "id": "r2",
        "summary": "Due",
        "start": {"date": "2024-05-07"},
        "end": {"date": "2024-05-08"},
        "extendedProperties": private("task:2"),
    }
    return {CALENDAR: [timed, copy.deepcopy(FOREIGN), whole_day], OTHER: []}


def compare(calendars: dict[str, list[Json]]) -> list[Disagreement]:
    return differences([TIMED, WHOLE_DAY], calendars, {CALENDAR: [FOREIGN]})


def test_equal_calendars_have_no_difference() -> None:
    assert compare(held()) == []


def _doubled(calendars: dict[str, list[Json]]) -> None:
    calendars[CALENDAR].append(calendars[CALENDAR][0] | {"id": "r3"})


def _moved(calendars: dict[str, list[Json]]) -> None:
    calendars[OTHER].append(calendars[CALENDAR].pop(0))


def _field(index: int, name: str, value: object) -> Callable[[dict[str, list[Json]]], None]:
    def change(calendars: dict[str, list[Json]]) -> None:
        calendars[CALENDAR][index][name] = value

    return change


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda c: c[CALENDAR].pop(0), [(CALENDAR, "gate_run:1", "missing")]),
        (lambda c: c[CALENDAR].pop(2), [(CALENDAR, "task:2", "missing")]),
        (lambda c: c[CALENDAR].pop(1), [(CALENDAR, "dentist", "missing")]),
        (_doubled, [(CALENDAR, "gate_run:1", "held twice")]),
        (_moved, [(CALENDAR, "gate_run:1", "missing"), (OTHER, "gate_run:1", "unexpected")]),
        (
            lambda c: c[OTHER].append(c[CALENDAR][2] | {"extendedProperties": private("task:3")}),
            [(OTHER, "task:3", "unexpected")],
        ),
        (lambda c: c[OTHER].append(FOREIGN | {"id": "stray"}), [(OTHER, "stray", "unexpected")]),
        (_field(1, "summary", "Dentist!"), [(CALENDAR, "dentist", "changed by us")]),
        (_field(0, "summary", "Go!"), [(CALENDAR, "gate_run:1", "title")]),
        (_field(0, "description", "a < c"), [(CALENDAR, "gate_run:1", "description")]),
        (_field(2, "description", "more"), [(CALENDAR, "task:2", "description")]),
        (_field(0, "location", "Room 2"), [(CALENDAR, "gate_run:1", "location")]),
        (_field(0, "colorId", "6"), [(CALENDAR, "gate_run:1", "color")]),
        (_field(0, "recurrence", ["RRULE:FREQ=DAILY"]), [(CALENDAR, "gate_run:1", "recurrence")]),
        (
            _field(0, "start", {"dateTime": "2024-05-08T15:00:00+02:00", "timeZone": "UTC"}),
            [(CALENDAR, "gate_run:1", "time zone")],
        ),
        (
            _field(0, "start", {"dateTime": "2024-05-08T15:00:00+01:00", "timeZone": "Europe/Berlin"}),
            [(CALENDAR, "gate_run:1", "start")],
        ),
        (_field(0, "end", {"dateTime": "2024-05-08T16:00:01+02:00"}), [(CALENDAR, "gate_run:1", "end")]),
        (_field(2, "start", {"date": "2024-05-06"}), [(CALENDAR, "task:2", "start")]),
        (_field(2, "end", {"dateTime": "2024-05-08T00:00:00Z"}), [(CALENDAR, "task:2", "end")]),
    ],
)
def test_each_kind_of_difference_is_found(
    spoil: Callable[[dict[str, list[Json]]], object], expected: list[tuple[str, str, str]]
) -> None:
    calendars = held()
    spoil(calendars)
    assert [(d.calendar_id, d.what, d.problem) for d in compare(calendars)] == expected


def test_no_difference_repeats_a_text() -> None:
    secret = replace(TIMED, title="the secret title")
    [difference] = differences([secret, WHOLE_DAY], held(), {CALENDAR: [FOREIGN]})
    assert str(difference) == "ada@example.com: gate_run:1: title"
