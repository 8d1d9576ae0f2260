"""The brake's part in the database; `reactor.core.brake` argues it."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from reactor.core.brake import WINDOW, Limit, deletes
from reactor.core.item import Item
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.statements import statements

SQL = statements("brakes")
CAP = 10_000  # items that are counted for each workspace that is stopped
TOP = 1_000  # workspaces

Connection = psycopg.Connection[Row] | psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A workspace that the brake has just stopped, with how many events would have been deleted, of how many."""

    workspace_id: UUID
    cause: str
    deletes: int
    events: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """A workspace that is stopped.

    Attributes:
        workspace_id: The workspace.
        cause: BURST or REBUILD.
        rebuild_id: The rebuild that would have deleted them; None for a burst.
        deletes: How many events would have been deleted when it was stopped.
        events: How many events it had.
        since: When it was stopped; text where Python cannot hold the time.
        waiting: How many items wait now, `CAP` + 1 at most.
    """

    workspace_id: UUID
    cause: str
    rebuild_id: UUID | None
    deletes: int
    events: int
    since: datetime | str
    waiting: int


@dataclass(frozen=True, slots=True)
class CancelCount:
    """The result of counting cancels.

    Attributes:
        stopped: The workspaces of which nothing may be sent.
        pulled: Those of them that this count stopped.
    """

    stopped: frozenset[UUID]
    pulled: list[Pulled]


class Brakes:
    """The brake on bursts of cancels; the outbox asks it with every claim.

    Args:
        limit: What may be deleted without a question.
        on_pull: Called with each workspace that is stopped here.

    Attributes:
        stopped: The workspaces that were stopped at the last claim.
    """

    def __init__(self, limit: Limit, on_pull: Callable[[Pulled], object] = lambda _: None) -> None:
        self.stopped: frozenset[UUID] = frozenset()
        self._limit = limit
        self._on_pull = on_pull

    def suspects(self, items: Iterable[Item]) -> Counter[UUID]:
        """The workspaces whose cancels must be counted, with how many were claimed of each."""
        return Counter() if self._limit.is_off else deletes(items)

    async def count(self, connection: TrioConnection, suspects: Counter[UUID]) -> CancelCount:
        """Count what was claimed, and stop the workspaces for which it is too much."""
        stopped, pulled = set(), []
        cursor = await connection.execute(SQL["claimed"], {"workspaces": list(suspects), "window": WINDOW})
        for workspace_id, is_stopped, so_far in await cursor.fetchall():
            asks = self._limit.asks_what_waits(so_far - suspects[workspace_id], so_far)
            if is_stopped:
                stopped.add(workspace_id)
            elif asks or so_far >= self._limit.least:
                params = {
                    "workspace": workspace_id,
                    "window": WINDOW,
                    "waiting": asks,
                    "share": self._limit.share,
                    "least": self._limit.least,
                }
                cursor = await connection.execute(SQL["count"], params)
                [[going, events, is_too_much, is_pulled]] = await cursor.fetchall()
                if is_too_much:
                    stopped.add(workspace_id)
                if is_pulled:
                    pulled.append(Pulled(workspace_id, "BURST", going, events))
        return CancelCount(frozenset(stopped), pulled)

    def take_in(self, counted: CancelCount) -> None:
        """Remember which workspaces are stopped, and report those that were stopped now."""
        self.stopped |= counted.stopped
        for each in counted.pulled:
            self._on_pull(each)


def stopped(
    connection: Connection,
    workspace_id: UUID | None = None,
    *,
    behind: tuple[datetime | str, UUID] | None = None,
    top: int | None = None,
    cap: int | None = None,
) -> list[Stopped]:
    """Return the workspaces that are stopped, up to `top` + 1 of them, or the one if it is.

    Args:
        connection: The session.
        workspace_id: This one only.
        behind: Those that follow this place, which is since when a workspace is stopped, and its id.
        top: How many, and one more; `TOP` without it.
        cap: How many items are counted for each, and one more; `CAP` without it.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    since, after = behind or (None, None)
    given = {
        "workspace": workspace_id,
        "after": after,
        "after_since": since,
        "cap": CAP if cap is None else cap,
        "top": TOP if top is None else top,
    }
    return [Stopped(*row) for row in cursor.execute(SQL["stopped"], given)]


def release(connection: Connection, workspace_id: UUID) -> bool:
    """Release a stopped workspace, with everything that waits in it; return whether it was stopped."""
    return bool(connection.execute(SQL["release"], {"workspace": workspace_id}).fetchall())
