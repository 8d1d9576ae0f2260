"""The emulator's server and the connections that it has to survive."""

from functools import partial
from typing import Any

import httpx
import pytest
import trio

from calendar_emulator.http.server import serve
from tests.support.google_fixtures import GoogleServer


async def connect(url: str) -> trio.SocketStream:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def talk(url: str, *sent: bytes) -> bytes:
    """Send bytes, then read until the other side closes."""
    async with await connect(url) as stream:
        received = b""
        with trio.fail_after(10):
            for data in sent:
                await stream.send_all(data)
            await stream.send_eof()
            async for chunk in stream:
                received += chunk
    return received


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET / HTTP", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 100_000, b"HTTP/1.1 431 "),
        (b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", b""),
        (b"GET /token HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nx", b"HTTP/1.1 405 "),
    ],
)
async def test_a_bad_connection_hurts_only_itself(
    google: GoogleServer, google_http: httpx.AsyncClient, sent: bytes, answer: bytes
) -> None:
    assert (await talk(google.url, sent)).startswith(answer)
    assert (await google_http.get("emulator/")).status_code == 200


async def test_a_client_that_hangs_up_hurts_nobody(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    for sent in (b"", b"GET /emulator/ HTTP/1.1\r\nHost: x\r\n\r\n" * 100):
        stream = await connect(google.url)
        await stream.send_all(sent)
        stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        await stream.aclose()  # with a reset
    assert (await google_http.get("emulator/")).status_code == 200


async def test_requests_may_be_sent_ahead_on_one_connection(google: GoogleServer) -> None:
    request = b"GET /emulator/calendars HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await talk(google.url, request * 3)).count(b"HTTP/1.1 200 ") == 3
    closing = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert (await talk(google.url, closing + request)).count(b"HTTP/1.1 200 ") == 1


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(google: GoogleServer) -> None:
    head = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    async with await connect(google.url) as stream:
        with trio.fail_after(10):
            await stream.send_all(head)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(b"x")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_an_application_that_fails_breaks_only_its_connection(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, _: Any, send: Any) -> None:
        if scope["path"] == "/bad":
            raise RuntimeError("on purpose")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    url = await nursery.start(partial(serve, app))
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/bad")).status_code == 500
        assert (await client.get("/good")).status_code == 204
    assert "the emulator failed at GET /bad" in caplog.text
