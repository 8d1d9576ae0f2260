"""`/w`: the workspaces that have work or trouble, the worst first."""

from uuid import UUID

from reactor.console.page import Page, PageAnswer, PageRequest, in_session
from reactor.console.places import AFTER, address, as_place, moment, number, pages_around, read_place
from reactor.desk import workspaces
from reactor.desk.workspaces import COUNT, LATE, STATES, WALKED, WorkspaceState
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

_SAYS = {
    WorkspaceState.STOPPED: "the brake has stopped it",
    WorkspaceState.PARKED: "without a valid connection",
    WorkspaceState.HELD: "Google's last answer holds it back",
    WorkspaceState.BEHIND: "its oldest due item has waited too long",
    WorkspaceState.BROKEN: "Google does not answer for it",
    WorkspaceState.DEAD: "it has dead letters",
    WorkspaceState.WELL: "it has work, and nothing is the matter",
}


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show a page of those in `?state=`, or of all."""
    chosen = _state(asked.query.get("state", ""))
    found = workspaces.listed(admin, state=chosen, after=read_place(asked.query.get(AFTER), number, moment, UUID))
    states = [{"state": str(each), "says": _SAYS[each], "path": address("/w", {"state": each})} for each in STATES]
    return PageAnswer(
        "workspaces.html",
        {"workspaces": found.rows, "after": as_place(found.after), "capped": found.is_cut},
        command="python -m reactor status",
        more={
            "states": states,
            "chosen": str(chosen or ""),
            "pages": pages_around("/w", asked.query, found.after),
            "walked": WALKED,
            "count": COUNT,
            "late": LATE,
        },
    )


def _state(text: str) -> WorkspaceState | None:
    try:
        return WorkspaceState(text) if text else None
    except ValueError:
        raise ConfigurationError(f"There is no such state: take one of {', '.join(STATES)}.") from None


PAGE = Page("/w", "Workspaces", show=in_session(show), in_menu=True)
