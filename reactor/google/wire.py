"""httpcore, adapted to Trio and to short waits: a request leaves in one piece, and its body may be cancelled.

*Connections.* httpcore's pool and httpx's transport, which is around it, took half of the CPU of a request (312 us with
both, 215 with the pool alone, 150 with neither). We hold connections by ourselves (`reactor.google.transport`), so the
pool only makes them: it knows TLS and proxies.

*One piece.* httpcore writes a request's head and its body one after the other. Each is a system call, a round of the
scheduler and a packet, and the server is woken twice: after a sleep, with cold caches, that was an eighth of the time
from a commit to its request (10.7 and 9.3 ms in turns, on a busy machine). So we keep what is written until the next
read.

*The body.* The libraries' own are async generators. A request that is cancelled while it is sent leaves one unfinished
and unclosed, and Trio warns when it is collected. An iterator has nothing to finish.
"""

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Self

import httpcore
import httpx

_MOST = 65_536
"""Bytes that are kept; a batch of 50 has about 40,000."""


class WholeStream(httpcore.AsyncNetworkStream):
    """A stream that writes before it reads.

    Args:
        stream: The stream beneath.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._timeout: float | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Keep the bytes; write them when they have become too many."""
        self._kept += buffer
        self._timeout = timeout
        if len(self._kept) > _MOST:
            await self._write()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Write what was kept, then read."""
        with suppress(httpcore.WriteError):  # as httpcore does: a server that has closed early may have said why
            await self._write()
        return await self._stream.read(max_bytes, timeout)

    async def _write(self) -> None:
        if self._kept:
            kept, self._kept = bytes(self._kept), bytearray()
            await self._stream.write(kept, self._timeout)

    async def aclose(self) -> None:
        """Close the stream; bytes that were kept are not sent."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Change to TLS; the encrypted stream keeps what is written too."""
        return WholeStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream beneath knows."""
        return self._stream.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return WholeStream(await self._trio.connect_tcp(host, port, timeout, local_address, socket_options))


def maker(tls: ssl.SSLContext | None, proxy: str | None, idle: float) -> httpcore.AsyncConnectionPool:
    """What makes connections whose streams send a request whole.

    Args:
        tls: What certificates are checked with; None for plain http.
        proxy: The proxy's URL; None for direct connections.
        idle: Seconds after which an idle connection is not used any more.
    """
    settings: dict[str, Any] = {"ssl_context": tls, "keepalive_expiry": idle, "network_backend": _Backend()}
    if proxy is None:
        return httpcore.AsyncConnectionPool(**settings)
    told = httpx.Proxy(proxy)  # it reads the user and the password
    url = httpcore.URL(scheme=told.url.raw_scheme, host=told.url.raw_host, port=told.url.port, target=told.url.raw_path)
    return httpcore.AsyncHTTPProxy(url, proxy_auth=told.raw_auth, **settings)


class Body(httpx.AsyncByteStream):
    """A body of some bytes, sent in one piece."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Piece(self._content)


class _Piece:
    def __init__(self, content: bytes) -> None:
        self._left: bytes | None = content

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._left is None:
            raise StopAsyncIteration
        piece, self._left = self._left, None
        return piece


def with_body(request: httpx.Request, content: bytes | None) -> httpx.Request:
    """Replace the body of a request that was made with this content by one that may be cancelled while it is sent."""
    if content:
        request.stream = Body(content)
    return request
