"""Workspaces: which of them need a person, the worst first, and all that is known of one."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from reactor.core.dispatch.lane import LaneStatus
from reactor.desk import brakes, connections, pulses, rebuild_progress
from reactor.desk.letters import dead_letters
from reactor.desk.met import met
from reactor.desk.outbox_status import SQL as STATUS
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

SQL = statements("workspaces")
WALKED = 5_000
"""Workspaces that are walked through for a list."""
CAP = 10_000
"""Rows that are counted of anything for the page of one workspace."""
COUNT = 1_000
"""Rows that are counted for each workspace of a list."""
ROWS = 50
"""Workspaces on a page."""
LATE = 300.0
"""Seconds that a due item waits before its workspace is behind; the alert `ReactorStalled` has the same."""
REBUILDS = 10
"""Rebuilds of one workspace that are shown."""
CAUSES = 20
"""Causes of its dead letters that are shown, the most frequent ones."""
Document = dict[str, Any]
WorkspacePlace = tuple[int, datetime | str, UUID]
"""A place in the list: the number of the worst state, since when, and the workspace."""


class WorkspaceState(StrEnum):
    """What is the matter with a workspace, the worst first; `list` in workspaces.sql has the places as numbers."""

    STOPPED = "stopped"
    """The brake has stopped it."""
    PARKED = "parked"
    """Something waits, and there is no valid connection."""
    HELD = "held"
    """After an answer that the next request would get too, its lane pauses."""
    BEHIND = "behind"
    """Its oldest due item has waited for more than `LATE` seconds."""
    BROKEN = "broken"
    """Google does not answer for it: the breaker of its lane is not closed."""
    DEAD = "dead"
    """It has dead letters."""
    WELL = "well"
    """Something waits, and nothing is the matter."""


STATES = tuple(WorkspaceState)
_OF_LANES = {
    LaneStatus.CONDEMNED: WorkspaceState.HELD,
    LaneStatus.HELD: WorkspaceState.HELD,
    LaneStatus.BROKEN: WorkspaceState.BROKEN,
}


@dataclass(frozen=True, slots=True)
class WorkspaceList:
    """Workspaces, the worst first.

    Attributes:
        rows: Up to a page of them.
        after: What the next look is given to go on; None at the end.
        is_cut: Whether more workspaces have something open, or dead, than are walked through.
    """

    rows: list[Document]
    after: WorkspacePlace | None
    is_cut: bool


def listed(
    admin: AdminSession,
    *,
    state: WorkspaceState | None = None,
    workspace: UUID | None = None,
    after: WorkspacePlace | None = None,
    rows: int = ROWS,
    replicas: Iterable[Document] | None = None,
) -> WorkspaceList:
    """List the workspaces that have something open, dead letters, a brake that has stopped them or a lane that is held.

    Args:
        admin: The session.
        state: Those in this state only; those that are well have no other.
        workspace: This one only, if it has any of it.
        after: `WorkspaceList.after` of the page before.
        rows: How many at most.
        replicas: What `reactor.desk.pulses.replicas` has returned; it is asked without it.
    """
    rank, since, behind = after or (None, None, None)
    lanes = _lanes(pulses.replicas(admin) if replicas is None else replicas)
    found = admin.rows(
        SQL["list"],
        workspace=workspace,
        state=None if state is None else STATES.index(state),
        after_state=rank,
        after_since=since,
        after=behind,
        lanes=[each for each, _ in lanes],
        standings=[STATES.index(each) for _, each in lanes],
        late=LATE,
        cap=WALKED,
        count=COUNT,
        rows=rows,
    )
    last = found[rows - 1] if len(found) > rows else None
    place = (last["state"], last["since"], last["workspace"]) if last else None
    return WorkspaceList([_row(each) for each in found[:rows]], place, any(each["is_cut"] for each in found))


def _row(found: Document) -> Document:
    states = [STATES[number] for number in found["states"]]
    hidden = ("state", "since", "is_cut")
    return {
        **{name: value for name, value in found.items() if name not in hidden},
        "states": states[:-1] if len(states) > 1 and states[-1] is WorkspaceState.WELL else states,
    }


def _lanes(replicas: Iterable[Document]) -> list[tuple[UUID, WorkspaceState]]:
    """The lanes that living replicas tell of as held or broken."""
    return [
        (UUID(lane["workspace"]), _OF_LANES[lane["standing"]])
        for each in replicas
        if each["lives"]
        for lane in each["lanes"]
        if lane["standing"] in _OF_LANES
    ]


def workspace_status(admin: AdminSession, workspace: UUID, now: datetime) -> Document:
    """All that is known of one workspace.

    Raises:
        ConfigurationError: Nothing is known of it.
    """
    admin.require_workspace(workspace)
    where = {"workspace": workspace, "cap": CAP}
    replicas = pulses.replicas(admin)
    standing = listed(admin, workspace=workspace, replicas=replicas).rows
    connection = connections.listed(admin, workspace).rows
    stopped = brakes.stopped(admin, workspace)
    letters = dead_letters.causes(admin, dead_letters.LetterFilter(workspace=workspace), cap=CAP, looks=CAP)
    return {
        "workspace": workspace,
        "states": standing[0]["states"] if standing else [],
        "waiting": {**admin.one(SQL["waiting"], **where), "in_flight": admin.one(SQL["in_flight"], **where)["n"]},
        "connection": connection[0] if connection else None,
        "brake": asdict(stopped[0]) if stopped else None,
        "lane": pulses.lane_of(admin, workspace, now, replicas),
        "set_aside": admin.rows(STATUS["aside"], **where),
        "dead_letters": {**letters, "causes": letters["causes"][:CAUSES], "different": len(letters["causes"])},
        "rebuilds": rebuild_progress.listed(admin, workspace=workspace, rows=REBUILDS).rows,
        "met": met(admin, workspace),
    }
