"""Locks: which session holds which item, and who else keeps a lock that is the reactor's."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from reactor.core.holders import Holder
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.lock_holders import holders
from reactor.postgres.statements import statements

SQL = statements("locks")
CAP = 10_000
"""Items that are shown."""


@dataclass(frozen=True, slots=True)
class LockReport:
    """Which session holds which lock.

    Attributes:
        rows: Items in flight with their sessions, the longest held first; then sessions that keep the lock of the
            claims or of the gate and are no replica at its work.
        is_cut: Whether there are more items in flight than are shown.
    """

    rows: list[dict[str, Any]]
    is_cut: bool


def held(admin: AdminSession, workspace: UUID | None = None) -> LockReport:
    """Look who holds what, in one workspace or in all.

    Raises:
        ConfigurationError: Nothing is known of the workspace.
    """
    if workspace:
        admin.require_workspace(workspace)
    found = admin.rows(SQL["locks"], workspace=workspace, cap=CAP)
    is_cut = sum(row["item"] is not None for row in found) > CAP
    if not workspace:
        found += [_of_all(holder) for holder in holders(admin.connection) if holder.stands_out]
    return LockReport(found, is_cut)


def _of_all(holder: Holder) -> dict[str, Any]:
    return {
        **dict.fromkeys(("workspace", "item", "operation", "source", "key", "client")),
        "pid": holder.pid,
        "application": holder.application,
        "age": holder.seconds,
        "holder": f"the {holder.lock}'s lock{'' if holder.exclusive else ', shared'}",
    }
