"""What a calendar holds, read from Google's events (https://developers.google.com/workspace/calendar/api/v3/reference/events).

An event is ours where it carries our mark: two private properties that name the workspace and the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reactor.drift import points, recurrence
from reactor.drift.wanted import Field, Json, reminders, text

MARK = "reactorWorkspace"
"""The private property that all events of a workspace have, with the workspace's id."""
SOURCE = "reactorSource"
FIELDS = (
    "id,status,etag,recurringEventId,summary,description,location,start,end,colorId,recurrence,reminders,"
    "extendedProperties/private,organizer/email"
)
"""What is asked for of each event."""


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An event in a calendar.

    Attributes:
        event_id: Its id.
        identity: Tells it from all others: an id is one calendar's, and a calendar may have two names (`primary`).
        workspace: The workspace that it is marked with, if any.
        source: The source that it is marked with, if any.
        is_deleted: Whether it is a tombstone.
        is_instance: Whether it is one occurrence of a series that a person changed or removed, and no event of its own.
        fields: What it shows.
    """

    event_id: str
    identity: tuple[str, str]
    workspace: str
    source: str
    is_deleted: bool
    is_instance: bool
    fields: Mapping[Field, Any] = field(repr=False)


def read(event: object) -> CalendarEvent | None:
    """Read an event; None where it has no id to tell it from others."""
    if not isinstance(event, Mapping) or not isinstance(event.get("id"), str):
        return None
    owner, private = _part(event, "organizer"), _part(_part(event, "extendedProperties"), "private")
    start = event.get("start")
    return CalendarEvent(
        event_id=event["id"],
        identity=(event["id"], text(owner.get("email")) or text(event.get("etag"))),
        workspace=text(private.get(MARK)),
        source=_storable(text(private.get(SOURCE))),
        is_deleted=event.get("status") == "cancelled",
        is_instance="recurringEventId" in event,
        fields={
            Field.MARKER: bool(private.get(MARK)),
            Field.TITLE: text(event.get("summary")),
            Field.START: points.from_google(start),
            Field.END: points.from_google(event.get("end")),
            Field.TIME_ZONE: text(_part(event, "start").get("timeZone")),
            Field.RECURRENCE: recurrence.rules(event.get("recurrence")),
            Field.DESCRIPTION: text(event.get("description")),
            Field.LOCATION: text(event.get("location")),
            Field.COLOR: text(event.get("colorId")),
            Field.REMINDERS: reminders(event.get("reminders")),
        },
    )


def _storable(key: str) -> str:
    """A key that a database can be asked for: another program may have written half a character, or none."""
    return key.encode("utf-8", "replace").decode().replace("\x00", "?")


def _part(document: Json, name: str) -> Json:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}
