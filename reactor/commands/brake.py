"""`brake`: which workspaces are stopped since too much would be deleted, and the one way to let them go on.

A release is for one workspace, by its id, and for what waits in it now (`reactor.core.brake` says why). There is none
for all, and a workspace that is not stopped is refused.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from reactor.errors import ConfigurationError, ReactorError, TransientError
from reactor.postgres import brakes
from reactor.postgres.brakes import Stopped
from reactor.postgres.dsn import missing_dsn

app = typer.Typer(
    name="brake", no_args_is_help=True, help="Workspaces that are stopped since too much would be deleted."
)

DatabaseUrl = Annotated[
    str | None,
    typer.Option(envvar="DATABASE_URL", show_default=False, help="The database, as a login in the reactor's role."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for programs.")]
_CONNECT = 5  # seconds


@app.command("list")
def list_(*, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List the workspaces that are stopped, the longest first.

    BURST: cancels that wait would delete so many of the events. REBUILD: a rebuild would. Look at what the application
    has done before you release one: usually a DELETE or an UPDATE without its condition, or a view that shows nothing.

    Exit codes: 0 none is stopped; 1 some are; 2 no database.

    Example: python -m reactor brake list
    """
    with _database(database_url) as connection:
        found = brakes.stopped(connection)
    if as_json:
        typer.echo(json.dumps([_document(each) for each in found], indent=2))
    elif found:
        _print(found)
    else:
        typer.echo("No workspace is stopped.", err=True)
    raise typer.Exit(1 if found else 0)


@app.command()
def release(
    *,
    workspace: Annotated[UUID, typer.Option(show_default=False, help="The workspace's id.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a stopped workspace go on: what waits in it now is sent, the deletes too.

    What is inserted later is counted anew, so the next burst stops it again. A rebuild that by then would delete more
    than is shown here stops it again too.

    Exit codes: 0 released (or would be); 1 it is not stopped; 2 wrong use or no database.

    Example: python -m reactor brake release --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10
    """
    with _database(database_url) as connection:
        found = brakes.stopped(connection, workspace)
        released = bool(found) and not dry_run and brakes.release(connection, workspace)
    if as_json:
        document = [_document(each) for each in found]
        typer.echo(json.dumps({"released": released, "stopped": document[0] if document else None}, indent=2))
    elif found:
        _print(found)
        typer.echo("Would be released." if dry_run else "Released.", err=True)
    if not found:
        typer.echo("This workspace is not stopped: `python -m reactor brake list` shows which are.", err=True)
    raise typer.Exit(0 if found else 1)


def _print(found: list[Stopped]) -> None:
    table = Table("workspace", "cause", "would delete", "of", "waiting", "since", box=None, pad_edge=False)
    for each in found:
        since = each.since.astimezone().isoformat(" ", "seconds")
        numbers = (f"{each.deletes:,}", f"{each.events:,}", f"{each.waiting:,}")
        table.add_row(str(each.workspace_id), each.cause, *numbers, since)
    Console(highlight=False, width=None if Console().is_terminal else 200).print(table)


def _document(stopped: Stopped) -> dict[str, Any]:
    plain = asdict(stopped)
    rebuild = stopped.rebuild_id
    return plain | {
        "workspace_id": str(stopped.workspace_id),
        "rebuild_id": None if rebuild is None else str(rebuild),
        "since": stopped.since.isoformat(),
    }


@contextmanager
def _database(dsn: str | None) -> Iterator[brakes.Connection]:
    """A connection; what goes wrong ends the command with exit code 2 and a sentence."""
    try:
        if not dsn:
            raise ConfigurationError(missing_dsn(os.environ))
        try:
            with psycopg.connect(dsn, autocommit=True, connect_timeout=_CONNECT) as connection:
                yield connection
        except psycopg.errors.UndefinedTable as error:
            raise ConfigurationError("The database has no brake yet: run `python -m reactor migrate`.") from error
        except psycopg.Error as error:
            reason = error.diag.message_primary or str(error).strip()
            raise TransientError(f"The database cannot be asked: {reason}") from error
    except ReactorError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
