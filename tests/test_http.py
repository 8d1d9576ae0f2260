"""The health endpoint on real sockets: what it says, and that nobody who connects can end it."""

import contextlib
import socket
from dataclasses import dataclass

import httpx
import pytest
import trio

from reactor.errors import ConfigurationError
from reactor.http import Page, Server, application

OK = b"HTTP/1.1 200"
UPGRADE = (
    b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MALFORMED = [
    b"",
    b"\r\n",
    b"\x00",
    b"\xff" * 100,
    b"GET",
    b"GET /livez",
    b"GET /livez HTTP/9.9\r\n\r\n",
    b"GET /livez HTTP/1.1\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcdefgh",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nmore",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    GET * 20 + b"\x00",
    UPGRADE,
    UPGRADE + b"x",
    UPGRADE + b"\x81\x85",
    UPGRADE.replace(b"13", b"12"),
    GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    PREFACE,
    PREFACE + b"\x00" * 200,
    PREFACE + b"\xff" * 200,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
]


@dataclass
class Running:
    server: Server
    url: str
    stop: trio.Event
    ended: trio.Event

    async def connect(self) -> trio.SocketStream:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return await trio.open_tcp_stream(host, int(port))

    async def answers(self) -> None:
        """Ask until there is an answer: a failure cuts the others' connections too, but refuses none."""
        while True:
            async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
                with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                    assert (await client.get("/livez")).status_code == 200
                    return


PAGES = {
    "/livez": lambda: Page(200, "alive\n"),
    "/readyz": lambda: Page(503, "It is stopping.\n"),
    "/large": lambda: Page(200, "x" * 1_000_000),
}


@pytest.fixture
async def running(nursery: trio.Nursery) -> Running:
    server, stop, ended = Server(application(PAGES)), trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[str]) -> None:
        await server.run("127.0.0.1", 0, stop, task_status=task_status)
        ended.set()

    return Running(server, await nursery.start(run), stop, ended)


async def test_it_answers_and_names_what_it_has(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.url) as client:
        assert (await client.get("/livez")).text == "alive\n"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.head("/livez")).status_code == 200
        unknown = await client.get("/")
        assert (unknown.status_code, unknown.text) == (404, "There is /livez, /readyz, /large.\n")
        assert (await client.post("/livez")).status_code == 405
        assert "server" not in unknown.headers


async def test_an_answer_that_would_not_fit_a_sockets_buffer_is_not_sent(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.url) as client:
        assert (await client.get("/large")).status_code == 500


@pytest.mark.parametrize("ending", ["close", "reset", "keep"])
async def test_no_connection_ends_it(running: Running, ending: str) -> None:
    kept: list[trio.SocketStream] = []
    with trio.fail_after(60):
        for sent in MALFORMED:
            stream = await running.connect()
            try:
                await stream.send_all(sent)
                if ending != "keep":
                    with trio.move_on_after(0.05):
                        await stream.receive_some()
            except trio.BrokenResourceError:
                pass  # it may hang up in the middle
            if ending == "reset":
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if ending == "keep":
                kept.append(stream)
            else:
                await stream.aclose()
        await running.answers()
        running.stop.set()
        await running.ended.wait()
        for stream in kept:
            await stream.aclose()


async def test_what_kills_hypercorn_costs_a_restart_and_no_refused_connection(running: Running) -> None:
    """It depends on the order in which tasks run whether a connection does it, so it is tried until it has."""
    with trio.fail_after(60):
        while running.server.restarts < 3:
            async with await running.connect() as stream:
                with trio.move_on_after(0.05):
                    await stream.send_all(UPGRADE + b"x")
                    await stream.receive_some()
            await running.answers()


async def test_it_stops_while_clients_are_connected(running: Running) -> None:
    async with await running.connect() as idle, await running.connect() as slow:
        await idle.send_all(GET)
        assert (await idle.receive_some()).startswith(OK)
        await slow.send_all(GET[:10])
        running.stop.set()
        with trio.fail_after(10):
            await running.ended.wait()
    with pytest.raises(OSError, match="all attempts to connect"):
        await running.connect()


async def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"HEALTH_BIND: cannot listen on 127.0.0.1, port {port}: "):
            await Server(application(PAGES)).run("127.0.0.1", port, trio.Event())
