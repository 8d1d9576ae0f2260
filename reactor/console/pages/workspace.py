"""`/w/<id>`: one workspace: is it well, what waits and until when, its connection, brake, lane and dead letters."""

from collections.abc import Callable, Mapping
from typing import Any

from reactor.console.page import Page, PageAnswer, PageRequest, in_session
from reactor.console.verdict import lasts
from reactor.desk import acts, workspaces
from reactor.desk.wording import clean, count, duration, many
from reactor.desk.workspaces import CAP, WorkspaceState
from reactor.postgres.connection.admin import AdminSession

ACTS = 5
"""Acts that are shown; their own page has all."""

_KINDS = {
    WorkspaceState.STOPPED: "stopped",
    WorkspaceState.PARKED: "person",
    WorkspaceState.DEAD: "person",
    WorkspaceState.WELL: "well",
}


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show all that is known of it."""
    workspace = asked.path["workspace"]
    found = workspaces.workspace_status(admin, workspace, asked.now.astimezone())
    worst = found["states"][0] if found["states"] else None
    return PageAnswer(
        "workspace.html",
        {**found, "acts": acts.listed(admin, workspace=workspace, rows=ACTS).rows},
        command=f"python -m reactor status --workspace {workspace}",
        title=f"Workspace {workspace}",
        more={"sentence": sentence(found), "kind": _kind(found, worst), "cap": CAP},
    )


def _kind(found: Mapping[str, Any], worst: WorkspaceState | None) -> str:
    kind = _KINDS.get(worst, "trouble") if worst else "person" if _is_shut(found) else "well"
    return "trouble" if kind == "well" and any(map(lasts, found["met"])) else kind


def sentence(found: Mapping[str, Any]) -> str:
    """What is the matter with a workspace, the worst first, in one sentence."""
    states = found["states"]
    if not states:
        shut = ", but its connection is not valid: what comes will wait until a person enables or connects it"
        return f"Nothing waits{shut if _is_shut(found) else ''}."
    said = "; ".join(_SAYS[each](found) for each in states)
    if found["met"]:
        said += f"; when tried: {clean(found['met'][0]['error'])}"
    return f"{said[:1].upper()}{said[1:]}."


def _is_shut(found: Mapping[str, Any]) -> bool:
    connection = found["connection"]
    return connection is not None and not connection["valid"]


def _stopped(found: Mapping[str, Any]) -> str:
    brake = found["brake"]
    if brake is None:  # it was released between two looks
        return "the brake had stopped it"
    return (
        f"the brake has stopped it: {brake['deletes']:,} of {count(brake['events'], 'event')} would have been deleted"
    )


def _parked(found: Mapping[str, Any]) -> str:
    return f"{_items(found)} for a valid connection, so a person has to connect it"


def _held(found: Mapping[str, Any]) -> str:
    del found
    return "what its last request has met holds it back for a moment"


def _behind(found: Mapping[str, Any]) -> str:
    waited = found["waiting"]["oldest_due_seconds"]
    return "its oldest due item has waited " + ("since ever" if waited is None else f"for {duration(waited)}")


def _broken(found: Mapping[str, Any]) -> str:
    del found
    return "Google does not answer for it, and is asked again and again"


def _dead(found: Mapping[str, Any]) -> str:
    dead = found["dead_letters"]
    return f"it has {many(CAP + 1 if dead['capped'] else dead['total'], CAP, 'dead letter')}"


def _well(found: Mapping[str, Any]) -> str:
    return _items(found) if found["met"] else f"all is well: {_items(found)}"


def _items(found: Mapping[str, Any]) -> str:
    waiting = found["waiting"]["open"]
    return f"{many(waiting, CAP, 'item')} {'waits' if waiting == 1 else 'wait'}"


_SAYS: Mapping[WorkspaceState, Callable[[Mapping[str, Any]], str]] = {
    WorkspaceState.STOPPED: _stopped,
    WorkspaceState.PARKED: _parked,
    WorkspaceState.HELD: _held,
    WorkspaceState.BEHIND: _behind,
    WorkspaceState.BROKEN: _broken,
    WorkspaceState.DEAD: _dead,
    WorkspaceState.WELL: _well,
}

PAGE = Page("/w/{workspace:uuid}", "Workspace", show=in_session(show))
