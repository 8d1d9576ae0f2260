"""Sends requests and receives responses: httpcore on Trio, HTTP/1.1 with keep-alive.

Connections are kept on a stack while they are idle. One httpx client for everything is the obvious layout, and the slow
one: its pool looks at all connections for every request, so that 100 requests in flight over 100 ms of latency were 90
a second, where a stack of single connections carries 800 (docs/benchmarks.md). The last one put back is the first one
taken: connections in use stay warm, and those that a peak left behind are closed after a while. No request waits for a
connection: the caller bounds how many requests are in flight.

We need neither cookies nor redirects nor a log line with every URL (a calendar's id is a person's e-mail address), and
so none of httpx around a connection.
"""

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpcore
import trio

from reactor import __version__
from reactor.core.calendar.messages import ApiRequest, NoResponse, Reply, Response
from reactor.google.endpoints import checked_url
from reactor.google.network import client_options
from reactor.google.wire import ApiEndpoint, Body

_LARGEST_ANSWER = 32 * 1024 * 1024  # bytes; a page of 2,500 events has about 1
_IDLE = 60.0  # seconds
_NEVER_SENT = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ProxyError)
_LOST = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    UnicodeError,
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step of a request may take, in seconds.

    Attributes:
        connect: To open a connection, TLS included.
        write: To send one piece of the request.
        read: To receive one piece of the response.
        whole: All of it, because a response may come a byte at a time.
    """

    connect: float = 5.0
    write: float = 10.0
    read: float = 30.0
    whole: float = 60.0


@dataclass(slots=True)
class _Connection:
    wire: httpcore.AsyncConnectionInterface
    idle_since: float = 0.0


class Transport:
    """Sends requests to one API root, over connections that it keeps.

    Args:
        api_root: For example `https://www.googleapis.com/`; plain http is for loopback only.
        timeouts: How long a request may take.

    Raises:
        ConfigurationError: The root is not usable, or the environment does not let requests leave.
    """

    def __init__(self, api_root: str, timeouts: Timeouts) -> None:
        root = checked_url(api_root)
        self._timeouts = timeouts
        self._url = httpcore.URL(scheme=root.raw_scheme, host=root.raw_host, port=root.port, target=root.raw_path)
        self._headers = [
            (b"Host", root.netloc),
            (b"User-Agent", f"calendar-sync-reactor/{__version__}".encode()),
            (b"Accept-Encoding", b"identity"),
        ]
        self._extensions = {"timeout": {"connect": timeouts.connect, "write": timeouts.write, "read": timeouts.read}}
        options = client_options(str(root))
        # One for all: what TLS needs is expensive to make.
        self._endpoint = ApiEndpoint(self._url.origin, options["verify"] or None, options["proxy"], _IDLE)
        self._idle: list[_Connection] = []

    async def send(self, request: ApiRequest, token: str) -> Reply:
        """Send one request; a failure of the network is a reply too."""
        await self._retire()
        wire: httpcore.AsyncConnectionInterface | None = None
        try:
            written = self._written(request, token)
            with trio.move_on_after(self._timeouts.whole):
                wire = await self._connection()
                return await self._exchange(wire, written)
            return NoResponse("the answer took too long")
        except _NEVER_SENT:
            return NoResponse("no connection", sent=False)
        except _LOST:
            return NoResponse("the connection was lost")
        finally:
            # After a failure or a cancellation httpcore has closed it.
            if wire is not None and wire.is_idle():
                self._idle.append(_Connection(wire, trio.current_time()))

    async def _connection(self) -> httpcore.AsyncConnectionInterface:
        """The connection that was used last, or a new one."""
        while self._idle:
            wire = self._idle.pop().wire
            if not wire.has_expired():  # the server may have closed it
                return wire
            await wire.aclose()
        return await self._endpoint.connect(self._timeouts.connect)

    async def _exchange(self, wire: httpcore.AsyncConnectionInterface, request: httpcore.Request) -> Reply:
        response = await wire.handle_async_request(request)
        try:
            body = await _bounded(response.stream)
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()
        if body is None:
            return NoResponse("the answer is too large")
        return Response(response.status, _read(response.headers), body)

    def _written(self, request: ApiRequest, token: str) -> httpcore.Request:
        """The request as httpcore sends it; the target goes out as it was written."""
        headers = [*self._headers, (b"Authorization", b"Bearer " + token.encode("ascii"))]
        headers += [(name.encode("ascii"), text.encode("ascii")) for name, text in request.headers.items()]
        if request.body:
            headers.append((b"Content-Length", b"%d" % len(request.body)))
        url, target = self._url, self._url.target + request.target.encode("ascii")
        return httpcore.Request(
            request.http_method,
            httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=target),
            headers=headers,
            content=Body(request.body) if request.body else None,
            extensions=self._extensions,
        )

    async def _retire(self) -> None:
        """Close connections that were idle for long; the oldest are at the bottom."""
        while self._idle and trio.current_time() - self._idle[0].idle_since > _IDLE:
            await self._idle.pop(0).wire.aclose()

    async def aclose(self) -> None:
        """Close every connection, also in a task that is cancelled."""
        with trio.CancelScope(shield=True):  # to close one is a checkpoint, and the others would stay open
            while self._idle:
                await self._idle.pop().wire.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _read(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers of a response; of several of one name, the values in a row (RFC 9110, 5.2)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


async def _bounded(stream: Iterable[bytes] | AsyncIterable[bytes]) -> bytes | None:
    """A body that is not too large, as it comes off the wire (nothing but `identity` was asked for).

    The rest of one that is too large is read and dropped while time lasts: to stop half-way would leave httpcore's
    generators unfinished, and Trio rightly warns about those.
    """
    assert isinstance(stream, AsyncIterable)  # noqa: S101 - for the type checker
    body = bytearray()
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size <= _LARGEST_ANSWER:
            body += chunk
    return bytes(body) if size <= _LARGEST_ANSWER else None
