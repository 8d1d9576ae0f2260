"""Turns what the application wants into what Google gets: the body of an event.

The shapes and limits are those of https://developers.google.com/workspace/calendar/api/v3/reference/events. Google
publishes none for the texts; what is known to be stored whole is about 1,000 characters of summary and 8,000 of
description, and longer texts are cut here, so that they are cut in the same way every time.
"""

import html
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from reactor.core.payload import Event, Reminders

SUMMARY_LIMIT = 1_000
DESCRIPTION_LIMIT = 8_000
_SPLIT_ENTITY = re.compile(r"&[a-z]*\Z")

WORKSPACE = "reactorWorkspace"
"""The private property by which all events of a workspace are found: one constraint in a list request."""
SOURCE = "reactorSource"
SEQ = "reactorSeq"
GENERATION = "reactorGeneration"
GIVEN = "reactorGiven"
"""Names those of `OPTIONAL` that the application gave; there where it gave any."""
OUR_PROPERTIES = frozenset({WORKSPACE, SOURCE, SEQ, GENERATION, GIVEN})
OPTIONAL = ("colorId", "reminders")
"""Fields that are other people's where the application gives none."""


def body(event: Event, properties: Mapping[str, str]) -> dict[str, Any]:
    """The body of an insert or update.

    Args:
        event: What the application wants.
        properties: The private properties by which the event is known as ours.
    """
    start, end = _span(event)
    wanted: dict[str, Any] = {
        "summary": event.title[:SUMMARY_LIMIT],
        "start": start,
        "end": end,
        "extendedProperties": {"private": properties},
    }
    if event.description:
        wanted["description"] = _description(event.description)
    if event.location:
        wanted["location"] = event.location
    if event.recurrence:
        wanted["recurrence"] = event.recurrence
    if event.color_id:
        wanted["colorId"] = event.color_id
    if event.reminders:
        wanted["reminders"] = _reminders(event.reminders)
    if given := ",".join([name for name in OPTIONAL if name in wanted]):
        wanted["extendedProperties"] = {"private": {**properties, GIVEN: given}}
    return wanted


def properties(*, workspace_id: str, source_key: str, seq: int, generation: int) -> dict[str, str]:
    """The private properties by which an event is known as ours, and which state of its source it shows."""
    return {WORKSPACE: workspace_id, SOURCE: source_key, SEQ: str(seq), GENERATION: str(generation)}


def _description(text: str) -> str:
    """Google shows descriptions as HTML: what the application wrote is text, and an entity is never cut in two."""
    escaped = html.escape(text, quote=False)
    if len(escaped) <= DESCRIPTION_LIMIT:
        return escaped
    return _SPLIT_ENTITY.sub("", escaped[:DESCRIPTION_LIMIT])


def _span(event: Event) -> tuple[dict[str, str], dict[str, str]]:
    if event.is_all_day:
        first, after = _days(event.start, event.end)
        return {"date": first.isoformat()}, {"date": after.isoformat()}
    zone = event.time_zone or ("UTC" if event.recurrence else None)
    start, end = event.span
    return _point(start, zone), _point(end, zone)


def _days(start: date, end: date) -> tuple[date, date]:
    """The shortest run of whole days that covers `start` to `end`, at least one; its end is exclusive, as Google's is.

    Days are taken as they are written: a zone has no say, so that no event slips by a day.
    """
    first, after = _floor(start), _floor(end)
    if isinstance(end, datetime) and end.time() != time.min:
        after += timedelta(days=1)
    return first, max(after, first + timedelta(days=1))


def _floor(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _point(moment: str, zone: str | None) -> dict[str, str]:
    """A point in time. A recurring event must have a zone, or Google refuses it.

    Where the application gave an offset only, the zone is UTC: the first occurrence is exact whatever the zone, and an
    offset alone does not tell which place's summer time the later ones should follow.
    """
    return {"dateTime": moment, "timeZone": zone} if zone else {"dateTime": moment}


def _reminders(reminders: Reminders) -> dict[str, Any]:
    if reminders.use_default:
        return {"useDefault": True}
    return {"useDefault": False, "overrides": [reminder.model_dump() for reminder in reminders.overrides]}
