"""Requests onto the wire and answers off it: connections that are kept, and what goes wrong with them as replies.

Connections are kept on a stack while they are idle. One client for everything is the obvious layout, and the slow one:
its pool looks at all connections for every request, so that 100 requests in flight over 100 ms of latency came to 90 a
second where a stack of single connections carries 800 (docs/google.md). The last one put back is the first one taken:
what is in use stays warm, and what a peak left behind is closed after a while. Nobody waits for a connection: whoever
calls bounds how many requests are in flight.

There is no line in the log with every URL, as httpx writes it: a calendar's id is somebody's e-mail address.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import h11
import httpx
import trio

from reactor import __version__
from reactor.core.messages import NoAnswer, Reply, Request
from reactor.errors import ConfigurationError
from reactor.google.connection import BrokenError, Connection, NotConnectedError, Patience, Target, connect
from reactor.google.network import client_options, is_loopback, read_url

_LARGEST_ANSWER = 32 * 1024 * 1024  # bytes; a page of 2,500 events has about 1
_IDLE = 60.0  # seconds
_PORTS = {"https": 443, "http": 80}
_UNCONNECTED = NoAnswer("no connection", sent=False)
_BROKEN = NoAnswer("the connection was lost")
_TOO_LATE = NoAnswer("the answer took too long")
_TOO_LARGE = NoAnswer("the answer is too large")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step of a request may take, in seconds.

    Attributes:
        connect: To have a connection, TLS included.
        write: To get rid of one piece of the request.
        read: To get one piece of the answer.
        whole: All of it: an answer may also come a byte at a time.
    """

    connect: float = 5.0
    write: float = 10.0
    read: float = 30.0
    whole: float = 60.0


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: Connection
    since: float


class Transport:
    """Sends requests to one API root.

    Args:
        api_root: For example `https://www.googleapis.com/`; plain http is for loopback only.
        timeouts: How long a request may take.

    Raises:
        ConfigurationError: The root is not usable, or the environment does not let requests leave.
    """

    def __init__(self, api_root: str, timeouts: Timeouts) -> None:
        root = checked_url(api_root)
        options = client_options(str(root))
        self._timeouts = timeouts
        self._path = root.raw_path
        self._headers = [
            (b"Host", root.netloc),
            (b"User-Agent", f"calendar-sync-reactor/{__version__}".encode()),
            (b"Accept-Encoding", b"identity"),
        ]
        self._proxy: str | None = options["proxy"]
        self._target = Target(
            root.host,
            root.port or _PORTS[root.scheme],
            options["verify"] or None,  # one for all: it is expensive to make
            httpx.Proxy(self._proxy) if self._proxy else None,  # takes its user and password out
        )
        self._idle: list[_Idle] = []

    async def send(self, request: Request, token: str) -> Reply:
        """Send one request; whatever goes wrong on the way is a reply too."""
        await self._retire()
        connection: Connection | None = None
        with Patience(self._timeouts.whole) as patience:
            try:
                head = self._head(request, token)
                connection = await self._take()
                if connection is None:
                    patience.step(self._timeouts.connect)
                    connection = await self._connect()
                return await self._exchange(connection, head, request.body, patience)
            except NotConnectedError:
                return _UNCONNECTED
            except (BrokenError, h11.LocalProtocolError, UnicodeError):  # or a token that cannot be a header
                return _BROKEN
            finally:
                if connection is not None:
                    await self._put_back(connection)
        if connection is None:
            return _UNCONNECTED
        return _TOO_LATE if patience.is_over else _BROKEN

    async def _exchange(self, connection: Connection, head: h11.Request, body: bytes, patience: Patience) -> Reply:
        write, read = self._timeouts.write, self._timeouts.read
        answer = await connection.exchange(head, body, patience, write=write, read=read, largest=_LARGEST_ANSWER)
        return _TOO_LARGE if answer is None else answer

    def _head(self, request: Request, token: str) -> h11.Request:
        headers = [*self._headers, (b"Authorization", b"Bearer " + token.encode("ascii"))]
        headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in request.headers.items()]
        if request.body:
            headers.append((b"Content-Length", b"%d" % len(request.body)))
        target = self._path + request.target.encode("ascii")
        return h11.Request(method=request.method, target=target, headers=headers)

    async def _connect(self) -> Connection:
        return await connect(self._target)

    async def _take(self) -> Connection | None:
        """The connection that was used last, if the server has not closed it."""
        while self._idle:
            connection = self._idle.pop().connection
            if not connection.is_closed:
                return connection
            await connection.aclose()
        return None

    async def _put_back(self, connection: Connection) -> None:
        if connection.is_free:
            self._idle.append(_Idle(connection, trio.current_time()))
        else:  # it broke, or was cancelled, or the server wants no more
            await connection.aclose()

    async def _retire(self) -> None:
        """Close what nobody has needed for a while; the oldest lie at the bottom."""
        while self._idle and trio.current_time() - self._idle[0].since > _IDLE:
            await self._idle.pop(0).connection.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        while self._idle:
            await self._idle.pop().connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def checked_url(api_root: str) -> httpx.URL:
    """Read a URL that secrets are sent to.

    Raises:
        ConfigurationError: It is not https, nor http on loopback.
    """
    root = read_url(api_root if api_root.endswith("/") else f"{api_root}/")
    if root is None:
        raise ConfigurationError("The API root is not a URL: give one such as https://www.googleapis.com/.")
    if root.query or root.fragment or root.userinfo or not root.host:
        raise ConfigurationError("The API root must have a host, and neither a user, a query nor a fragment.")
    if root.scheme != "https" and not (root.scheme == "http" and is_loopback(root.host)):
        raise ConfigurationError("The API root must be https; plain http is accepted for loopback only.")
    return root
