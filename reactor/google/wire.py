"""httpcore, adapted to Trio and to short waits: a request leaves in one piece, and its body may be cancelled.

*Connections.* httpcore's pool and httpx's transport, which is around it, took half of the CPU of a request (312 us with
both, 215 with the pool alone, 150 with neither). We hold connections by ourselves (`reactor.google.transport`), and we
open them: httpcore's own have a lock around the one that speaks HTTP, because two tasks might open it at once, and to
take that lock is a round of the scheduler for every request. Connections through a proxy are httpcore's.

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
import trio

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


class ApiEndpoint:
    """The server that requests go to: opens connections to it, whose streams send a request whole.

    Args:
        origin: The server.
        tls: What certificates are checked with; None for plain http.
        proxy: The proxy's URL; None for direct connections.
        idle: Seconds after which an idle connection is not used any more.
    """

    def __init__(self, origin: httpcore.Origin, tls: ssl.SSLContext | None, proxy: str | None, idle: float) -> None:
        self._origin = origin
        self._tls = tls
        self._idle = idle
        self._backend = _Backend()
        self._proxy = None if proxy is None else self._through(httpx.Proxy(proxy))
        if tls is not None:
            tls.set_alpn_protocols(["http/1.1"])

    def _through(self, proxy: httpx.Proxy) -> httpcore.AsyncHTTPProxy:
        url = proxy.url  # httpx has read the user and the password
        return httpcore.AsyncHTTPProxy(
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            proxy_auth=proxy.raw_auth,
            ssl_context=self._tls,
            keepalive_expiry=self._idle,
            network_backend=self._backend,
        )

    async def connect(self, timeout: float) -> httpcore.AsyncConnectionInterface:
        """Open a connection; one through a proxy opens with its first request.

        Args:
            timeout: Seconds for each step.

        Raises:
            httpcore.ConnectError: The server cannot be reached, or is another one.
            httpcore.ConnectTimeout: It does not answer in time.
        """
        if self._proxy is not None:
            return self._proxy.create_connection(self._origin)
        host = self._origin.host.decode("ascii")
        stream: httpcore.AsyncNetworkStream = await self._backend.connect_tcp(host, self._origin.port, timeout)
        if self._tls is not None:
            plain = stream
            try:
                stream = await plain.start_tls(self._tls, host, timeout)
            except BaseException:
                with trio.CancelScope(shield=True):  # to close a socket is quick
                    await plain.aclose()
                raise
        return httpcore.AsyncHTTP11Connection(self._origin, stream, self._idle)


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
