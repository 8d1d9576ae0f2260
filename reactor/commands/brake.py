"""`brake`: which workspaces the mass-delete brake has stopped, and the one way to let them go on.

A release is for one workspace, by its id, and for what waits in it now (`reactor.core.brake` says why). There is none
for all, and a workspace that is not stopped is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import typer

from reactor.commands.options import AsJson, DatabaseUrl, DryRun, Reason, Workspace, author, read_dsn
from reactor.commands.output import note, print_json, print_table, sentences
from reactor.desk import brakes
from reactor.desk.brakes import CAP, TOP, Stopped
from reactor.desk.wording import at_least
from reactor.postgres.connection.admin import AdminSession, open_admin_session

app = typer.Typer(
    name="brake", no_args_is_help=True, help="List and release workspaces stopped by the mass-delete brake."
)


@app.command("list")
def list_(*, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List the workspaces that are stopped, the longest first.

    BURST: cancels that wait would delete so many of the events. REBUILD: a rebuild would. Look at what the application
    has done before you release one: usually a DELETE or an UPDATE without its condition, or a view that shows nothing.

    Exit codes: 0 none is stopped; 1 some are; 2 no database.

    Example: python -m reactor brake list
    """
    with _database(database_url) as admin:
        found = brakes.stopped(admin)
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        _print(found)
    else:
        note("No workspace is stopped.")
    raise typer.Exit(1 if found else 0)


@app.command()
def release(
    *,
    workspace: Workspace,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a stopped workspace go on: what waits in it now is sent, the deletes too.

    What is inserted later is counted anew, so the next burst stops it again. A rebuild that by then would delete more
    than is shown here stops it again too.

    Exit codes: 0 released (or would be); 1 it is not stopped; 2 wrong use or no database.

    Example: python -m reactor brake release --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10
    """
    with _database(database_url) as admin:
        found = brakes.stopped(admin, workspace)
        released = bool(found) and not dry_run and brakes.release(admin, found[0], author(reason))
    if as_json:
        print_json({"released": released, "stopped": asdict(found[0]) if found else None})
    elif found:
        _print(found)
        note("Would be released." if dry_run else "Released.")
    if not found:
        note("This workspace is not stopped: `python -m reactor brake list` shows which are.")
    raise typer.Exit(0 if found else 1)


def _print(found: list[Stopped]) -> None:
    rows = [(e.workspace_id, e.cause, e.deletes, e.events, at_least(e.waiting, CAP), e.since) for e in found[:TOP]]
    print_table(("workspace", "cause", "would delete", "of", "waiting", "since"), rows)
    if len(found) > TOP:
        note(f"Over {TOP:,} workspaces are stopped; these are stopped longest.")


@contextmanager
def _database(given: str | None) -> Iterator[AdminSession]:
    """A session; what goes wrong ends the command with exit code 2 and a sentence."""
    with sentences():
        dsn = read_dsn(given)
        with open_admin_session(dsn, name="brake") as admin:
            yield admin
