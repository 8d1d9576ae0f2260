"""The command line: puts the commands together; each is a file of `reactor/commands/`."""

from typing import Annotated

import typer

import reactor
from reactor.commands import brake, check, dead_letters, demo, emulator, explain, locks, migrate, rebuild, run, status
from reactor.commands.access import connect, connections, tokens
from reactor.commands.compare import drift
from reactor.commands.output import note
from reactor.settings import unknown_variables

_TELL_THEMSELVES = ("run", "check")  # which variables are none of ours: in the log, in the report

app = typer.Typer(
    name="python -m reactor",
    help="Makes Google Calendar agree with a Postgres outbox. Without a command: `run`.",
    epilog="Exit codes: 0 done, or all is well; 1 it failed, or something was found; 2 wrong use or a wrong setting.",
    rich_markup_mode="markdown",
    invoke_without_command=True,
    pretty_exceptions_enable=False,  # an unexpected error is a line of the log: observability/crashes.py
)
app.add_typer(brake.app)


def _version(wanted: bool) -> None:  # noqa: FBT001  (typer's callback protocol)
    if wanted:
        typer.echo(reactor.__version__)
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001, FBT002  (an eager option: the callback does its work)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Makes Google Calendar agree with a Postgres outbox. Without a command: `run`."""
    if context.invoked_subcommand is None:
        run.run()
    elif context.invoked_subcommand not in _TELL_THEMSELVES:
        for problem in unknown_variables():
            note(f"Warning: {problem}")


run.register(app)
migrate.register(app)
check.register(app)
status.register(app)
explain.register(app)
rebuild.register(app)
app.add_typer(dead_letters.app)
app.add_typer(connections.app)
connect.register(app)
app.add_typer(tokens.app)
locks.register(app)
drift.register(app)
emulator.register(app)
demo.register(app)
