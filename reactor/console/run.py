"""The console as a process: a server, the database's sessions, signals."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
import trio

import reactor
from reactor.console.app import PAGES, ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase
from reactor.console.pages import break_it
from reactor.console.settings import ConsoleSettings
from reactor.console.shared.breakage import BreakPort
from reactor.console.visitors.door import PATIENCE
from reactor.console.visitors.keys import VisitorKeys
from reactor.desk.google_event import GoogleReadSettings
from reactor.errors import ConfigurationError, ReactorError
from reactor.observability.server import Server
from reactor.process.concurrency import one_error
from reactor.process.signals import watch_signals
from reactor.settings import parse_bind

log = structlog.get_logger(__name__)

_SENDING = 5.0  # seconds that a client has to receive an answer, after the longest that one may take


async def run(
    settings: ConsoleSettings,
    *,
    say: Callable[[str], object],
    stop: trio.Event | None = None,
    given: Mapping[str, Any] | None = None,
    breakable: BreakPort | None = None,
) -> bool:
    """Run a console until it is stopped.

    Args:
        settings: All that can be set.
        say: Called with the address to open, whenever there is another one: a link with a key is good once.
        stop: Set by the caller to end it; without one, SIGTERM and SIGINT do, and a second one ends it at once.
        given: Settings of the service that are not taken from the environment, by their names.
        breakable: What a visitor may break: in the demo, and nowhere else.

    Returns:
        Whether the requests in progress were answered.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    ended, in_order = trio.Event() if stop is None else stop, True
    rules = settings.access
    address = ""
    keys = VisitorKeys(lambda key: say(f"{rules.origin or address}/?key={key}"))
    dsn = settings.database_url.get_secret_value()
    database = ConsoleDatabase(dsn)
    known = {"database_url": dsn, **(given or {})}
    console = Console(
        database, settings.console_name, settings.console_colour, _google(known), given=known, breakable=breakable
    )
    app = ConsoleApp(console, rules, keys, (*PAGES, break_it.PAGE) if breakable else PAGES)
    server = Server(app.door, name="console", failed=_log_failure, setting="CONSOLE_BIND", patience=PATIENCE + _SENDING)
    with one_error(ReactorError):
        async with trio.open_nursery() as nursery:

            def stop_at_once() -> None:
                nonlocal in_order
                in_order = False
                nursery.cancel_scope.cancel()

            if stop is None:
                await nursery.start(watch_signals, ended, stop_at_once)
            nursery.start_soon(database.keep)
            nursery.start_soon(console.requeues.work)
            nursery.start_soon(console.errands.run)
            async with trio.open_nursery() as serving:
                address = await serving.start(server.run, *parse_bind(settings.console_bind), ended)
                console.address = rules.origin or address
                log.info("console_started", version=reactor.__version__, address=address)
                if rules.is_behind_proxy:
                    say(rules.origin)
                else:
                    keys.renew()
            nursery.cancel_scope.cancel()
    log.info("console_stopped")
    return in_order


def _google(given: Mapping[str, Any]) -> GoogleReadSettings | None:
    """The settings with which Google is asked; None where they are not set, because most consoles do not need them."""
    try:
        return GoogleReadSettings.from_environment(**given)
    except ConfigurationError:
        return None


def _log_failure(errors: BaseException) -> None:
    log.warning("console_connection_failed", exc_info=errors)
