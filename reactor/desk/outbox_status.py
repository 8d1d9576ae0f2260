"""How the outbox is: what waits and for how long, who waits for a person, dead letters, replicas."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.lock_holders import holders
from reactor.postgres.statements import statements

SQL = statements("status")
CAP = 10_000
"""Rows that are counted of anything."""
TOP = 5
"""Workspaces that are named as the worst."""
LISTED = 1_000
"""Workspaces in the document."""
COUNT, PARKED = 100, 100
"""In brief: items that are counted of each workspace that is named, and workspaces without a connection."""

Document = dict[str, Any]


def outbox_status(admin: AdminSession, workspace: UUID | None = None, *, brief: bool = False) -> Document:
    """The state of the outbox, of one workspace or of all, at the same cost whatever its size.

    Args:
        admin: The session.
        workspace: The one; all without it.
        brief: Whether it is for a page, which asks every two seconds: then less is counted, as `COUNT` and `PARKED`
            say.

    Raises:
        ConfigurationError: Nothing is known of the workspace.
    """
    if workspace:
        admin.require_workspace(workspace)
    where, count = {"workspace": workspace}, COUNT if brief else CAP
    counts = admin.one(SQL["open_items"], **where, cap=CAP)
    capped, due = counts["open"] > CAP, counts.pop("due")
    dead = {row["code"]: row["n"] for row in admin.rows(SQL["dead"], **where, cap=CAP)}
    parked = admin.rows(SQL["parked"], **where, cap=CAP, top=PARKED if brief else LISTED, count=count)
    return {
        "items": {
            **counts,
            "later": counts["open"] - due,
            "capped": capped,
            "about": _about(admin) if capped and not workspace else None,
        },
        "in_hand": admin.one(SQL["processing_items"], **where, cap=CAP),
        "backlog": _backlog_of(admin, workspace, count),
        "parked": {**admin.one(SQL["connections"], **where, cap=CAP), "workspaces": parked},
        "stopped": admin.rows(SQL["stopped"], **where, top=LISTED),
        "set_aside": admin.rows(SQL["aside"], **where, cap=CAP),
        "dead_letters": {"codes": dead, "capped": sum(dead.values()) > CAP},
        "replicas": admin.rows(SQL["replicas"], cap=CAP),
        "held": [asdict(holder) for holder in holders(admin.connection) if holder.stands_out],
    }


def _backlog_of(admin: AdminSession, workspace: UUID | None, count: int) -> Document:
    """The workspaces with something due: how many, how long the oldest waits, and the worst of them."""
    due = admin.rows(SQL["due"], workspace=workspace, cap=CAP)
    worst = {row["workspace"]: row["waited"] for row in due[:TOP]}
    items = {row["workspace"]: row["due"] for row in admin.rows(SQL["due_items"], workspaces=list(worst), cap=count)}
    return {
        "oldest_due_seconds": max((row["waited"] or 0.0 for row in due), default=0.0),
        "workspaces": len(due),
        "capped": any(row["n"] >= CAP for row in due),
        "worst": [{"workspace": each, "waited": waited, "due": items[each]} for each, waited in worst.items()],
    }


def _about(admin: AdminSession) -> int:
    found = admin.row(SQL["estimate"])
    return int(found["about"]) if found else 0
