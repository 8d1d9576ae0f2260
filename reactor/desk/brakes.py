"""The brake: which workspaces it has stopped, what would be deleted, and their release.

A release is for one workspace and for what waits in it now (`reactor.core.brake` says why).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import errors

from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.postgres import brakes
from reactor.postgres.brakes import CAP, TOP, Stopped
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.rebuilds import state_of
from reactor.postgres.statements import statements

__all__ = ["CAP", "TOP", "Stopped", "release", "stopped"]

SQL, CONNECTIONS, REBUILDS = (statements(name) for name in ("workspaces", "connections", "rebuilds"))
ROWS = 50
"""Workspaces on a page."""
COUNT = 1_000
"""Items that are counted for each of them."""
LOOKS = 4_000
"""Rows of a workspace that a sample is drawn from, those that are due first."""
SAMPLE = 20
"""Sources in a sample."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoppedPage:
    """Workspaces that are stopped, the longest first.

    Attributes:
        rows: Up to a page of them.
        after: What the next call takes to go on behind these; None at the end.
    """

    rows: list[Stopped]
    after: tuple[datetime | str, UUID] | None


def page(admin: AdminSession, after: tuple[datetime | str, UUID] | None = None, *, rows: int = ROWS) -> StoppedPage:
    """List one page of the workspaces that are stopped, those that follow a place."""
    found = brakes.stopped(admin.connection, behind=after, top=rows, cap=COUNT)
    last = found[rows - 1] if len(found) > rows else None
    return StoppedPage(found[:rows], (last.since, last.workspace_id) if last else None)


def sample(admin: AdminSession, found: Stopped) -> Document:
    """What would be deleted of a workspace that is stopped: some sources of each type, and how old they are.

    No text of an event is read. The sample of a burst comes from the rows that are due first, that of a rebuild from
    all that the application says now; `missing` says why there is none.
    """
    try:
        rows = _of_rebuild(admin, found) if found.cause == "REBUILD" else _of_burst(admin, found)
    except errors.QueryCanceled:
        return {"sources": [], "types": {}, "missing": "it could not be read in time"}
    except errors.InsufficientPrivilege:
        return {"sources": [], "types": {}, "missing": "this login may not read what the application says now"}
    types = {row["type"]: row.pop("of_type") for row in rows}
    return {"sources": rows, "types": types, "missing": None if rows else "nothing that waits now would be deleted"}


def _of_burst(admin: AdminSession, found: Stopped) -> list[Document]:
    return admin.rows(SQL["burst_sample"], workspace=found.workspace_id, looks=LOOKS, rows=SAMPLE)


def _of_rebuild(admin: AdminSession, found: Stopped) -> list[Document]:
    kind = admin.one(REBUILDS["source"])["kind"]
    statement = state_of(kind) + REBUILDS["known_sources"] + REBUILDS["sample_of_deletes"]
    calendar = admin.row(CONNECTIONS["connection"], workspace=found.workspace_id) or {"calendar": ""}
    return admin.rows(
        statement,
        workspace=found.workspace_id,
        calendar=calendar["calendar"],
        complete=kind != "memory",
        rows=SAMPLE,
    )


def stopped(admin: AdminSession, workspace: UUID | None = None) -> list[Stopped]:
    """The workspaces that are stopped, the longest first, `TOP` + 1 of them at most; or the one, if it is."""
    return brakes.stopped(admin.connection, workspace)


def release(admin: AdminSession, found: Stopped, by: ActAuthor) -> bool:
    """Let a stopped workspace go on, with what waits in it now; return whether it still was stopped."""
    with admin.connection.transaction():
        released = brakes.release(admin.connection, found.workspace_id)
        if released:
            forecast = {"cause": found.cause, "deletes": found.deletes, "events": found.events, "since": found.since}
            acts.record(admin, by, ActKind.RELEASE, workspace=found.workspace_id, forecast=forecast)
    return released
