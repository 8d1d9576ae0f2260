"""Sends requests and receives responses: httpx on Trio, HTTP/1.1 with keep-alive.

One connection is one `httpx.AsyncHTTPTransport`, kept on a stack while it is idle. One client for everything is the
obvious layout, and the slow one: its pool looks at all connections for every request, so that 100 requests in flight
over 100 ms of latency were 90 a second, where a stack of single connections carries 800 (docs/benchmarks.md). The last
one put back is the first one taken: connections in use stay warm, and those that a peak left behind are closed after a
while. No request waits for a connection: the caller bounds how many requests are in flight.

We use the transport without httpx's client around it, because we need no cookies, no redirects and no log line with
every URL (a calendar's id is a person's e-mail address).
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import trio

from reactor import __version__
from reactor.core.calendar.messages import ApiRequest, NoResponse, Reply, Response
from reactor.google.endpoints import checked_url
from reactor.google.network import client_options
from reactor.google.wire import WholeTransport, with_body

_LARGEST_ANSWER = 32 * 1024 * 1024  # bytes; a page of 2,500 events has about 1
_IDLE = 60.0  # seconds
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


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
    transport: httpx.AsyncHTTPTransport
    idle_since: float = 0.0


class Transport:
    """Sends requests to one API root.

    Args:
        api_root: For example `https://www.googleapis.com/`; plain http is for loopback only.
        timeouts: How long a request may take.

    Raises:
        ConfigurationError: The root is not usable, or the environment does not let requests leave.
    """

    def __init__(self, api_root: str, timeouts: Timeouts) -> None:
        self._root = checked_url(api_root)
        self._timeouts = timeouts
        self._path = self._root.raw_path
        self._timeout = {
            "connect": timeouts.connect,
            "write": timeouts.write,
            "read": timeouts.read,
            "pool": timeouts.connect,
        }
        options = client_options(str(self._root))
        self._proxy = options["proxy"]
        self._tls = options["verify"]  # one for all: it is expensive to make
        self._idle: list[_Connection] = []

    async def send(self, request: ApiRequest, token: str) -> Reply:
        """Send one request; a failure of the network is a reply too."""
        await self._retire()
        connection = self._idle.pop() if self._idle else self._open()
        try:
            with trio.move_on_after(self._timeouts.whole):
                return await self._exchange(connection.transport, request, token)
            return NoResponse("the answer took too long")
        finally:
            # Also after a failure or a cancellation: httpx has closed the broken connection and will open another.
            connection.idle_since = trio.current_time()
            self._idle.append(connection)

    async def _exchange(self, transport: httpx.AsyncHTTPTransport, request: ApiRequest, token: str) -> Reply:
        try:
            response = await transport.handle_async_request(self._written(request, token))
            async with _closing(response) as stream:
                body = await _bounded(stream)
        except _NEVER_SENT:
            return NoResponse("no connection", sent=False)
        except (httpx.RequestError, UnicodeError):
            return NoResponse("the connection was lost")
        if body is None:
            return NoResponse("the answer is too large")
        return Response(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    def _written(self, request: ApiRequest, token: str) -> httpx.Request:
        headers = {
            "authorization": f"Bearer {token}",
            "user-agent": f"calendar-sync-reactor/{__version__}",
            "accept-encoding": "identity",
            **request.headers,
        }
        # We send the target as it was written, because to parse it into a URL again is a tenth of the CPU of a request.
        # Not behind a proxy: httpcore gives its CONNECT the request's extensions, and it would ask for the target.
        url, extensions = self._root, dict[str, Any](timeout=self._timeout)
        target = self._path + request.target.encode("ascii")
        if self._proxy:
            url = url.copy_with(raw_path=target)
        else:
            extensions["target"] = target
        content = request.body or None
        return with_body(
            httpx.Request(request.http_method, url, headers=headers, content=content, extensions=extensions), content
        )

    def _open(self) -> _Connection:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE)
        return _Connection(WholeTransport(verify=self._tls, trust_env=False, limits=limits, proxy=self._proxy))

    async def _retire(self) -> None:
        """Close connections that were idle for long; the oldest are at the bottom."""
        while self._idle and trio.current_time() - self._idle[0].idle_since > _IDLE:
            await self._idle.pop(0).transport.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        while self._idle:
            await self._idle.pop().transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


@asynccontextmanager
async def _closing(response: httpx.Response) -> AsyncIterator[AsyncIterable[bytes]]:
    """The body of a response as it comes off the wire (nothing but `identity` was asked for); closed afterwards."""
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
    try:
        yield stream
    finally:
        await stream.aclose()


async def _bounded(stream: AsyncIterable[bytes]) -> bytes | None:
    """A body that is not too large. The rest of one that is, is read and dropped while time lasts.

    To stop half-way would leave httpx's generators unfinished, and Trio rightly warns about those.
    """
    body = bytearray()
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size <= _LARGEST_ANSWER:
            body += chunk
    return bytes(body) if size <= _LARGEST_ANSWER else None
