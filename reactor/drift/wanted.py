"""What the application wants, read from what it has written: a row of its view, a payload, or a binding.

Only what the application says is wanted. A colour or reminders that it leaves to the person are the person's, and a
binding, which is all that is known of an older worker's event, gives only a title. A description or a place that is not
given must not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from reactor.drift import points, recurrence
from reactor.drift.points import Point, WallTime

Json = Mapping[str, Any]

LONGEST_TITLE = 500
"""Characters; the contract's bound."""

_TRUTH: Mapping[object, bool] = {
    **dict.fromkeys((True, "true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys((None, False, "false", "f", "no", "n", "off", "0"), False),
}
_CONTRACT = {"calendar_id": "calendarId", "color_id": "colorId", "time_zone": "timeZone"}  # the view's names


class Field(StrEnum):
    """The parts of an event that the application decides."""

    CALENDAR = "calendar"
    EVENT = "event_id"
    """The event that is remembered; where it is another one, the next change does not find it."""
    MARKER = "marker"
    TITLE = "title"
    START = "start"
    END = "end"
    TIME_ZONE = "time_zone"
    RECURRENCE = "recurrence"
    DESCRIPTION = "description"
    LOCATION = "location"
    COLOR = "color"
    REMINDERS = "reminders"


WORDS = frozenset({Field.TITLE, Field.DESCRIPTION, Field.LOCATION})
"""What people wrote; never shown unless it is asked for."""


@dataclass(frozen=True, slots=True)
class WantedEvent:
    """An event that the application wants.

    Attributes:
        calendar_id: The calendar that the event belongs in.
        fields: The values that it wants; a field that is not here may have any value.
    """

    calendar_id: str = field(repr=False)
    fields: Mapping[Field, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unusable:
    """The application's state of a source makes no event.

    Attributes:
        problem: The column or field that cannot be used.
    """

    problem: str


def from_row(row: object) -> WantedEvent | Unusable:
    """Read a row of `calendar_source_events`, as JSON: times in UTC."""
    if not isinstance(row, Mapping):
        return Unusable("row")
    said = row.get("is_all_day")
    all_day = (
        _TRUTH.get(said.lower() if isinstance(said, str) else said) if isinstance(said, str | bool | None) else None
    )
    if all_day is None:
        return Unusable("is_all_day")
    start, end = (_instant(row.get(name)) for name in ("start_at", "end_at"))
    if start is None or end is None:
        return Unusable("end_at" if start else "start_at")
    document: dict[str, Any] = {_CONTRACT.get(name) or name: value for name, value in row.items()}
    return _wanted(document, start, end, all_day=all_day)


def from_payload(payload: object) -> WantedEvent | Unusable:
    """Read the payload of an UPSERT_EVENT."""
    event = payload.get("event") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not isinstance(event, Mapping):
        return Unusable("event")
    all_day = event.get("isAllDay") is True
    zone = "UTC" if all_day else text(event.get("timeZone"))
    start, end = (points.read(event.get(name), zone) for name in ("start", "end"))
    if start is None or end is None:
        return Unusable("end" if start else "start")
    return _wanted({**event, "calendarId": payload.get("calendarId")}, start, end, all_day=all_day)


def from_binding(binding: object) -> WantedEvent | Unusable:
    """Read a binding: the event of an older worker, of which no more than a title is known."""
    calendar, title = (binding.get(n) if isinstance(binding, Mapping) else None for n in ("calendar_id", "event_title"))
    if not isinstance(calendar, str):
        return Unusable("calendar_id")
    return WantedEvent(calendar, {Field.TITLE: title} if isinstance(title, str) else {})


def _wanted(event: Json, start: Point, end: Point, *, all_day: bool) -> WantedEvent | Unusable:
    calendar, title, zone = event.get("calendarId"), _said(event.get("title")), event.get("timeZone")
    if not isinstance(calendar, str) or not calendar:
        return Unusable("calendar_id")
    if not 0 < len(title) <= LONGEST_TITLE:
        return Unusable("title")
    if all_day:  # every day counts that the event touches
        start, after = points.day(start), points.day_after(end)
        if after is None:
            return Unusable("end")
        end = max(after, points.day_after(start, 1) or start)
    elif points.is_day(start) or points.is_day(end):
        return Unusable("is_all_day")
    fields: dict[Field, Any] = {
        Field.TITLE: title,
        Field.START: start,
        Field.END: end,
        Field.DESCRIPTION: _said(event.get("description")),
        Field.LOCATION: _said(event.get("location")),
        Field.RECURRENCE: recurrence.rules(event.get("recurrence")),
    }
    if fields[Field.RECURRENCE] and not all_day:
        fields[Field.TIME_ZONE] = text(zone) or "UTC"
    if color := _said(event.get("colorId")):
        fields[Field.COLOR] = color
    if isinstance(event.get("reminders"), Mapping):
        fields[Field.REMINDERS] = reminders(event["reminders"])
    return WantedEvent(calendar, fields)


def reminders(given: object) -> frozenset[tuple[str, str]] | None:
    """An event's own reminders; None for those of its calendar."""
    if not isinstance(given, Mapping) or given.get("useDefault"):
        return None
    own = given.get("overrides")
    each = own if isinstance(own, list) else []
    return frozenset((str(one.get("method")), str(one.get("minutes"))) for one in each if isinstance(one, Mapping))


def text(value: object) -> str:
    """A text; empty where there is none."""
    return value if isinstance(value, str) else ""


def _said(value: object) -> str:
    """What is said of an event: a text, or the digits of a number; empty where there is nothing."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else text(value)


def _instant(value: object) -> Point | None:
    """A moment in UTC, as the database writes it; a column without a zone is in UTC."""
    point = points.read(value, "UTC")
    if isinstance(point, WallTime):
        return point.time.replace(tzinfo=UTC)
    if point is not None and points.is_day(point):
        return datetime(point.year, point.month, point.day, tzinfo=UTC)
    return None if point is None else points.moment(point)
