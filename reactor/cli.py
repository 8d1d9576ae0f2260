"""The command line: one function per command, each a few lines over the part that does the work."""

from typing import Annotated

import typer

import reactor

app = typer.Typer(
    name="python -m reactor",
    help="Makes Google Calendar agree with a Postgres outbox.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)


def _version(wanted: bool) -> None:  # noqa: FBT001  (typer's callback protocol)
    if wanted:
        typer.echo(reactor.__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: FBT002  (an eager option: the callback does its work)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Makes Google Calendar agree with a Postgres outbox."""
