"""How far a rebuild is."""

from typing import Any
from uuid import UUID

from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

SQL = statements("status")
CHILDREN = 100_000
"""Items of a rebuild that are counted."""

Document = dict[str, Any]


def rebuild_progress(admin: AdminSession, rebuild: UUID, workspace: UUID | None = None) -> Document:
    """How far a rebuild is.

    Args:
        admin: The session.
        rebuild: The id of its row.
        workspace: The workspace that it must be of; None where that is not asked.

    Raises:
        ConfigurationError: There is no such rebuild, or it is of another workspace.
    """
    if workspace:
        admin.require_workspace(workspace)
    found = admin.row(SQL["rebuild"], id=rebuild)
    if found is None:
        raise ConfigurationError(
            f"There is no item {rebuild}: look whether it was mistyped; retention may have deleted it "
            "(CALENDAR_SYNC_RETENTION_DAYS)."
        )
    if found["operation"] != "REBUILD_ALL":
        raise ConfigurationError(f"Item {rebuild} is {found['operation']}, not REBUILD_ALL; give the rebuild's own id.")
    if workspace not in (None, found["workspace"]):
        raise ConfigurationError(f"Rebuild {rebuild} is of another workspace; leave --workspace out.")
    children = admin.rows(SQL["children"], id=rebuild, cap=CHILDREN)
    by_status: dict[str, int] = {}
    for child in children:
        by_status[child["status"]] = by_status.get(child["status"], 0) + child["n"]
    total = sum(by_status.values())
    done = by_status.get("COMPLETED", 0)
    dead = {child["code"] or "none": child["n"] for child in children if child["status"] == "DEAD_LETTER"}
    capped = total > CHILDREN
    over = found["status"] == "COMPLETED" and done + sum(dead.values()) == total and not capped
    overtaken = sum(child["n"] for child in children if child["code"] == "SUPERSEDED")
    return {
        "rebuild": found,
        "expanded": found["status"] == "COMPLETED",
        "over": over,
        "children": {
            "total": total,
            "done": done,
            "overtaken": overtaken,
            "capped": capped,
            "by_status": by_status,
            "dead": dead,
        },
    }
