"""The health endpoint: a small ASGI application and hypercorn around it, supervised.

hypercorn's Trio worker ends, with every connection, when one connection meets an error that it does not expect: a
websocket upgrade with one trailing byte does that (hypercorn issues 203 and 225). So it runs in a loop of its own and
is started again. The listening socket is ours and hypercorn gets a duplicate of it: between two starts connections wait
in the socket's queue and none is refused; and a port that is taken is found out once, at the start, where it is an
error. Its `send` waits without a deadline for a client that does not read, which would hold up the end of the process:
answers are small enough for a socket's buffer (64 kB).
"""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

from reactor.errors import ConfigurationError
from reactor.lifecycle import Pauses

log = structlog.get_logger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

LARGEST_ANSWER = 64 * 1024  # bytes
_GRACE = 3.0  # seconds for a request under way when the server is told to stop
_LONGEST_HEAD = 16 * 1024  # bytes; a probe's is 200
_RESTART_FIRST = 0.05  # seconds
_RESTART_CAP = 2.0  # seconds
_STEADY = 10.0  # seconds without a failure after which the next one is a first one


@dataclass(frozen=True, slots=True)
class Page:
    """An answer.

    Attributes:
        status: The status code.
        text: The body.
        content_type: What it is.
    """

    status: int
    text: str
    content_type: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[], Page]]
"""By path; called for each request, so they answer from memory."""


def application(pages: Pages) -> Application:
    """Make the ASGI application that serves some pages to GET and HEAD and nothing else to anybody."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _answer(_page(pages, scope), send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})

    return app


def _page(pages: Pages, scope: Message) -> Page:
    found = pages.get(scope["path"])
    if found is None:
        return Page(404, "There is " + ", ".join(pages) + ".\n")
    if scope["method"] not in ("GET", "HEAD"):
        return Page(405, "GET it.\n")
    page = found()
    if len(page.text) > LARGEST_ANSWER:
        return Page(500, "The answer is too large.\n")
    return page


async def _answer(page: Page, send: Send) -> None:
    body = page.text.encode()
    headers = [
        (b"content-type", page.content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


class Server:
    """hypercorn, started again whenever it fails.

    Args:
        app: The ASGI application.

    Attributes:
        restarts: How often it was started again.
    """

    def __init__(self, app: Application) -> None:
        self.restarts = 0
        self._app = app

    async def run(
        self, host: str, port: int, stop: trio.Event, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until told to stop.

        Args:
            host: The address to listen on.
            port: The port, 0 for any free one.
            stop: Ends it, after the requests that are under way.
            task_status: Told the base URL, without a slash at its end, once connections are accepted.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise ConfigurationError(
                f"HEALTH_BIND: cannot listen on {host}, port {port}: {error.strerror or error}."
            ) from error
        async with AsyncExitStack() as stack:
            for listener in listeners:
                stack.push_async_callback(listener.aclose)
            shown, number = listeners[0].socket.getsockname()[:2]
            task_status.started(f"http://[{shown}]:{number}" if ":" in shown else f"http://{shown}:{number}")
            await self._keep_serving(listeners, stop)

    async def _keep_serving(self, listeners: list[trio.SocketListener], stop: trio.Event) -> None:
        pauses = Pauses(first=_RESTART_FIRST, cap=_RESTART_CAP)
        while not stop.is_set():
            started = trio.current_time()
            try:
                await hypercorn_serve(self._app, _config(listeners), shutdown_trigger=stop.wait, mode="asgi")
            except* Exception as failures:
                self.restarts += 1
                log.error("health_endpoint_failed", exc_info=failures)  # noqa: TRY400  (the logger is structlog's)
            if trio.current_time() - started > _STEADY:
                pauses.reset()
            await pauses.after_failure(unless=stop)


def _config(listeners: list[trio.SocketListener]) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.socket.fileno())}" for listener in listeners]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.graceful_timeout = _GRACE
    config.h11_max_incomplete_size = _LONGEST_HEAD
    return config
