"""`rebuild`: make a workspace's calendar agree with all that the application says now.

It inserts a REBUILD_ALL, as the application may itself, and shows a forecast first. The forecast reads what the rebuild
will read, except for Google: events that only a calendar knows are found by the rebuild itself.
"""

from math import ceil
from typing import Annotated, Any
from uuid import UUID

import typer

from reactor.commands.options import AsJson, DatabaseUrl, DryRun, Workspace, read_dsn
from reactor.commands.output import clean, count, note, print_facts, print_json, sentences, visible
from reactor.core.brake import Limit
from reactor.core.calendar.messages import PAGE
from reactor.core.payload import is_resource_id
from reactor.errors import ConfigurationError
from reactor.postgres.brakes import SQL as BRAKES
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.rebuilds import LONGEST_CALENDAR, state_of
from reactor.postgres.statements import statements
from reactor.rebuild import GRANTS

SQL, CONNECTIONS = statements("rebuilds"), statements("connections")
A_MINUTE = 600
"""Google's usual quota for a user, in calls."""
_STATES = {
    "view": "what the view calendar_source_events has now",
    "function": "what the function calendar_source_events returns now",
    "memory": "what was applied last, because there is no view calendar_source_events",
}

Document = dict[str, Any]


def rebuild(
    *,
    workspace: Workspace,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Remove each event and make it anew, instead of comparing it.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a workspace's calendar agree with all that the application says now: starts a REBUILD_ALL.

    Events that a person deleted come back, events that the application does not want go, a change of calendar moves
    them; what others have in the calendar is not touched. What it would do is said first. Edits made meanwhile win.
    `status --rebuild ID` shows how far it is.

    Exit codes: 0 it is started, or would be; 2 there is no such workspace, it has no connection or has a rebuild that
    is not done, wrong use or no database.
    """
    with sentences():
        dsn = read_dsn(database_url)
        with open_admin_session(dsn, name="rebuild") as admin:
            admin.require_workspace(workspace)
            calendar = _ready(admin, workspace)
            document = _forecast(admin, workspace, calendar["calendar"], recreate=recreate)
            document |= {"dry_run": dry_run, "waits_for": _obstacles(admin, workspace, valid=calendar["valid"])}
            document["rebuild"] = None if dry_run else _start(admin, workspace, calendar["calendar"], recreate=recreate)
    if as_json:
        print_json(document)
    else:
        _show(document)


def _ready(admin: AdminSession, workspace: UUID) -> Document:
    """The workspace's connection.

    Raises:
        ConfigurationError: It has none, its calendar cannot be one, or it has a rebuild that is not done.
    """
    connection = admin.row(CONNECTIONS["connection"], workspace=workspace)
    if connection is None:
        raise ConfigurationError(
            f"Workspace {workspace} has no connection, so it has no calendar: run `python -m reactor connect`."
        )
    if not is_resource_id(connection["calendar"]):
        shown = visible(connection["calendar"])[:LONGEST_CALENDAR]
        raise ConfigurationError(
            f"The calendar of workspace {workspace}'s connection, {shown}, is none: it begins or ends with white "
            "space, or is no id. `python -m reactor connections add` stores another."
        )
    open_one = admin.row(SQL["open_rebuild"], workspace=workspace)
    if open_one:
        raise ConfigurationError(
            f"Workspace {workspace} has a rebuild that is not done, {open_one['id']} ({open_one['status']}, asked for "
            f"at {clean(open_one['created_at'])}): see `python -m reactor status --rebuild {open_one['id']}`."
        )
    return connection


def _forecast(admin: AdminSession, workspace: UUID, calendar: str, *, recreate: bool) -> Document:
    """What a rebuild would come to now.

    Raises:
        ConfigurationError: The view cannot be read, so the rebuild would wait for a grant.
    """
    found = admin.one(SQL["source"])
    kind = found["kind"]
    if not found["is_readable"]:
        raise ConfigurationError(
            f"calendar_source_events may not be read, so a rebuild would wait. Run: {GRANTS[kind]}"
        )
    params = {"workspace": workspace, "calendar": calendar, "complete": kind != "memory", "longest": LONGEST_CALENDAR}
    state = state_of(kind)
    writes = admin.one(state + SQL["size"], **params)["writes"]
    survey = admin.one(state + SQL["known_sources"] + SQL["survey"], **params)
    others = {
        row["calendar_id"] for row in admin.rows(state + SQL["known_sources"] + SQL["possible_calendars"], **params)
    }
    calendars = [calendar, *sorted(others - {calendar})]
    lists = len(calendars) + survey["events"] // PAGE
    return {
        "workspace": workspace,
        "recreate": recreate,
        "state": kind,
        "writes": writes,
        "deletes": survey["deletes"],
        "left_alone": survey["left_alone"],
        "calendars": calendars,
        "calls": lists + writes * (2 if recreate else 1) + survey["deletes"],
        "brake_would_stop": Limit().stops(survey["deletes"], survey["events"]),
    }


def _obstacles(admin: AdminSession, workspace: UUID, *, valid: bool) -> list[str]:
    """What it waits for before it begins."""
    stopped = admin.one(BRAKES["is_stopped"], workspace=workspace)["exists"]
    return [
        *([] if valid else ["a valid connection: `python -m reactor connect`"]),
        *([f"a release of the brake: `python -m reactor brake release --workspace {workspace}`"] if stopped else []),
    ]


def _start(admin: AdminSession, workspace: UUID, calendar: str, *, recreate: bool) -> UUID:
    made = admin.row(SQL["insert_rebuild"], workspace=workspace, calendar=calendar, recreate=recreate)
    if made is None:
        raise ConfigurationError("Another rebuild of the workspace was started at this moment: look at that one.")
    started: UUID = made["id"]
    return started


def _show(document: Document) -> None:
    again = " again, under new ids" if document["recreate"] else ", each compared first"
    minutes = ceil(document["calls"] / A_MINUTE)
    print_facts(
        {
            "state": _STATES[document["state"]],
            "written": count(document["writes"], "event") + again,
            "deleted": f"{count(document['deletes'], 'event')}, and what is found of ours without a known source",
            "left alone": f"{count(document['left_alone'], 'event')} of which it is not known what they should be",
            "calendars": ", ".join(document["calendars"]),
            "calls": f"about {document['calls']:,} of Google's quota for this user: {count(minutes, 'minute')} or more",
            "meanwhile": "edits of the workspace wait until the rebuild has expanded (seconds), and win",
        },
        title=f"A rebuild of workspace {document['workspace']}",
    )
    if document["brake_would_stop"]:
        note("\nThat is most of its events: the brake stops it before anything is deleted, until you release it.")
    for obstacle in document["waits_for"]:
        note(f"\nIt waits for {obstacle}.")
    if document["dry_run"]:
        note("\nNothing was done. Without --dry-run it is started.")
    else:
        note(f"\nStarted. How far it is: `python -m reactor status --rebuild {document['rebuild']}`.")


EPILOG = """Examples:

    python -m reactor rebuild --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --dry-run

    python -m reactor rebuild --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --json | jq -r .rebuild"""

app = typer.Typer()
app.command(epilog=EPILOG)(rebuild)
