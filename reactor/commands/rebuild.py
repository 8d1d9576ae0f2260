"""`rebuild`: make a workspace's calendar agree with all that the application says now.

It inserts a REBUILD_ALL, as the application may itself, and shows a forecast first.
"""

from math import ceil
from typing import Annotated, Any

import typer

from reactor.commands.options import AsJson, DatabaseUrl, DryRun, Reason, Workspace, author, read_dsn
from reactor.commands.output import note, print_facts, print_json, sentences
from reactor.desk import rebuilds
from reactor.desk.wording import count
from reactor.postgres.connection.admin import open_admin_session

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
    reason: Reason = None,
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
            forecast = rebuilds.forecast(admin, workspace, recreate=recreate)
            waits_for = forecast.pop("waits_for")
            started = None if dry_run else rebuilds.start(admin, forecast, author(reason))
    document = forecast | {"dry_run": dry_run, "waits_for": waits_for, "rebuild": started}
    if as_json:
        print_json(document)
    else:
        _show(document)


def _show(document: Document) -> None:
    again = " again, under new ids" if document["recreate"] else ", each compared first"
    minutes = ceil(document["calls"] / rebuilds.CALLS_A_MINUTE)
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
