"""Rows that an application may write and ought not to."""

import math
from collections.abc import Callable
from typing import Any

from tests.simulator.application import TIMES, WORKSPACES, as_text, calendars_of
from tests.simulator.stored import Row

Make = Callable[..., Row]


def odd(kind: str, workspace: int, make: Make) -> Row:  # noqa: PLR0912 - a table
    """A row that is odd in that way; its sources are nobody else's."""
    document: dict[str, Any] = {
        "operation": "UPSERT_EVENT",
        "workspaceId": str(WORKSPACES[workspace]),
        "calendarId": calendars_of(workspace)[0],
        "sourceType": "odd",
        "sourceId": kind,
        "eventType": "MILESTONE",
        "event": {"title": "odd 0", **TIMES},
    }

    def row(document: Any, **more: Any) -> Row:
        return make(workspace, "UPSERT_EVENT", document, **more)

    match kind:
        case "null due":
            return row(document, due=None)
        case "infinite due":
            return row(document, due=math.inf)
        case "ancient due":
            return row(document, due=-math.inf)
        case "ancient birth":
            return row(document, created=-math.inf)
        case "born in the future":
            return row(document, created=math.inf)
        case "oversized":
            return row(document, text=b" " * 300_000)
        case "a number of 5,000 digits":  # PostgreSQL stores it, and Python's json does not read it
            return row(document, text=as_text(document)[:-1] + b', "n": ' + b"9" * 5_000 + b"}")
        case "nesting of 3,000":
            return row(document, text=as_text(document)[:-1] + b', "n": ' + b"[" * 3_000 + b"]" * 3_000 + b"}")
        case "a list":
            return row([1, 2])
        case "a text":
            return row('{"operation": "UPSERT_EVENT"}')
        case "a number":
            return row(17)
        case "null":
            return row(None)
        case "no source":
            return row({key: value for key, value in document.items() if not key.startswith("source")})
        case "another workspace":
            return row({**document, "workspaceId": str(WORKSPACES[workspace - 1])})
        case "bad times":
            return row({**document, "event": {"title": "odd 0", "start": 5, "end": None}})
        case "stuck":
            return row(document, refusal="23514")
        case "no attempts left":
            return row(document, max_attempts=0)
        case _:  # an unknown zone
            event = {"title": "odd 0", "start": "2026-12-01T09:00:00", "end": "2026-12-01T10:00:00"}
            return row({**document, "event": {**event, "timeZone": "Mars/Olympus"}})
