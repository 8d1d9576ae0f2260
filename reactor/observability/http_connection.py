"""One connection to a server of ours: hypercorn's HTTP/1.1 protocol between a stream and the application.

Why not hypercorn's server: `hypercorn.trio.serve` runs all connections in one nursery, so an error that it does not
expect in one of them ends all of them, and the server. A websocket upgrade with one trailing byte does it, and so does
what a port scanner sends (hypercorn issues 203 and 225, open with 0.18). It accepts upgrades to websockets and HTTP/2
on every clear port, and no setting turns them off. Its `send` is shielded and has no deadline, so a client that does
not read delays the end of the process. The protocol below it, h11 on one side and ASGI on the other, has none of these
faults: we use it as it is, and write what is around it here.

- *A request to upgrade is answered as if it did not ask* (RFC 9110, 7.8: a server may ignore it). So there are no
  websockets and there is no HTTP/2, and of hypercorn only HTTP/1.1 meets what a stranger sends.
- *One deadline.* A connection has `PATIENCE` for each request, counted from its begin or from the end of the request
  before. It bounds a head that comes slowly, a client that does not read, and everything else that might stand still.
  Nothing here is shielded, so the deadline holds.
- *The last response arrives.* Closing a socket with unread data resets the connection, and the response may be lost
  with it. So we announce the end, and for a moment read and drop what still comes.

The names that are imported from hypercorn are not documented: `pyproject.toml` holds hypercorn to its minor version.
"""

from contextlib import suppress

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

PATIENCE = 5.0
"""Seconds for a request, from the begin of the connection or the end of the one before to the end of its answer."""
_LINGER = 1.0  # seconds
_CHUNK = 16 * 1024  # bytes


class HttpConnection:
    """Serves the requests of one connection, one after the other.

    Args:
        app: The application, wrapped by hypercorn.
        config: hypercorn's.
        context: hypercorn's. Its `terminated` is set when no further request is wanted.
        stream: To the client.
        patience: Seconds for a request; None for `PATIENCE`.

    Attributes:
        deadline: When it ends if nothing happens.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        *,
        patience: float | None = None,
    ) -> None:
        self._make = (app, config, context)
        self._patience = patience
        self._stream = stream
        self._scope = trio.CancelScope()
        self._sending = trio.Lock()
        self._is_idle = True
        self._is_over = False

    @property
    def deadline(self) -> float:
        """When it ends if nothing happens."""
        return self._scope.deadline

    async def run(self) -> None:
        """Serve until either side ends the connection. Raises errors that hypercorn does not expect, in groups."""
        self._wait()
        with self._scope:
            try:
                await self._serve()
            except* h11.LocalProtocolError:
                # Cancelled in the middle of a response, hypercorn begins another one, which h11 refuses.
                if not self._scope.cancel_called:
                    raise
        if self._is_over:
            self._scope = trio.move_on_after(_LINGER)
            with self._scope:
                await self._linger()

    def finish(self, seconds: float) -> None:
        """End it: at once between two requests, otherwise after the answer, and no later than after so many seconds."""
        if self._is_idle:
            self._scope.cancel()
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    def cut(self) -> None:
        """Close the connection at once, without the rest of the response."""
        self._scope.cancel()

    async def _serve(self) -> None:
        app, config, context = self._make
        async with TaskGroup() as tasks:
            protocol = _Http1(app, config, context, tasks, ConnectionState({}), False, self._peer(), None, self._send)
            while data := await self._receive():
                await protocol.handle(RawData(data))
            await protocol.handle(RawData(b""))  # the client may still wait for the response to its last request

    def _peer(self) -> tuple[str, int] | None:
        """The address and port of the client; None where it has gone already."""
        try:
            host, port = self._stream.socket.getpeername()[:2]
        except OSError:
            return None
        return str(host), int(port)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_CHUNK))
        except trio.BrokenResourceError:
            return b""

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            try:
                async with self._sending:
                    await self._stream.send_all(event.data)
            except trio.BrokenResourceError:
                self._scope.cancel()
        elif isinstance(event, Updated):
            self._is_idle = event.idle
            self._wait()
        elif isinstance(event, Closed):
            self._is_over = True
            self._scope.cancel()

    def _wait(self) -> None:
        self._scope.deadline = trio.current_time() + (PATIENCE if self._patience is None else self._patience)

    async def _linger(self) -> None:
        with suppress(trio.BrokenResourceError):
            await self._stream.send_eof()
            while await self._stream.receive_some(_CHUNK):
                pass


class _Http1(H11Protocol):
    """hypercorn's protocol without its ways into others."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1; hypercorn would change to HTTP/2 here."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        )
