"""The command line: puts the commands together; each is a file of `reactor/commands/`.

A command is imported when it is asked for, because each needs other libraries, and all of them take seconds. For the
list of commands their first sentences are here; a test compares them.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import reactor


class _Command(NamedTuple):
    """Where a command is, and what its help begins with."""

    module: str
    does: str


COMMANDS: Mapping[str, _Command] = {
    "run": _Command("run", "Run the service: the same as without a command."),
    "migrate": _Command("migrate", "Create or adopt the schema: tables, indexes, triggers, roles."),
    "check": _Command(
        "check", "Look whether the service could work here: settings, database, schema, rights, keys, Google, clocks."
    ),
    "status": _Command(
        "status", "Show how the outbox is: what waits and for how long, who waits for a person, dead letters, replicas."
    ),
    "explain": _Command(
        "explain",
        "Say why an event is not in the calendar: one sentence with what to do, then all that is known of it.",
    ),
    "rebuild": _Command(
        "rebuild", "Make a workspace's calendar agree with all that the application says now: starts a REBUILD_ALL."
    ),
    "connect": _Command(
        "access.connect",
        "Connect a workspace: ask a person for their consent in the browser, and store the refresh token, encrypted.",
    ),
    "locks": _Command(
        "locks", "Show which session holds which item: workspace, key, backend, client, age; the longest held first."
    ),
    "drift": _Command(
        "compare.drift", "Compare calendars with what the application wants, event by event and field by field."
    ),
    "lint": _Command(
        "lint",
        "Check what the application writes as the reactor will check it: its view, and the newest rows of the outbox.",
    ),
    "console": _Command(
        "console",
        "Serve the operator's pages: how the outbox is, what needs a person, and why an event is not in the calendar.",
    ),
    "emulator": _Command(
        "emulator", "Serve a Google Calendar in memory; prints the settings that point the reactor at it."
    ),
    "demo": _Command(
        "demo", "See it work: PostgreSQL, a Google Calendar, an application and the reactor, all of them here."
    ),
    "brake": _Command("brake", "List and release workspaces stopped by the mass-delete brake."),
    "dead-letters": _Command("dead_letters", "Look at dead letters and put them back."),
    "acts": _Command("acts", "Show what operators did, and stop what takes long."),
    "connections": _Command("access.connections", "List and change the workspaces' consents."),
    "invitations": _Command("access.invitations", "Invite a workspace's admin to connect its calendar."),
    "tokens": _Command("access.tokens", "Refresh tokens at rest."),
}
"""The commands by name, in the order in which the help lists them."""

_NAME_UNKNOWN_VARIABLES = ("run", "check")  # they do it themselves: in the log, in the report


def load(name: str) -> Any:
    """Import a command: its module's `app`, as the parser wants it."""
    holder = typer.Typer(rich_markup_mode="markdown")
    holder.add_typer(import_module(f"reactor.commands.{COMMANDS[name].module}").app)
    return get_group(holder).commands[name]


class Commands(TyperGroup):
    """The group of all commands. A command is imported when it is called; until then the help lists its name only."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=command.does) for name, command in COMMANDS.items()}
        self._loaded = set[str]()
        self._listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command by its name."""
        if cmd_name in COMMANDS and cmd_name not in self._loaded and not self._listing:
            self.commands[cmd_name] = load(cmd_name)
            self._loaded.add(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and with it the list of commands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


app = typer.Typer(
    name="python -m reactor",
    cls=Commands,
    help="Makes Google Calendar agree with a Postgres outbox. Without a command: `run`.",
    epilog="Exit codes: 0 done, or all is well; 1 it failed, or something was found; 2 wrong use or a wrong setting.",
    rich_markup_mode="markdown",
    invoke_without_command=True,
    pretty_exceptions_enable=False,  # an unexpected error is a line of the log: observability/crashes.py
)


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
        from reactor.commands.run import run  # noqa: PLC0415  (a command, imported as it is asked for)

        run()
    elif context.invoked_subcommand not in _NAME_UNKNOWN_VARIABLES:
        from reactor.settings import unknown_variables  # noqa: PLC0415  (as above)

        for problem in unknown_variables():
            typer.echo(f"Warning: {problem}", err=True)
