"""`drift`: the calendars and the application side by side. Changes nothing, and says beforehand what it costs."""

import io
import os
import sys
from pathlib import Path
from typing import Annotated, TextIO, cast
from uuid import UUID

import trio
import typer

from reactor.commands.compare import drift_report as reporting
from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_number
from reactor.commands.output import note, progress, sentences
from reactor.desk.compare.comparing import Cost, cost
from reactor.desk.compare.comparison import Comparison, forecast
from reactor.desk.compare.run import DriftManner, DriftSettings, compare_all, compare_one
from reactor.errors import ConfigurationError
from reactor.observability import logs
from reactor.postgres.connection.admin import open_admin_session


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
        manner = DriftManner(rate, words, patience, int(lookups))
        note(forecast(expected, rate=rate, lookups=manner.lookups))
        if dry_run:
            reporting.show_cost(expected, as_json=as_json)
            raise typer.Exit
        logs.configure("auto", cast("TextIO", _StandardError()))
        found = trio.run(_compare, settings, workspace, expected, manner)
        if metrics:
            reporting.write_metrics(found, metrics)
    reporting.show(found, as_json=as_json)
    raise typer.Exit(0 if found.is_well else 1)


def _checked(
    workspace: UUID | None, metrics: Path | None, database_url: str | None, *, everything: bool
) -> DriftSettings:
    if (workspace is None) != everything:
        raise ConfigurationError("Say which: --workspace ID, or --all.")
    if metrics and not (metrics.parent.is_dir() and os.access(metrics.parent, os.W_OK)):
        raise ConfigurationError(f"--metrics names a file in a directory that we cannot write: {metrics.parent}.")
    return DriftSettings.from_environment(database_url=database_url)


async def _compare(settings: DriftSettings, workspace: UUID | None, expected: Cost, manner: DriftManner) -> Comparison:
    if workspace:
        return await compare_one(settings, workspace, manner)
    with progress("Comparing", expected.workspaces) as advance:
        return await compare_all(settings, manner, advance)


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
