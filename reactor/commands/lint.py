"""`lint`: checks what the application writes as the reactor will check it."""

import sys
from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn
from reactor.commands.output import note, print_facts, print_json, print_table, sentences
from reactor.core.payload import LARGEST
from reactor.desk import lint as desk
from reactor.desk.wording import count, many
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import open_admin_session

_COLUMNS = ("field", "what it must be", "rows", "one of them")


def lint(
    *,
    payload: Annotated[
        Path | None,
        typer.Option(
            allow_dash=True,
            dir_okay=False,
            show_default=False,
            metavar="FILE",
            help="Look at the payload in this file instead, - for standard input; needs no database.",
        ),
    ] = None,
    workspace: OneWorkspace = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Check what the application writes as the reactor will check it: its view, and the newest rows of the outbox.

    Up to 10,000 rows of calendar_source_events, as a rebuild reads them, and the newest 1,000 of the outbox. What is
    wrong is said by field and with a number of rows, and no value is repeated. Changes nothing, and asks Google
    nothing: whether a time zone or a colour exists is not known here.

    Exit codes: 0 all can be used; 1 something cannot; 2 wrong use or no database.
    """
    with sentences():
        if payload:
            is_well = _show_payload(_content(payload), as_json=as_json)
        else:
            with open_admin_session(read_dsn(database_url), name="lint") as admin:
                found = desk.lint(admin, workspace)
            is_well = found.is_well
            if as_json:
                print_json(found.document())
            else:
                _show(found.view)
                _show(found.outbox)
    raise typer.Exit(0 if is_well else 1)


def _content(file: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror}): give another path.") from error


def _show_payload(payload: bytes, *, as_json: bool) -> bool:
    said = desk.lint_payload(payload)
    if as_json:
        print_json(said)
    elif said["ok"]:
        print_facts(said["sends"], title="The payload can be used. What would be sent for a new source:")
    else:
        print_table(_COLUMNS[:2], [tuple(each.values()) for each in said["problems"]])
    return bool(said["ok"])


def _show(part: desk.LintPart) -> None:
    title = "The newest rows of the outbox" if part.origin == "outbox" else "calendar_source_events"
    if part.problems:
        print_table(_COLUMNS, map(astuple, part.problems), title=title)
    if part.refused:
        note(f"{title}: {part.refused}.")
    elif part.origin == "memory":
        note("There is no calendar_source_events, so there is no view to look at.")
    else:
        rows = many(part.rows + part.capped, part.rows, "row") if part.capped else count(part.rows, "row")
        note(f"{title}: {rows}, {part.bad:,} cannot be used.")


EPILOG = """Examples:

    python -m reactor lint

    python -m reactor lint --payload payload.json

    python -m reactor lint --json | jq '.view.problems'"""

app = typer.Typer()
app.command(epilog=EPILOG)(lint)
