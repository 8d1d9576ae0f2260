"""What an event may look like: the rules for bodies that clients send, and the resource that is made of them.

Pure. A body is checked in the order in which the API is known to complain (a missing end before a missing time zone)
and comes out as the *content* of the stored resource: unknown fields dropped, instants written in the calendar's time
zone, extended properties shortened without a word. Source: the discovery document of calendar.v3 and
https://developers.google.com/workspace/calendar/api/guides/extended-properties.
"""

import re
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from calendar_emulator.errors import ApiError, Json, invalid
from calendar_emulator.store.recurrence import is_recurrence

WRITABLE: Final = frozenset({
    "anyoneCanAddSelf", "attachments", "attendees", "attendeesOmitted", "birthdayProperties", "colorId",
    "conferenceData", "description", "end", "eventLabelId", "eventType", "extendedProperties", "focusTimeProperties",
    "gadget", "guestsCanInviteOthers", "guestsCanModify", "guestsCanSeeOtherGuests", "location", "originalStartTime",
    "outOfOfficeProperties", "recurrence", "reminders", "source", "start", "status", "summary", "transparency",
    "visibility", "workingLocationProperties",
})  # fmt: skip
"""What a client may set with every write; `id`, `iCalUID` and `sequence` have rules of their own."""

MAX_SUMMARY: Final = 1_024
MAX_DESCRIPTION: Final = 8_192
"""Undocumented limits, reported as "cut or refused": refused here, so that a client notices."""

