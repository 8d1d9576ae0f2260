"""An event of ours that nobody needs, found by a rebuild: a second one of a source, or one under a name that is none.

It is removed by an item of its own, which only a rebuild makes: a CANCEL_EVENT whose payload names the event and the
version that was listed, and no source. So it waits for nobody, and no newer state of the source supersedes it. It need
not know the source's memory either, since the version is its fence: whoever has written the event since the list was
read (a source that went on to this very id) has made another version, and then the event stays. There is no second try
with a version that is read later; the next rebuild looks again.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reactor.core.calendar.messages import is_etag
from reactor.core.payload import BadPayloadError, Operation

STRAY = "stray"
"""The field of the payload that makes it one; what is in it is ours."""


@dataclass(frozen=True, slots=True)
class PruneTarget:
    """Make the calendar not hold this version of an event.

    Attributes:
        workspace_id: Whose it is.
        calendar_id: Where it is.
        event_id: Which it is.
        etag: The version that was listed.
        source: The key of the source that the event names; not part of the payload.
    """

    workspace_id: str
    calendar_id: str = field(repr=False)
    event_id: str
    etag: str
    source: str | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, Any]:
        """The payload of its item."""
        return {
            "operation": Operation.CANCEL_EVENT.value,
            "workspaceId": self.workspace_id,
            "calendarId": self.calendar_id,
            STRAY: {"eventId": self.event_id, "etag": self.etag},
        }


def parse_stray(workspace_id: UUID, payload: Any) -> PruneTarget | None:
    """The stray that the payload of a rebuild's child is about, None where it is about a source, or cannot be read.

    Args:
        workspace_id: The row's workspace.
        payload: The row's payload: JSON text in bytes, or decoded.

    Raises:
        BadPayloadError: Somebody has changed it.
    """
    if isinstance(payload, bytes):
        payload = _decoded(payload)
    if not isinstance(payload, dict) or STRAY not in payload:
        return None
    found = payload[STRAY] if isinstance(payload[STRAY], dict) else {}
    wanted = (payload.get("calendarId"), found.get("eventId"), found.get("etag"))
    match wanted:
        case (str(calendar_id), str(event_id), str(etag)) if calendar_id and event_id and is_etag(etag):
            return PruneTarget(str(workspace_id), calendar_id, event_id, etag)
    raise BadPayloadError([f"{STRAY}: not as a rebuild made it"])


def _decoded(payload: bytes) -> Any:
    """The JSON of a payload that may be a stray's; most children's are not, and are not read twice."""
    if STRAY.encode() not in payload:
        return None
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):  # numbers of thousands of digits, no UTF-8; deep nesting
        return None
