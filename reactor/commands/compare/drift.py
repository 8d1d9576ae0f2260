"""`drift`: the calendars and the application side by side. Changes nothing, and says beforehand what it costs."""

import io
import os
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO, cast
from uuid import UUID

import httpx
import trio
import typer

from reactor.commands.compare import drift_report as reporting
from reactor.commands.compare.comparing import SQL, Comparing, Cost, FailedForAllError, cost
from reactor.commands.compare.drift_report import Comparison
from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_number
from reactor.commands.output import note, progress, sentences
from reactor.credential_store import CredentialStore
from reactor.errors import ConfigurationError, ReactorError
from reactor.google.credentials import account_of
from reactor.google.network import client_options
from reactor.google.reader import Pace
from reactor.google.token_exchange import TokenExchange
from reactor.google.transport import Timeouts, Transport
from reactor.observability import logs
from reactor.postgres.connection.admin import open_admin_session
from reactor.postgres.connection.pool import Pool
from reactor.process.concurrency import one_error
from reactor.settings import DatabaseSettings, EncryptionSettings, GoogleSettings

PORTION = 100  # workspaces
LAST_TOKENS = 5.0  # seconds, at the end, for refresh tokens that Google has rotated meanwhile


class _DriftSettings(EncryptionSettings, GoogleSettings, DatabaseSettings):
    """All settings of the command, so that all problems are reported at once."""


def drift(  # noqa: PLR0913  (options)
    *,
    workspace: OneWorkspace = None,
    everything: Annotated[bool, typer.Option("--all", help="All workspaces whose connection works.")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Show titles, descriptions and places; without it their lengths.")
    ] = False,
    rate: Annotated[
        float,
        typer.Option(
            parser=read_number(0.1, 100), metavar="<float>", help="Calls to Google a second, at most; 0.1 to 100."
        ),
    ] = 5.0,
    patience: Annotated[
        float,
        typer.Option(
            parser=read_number(0),
            metavar="<float>",
            help="Seconds that a change may wait in the outbox before its difference counts.",
        ),
    ] = 900.0,
    lookups: Annotated[
        float,
        typer.Option(
            parser=read_number(0),
            metavar="<int>",
            help="Events of a workspace that are asked for one by one, where no list has them.",
        ),
    ] = 100,
    metrics: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, show_default=False, help="Write metrics here, for node_exporter's textfile collector."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask Google nothing.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare calendars with what the application wants, event by event and field by field.

    What the application wants is the view calendar_source_events; without one, what was applied last. Reads, and
    changes nothing; what it costs of Google's quotas is said first. A difference whose change waits in the outbox is
    on its way: it is shown apart and does not count, unless it waits for longer than --patience.

    Exit codes: 0 no differences; 1 there are some, or a workspace could not be compared; 2 wrong use, a wrong setting
    or no database.
    """
    with sentences():
        settings = _checked(workspace, metrics, database_url, everything=everything)
        with open_admin_session(settings.database_url.get_secret_value(), name="drift") as admin:
            if workspace:
                admin.require_workspace(workspace)
            expected = cost(admin, workspace)
        note(reporting.forecast(expected, rate=rate, lookups=int(lookups)))
        if dry_run:
            reporting.show_cost(expected, as_json=as_json)
            raise typer.Exit
        logs.configure("auto", cast("TextIO", _StandardError()))
        found = trio.run(
            partial(_compare, settings, workspace, expected, rate, words=words, patience=patience, lookups=int(lookups))
        )
        if metrics:
            reporting.write_metrics(found, metrics)
    reporting.show(found, as_json=as_json)
    raise typer.Exit(0 if found.is_well else 1)


def _checked(
    workspace: UUID | None, metrics: Path | None, database_url: str | None, *, everything: bool
) -> _DriftSettings:
    if (workspace is None) != everything:
        raise ConfigurationError("Say which: --workspace ID, or --all.")
    if metrics and not (metrics.parent.is_dir() and os.access(metrics.parent, os.W_OK)):
        raise ConfigurationError(f"--metrics names a file in a directory that we cannot write: {metrics.parent}.")
    return _DriftSettings.from_environment(database_url=database_url)


async def _compare(
    settings: _DriftSettings,
    workspace: UUID | None,
    expected: Cost,
    rate: float,
    *,
    words: bool,
    patience: float,
    lookups: int,
) -> Comparison:
    """Compare one workspace, or all."""
    found = Comparison()
    pool = Pool(settings.database_url.get_secret_value(), name="calendar-sync-reactor drift")
    transport = Transport(settings.google_api_root, Timeouts())
    with one_error(ReactorError):
        async with (
            aclosing(pool),
            aclosing(transport),
            httpx.AsyncClient(**client_options(settings.google_token_uri)) as client,
            trio.open_nursery() as exchanges,
        ):
            account = partial(account_of, client=settings.oauth_client)
            credentials = CredentialStore(settings.token_cipher, pool, TokenExchange(client), account, exchanges)
            comparing = Comparing(pool, credentials, transport, Pace(rate), words, patience, lookups)
            if workspace:
                found.take(await comparing.compare(workspace))
            else:
                await _all(comparing, found, expected.workspaces)
            exchanges.cancel_scope.deadline = trio.current_time() + LAST_TOKENS
    return found


async def _all(comparing: Comparing, found: Comparison, expected: int) -> None:
    """Compare the workspaces whose connection works, one after the other."""
    after: UUID | None = None
    with progress("Comparing", expected) as advance:
        while rows := await comparing.pool.execute(SQL["connections_after"], {"after": after, "rows": PORTION}):
            for workspace, is_valid in rows:
                after = workspace
                if not is_valid:
                    found.invalid += 1
                    continue
                try:
                    found.take(await comparing.compare(workspace), of_many=True)
                except FailedForAllError as error:
                    found.stopped = str(error)
                    return
                advance(1)


class _StandardError(io.TextIOBase):
    """Standard error, as it is at the time when a line is written."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


EPILOG = """Examples:

    python -m reactor drift --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10

    python -m reactor drift --all --dry-run

    python -m reactor drift --all --rate 2 --metrics /var/lib/node_exporter/reactor_drift.prom

    python -m reactor drift --all --json | jq '.workspaces[] | select(.counts.missing > 0) | .workspace'"""

app = typer.Typer()
app.command(epilog=EPILOG)(drift)
