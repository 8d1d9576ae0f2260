"""Claims, and reads what a claim returned: the items, and the report about the rest."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID

import psycopg

from reactor.core.item import Consent, Item, Memory, Oversized
from reactor.core.payload import LARGEST
from reactor.postgres.blame import blames_row
from reactor.postgres.driver import Row, TrioConnection
from reactor.postgres.statements import statements

_SQL = statements("outbox")

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one call of the claim function returned.

    Attributes:
        items: The items.
        report: About the rest; db/migrations/0025_claim_items.sql says what is in it.
        stopped: The workspaces that the brake has stopped.
    """

    items: list[Item]
    report: dict[str, Any]
    stopped: list[UUID]


async def claim(connection: TrioConnection, params: dict[str, Any]) -> Pass:
    """Claim.

    Args:
        connection: The claims session's.
        params: What the statement wants.

    Raises:
        psycopg.Error: The server refused; nothing was claimed.
    """
    cursor = await connection.execute(_SQL["claim"], params | {"largest": LARGEST}, binary=True)
    *rows, report = await cursor.fetchall()
    return Pass([_item(row[:-1], params["lease"]) for row in rows], json.loads(report[5]), report[-1])


async def claim_one(connection: TrioConnection, params: dict[str, Any]) -> Pass | None:
    """Claim a single item, where a claim of several was refused; the row that is refused alone is set aside.

    What the function itself can isolate never comes here. What is left are checks that the server makes when the
    transaction ends: a deferred constraint.

    Returns:
        None where a row was set aside.

    Raises:
        psycopg.Error: The server refused, and no row is known that is to blame.
    """
    found: Pass | None = None
    try:
        async with connection.transaction():
            found = await claim(connection, params | {"slots": 1})
    except psycopg.Error as error:
        if found is None or not found.items or not blames_row(error.sqlstate):
            raise
        await set_aside(connection, found.items[0].id, error)
        return None
    return found


async def set_aside(connection: TrioConnection, item_id: UUID, error: psycopg.Error) -> None:
    """Leave a row alone for a while; the table says why."""
    params = {"id": item_id, "sqlstate": error.sqlstate or "", "constraint": error.diag.constraint_name or ""}
    await connection.execute(_SQL["set_aside"], params)


def _item(row: Row, lease_no: int) -> Item:
    of_row, of_source, token = row[:12], row[12:20], row[20]
    item_id, workspace_id, key, seq, operation, payload, size, attempts, most, losses, age, is_child = of_row
    floor_seq, generation, event_id, calendar_id, etag, cancelled, reopen, strays = of_source
    return Item(
        id=item_id,
        workspace_id=workspace_id,
        source_key=key,
        seq=seq,
        claim_no=next(_numbers),
        operation=operation,
        payload=Oversized(size) if size > LARGEST else payload or b"null",
        attempts=attempts,
        max_attempts=most,
        age=age,
        is_child=is_child,
        memory=Memory(floor_seq, generation, event_id, calendar_id, etag, cancelled, reopen, tuple(strays)),
        consent=_consent(token),
        lease_no=lease_no,
        losses=losses,
    )


@lru_cache(maxsize=256)  # the items of a workspace share it
def _consent(token: str) -> Consent:
    return Consent(token, hashlib.md5(token.encode(), usedforsecurity=False).hexdigest())
