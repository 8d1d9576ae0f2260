"""A server of bytes: it reads HTTP requests and answers whatever it is told, and cuts, waits or trickles on demand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

Behaviour = Callable[[trio.SocketStream], Awaitable[bool]]


@dataclass
class Wire:
    """A listening server.

    Attributes:
        root: Its URL.
        behaviour: What is done after each request; returns whether the connection is kept.
        connections: How many were opened.
        heads: What was asked, without bodies.
    """

    behaviour: Behaviour
    root: str = ""
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            while await self._request(stream) and await self.behaviour(stream):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _request(self, stream: trio.SocketStream) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = await stream.receive_some()
            if not chunk:
                return False
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        self.heads.append(head)
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += await stream.receive_some()
        return True


def sends(*chunks: bytes, keep: bool = False) -> Behaviour:
    """Answer every request with the same bytes."""

    async def behave(stream: trio.SocketStream) -> bool:
        for chunk in chunks:
            await stream.send_all(chunk)
        return keep

    return behave


@asynccontextmanager
async def listening(behaviour: Behaviour) -> AsyncIterator[Wire]:
    """A server on a free loopback port."""
    wire = Wire(behaviour)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, wire.serve, 0)
        port = listeners[0].socket.getsockname()[1]
        wire.root = f"http://127.0.0.1:{port}/"
        yield wire
        nursery.cancel_scope.cancel()


def http(status: int, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
