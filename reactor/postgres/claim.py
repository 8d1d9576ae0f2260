"""Claims items and reads what the claim function returned: the items, and a report about the rest.

The result types of the outbox, those of a claim, a sweep and a check of the locks, are here too.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from pydantic_core import from_json

from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.item import Item, Oversized, SourceState, WorkspaceConnection
from reactor.core.payload import LARGEST
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.statements import statements

_SQL = statements("outbox")

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The result of a claim.

    Attributes:
        items: The items, ours now.
        look: The result for the gate. `WORK` without items means that outdated ones were put away: look again.
        superseded: How many outdated items were put away.
        braked: Items, ours too, that the brake has stopped: to be given back.
    """

    items: list[Item] = field(default_factory=list)
    look: Look = field(default_factory=lambda: Look(LookResult.NOTHING))
    superseded: int = 0
    braked: list[Item] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        recovered: Items that are due again.
        dead: Items that lost their worker as often as attempts are allowed.
        again: Whether other replicas have items in flight, or lost some that could not be taken over yet.
    """

    recovered: int = 0
    dead: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """An item that the server refuses to change; it is left alone for a while.

    Attributes:
        id: The item.
        workspace_id: Its workspace.
        sqlstate: The server's reason.
        constraint: The constraint that it breaks, empty where it is none.
    """

    id: UUID
    workspace_id: UUID | None
    sqlstate: str
    constraint: str


@dataclass(frozen=True, slots=True)
class LockedItem:
    """An item that we would claim, but another session has its lock.

    Attributes:
        id: The item.
        seconds: For how long we have seen it locked.
        pid: The process id of the backend that has the lock.
        application: That session's name.
    """

    id: UUID
    seconds: float
    pid: int
    application: str


@dataclass(frozen=True, slots=True)
class Invariants:
    """Counts that show whether locks, rows and items agree, for metrics and tests.

    Attributes:
        in_flight: Items that were claimed and not settled.
        unexpected_locks: Rows under this session's lease without an item in flight; 0.
        missing_locks: Items in flight that are not under this session's lease, or whose lease is not held; 0.
        orphans: PROCESSING rows whose session is gone; 0 after a sweep.
        doubled: Sources with two PROCESSING rows; 0.
    """

    in_flight: int
    unexpected_locks: int
    missing_locks: int
    orphans: int
    doubled: int


@dataclass(frozen=True, slots=True)
class Pass:
    """What one call of the claim function returned.

    Attributes:
        items: The items.
        report: The claim's report about the rest; db/migrations/0029_claim_next.sql describes it.
    """

    items: list[Item]
    report: dict[str, Any]

    @property
    def is_busy(self) -> bool:
        """Whether another replica was claiming, so that nothing was looked at."""
        return "busy" in self.report


async def claim(connection: TrioConnection, params: dict[str, Any]) -> Pass:
    """Call the claim function once.

    Args:
        connection: The claims session's connection.
        params: The parameters of the statement `claim`.

    Raises:
        psycopg.Error: The server refused; nothing was claimed.
    """
    cursor = connection.kept(_SQL["claim"])
    await cursor.execute(_SQL["claim"], params | {"largest": LARGEST})
    *rows, report = await cursor.fetchall()
    return Pass([_item(row, params["lease"]) for row in rows], from_json(_json(report[5])))


async def claim_apart(connection: TrioConnection, params: dict[str, Any]) -> Pass | None:
    """Claim in less time, where a claim of more was refused; if a single row is the cause, set it aside.

    What the function itself can isolate never comes here. What is left are checks that the server makes when the
    transaction ends (a deferred constraint), and a row that it takes too long to change: the function's error names it.

    Returns:
        None where a row was set aside.

    Raises:
        psycopg.Error: The server refused, and no row is known that is to blame.
    """
    found: Pass | None = None
    try:
        async with connection.transaction():
            await connection.execute(_SQL["hurry"])
            found = await claim(connection, params)
    except psycopg.Error as error:
        met = found.items[0].id if found and len(found.items) == 1 else _met(error)
        if met is None:
            raise
        await set_aside(connection, met, error)
        return None
    return found


def _met(error: psycopg.Error) -> UUID | None:
    """The row that a statement was about to change when its time was over."""
    with suppress(ValueError):
        if isinstance(error, psycopg.errors.QueryCanceled):
            return UUID(error.diag.message_detail or "")
    return None


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
        payload=Oversized(size) if size > LARGEST else _json(payload),
        attempts=attempts,
        max_attempts=most,
        age=age,
        is_child=is_child,
        memory=SourceState(floor_seq, generation, event_id, calendar_id, etag, cancelled, reopen, tuple(strays)),
        connection=_connection(token),
        lease_no=lease_no,
        losses=losses,
    )


def _json(binary: Buffer | None) -> bytes:
    """The text in a jsonb; before it stands a byte, the version of the format."""
    return b"null" if binary is None else bytes(binary[1:])


@lru_cache(maxsize=256)  # the items of a workspace share it
def _connection(token: str) -> WorkspaceConnection:
    return WorkspaceConnection(token, hashlib.md5(token.encode(), usedforsecurity=False).hexdigest())
