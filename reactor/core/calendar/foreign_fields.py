"""Keeps what people and other applications put into our events.

What the contract names is ours: title, description, place, times and recurrence always, colour and reminders where the
application gives any. Everything else in an event belongs to people and to other applications: guests and their
answers, visibility, whether it blocks the time, video conferences, attachments, properties of others.

An update replaces an event as a whole. So where an event was read and holds more than ours, only our fields are changed
instead. That costs three units of the quota, an update one; but a list of guests that is sent back may be incomplete, a
service account may not send one at all, and of a field that is new tomorrow nothing is known here.

A colour and reminders that the application gave once and does not give any more go away again: the event says, in a
property, that they were ours.
"""

from collections.abc import Mapping
from typing import Any

from reactor.core.calendar.event import GIVEN, OPTIONAL, OUR_PROPERTIES

_GOOGLES = frozenset(
    {"kind", "etag", "id", "htmlLink", "created", "updated", "creator", "organizer", "iCalUID", "sequence"}
)
"""Fields that Google fills in."""
_CONTRACT = frozenset({"summary", "description", "location", "start", "end", "recurrence"})
"""Fields that are always ours."""
_USUAL: Mapping[str, Any] = {"status": "confirmed", "eventType": "default", "reminders": {"useDefault": True}}
"""What Google puts into an event whose maker says nothing else."""
_POINT = {"date": None, "dateTime": None, "timeZone": None}
_REMOVED = {"description": None, "location": None, "recurrence": None}


def put_more_into(resource: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether an event holds what an update with our body would take away and is not ours.

    Args:
        resource: The whole event as it was read.
        body: The body of the update.
    """
    ours = _GOOGLES | _CONTRACT | {"extendedProperties"} | _optional(resource, body)
    more = any(value != _USUAL.get(name) for name, value in resource.items() if name not in ours)
    extended = _object(resource.get("extendedProperties"))
    return more or bool(extended.keys() - {"private"}) or bool(_object(extended.get("private")).keys() - OUR_PROPERTIES)


def changes(resource: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event has to change so that it shows what our body says; None takes a field away.

    Args:
        resource: The whole event as it was read.
        body: The body of an update.
    """
    private = {GIVEN: None, **body["extendedProperties"]["private"]}
    wanted = {
        **_REMOVED,
        **dict.fromkeys(_optional(resource, body)),
        **body,
        "start": _POINT | body["start"],
        "end": _POINT | body["end"],
        "extendedProperties": {"private": private},
    }
    if wanted.get("reminders"):
        wanted["reminders"] = {"overrides": None, **wanted["reminders"]}
    return wanted


def _optional(resource: Mapping[str, Any], body: Mapping[str, Any]) -> set[str]:
    """Which of colour and reminders are ours: those that the application gives, or gave."""
    given = _object(_object(resource.get("extendedProperties")).get("private")).get(GIVEN)
    before = given.split(",") if isinstance(given, str) else []
    return {name for name in OPTIONAL if name in body or name in before}


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
