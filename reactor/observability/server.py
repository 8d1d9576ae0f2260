"""A small HTTP server for ASGI applications, and the application of the health endpoint; the console has its own.

Each connection is served by itself (`reactor.observability.http_connection`), so a client that sends nonsense, does not
read or stops half-way costs its own connection and nothing else. The number of connections is bounded. When one more
comes, we close the one that is closest to its deadline, so that idle clients cannot keep a probe out.

We own the listening sockets and serve duplicates of them. If accepting itself fails with an unexpected error, we start
it again; meanwhile connections wait in the sockets' queue and none is refused. A port that is taken is an error at the
start.
"""

import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app

from reactor.errors import ConfigurationError
from reactor.observability.http_connection import HttpConnection
from reactor.process.concurrency import cancelled_by, keep_running

log = structlog.get_logger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

LARGEST_ANSWER = 64 * 1024  # bytes
MOST = 100
"""Connections at once. Each holds up to 16 kB of a head, and a response."""
_GRACE = 3.0  # seconds for a request in progress when the server stops
_LONGEST_HEAD = 16 * 1024  # bytes; a probe's is 200


@dataclass(frozen=True, slots=True)
class PageResponse:
    """The response of a page of the health endpoint.

    Attributes:
        status: The status code.
        text: The body.
        content_type: What it is.
    """

    status: int
    text: str
    content_type: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[], PageResponse]]
"""By path; called for each request, so they answer from memory."""


def application(pages: Pages) -> Application:
    """Make the ASGI application that serves some pages to GET and HEAD, and refuses everything else."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        del receive
        await _answer(_page(pages, scope), send)

    return app


def _page(pages: Pages, scope: Message) -> PageResponse:
    found = pages.get(scope["path"])
    if found is None:
        return PageResponse(404, "There is " + ", ".join(pages) + ".\n")
    if scope["method"] not in ("GET", "HEAD"):
        return PageResponse(405, "GET it.\n")
    try:
        page = found()
    except Exception:
        log.exception("health_page_failed", page=scope["path"])
        return PageResponse(500, "There is an error in the log.\n")
    if len(page.text) > LARGEST_ANSWER:
        return PageResponse(500, "The answer is too large.\n")
    return page


async def _answer(page: PageResponse, send: Send) -> None:
    body = page.text.encode()
    headers = [
        (b"content-type", page.content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _log_failure(errors: BaseException) -> None:
    log.warning("health_connection_failed", exc_info=errors)


class Server:
    """Serves an ASGI application, one task for each connection.

    Args:
        app: The ASGI application. It reads a request's body at once, and no more of it than it wants: what it leaves
            is kept in memory until it answers.
        name: The server's name in the log.
        failed: Called with the errors that end a connection.
        setting: The variable that says where it listens, for the sentence about a port that is taken.
        patience: Seconds for a request, as `reactor.observability.http_connection` counts them; None for its own.

    Attributes:
        restarts: How often accepting connections was restarted after an unexpected error.
        failures: How many connections ended in such an error.
        connections: Those that are open.
    """

    def __init__(
        self,
        app: Application,
        *,
        name: str = "health",
        failed: Callable[[BaseException], object] = _log_failure,
        setting: str = "HEALTH_BIND",
        patience: float | None = None,
    ) -> None:
        self.restarts = 0
        self.failures = 0
        self._name, self._failed = name, failed
        self._setting = setting
        self._patience = patience
        self._app = wrap_app(app, 0, "asgi")
        self._config = _config()
        self.connections: set[HttpConnection] = set()

    async def run(
        self,
        host: str | None,
        port: int,
        stop: trio.Event,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` is set.

        Args:
            host: The address to listen on; None for all, of both families.
            port: The port, 0 for any free one.
            stop: Ends the server, after the requests in progress.
            task_status: Started with the base URL, without a slash at its end, once connections are accepted.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        try:
            listeners = await trio.open_tcp_listeners(port, host=host) if host else [_everywhere(port)]
        except OSError as error:
            raise ConfigurationError(
                f"{self._setting}: cannot listen on {host or 'all addresses'}, port {port} "
                f"({error.strerror or error}): give another address or port."
            ) from error
        async with AsyncExitStack() as stack:
            for listener in listeners:
                stack.push_async_callback(listener.aclose)
            shown, number = listeners[0].socket.getsockname()[:2]
            task_status.started(f"http://[{shown}]:{number}" if ":" in shown else f"http://{shown}:{number}")
            await self._serve(listeners, stop)

    async def _serve(self, listeners: list[trio.SocketListener], stop: trio.Event) -> None:
        context = WorkerContext(None)

        async def serve(stream: trio.SocketStream) -> None:
            await self._connection(context, stream)

        async with trio.open_nursery() as connections:

            async def accept() -> None:
                await trio.serve_listeners(serve, list(map(_again, listeners)), handler_nursery=connections)

            async with cancelled_by(stop):
                await keep_running(self._name, accept, failed=self._restarted)
            await context.terminated.set()
            for connection in self.connections:
                connection.finish(_GRACE)

    def _restarted(self) -> None:
        self.restarts += 1

    async def _connection(self, context: WorkerContext, stream: trio.SocketStream) -> None:
        """Serve a connection; errors are logged and not raised."""
        if len(self.connections) >= MOST:
            oldest = min(self.connections, key=lambda each: each.deadline)
            self.connections.remove(oldest)
            oldest.cut()
        connection = HttpConnection(self._app, self._config, context, stream, patience=self._patience)
        self.connections.add(connection)
        try:
            await connection.run()
        except* Exception as errors:  # noqa: BLE001  (logged there)
            self.failures += 1
            self._failed(errors)
        finally:
            self.connections.discard(connection)


def _everywhere(port: int) -> trio.SocketListener:
    """Listen on every address with one socket, so that one port serves both families; IPv4 alone where that is all."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    made = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    return trio.SocketListener(trio.socket.from_stdlib_socket(made))


def _again(listener: trio.SocketListener) -> trio.SocketListener:
    """Another listener at the same socket; closing it leaves the socket open."""
    return trio.SocketListener(trio.socket.from_stdlib_socket(socket.socket(fileno=os.dup(listener.socket.fileno()))))


def _config() -> Config:
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.h11_max_incomplete_size = _LONGEST_HEAD
    config.max_app_queue_size = math.inf  # type: ignore[assignment]    # the application empties it, or is done
    return config
