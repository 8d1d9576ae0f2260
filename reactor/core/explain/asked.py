"""Reads what a person typed to ask about an event: an item, a source, an event or its link, or words of its title."""

import re
from base64 import urlsafe_b64decode
from binascii import Error
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from reactor.core.payload import source_key
from reactor.errors import ConfigurationError

_SOURCE = re.compile(r"([^:\s]{1,40}):([0-9a-fA-F-]{32,36})")
_EVENT = re.compile(r"[0-9a-v]{5,1024}(?:_[0-9TZR]{8,17})?")  # an occurrence's id ends in its time
_SHORTEST = 20  # characters by which an id is taken for one where a title may stand; Google's have 26, ours 33
_LONGEST = 1_000  # characters of a title
_ADDRESS = {"g": "group.calendar.google.com", "m": "gmail.com", "i": "import.calendar.google.com"}
"""How a link shortens the end of a calendar's id (as seen; Google documents nothing of a link's inside)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks about: one of the first four attributes is given, or the title.

    Attributes:
        uuid: An item's id, or its source's.
        source: A source's name in its workspace, `type:id`.
        event_id: Google's id of the event.
        calendar_id: The calendar that the link names.
        title: Words of the title.
    """

    uuid: UUID | None = None
    source: str | None = None
    event_id: str | None = None
    calendar_id: str | None = field(default=None, repr=False)
    title: str | None = field(default=None, repr=False)


def understand(text: str) -> Asked:
    """Understand what a person typed or pasted.

    Raises:
        ConfigurationError: It is empty, too long, or a link that holds no event.
    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise ConfigurationError(
            "Say which event: an item's id, a source such as task:0f8e2c1d-…, its UUID, Google's id or link of the "
            f"event, or words of its title (at most {_LONGEST:,} characters)."
        )
    if (uuid := _uuid(text)) is not None:
        return Asked(uuid=uuid)
    if (match := _SOURCE.fullmatch(text)) and (uuid := _uuid(match[2])):
        return Asked(source=source_key(match[1], str(uuid)))
    if text.startswith(("http://", "https://")):
        return _link(text)
    if len(text) >= _SHORTEST and _EVENT.fullmatch(text):
        return Asked(event_id=_series(text))
    return Asked(title=text)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _series(event_id: str) -> str:
    """The event that one occurrence of a recurring event belongs to."""
    return event_id.partition("_")[0]


def _link(text: str) -> Asked:
    """`https://www.google.com/calendar/event?eid=…`, or `https://calendar.google.com/…/eventedit/…`.

    The encoded part is, in base64, the event's id and the calendar's.
    """
    parts = urlsplit(text)
    encoded = next(iter(parse_qs(parts.query).get("eid", ())), "") or unquote(parts.path).rpartition("/")[2]
    try:
        words = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode().split()
    except (Error, ValueError):
        words = [encoded]  # not in base64: the emulator's link
    match words:
        case [event_id, *calendar] if _EVENT.fullmatch(event_id) and len(calendar) < 2:
            return Asked(event_id=_series(event_id), calendar_id=_calendar(calendar[0]) if calendar else None)
    raise ConfigurationError(
        "The link holds no event. Open the event in Google Calendar and copy the whole address, or the htmlLink that "
        "the API gives: https://www.google.com/calendar/event?eid=…"
    )


def _calendar(shortened: str) -> str:
    name, _, end = shortened.rpartition("@")
    return f"{name}@{_ADDRESS.get(end, end)}" if name else shortened
