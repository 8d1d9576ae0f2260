"""The brake: which workspaces it has stopped, and their release.

A release is for one workspace and for what waits in it now (`reactor.core.brake` says why).
"""

from typing import Any
from uuid import UUID

from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.postgres import brakes
from reactor.postgres.brakes import CAP, TOP, Stopped
from reactor.postgres.connection.admin import AdminSession

__all__ = ["CAP", "SAMPLE", "TOP", "Stopped", "release", "sample", "stopped"]

LOOKED_AT = 20_000
"""Waiting rows that are looked at for a sample, as many as the brake itself looks at."""
SAMPLE = 20
"""Sources of each type in a sample."""

Document = dict[str, Any]


def stopped(admin: AdminSession, workspace: UUID | None = None) -> list[Stopped]:
    """The workspaces that are stopped, the longest first, `TOP` + 1 of them at most; or the one, if it is."""
    return brakes.stopped(admin.connection, workspace)


def sample(admin: AdminSession, workspace: UUID) -> list[Document]:
    """Sources whose events wait to be deleted, the longest waiting first, `SAMPLE` of each type, with how many it has.

    Of the first `LOOKED_AT` rows that wait. What a rebuild would delete is not among them: no row says it.
    """
    return admin.rows(brakes.SQL["sample"], workspace=workspace, rows=LOOKED_AT, top=SAMPLE)


def release(admin: AdminSession, found: Stopped, by: ActAuthor) -> bool:
    """Let a stopped workspace go on, with what waits in it now; return whether it still was stopped."""
    with admin.connection.transaction():
        released = brakes.release(admin.connection, found.workspace_id)
        if released:
            forecast = {"cause": found.cause, "deletes": found.deletes, "events": found.events, "since": found.since}
            acts.record(admin, by, ActKind.RELEASE, workspace=found.workspace_id, forecast=forecast)
    return released