_ID = re.compile(r"[a-v0-9]{5,1024}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_COLORS = frozenset(str(n) for n in range(1, 12))
_STATUSES = frozenset({"confirmed", "tentative", "cancelled"})
_TEXTS = {
    "summary": MAX_SUMMARY,
    "description": MAX_DESCRIPTION,
    **dict.fromkeys(
        ("location", "colorId", "status", "eventType", "transparency", "visibility", "eventLabelId"), 1_024
    ),
}
_LISTS = ("attendees", "attachments")
_SIDES: Final = ("start", "end")
_MAX_KEY, _MAX_VALUE, _MAX_PROPERTIES, _MAX_PROPERTY_BYTES = 44, 1_024, 300, 32_768


def check_id(event_id: object) -> str:
    """Return the id that a client chose.

    Raises:
        ApiError: It is not 5 to 1,024 characters of base32hex.
    """
    if not isinstance(event_id, str) or not _ID.fullmatch(event_id):
        raise invalid("Invalid resource id value.")
    return event_id


def check_sequence(value: object) -> int:
    """Return a sequence number.

    Raises:
        ApiError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise invalid("Invalid sequence value.")
    return value


def zone(name: object) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        ApiError: There is no such zone.
    """
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise invalid(f"Invalid time zone definition: {name}") from error


def instant(text: object, default: ZoneInfo | None = None) -> datetime:
    """Read an RFC 3339 time.

    Args:
        text: What the client sent.
        default: The zone of a time without an offset; None refuses such a time.

    Raises:
        ApiError: It is not a time, or its offset is missing.
    """
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise invalid(f'Invalid value for: Invalid format: "{text}"')
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise invalid(f'Invalid value for: Invalid format: "{text}"') from error
    if moment.tzinfo is None:
        if default is None:
            raise ApiError("badRequest")
        moment = moment.replace(tzinfo=default)
    return moment


def rfc3339(moment: datetime) -> str:
    """Write an instant as the API does: whole seconds, `Z` for UTC."""
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def bounds(event: Json) -> tuple[datetime, datetime]:
    """Start and end of a stored event as instants; a day counts from midnight UTC."""
    start, end = (
        instant(side["dateTime"]) if "dateTime" in side else datetime.fromisoformat(side["date"]).replace(tzinfo=UTC)
        for side in (event["start"], event["end"])
    )
    return start, end


def content(body: Json, calendar_zone: ZoneInfo) -> Json:
    """Check a whole body and return the content to store.

    Args:
        body: What the client sent, or for a patch the merged result.
        calendar_zone: The calendar's time zone, in which instants are answered.

    Raises:
        ApiError: A rule is broken.
    """
    event = {key: value for key, value in body.items() if key in WRITABLE and value not in (None, "")}
    _times(event, calendar_zone)
    _texts(event)
    _recurrence(event)
    _reminders(event)
    if properties := event.get("extendedProperties"):
        event["extendedProperties"] = _extended(properties)
        if not event["extendedProperties"]:
            del event["extendedProperties"]
    event.setdefault("status", "confirmed")
    event.setdefault("eventType", "default")
    return event


def _times(event: Json, calendar_zone: ZoneInfo) -> None:
    start, end = (_side(event, name) for name in _SIDES)
    if ("date" in start) != ("date" in end):
        raise invalid("The start and end times must either both be date or both be dateTime.")
    if "date" in start:
        days = _day(start["date"]), _day(end["date"])
        empty = days[1] <= days[0]
        event["start"], event["end"] = ({"date": day.isoformat()} for day in days)
    else:
        if event.get("recurrence"):
            for name, side in zip(_SIDES, (start, end), strict=True):
                if not side.get("timeZone"):
                    raise invalid(f"Missing time zone definition for {name} time.", reason="required")
        moments = _moment(start, "start"), _moment(end, "end")
        empty = moments[1][0] <= moments[0][0]
        event["start"], event["end"] = (
            {"dateTime": rfc3339(_in_zone(moment, calendar_zone)), "timeZone": named or calendar_zone.key}
            for moment, named in moments
        )
    if empty:
        raise invalid("The specified time range is empty.", reason="timeRangeEmpty", parameter="timeMax")


def _in_zone(moment: datetime, calendar_zone: ZoneInfo) -> datetime:
    try:
        return moment.astimezone(calendar_zone)
    except OverflowError as error:  # the first and last hours of all years
        raise invalid(f'Invalid value for: Invalid format: "{moment.isoformat()}"') from error


def _side(event: Json, name: str) -> Json:
    """Start or end as it was sent, with exactly one of `date` and `dateTime`."""
    side = event.get(name)
    if not side:
        raise invalid(f"Missing {name} time.", reason="required")
    if not isinstance(side, dict):
        raise invalid(f"Invalid {name} time.")
    given = {key: value for key, value in side.items() if value is not None}
    if "date" in given and "dateTime" in given:
        raise invalid(f"Invalid {name} time.")
    if not given.keys() & {"date", "dateTime"}:
        raise invalid(f"Missing {name} time.", reason="required")
    return given


def _day(text: object) -> date:
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise invalid(f'Invalid value for: Invalid format: "{text}"')
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid(f'Invalid value for: Invalid format: "{text}"') from error


def _moment(side: Json, name: str) -> tuple[datetime, str]:
    if named := side.get("timeZone"):
        return instant(side["dateTime"], zone(named)), named
    try:
        return instant(side["dateTime"]), ""
    except ApiError as error:
        if error.reason != "badRequest":
            raise
        raise invalid(f"Missing time zone definition for {name} time.", reason="required") from error


def _texts(event: Json) -> None:
    for name, limit in _TEXTS.items():
        text = event.get(name, "")
        if not isinstance(text, str) or len(text) > limit:
            raise invalid("Invalid Value")
    for name in _LISTS:
        if not isinstance(event.get(name, []), list):
            raise invalid("Invalid Value")
    if "colorId" in event and event["colorId"] not in _COLORS:
        raise invalid("Invalid Value")
    if "status" in event and event["status"] not in _STATUSES:
        raise invalid("Invalid Value")


def _recurrence(event: Json) -> None:
    lines = event.get("recurrence")
    if lines is None:
        return
    if not isinstance(lines, list) or not all(isinstance(line, str) and is_recurrence(line) for line in lines):
        raise invalid("Invalid recurrence rule.")
    if not lines:
        del event["recurrence"]


def _reminders(event: Json) -> None:
    reminders = event.setdefault("reminders", {"useDefault": True})
    if not isinstance(reminders, dict):
        raise invalid("Invalid Value")
    overrides = reminders.get("overrides") or []
    if overrides and reminders.get("useDefault"):
        raise ApiError("cannotUseDefaultRemindersAndSpecifyOverride")
    if len(overrides) > 5 or not all(
        isinstance(each, dict)
        and each.get("method") in {"email", "popup"}
        and isinstance(each.get("minutes"), int)
        and 0 <= each["minutes"] <= 40_320
        for each in overrides
    ):
        raise invalid("Invalid Value")


def _extended(properties: Json) -> Json:
    if not isinstance(properties, dict):
        raise invalid("Invalid Value")
    kept: Json = {}
    for kind in ("private", "shared"):
        values = properties.get(kind)
        if not values:
            continue
        if not isinstance(values, dict) or not all(isinstance(value, str | None) for value in values.values()):
            raise invalid("Invalid Value")
        values = {k: v[:_MAX_VALUE] for k, v in values.items() if v is not None and len(k) <= _MAX_KEY}
        size = sum(len(k.encode()) + len(v.encode()) for k, v in values.items())
        if len(values) > _MAX_PROPERTIES or size > _MAX_PROPERTY_BYTES:
            raise invalid("Invalid Value")
        if values:
            kept[kind] = values
    return kept
