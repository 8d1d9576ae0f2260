"""The command line: one function per command, each a few lines over the part that does the work."""

from functools import partial
from typing import Annotated

import trio
import typer

import reactor
from reactor.emulator import command as emulator_command
from reactor.errors import ConfigurationError

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


@app.command()
def emulator(
    bind: Annotated[str, typer.Option(help="Address and port to listen on; port 0 takes any free one.")] = (
        "127.0.0.1:8085"
    ),
    email: Annotated[str, typer.Option(help="The user to begin with, and the id of their calendar.")] = (
        "user@example.com"
    ),
    quota: Annotated[  # noqa: FBT002  (an option)
        bool, typer.Option("--quota", help="Apply Google's published limits: 600 requests a minute and user.")
    ] = False,
    allow_remote: Annotated[  # noqa: FBT002  (an option)
        bool, typer.Option("--allow-remote", help="Accept an address that other machines can reach.")
    ] = False,
) -> None:
    """Serve a Google Calendar in memory; prints the settings that point the reactor at it."""
    try:
        host, port = emulator_command.parse_bind(bind, allow_remote=allow_remote)
        trio.run(partial(emulator_command.run, host, port, email=email, quota=quota, say=typer.echo))
    except ConfigurationError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
