"""`migrate`: the schema."""

from typing import Annotated

import typer

from reactor.commands.options import AsJson, read_dsn
from reactor.commands.output import note, print_json, sentences


def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; list what is missing, exit 1 if anything is.")
    ] = False,
    as_json: AsJson = False,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="DATABASE_URL", show_default=False, help="The database, as the owner of its tables."),
    ] = None,
) -> None:
    """Create or adopt the schema: tables, indexes, triggers, roles.

    The application may go on writing meanwhile. Running it twice is as good as once.

    Exit codes: 0 nothing is missing; 1 something is; 2 wrong use, no database, or a schema that cannot be adopted.
    """
    from reactor.postgres.setup import migrations  # noqa: PLC0415  (yoyo is needed by this command only)

    done: list[str] = []

    def progress(sentence: str) -> None:
        done.append(sentence)
        (note if as_json else typer.echo)(sentence)

    with sentences():
        dsn = read_dsn(database_url)
        if not check:
            migrations.migrate(dsn, progress=progress)
        found = migrations.missing(dsn)
    if as_json:
        print_json({"done": done, "missing": found})
    else:
        typer.echo("\n".join(found) or "Nothing is missing.")
    raise typer.Exit(1 if found else 0)


EPILOG = """Examples:

    DATABASE_URL=postgresql://owner@db.internal/app python -m reactor migrate

    python -m reactor migrate --check"""

app = typer.Typer()
app.command(epilog=EPILOG)(migrate)
