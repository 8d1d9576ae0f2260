"""Rebuilds: the list, the progress of each, and when it will be over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from reactor.core.forecast import forecast
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

SQL, WORKSPACES = statements("status"), statements("workspaces")
CHILDREN = 100_000
"""Items of a rebuild that are counted."""
WALKED = 1_000
"""Rebuilds that have items, of which the newest are found."""
LOOKS = 2_000
"""Settled rows, the newest, among which those without items are found."""
ROWS = 50
"""Rebuilds on a page."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RebuildList:
    """Rebuilds, the newest first.

    Attributes:
        rows: Up to a page of them.
        before: What the next call takes to go on behind these; None at the end.
        is_cut: Whether there are more than are walked through, so that some may be missing.
    """

    rows: list[Document]
    before: tuple[datetime | str, UUID] | None
    is_cut: bool


def listed(
    admin: AdminSession,
    *,
    workspace: UUID | None = None,
    before: tuple[datetime | str, UUID] | None = None,
    rows: int = ROWS,
) -> RebuildList:
    """List rebuilds, the newest first: those that are not done, those that have items, and those done just now.

    Args:
        admin: The session.
        workspace: Those of this workspace only.
        before: `RebuildList.before` of the page before.
        rows: How many at most.
    """
    moment, last_id = before or (None, None)
    found = admin.rows(
        WORKSPACES["rebuilds"],
        workspace=workspace,
        before=moment,
        before_id=last_id,
        cap=WALKED,
        looks=LOOKS,
        rows=rows,
    )
    is_cut = any(each["is_cut"] for each in found)
    for each in found:
        del each["is_cut"]
    last = found[rows - 1] if len(found) > rows else None
    return RebuildList(found[:rows], (last["created_at"], last["id"]) if last else None, is_cut)


def prospect(progress: Mapping[str, Any], lane: Mapping[str, Any], now: datetime) -> str | None:
    """When a rebuild will be over by the quota, as a sentence; None where it is over or that cannot be said.

    Args:
        progress: The document of `rebuild_progress`.
        lane: How the workspace's lane stands, of `reactor.desk.pulses.lane_of`.
        now: The present, in the zone that the sentence is for.
    """
    children = progress["children"]
    left = children["total"] - children["done"] - sum(children["dead"].values())
    opens = min((each["opens_at"] for each in lane["replicas"] if each["opens_at"]), default=now)
    found = forecast(left, [lane["rate"]], now, opens_in=(opens - now).total_seconds(), capped=children["capped"])
    return found.sentence(now) if found and progress["expanded"] else None


def rebuild_progress(
    admin: AdminSession, rebuild: UUID, workspace: UUID | None = None, *, cap: int | None = None
) -> Document:
    """The progress of a rebuild.

    Args:
        admin: The session.
        rebuild: The id of its row.
        workspace: The workspace that it must be of; None where that is not asked.
        cap: How many items are counted, and one more; `CHILDREN` without it.

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
    cap = CHILDREN if cap is None else cap
    children = admin.rows(SQL["children"], id=rebuild, cap=cap)
    by_status: dict[str, int] = {}
    for child in children:
        by_status[child["status"]] = by_status.get(child["status"], 0) + child["n"]
    total = sum(by_status.values())
    done = by_status.get("COMPLETED", 0)
    dead = {child["code"] or "none": child["n"] for child in children if child["status"] == "DEAD_LETTER"}
    capped = total > cap
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
