"""The emulator's HTTP server: Trio and h11, one task per connection.

Why not hypercorn, which serves the reactor's own endpoint: it cannot break a connection. Tried with 0.18: an
application that raises before it answers makes it send a tidy 500, one that raises after the head makes it send the
head. So a call that was carried out and whose response is lost, the case that matters most here, cannot be played. And
one malformed connection can end its Trio worker, with every other connection. Here the failure of one connection
affects no other.
"""

import contextlib
import logging
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Any, Final

import h11
import trio

from calendar_emulator.http.app import WIRE, Application, Message

_log = logging.getLogger(__name__)

_CHUNK: Final = 65_536
_LARGEST_HEAD: Final = 65_536
_BACKLOG: Final = 1_024
_LINGER: Final = 2.0


async def serve(
    app: Application,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application until cancelled; open connections are cut then.

    Args:
        app: The ASGI application.
        host: The address to listen on.
        port: The port, 0 for any free one.
        task_status: Started with the base URL, without a slash at its end, once connections are accepted.

    Raises:
        OSError: The address cannot be listened on.
    """
    await serve_listeners(app, await listen(host, port), task_status=task_status)


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Open the sockets to listen on.

    Raises:
        OSError: The address cannot be listened on.
    """
    return list(await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG))


async def serve_listeners(
    app: Application,
    listeners: list[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application on open sockets until cancelled; as `serve`."""
    bound_host, bound_port = listeners[0].socket.getsockname()[:2]
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, partial(_connection, app), listeners))
        task_status.started(f"http://{shown}:{bound_port}")


async def _connection(app: Application, stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            try:
                while await _exchange(app, connection, stream):
                    connection.start_next_cycle()
            except h11.RemoteProtocolError as error:
                if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await _refuse(connection, stream, error.error_status_hint)


async def _exchange(app: Application, connection: h11.Connection, stream: trio.SocketStream) -> bool:
    """Serve one request; return whether another may follow on the connection."""
    request = await _next(connection, stream)
    if not isinstance(request, h11.Request):
        return False
    body = bytearray()
    while isinstance(event := await _next(connection, stream), h11.Data):
        body += event.data
    if not isinstance(event, h11.EndOfMessage):
        return False
    exchange = _Exchange(connection, stream, bytes(body))
    try:
        await app(_scope(request), exchange.receive, exchange.send)
    except trio.BrokenResourceError:
        raise
    except Exception:  # noqa: BLE001
        # A bug; clients see what they would see of Google's, and the emulator's log shows the traceback.
        _log.exception("the emulator failed at %s %s", request.method.decode(), request.target.decode("latin-1"))
        if connection.our_state is h11.SEND_RESPONSE and not exchange.head:
            await _refuse(connection, stream, 500)
        return False
    return not exchange.broken and connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _next(connection: h11.Connection, stream: trio.SocketStream) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.they_are_waiting_for_100_continue:
            informed = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(informed or b"")
        connection.receive_data(await stream.receive_some(_CHUNK))
    return event


@dataclass(slots=True)
class _Exchange:
    """The two callables of ASGI for one request whose body has been read."""

    connection: h11.Connection
    stream: trio.SocketStream
    body: bytes
    head: bytes = b""
    broken: bool = False

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == WIRE:
            self.broken = True
            if message["body"]:
                await self.stream.send_all(message["body"])
        elif message["type"] == "http.response.start":
            dated = [*message["headers"], (b"date", formatdate(usegmt=True).encode())]  # RFC 9110, 6.6.1
            response = h11.Response(status_code=message["status"], headers=dated)
            self.head = self.connection.send(response) or b""
        else:
            data = self.connection.send(h11.Data(data=message["body"])) or b""
            end = self.connection.send(h11.EndOfMessage()) or b""
            await self.stream.send_all(self.head + data + end)


def _scope(request: h11.Request) -> dict[str, Any]:
    target, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.http_version.decode(),
        "method": request.method.decode(),
        "scheme": "http",
        "path": target.decode("latin-1"),
        "raw_path": target,
        "query_string": query,
        "headers": list(request.headers),
        "extensions": {WIRE: {}},
    }


async def _refuse(connection: h11.Connection, stream: trio.SocketStream, status: int) -> None:
    """Send the last answer of a connection, and let it arrive: closing with unread data would reset the connection."""
    headers = [("content-length", "0"), ("connection", "close")]
    head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
    await stream.send_all(head + (connection.send(h11.EndOfMessage()) or b""))
    await stream.send_eof()
    with trio.move_on_after(_LINGER):
        while await stream.receive_some(_CHUNK):
            pass
