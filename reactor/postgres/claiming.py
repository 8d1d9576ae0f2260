"""Reads what a claim returned: the items, and the report about the rest."""

import hashlib
from functools import lru_cache
from typing import Any
from uuid import UUID

from reactor.core.item import Consent, Item, Memory
from reactor.postgres.driver import Row, TrioConnection
from reactor.postgres.statements import statements

_SQL = statements("outbox")


async def claim(connection: TrioConnection, params: dict[str, Any]) -> tuple[list[Item], Any, list[UUID]]:
    """Claim.

    Args:
        connection: The claims session's.
        params: What the statement wants; db/migrations/0021_claim.sql says what each is.

    Returns:
        The items, the report, and the workspaces that the brake has stopped.

    Raises:
        psycopg.Error: The server refused; locks may have been taken all the same.
    """
    cursor = await connection.execute(_SQL["claim"], params, binary=True)
    *rows, report = await cursor.fetchall()
    return [_item(row[:-1]) for row in rows], report[6], report[-1]


def _item(row: Row) -> Item:
    *of_row, floor_seq, generation, event_id, calendar_id, etag, cancelled, reopen, strays, token = row
    memory = Memory(floor_seq, generation, event_id, calendar_id, etag, cancelled, reopen, tuple(strays))
    item_id, workspace_id, key, seq, claim_no, operation, payload, attempts, max_attempts, age, is_child = of_row
    return Item(
        id=item_id,
        workspace_id=workspace_id,
        source_key=key,
        seq=seq,
        claim_no=claim_no,
        operation=operation,
        payload=payload,
        attempts=attempts,
        max_attempts=max_attempts,
        age=age,
        is_child=is_child,
        memory=memory,
        consent=_consent(token),
    )


@lru_cache(maxsize=256)  # the items of a workspace share it
def _consent(token: str) -> Consent:
    return Consent(token, hashlib.md5(token.encode(), usedforsecurity=False).hexdigest())
