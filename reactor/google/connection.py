"""A connection to Google: HTTP/1.1 by h11 on Trio's streams, through a proxy's tunnel where there is one.

httpx's own connection, httpcore's, stood between a commit and its request: two locks that only a pool needs, each a
round of Trio's scheduler, a cancel scope for each piece, a write for the head and another for the body (each a packet
that wakes the server). That was half of what we do between a claim's answer and the first byte
(`python -m benchmarks where`). What an exchange needs besides h11, which knows the protocol, is the hundred lines here.

A request leaves with one call of the socket. After an exchange that was not completed, for whatever reason, the
connection is not free, and is to be closed: what still comes is not the next request's answer.
"""

import base64
import select
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import h11
import httpx
import trio

from reactor.core.messages import Answer

_PIECE = 64 * 1024  # bytes that are read at once
_LONGEST_HEAD = 100 * 1024  # bytes


class NotConnectedError(Exception):
    """No connection came about, so nothing was sent."""


class BrokenError(Exception):
    """The connection broke, or what came is not HTTP; what was sent may have been carried out."""


class Patience:
    """A cancel scope with two bounds: for all that is done in it, and for the step that it is at.

    Args:
        whole: Seconds for all.
    """

    def __init__(self, whole: float) -> None:
        self._end = trio.current_time() + whole
        self._scope = trio.CancelScope(deadline=self._end)

    def step(self, seconds: float) -> None:
        """Begin a step that may take so long."""
        self._scope.deadline = min(self._end, trio.current_time() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the time for all is over."""
        return trio.current_time() >= self._end

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._scope.__exit__(kind, error, trace)


@dataclass(frozen=True, slots=True)
class Target:
    """Where connections lead.

    Attributes:
        host: The server.
        port: Its port.
        tls: What its certificate is checked with, and an https proxy's; None: nothing is encrypted.
        proxy: Through whose tunnel.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: httpx.Proxy | None


class Connection:
    """A connection, made by `connect`.

    Args:
        stream: To the server.
        socket: Beneath it.

    Attributes:
        is_free: Whether another request may be sent.
    """

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self.is_free = True
        self._stream = stream
        self._socket = socket
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)

    async def exchange(
        self, head: h11.Request, body: bytes, patience: Patience, *, write: float, read: float, largest: int
    ) -> Answer | None:
        """Send a request and read its answer.

        Args:
            head: The request without its body.
            body: Its body.
            patience: The scope in which it is called.
            write: Seconds to get rid of the request.
            read: Seconds to get a piece of the answer.
            largest: Bytes of the answer's body at most; None is returned where it has more.

        Raises:
            BrokenError: There is no answer.
        """
        self.is_free = False
        pieces = (self._h11.send(event) or b"" for event in (head, h11.Data(data=body), h11.EndOfMessage()))
        patience.step(write)
        with suppress(trio.BrokenResourceError):  # a server that has closed early may have said why
            await self._stream.send_all(b"".join(pieces))
        try:
            return await self._receive(patience, read, largest)
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise BrokenError from error

    async def _receive(self, patience: Patience, read: float, largest: int) -> Answer | None:
        answer: h11.Response | None = None
        body = bytearray()
        size = 0
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                patience.step(read)
                self._h11.receive_data(bytes(await self._stream.receive_some(_PIECE)))
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size <= largest:  # the rest of one that is too large is read and dropped while time lasts
                    body += event.data
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.EndOfMessage) and answer is not None:
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise BrokenError
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self.is_free = True
        return Answer(answer.status_code, _read(answer.headers), bytes(body)) if size <= largest else None

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed a free connection: there is something to read, and that can only be the end."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def aclose(self) -> None:
        """Close it at once."""
        await trio.aclose_forcefully(self._stream)


def _read(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in lower case; of one that comes several times all values (RFC 9110, 5.2)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def connect(target: Target) -> Connection:
    """Connect.

    Raises:
        NotConnectedError: It did not come about.
    """
    proxy = target.proxy
    host, port = (target.host, target.port) if proxy is None else _address(proxy.url)
    try:
        beneath = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise NotConnectedError from error
    stream: trio.abc.Stream = beneath
    try:
        if proxy is not None:
            if target.tls is not None and proxy.url.scheme == "https":
                stream = await _encrypted(stream, target.tls, host)
            await _ask_for_tunnel(stream, proxy, f"{target.host}:{target.port}")
        if target.tls is not None:
            stream = await _encrypted(stream, target.tls, target.host)
    except BaseException as error:
        await trio.aclose_forcefully(beneath)
        if isinstance(error, trio.BrokenResourceError | h11.RemoteProtocolError):
            raise NotConnectedError from error
        raise
    return Connection(stream, beneath.socket)


def _address(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or {"http": 80, "https": 443}[url.scheme]


async def _encrypted(stream: trio.abc.Stream, tls: ssl.SSLContext, host: str) -> trio.abc.Stream:
    encrypted = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    await encrypted.do_handshake()
    return encrypted


async def _ask_for_tunnel(stream: trio.abc.Stream, proxy: httpx.Proxy, to: str) -> None:
    """Have the proxy connect us with a server: what is sent after its answer is for that one (RFC 9110, 9.3.6).

    Raises:
        NotConnectedError: It refuses.
        h11.RemoteProtocolError: It does not speak HTTP.
        trio.BrokenResourceError: The connection broke.
    """
    asking = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
    headers = [("Host", to), ("Accept", "*/*")]
    if proxy.raw_auth is not None:
        headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(b':'.join(proxy.raw_auth)).decode()}"))
    question = asking.send(h11.Request(method="CONNECT", target=to, headers=headers)) or b""
    await stream.send_all(question + (asking.send(h11.EndOfMessage()) or b""))
    while not isinstance(event := asking.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            asking.receive_data(bytes(await stream.receive_some(_PIECE)))
        elif not isinstance(event, h11.InformationalResponse):
            raise NotConnectedError
    if not 200 <= event.status_code < 300:
        raise NotConnectedError
