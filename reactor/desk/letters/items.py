"""One item: its row, its history, which session has it, and what a requeue would do."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from reactor.core.explain.chain import OutboxRow
from reactor.desk.explanation import row_document
from reactor.desk.letters import dead_letters
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.explain.chains import read_item

Document = dict[str, Any]


def item(admin: AdminSession, item_id: UUID) -> Document:
    """What `dead-letters show` has of an item, with `stands` (what happens to it now), `holder` and `timeline`.

    Raises:
        ConfigurationError: There is no such item.
    """
    letter = dead_letters.letter(admin, item_id)
    times = admin.row(dead_letters.SQL["item_times"], id=item_id) or {"next_attempt_at": None, "processed_at": None}
    row = read_item(admin, item_id)
    return {
        **letter,
        "stands": row_document(row)["when"] if row else None,
        "holder": row.session.text if row and row.session else None,
        "timeline": [{"at": at, "what": what} for what, at in _timeline(letter, times, row)],
    }


def _timeline(letter: Document, times: Document, row: OutboxRow | None) -> Iterator[tuple[str, datetime | None]]:
    """What is known of an item's history, in its order: a row keeps the last time of each kind."""
    yield "inserted", letter["created_at"]
    attempts = f"{letter['attempts']} of {letter['max_attempts']} attempts failed"
    match letter["status"]:
        case "PROCESSING":
            yield f"claimed{f' by {row.session.text}' if row and row.session else ''}", letter["updated_at"]
        case "PENDING" | "FAILED":
            if letter["updated_at"] != letter["created_at"]:
                yield f"tried, or put back; {attempts}", letter["updated_at"]
            yield "due", times["next_attempt_at"]
        case "COMPLETED":
            ended = "overtaken by a newer state" if letter["code"] == "SUPERSEDED" else "completed"
            yield ended, times["processed_at"] or letter["updated_at"]
        case _:
            yield f"died of {letter['code'] or 'no code'}; {attempts}", letter["updated_at"]
