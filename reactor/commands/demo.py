"""`demo`: see it work."""

from pathlib import Path
from typing import Annotated

import typer

from reactor.demo.options import DEFAULT_RATE, Options


def demo(
    items: Annotated[
        int | None,
        typer.Option(min=1, show_default=False, help="End after so many rows of the outbox; without it, go on."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what people do and of what goes wrong.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Rows a second; 0 for as many as there can be.")] = DEFAULT_RATE,
    as_json: Annotated[  # noqa: FBT002  (an option)
        bool, typer.Option("--json", help="Print one JSON object at the end and nothing else; needs --items.")
    ] = False,
    database_url: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            help="A server to make the demo's database on, as a role that may create databases and roles; "
            "without it an embedded one is started.",
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            show_default=False,
            metavar="FILE",
            help="Write the demo's settings into a new file for a shell, to run other commands on the demo while it "
            "goes on; removed at the end.",
        ),
    ] = None,
) -> None:
    """See it work: PostgreSQL, a Google Calendar, an application and the reactor, all of them here.

    Needs no account and no configuration, and leaves nothing behind. With --items it compares every calendar with the
    application at the end: exit code 0 where they are equal, 1 where they differ.
    """
    from reactor.demo import command  # noqa: PLC0415  (nothing else needs all of this)

    if as_json and items is None:
        typer.echo("--json needs --items: a demo without an end has no result.", err=True)
        raise typer.Exit(2)
    options = Options(items=items, seed=seed, rate=rate, as_json=as_json, database_url=database_url, settings=settings)
    raise typer.Exit(command.run(options))


EPILOG = """Examples:

    python -m reactor demo --items 500

    python -m reactor demo --settings demo.env    # elsewhere: . ./demo.env; python -m reactor status"""

app = typer.Typer()
app.command(epilog=EPILOG)(demo)
