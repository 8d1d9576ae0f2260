"""`run`: the service."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import trio
import typer

from reactor.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

_FOR_PEOPLE = ("click", "rich")
_ABSENT = cast("ModuleType", None)  # what the import system takes for: not installed


def run() -> None:
    """Run the service: the same as without a command.

    SIGTERM and Ctrl-C end it: what is under way is finished within CALENDAR_SYNC_DRAIN_TIMEOUT_MS, the rest given back.
    A second signal stops it at once, and other replicas take over. Everything is set by environment variables:
    docs/reference/configuration.md.

    Exit codes: 0 stopped as asked; 1 stopped at once, or failed; 2 a person has to change something.
    """
    with _without(_FOR_PEOPLE):
        import structlog  # noqa: PLC0415  (the other commands need none of it)

        from reactor import service, settings  # noqa: PLC0415  (as above)
        from reactor.observability import logs  # noqa: PLC0415  (as above)

    log = structlog.get_logger(__name__)
    try:
        read = settings.Settings.from_environment()
        logs.configure(read.log_format, level=read.log_level)
        for problem in settings.unknown_variables():
            log.warning("setting_unknown", problem=problem)
        _spare_the_collector()
        drained = trio.run(service.run, read)
    except ConfigurationError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(0 if drained else 1)


@contextmanager
def _without(packages: tuple[str, ...]) -> Iterator[None]:
    """Import as if these packages were not installed.

    structlog and httpx import them where they find them: to draw tracebacks, which we write as lines, and for a command
    line of httpx. That was 4 MB of the 84 at rest (`python -m benchmarks idle`).
    """
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, _ABSENT))
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


def _spare_the_collector() -> None:
    """Collect garbage less often, and never what was imported.

    With 2,000 items in flight the collector's defaults took an eighth of the CPU of a drain, and found next to nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


app = typer.Typer()
app.command()(run)
