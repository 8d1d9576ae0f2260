"""The brake's part in the database; `reactor.core.brake` argues it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import trio
from psycopg.rows import tuple_row

from reactor.core.brake import Limit, Tally
from reactor.core.item import Item
from reactor.postgres.driver import Row, TrioConnection
from reactor.postgres.statements import statements

SQL = statements("brakes")
CAP = 10_000  # items that are counted for each workspace that is stopped
TOP = 1_000  # workspaces

Connection = psycopg.Connection[Row] | psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A workspace was stopped: so many events were to go, out of so many."""

    workspace_id: UUID
    cause: str
    deletes: int
    events: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """A workspace that is stopped.

    Attributes:
        workspace_id: Which.
        cause: BURST or REBUILD.
        rebuild_id: The rebuild.
        deletes: How many events were to go when it was stopped.
        events: Out of how many.
        since: Since when; text where it is no time that Python can hold.
        waiting: How many items wait now, `CAP` + 1 at most.
    """

    workspace_id: UUID
    cause: str
    rebuild_id: UUID | None
    deletes: int
    events: int
    since: datetime | str
    waiting: int


class Brakes:
    """The brake on bursts of cancels, for whoever claims.

    Args:
        limit: What may be deleted without a question.
        on_pull: Told of each workspace that is stopped here.

    Attributes:
        stopped: The workspaces that were stopped at the last claim.
    """

    def __init__(self, limit: Limit, on_pull: Callable[[Pulled], object] = lambda _: None) -> None:
        self.stopped: frozenset[UUID] = frozenset()
        self._limit = limit
        self._tally = Tally(limit)
        self._on_pull = on_pull

    def suspects(self, items: Collection[Item]) -> list[UUID]:
        """The workspaces whose cancels are so many that they are to be counted."""
        return self._tally.note(items, trio.current_time())

    async def count(
        self, connection: TrioConnection, suspects: Collection[UUID], in_flight: Collection[UUID]
    ) -> list[Pulled]:
        """Count what is to be deleted, and stop the workspaces for which it is too much."""
        pulled = []
        for workspace_id in suspects:
            recent = self._tally.recent(workspace_id)
            params = {
                "workspace": workspace_id,
                "recent": list(recent),
                "places": list(recent.values()),
                "over": [item_id not in in_flight for item_id in recent],
                "share": self._limit.share,
                "least": self._limit.least,
            }
            cursor = await connection.execute(SQL["count"], params)
            [[passes, deletes, events, stopped]] = await cursor.fetchall()
            self._tally.counted(workspace_id, passes, stopped=stopped)
            if stopped:
                pulled.append(Pulled(workspace_id, "BURST", deletes, events))
        return pulled

    def pulled(self, pulled: Collection[Pulled]) -> None:
        """Take in what was stopped."""
        self.stopped |= {each.workspace_id for each in pulled}
        for each in pulled:
            self._on_pull(each)


def stopped(connection: Connection, workspace_id: UUID | None = None) -> list[Stopped]:
    """Return the workspaces that are stopped, up to `TOP` + 1 of them, or the one if it is."""
    cursor = connection.cursor(row_factory=tuple_row)
    given = {"workspace": workspace_id, "cap": CAP, "top": TOP}
    return [Stopped(*row) for row in cursor.execute(SQL["stopped"], given)]


def release(connection: Connection, workspace_id: UUID) -> bool:
    """Let pass what waits in a stopped workspace; say whether it was stopped."""
    return bool(connection.execute(SQL["release"], {"workspace": workspace_id}).fetchall())
