"""The command line: one function per command, each a few lines over the part that does the work."""

import os
from functools import partial
from typing import Annotated

import trio
import typer

import reactor
from reactor.commands import brake
from reactor.demo.options import DEFAULT_RATE, Options
from reactor.emulator import command as emulator_command
from reactor.errors import ConfigurationError, ReactorError
from reactor.postgres.dsn import missing_dsn

app = typer.Typer(
    name="python -m reactor",
    help="Makes Google Calendar agree with a Postgres outbox. Without a command: `run`.",
    invoke_without_command=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
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
        run()


@app.command()
def run() -> None:
    """Run the service: the same as without a command.

    SIGTERM and Ctrl-C end it: what is under way is finished within CALENDAR_SYNC_DRAIN_TIMEOUT_MS, the rest given back.
    A second signal stops it at once, and other replicas take over. Everything is set by environment variables:
    docs/configuration.md.

    Exit codes: 0 stopped as asked; 1 stopped at once, or failed; 2 a person has to change something.
    """
    from reactor import logs, service, settings  # noqa: PLC0415  (the other commands need none of it)

    try:
        read = settings.Settings.from_environment()
        logs.configure(read.log_format)
        drained = trio.run(service.run, read)
    except ConfigurationError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(0 if drained else 1)


@app.command()
def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; list what is missing, exit 1 if anything is.")
    ] = False,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="DATABASE_URL", show_default=False, help="The database, as the owner of its tables."),
    ] = None,
) -> None:
    """Create or adopt the schema: tables, indexes, triggers, roles.

    The application may go on writing meanwhile. Running it twice is as good as once.

    Example: DATABASE_URL=postgresql://owner@db.internal/app python -m reactor migrate
    """
    from reactor.postgres import migrations  # noqa: PLC0415  (yoyo is needed by this command only)

    try:
        dsn = _database_url(database_url)
        if not check:
            migrations.migrate(dsn, progress=typer.echo)
        found = migrations.missing(dsn)
    except ReactorError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    typer.echo("\n".join(found) or "Nothing is missing.")
    raise typer.Exit(1 if found else 0)


def _database_url(given: str | None) -> str:
    if given:
        return given
    raise ConfigurationError(missing_dsn(os.environ))


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


@app.command()
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
) -> None:
    """See it work: PostgreSQL, a Google Calendar, an application and the reactor, all of them here.

    Needs no account and no configuration, and leaves nothing behind. With --items it compares every calendar with the
    application at the end: exit code 0 where they are equal, 1 where they differ.

    Example: python -m reactor demo --items 500
    """
    from reactor.demo import command  # noqa: PLC0415  (nothing else needs all of this)

    if as_json and items is None:
        typer.echo("--json needs --items: a demo without an end has no result.", err=True)
        raise typer.Exit(2)
    options = Options(items=items, seed=seed, rate=rate, as_json=as_json, database_url=database_url)
    raise typer.Exit(command.run(options))
