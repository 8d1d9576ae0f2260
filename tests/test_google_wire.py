"""A request leaves in one piece."""

import ssl
from typing import Any

import httpcore
import pytest
import trio

from reactor.google.client import GoogleCalendar
from reactor.google.wire import WholeStream
from tests.byte_server import listening, sends
from tests.google_client import item


class Beneath(httpcore.AsyncNetworkStream):
    """Remembers what it was told."""

    def __init__(self, broken: Exception | None = None) -> None:
        self.told: list[Any] = []
        self.broken = broken

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.told.append(("read", max_bytes, timeout))
        return b"answer"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.told.append(("write", buffer, timeout))
        if self.broken:
            raise self.broken

    async def aclose(self) -> None:
        self.told.append("close")

    async def start_tls(
        self, _ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self.told.append(("tls", server_hostname, timeout))
        return self

    def get_extra_info(self, info: str) -> str:
        return info


async def test_what_is_written_is_kept_until_somebody_reads() -> None:
    beneath = Beneath()
    stream = WholeStream(beneath)
    await stream.write(b"head ", 1.0)
    await stream.write(b"body", 2.0)
    assert beneath.told == []
    assert await stream.read(10, 3.0) == b"answer"
    assert await stream.read(10, 3.0) == b"answer"
    assert beneath.told == [("write", b"head body", 2.0), ("read", 10, 3.0), ("read", 10, 3.0)]


async def test_much_is_not_kept() -> None:
    beneath = Beneath()
    stream = WholeStream(beneath)
    await stream.write(b"a" * 65_536)
    assert beneath.told == []
    await stream.write(b"b")
    assert beneath.told == [("write", b"a" * 65_536 + b"b", None)]


async def test_a_server_that_has_closed_early_may_have_answered() -> None:
    beneath = Beneath(httpcore.WriteError())
    stream = WholeStream(beneath)
    await stream.write(b"request")
    assert await stream.read(10) == b"answer"


async def test_a_server_that_takes_nothing_is_a_time_out() -> None:
    stream = WholeStream(Beneath(httpcore.WriteTimeout()))
    await stream.write(b"request")
    with pytest.raises(httpcore.WriteTimeout):
        await stream.read(10)


async def test_the_rest_is_the_streams_beneath() -> None:
    beneath = Beneath()
    stream = WholeStream(beneath)
    encrypted = await stream.start_tls(ssl.create_default_context(), "host", 1.0)
    assert isinstance(encrypted, WholeStream)
    assert stream.get_extra_info("is_readable") == "is_readable"
    await encrypted.aclose()
    assert beneath.told == [("tls", "host", 1.0), "close"]


@pytest.mark.parametrize("items", [1, 50])
async def test_the_client_sends_a_request_with_one_call(items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs on a name inside httpx."""
    sent: list[bytes] = []
    send_all = trio.SocketStream.send_all

    async def noting(self: trio.SocketStream, data: bytes) -> None:
        if data.startswith(b"POST"):
            sent.append(data)
        await send_all(self, data)

    class Static:
        async def token(self, rejected: str | None = None) -> str:  # noqa: ARG002
            return "token"

    monkeypatch.setattr(trio.SocketStream, "send_all", noting)
    answer = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
    async with listening(sends(answer)) as server, GoogleCalendar(server.root) as client:
        await client.send([item(number) for number in range(items)], Static())
    [request] = sent
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert b"event 0" in body
