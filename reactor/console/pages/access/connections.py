"""`/connections`: who is connected, by what, and what waits for it; `/connections/<id>`: enable or disable one."""

from uuid import UUID

from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session, writing
from reactor.console.places import AFTER, as_place, pages_around, read_place, truth
from reactor.desk import connections
from reactor.desk.connections import CAP
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

ROWS = 50
"""Connections on a page."""


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show a page of the connections, the invalid ones first."""
    invalid = asked.query.get("state") == "invalid"
    behind = read_place(asked.query.get(AFTER), truth, UUID)
    found = connections.listed(admin, invalid=invalid, behind=behind and (behind[0], behind[1]), rows=ROWS)
    after = (found.rows[-1]["valid"], found.rows[-1]["workspace"]) if found.is_cut else None
    return PageAnswer(
        "connections.html",
        {"connections": found.rows, "after": as_place(after)},
        command=f"python -m reactor connections list{' --invalid' if invalid else ''}",
        more={"invalid": invalid, "pages": pages_around("/connections", asked.query, after), "cap": CAP},
    )


def show_one(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show a connection, and what follows from enabling or disabling it."""
    workspace: UUID = asked.path["workspace"]
    rows = connections.listed(admin, workspace).rows
    if not rows:
        raise connections.no_connection(workspace)
    [found] = rows
    act = "disable" if found["valid"] else "enable"
    command = f"python -m reactor connections {act} --workspace {workspace}"
    return PageAnswer(
        "connection.html",
        found,
        command=f"python -m reactor connections list --workspace {workspace}",
        title=f"{act.capitalize()} a connection",
        more={"act": act, "act_command": command, "cap": CAP},
    )


def act(admin: AdminSession, asked: PageRequest) -> NextPage:
    """Enable or disable a connection; enabling puts back the dead letters that died because it was invalid."""
    workspace: UUID = asked.path["workspace"]
    wanted = asked.form.get("act")
    if wanted not in ("enable", "disable"):
        raise ConfigurationError("The form does not say whether to enable or to disable: use the button of its page.")
    by = asked.author
    if not connections.set_valid(admin, workspace, valid=wanted == "enable", by=by)["changed"]:
        raise ConfigurationError(f"The connection is {wanted}d already, so nothing was changed: look at it again.")
    return NextPage(f"/w/{workspace}")


PAGE = Page("/connections", "Connections", show=in_session(show), in_menu=True)
ONE = Page("/connections/{workspace:uuid}", "Connection", show=in_session(show_one), act=writing(act))
