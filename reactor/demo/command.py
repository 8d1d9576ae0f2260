"""`python -m reactor demo`: chooses a view, passes signals on, turns the end into an exit code."""

import io
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TextIO, cast

import trio
import typer
from rich.console import Console

from reactor import service
from reactor.demo.breakage import DemoBreakage
from reactor.demo.demo import Demo, Reactor
from reactor.demo.options import Options
from reactor.demo.screen import Scene, show_lines, show_screen
from reactor.demo.summary import Summary
from reactor.errors import ConfigurationError, ReactorError
from reactor.observability import logs
from reactor.settings import Settings

_LINES = 30


class Recent(io.TextIOBase):
    """A text stream that remembers its last lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)

    def write(self, text: str) -> int:
        """Take text; the handlers of logging write whole lines."""
        self._lines.extend(text.splitlines())
        return len(text)

    def text(self) -> str:
        """The lines that were kept, as text."""
        return "\n".join(self._lines)


async def reactor(variables: dict[str, str], stop: trio.Event, ready: Callable[[], object]) -> None:
    """Run the service until `stop` is set."""
    await service.run(Settings.from_environment(**variables), stop=stop, ready=lambda _: ready())


async def console(
    variables: dict[str, str], breakage: DemoBreakage, stop: trio.Event, say: Callable[[str], object]
) -> None:
    """Serve the operator's pages until `stop` is set, on their usual port or, where that is taken, on a free one."""
    try:
        from reactor.console.run import run as serve  # noqa: PLC0415  (a demo with an end has no use for it)
        from reactor.console.settings import ConsoleSettings  # noqa: PLC0415  (as above)
    except ModuleNotFoundError:  # the extra `demo` brings what it needs; a part of it does not
        return
    dsn = variables["database_url"]
    for bind in ("127.0.0.1:8400", "127.0.0.1:0"):
        settings = ConsoleSettings.from_environment(
            database_url=dsn, console_bind=bind, console_name="demo", console_colour="violet"
        )
        with suppress(ConfigurationError):
            await serve(settings, say=say, stop=stop, given=variables, breakable=breakage)
            return


DIFFERENT = 1
BROKEN = 2
INTERRUPTED = 128  # plus the signal's number, as shells have it


def run(options: Options, reactor: Reactor = reactor) -> int:
    """Run a demo to its end; return the exit code.

    Args:
        options: How it is wanted.
        reactor: What is shown.

    Returns:
        0 where calendar and application are equal, or where a demo without an end was stopped; 1 where they
        differ; 2 where something broke; 130 or 143 where a demo with an end was stopped before it.
    """
    log = Recent()  # the screen is the demo's, and with --json there is no other output
    logs.configure("console", cast("TextIO", log))
    code = trio.run(partial(_run, options, reactor))
    if code in (DIFFERENT, BROKEN) and log.text():
        typer.echo(f"The end of the reactor's log:\n{log.text()}", err=True)
    return code


async def _run(options: Options, reactor: Reactor) -> int:
    screen = Console(file=sys.stdout)
    pages = console if options.items is None else None
    demo = Demo(options, reactor, view=partial(_view, options, screen), say=partial(_say, options), console=pages)
    received: list[int] = []
    error: BaseException | None = None
    summary: Summary | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for number in signals:
                    received.append(number)
                    demo.stop.set()
                    if len(received) > 1:
                        nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            try:
                summary = await demo.play()
            except* (ReactorError, OSError) as group:
                error = group
            nursery.cancel_scope.cancel()
    if error is not None and not received:
        for leaf in _leaves(error):
            typer.echo(leaf, err=True)
        return BROKEN
    return _finish(options, summary, received)


def _finish(options: Options, summary: Summary | None, received: list[int]) -> int:
    """Print how it ended; return the exit code."""
    if summary is not None:
        typer.echo(json.dumps(summary.as_json()) if options.as_json else summary.as_text())
    if received:
        return 0 if options.items is None else INTERRUPTED + received[0]
    return 0 if summary is not None and summary.equal else DIFFERENT


async def _view(options: Options, console: Console, scene: Scene) -> None:
    if options.as_json:
        return
    if console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI"):
        await show_screen(scene, console)
    else:
        await show_lines(scene, partial(_say, options))


def _say(options: Options, text: str) -> None:
    if not options.as_json:
        typer.echo(text)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
