"""The brake: which workspaces it has stopped, and their release.

A release is for one workspace and for what waits in it now (`reactor.core.brake` says why).
"""

from uuid import UUID

from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.postgres import brakes
from reactor.postgres.brakes import CAP, TOP, Stopped
from reactor.postgres.connection.admin import AdminSession

__all__ = ["CAP", "TOP", "Stopped", "release", "stopped"]


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
