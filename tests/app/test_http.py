"""The health endpoint on real sockets: what it says, and that nobody who connects can end it."""

import contextlib
import itertools
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
import trio

from reactor.errors import ConfigurationError
from reactor.observability import http_connection
from reactor.observability.server import MOST, PageResponse, Server, application
from reactor.process import concurrency
from reactor.settings import parse_bind
from tests.support.waiting import until

OK = b"HTTP/1.1 200"
UPGRADE = (
    b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2C = GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
PIECES = [
    b"Transfer-Encoding: chunked\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 3000,
    b"POST /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /%00%ff%zz?%%%#x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /livez HTTP/1.0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\r\n\r\n",
    GET * 30,
]
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
    H2C,
    H2C + b"x",
    H2C + PREFACE,
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

    async def send(self, sent: bytes, ending: str, piece: int = 1 << 20) -> None:
        """Connect, send something in pieces, and close, reset, half-close or keep the connection."""
        with contextlib.suppress(trio.BrokenResourceError):  # it may hang up in the middle
            async with await self.connect() as stream:
                for begin in range(0, len(sent), max(piece, len(sent) // 50)):
                    await stream.send_all(sent[begin : begin + max(piece, len(sent) // 50)])
                if ending == "half":
                    await stream.send_eof()
                if ending in ("half", "keep"):
                    await everything(stream)
                if ending == "reset":
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def everything(stream: trio.SocketStream) -> bytes:
    """All that still comes."""
    received = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            received += data
    return received


@dataclass
class Polls:
    polls: int = 0
    failed: list[object] = field(default_factory=list)
    connections: int = 0


@contextlib.asynccontextmanager
async def polling(running: Running, *, kept: bool) -> AsyncIterator[Polls]:
    """Ask for /livez every 50 ms, by one connection or each time by another."""
    seen = Polls()

    async def connected(name: str, _: object) -> None:
        seen.connections += name == "connection.connect_tcp.complete"

    async def poll() -> None:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as client:
            while True:
                headers = {} if kept else {"Connection": "close"}
                try:
                    answer = await client.get("/livez", headers=headers, extensions={"trace": connected})
                except httpx.HTTPError as error:
                    seen.failed.append(error)
                else:
                    seen.failed += [answer] if answer.status_code != 200 else []
                seen.polls += 1
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        yield seen
        nursery.cancel_scope.cancel()


PAGES = {
    "/livez": lambda: PageResponse(200, "alive\n"),
    "/readyz": lambda: PageResponse(503, "It is stopping.\n"),
    "/large": lambda: PageResponse(200, "x" * 1_000_000),
    "/full": lambda: PageResponse(200, "x" * 60_000),
    "/broken": lambda: PageResponse(200, str(1 // 0)),
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
        assert (unknown.status_code, unknown.text) == (404, "There is /livez, /readyz, /large, /full, /broken.\n")
        assert (await client.post("/livez")).status_code == 405
        assert "server" not in unknown.headers


async def test_an_answer_that_would_not_fit_a_sockets_buffer_is_not_sent(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.url) as client:
        assert (await client.get("/large")).status_code == 500


@pytest.mark.parametrize("ending", ["close", "reset", "keep"])
async def test_no_connection_ends_it(running: Running, ending: str) -> None:
    async with polling(running, kept=True) as kept, trio.open_nursery() as clients:
        for sent in MALFORMED:
            clients.start_soon(running.send, sent, ending)
        await until(lambda: kept.polls > 5)
        assert kept.failed == []
        running.stop.set()
        with trio.fail_after(10):
            await running.ended.wait()
        clients.cancel_scope.cancel()
    assert (running.server.failures, running.server.restarts) == (0, 0)


@pytest.mark.alone
async def test_140_malformed_connections_fail_no_poll_and_restart_nothing(running: Running) -> None:
    """Within 2 s, beside a client that polls every 50 ms on one connection, and one that connects for each poll."""
    endings = itertools.cycle(("close", "reset", "keep", "half"))
    async with (
        polling(running, kept=True) as kept,
        polling(running, kept=False) as fresh,
        trio.open_nursery() as clients,
    ):
        began = trio.current_time()
        for number in range(140):
            await trio.sleep_until(began + number / 70)
            clients.start_soon(running.send, MALFORMED[number % len(MALFORMED)], next(endings))
        await until(lambda: min(kept.polls, fresh.polls) >= 30)
        clients.cancel_scope.cancel()
    assert (kept.failed, fresh.failed) == ([], [])
    assert (running.server.failures, running.server.restarts) == (0, 0)
    assert kept.connections == 1


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_sent_costs_its_own_connection(
    running: Running, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "PATIENCE", 1.5)  # the poll takes less, also on a busy machine
    draw = random.Random(seed)
    async with polling(running, kept=True) as kept, trio.open_nursery() as clients:
        for _ in range(100):
            ending = draw.choice(("close", "reset", "keep", "half", "half"))
            clients.start_soon(running.send, spoilt(draw), ending, draw.choice((1, 7, 100, 1 << 20)))
            await trio.sleep(draw.random() / 50)
        await until(lambda: len(running.server.connections) == 1)  # the poll's: no client closes one that it keeps
        clients.cancel_scope.cancel()
    assert kept.failed == []
    assert (running.server.failures, running.server.restarts) == (0, 0)


def spoilt(draw: random.Random) -> bytes:
    """Requests, cut and glued and flipped."""
    whole = b"".join(draw.choice([*MALFORMED, GET, *PIECES]) for _ in range(draw.randint(1, 4)))
    sent = bytearray(whole[: draw.randint(0, len(whole))] if draw.random() < 0.3 else whole)
    for _ in range(draw.choice((0, 0, 1, 3))):
        if sent:
            sent[draw.randrange(min(len(sent), 300))] = draw.randrange(256)
    return bytes(sent)


async def test_a_request_to_upgrade_is_answered_as_if_it_did_not_ask(running: Running) -> None:
    for upgrade in (UPGRADE, UPGRADE + b"x", H2C, H2C + b"x"):
        async with await running.connect() as stream:
            await stream.send_all(upgrade)
            assert (await stream.receive_some()).startswith(OK)


async def test_a_client_that_ends_its_side_gets_its_answer(running: Running) -> None:
    async with await running.connect() as stream:
        await stream.send_all(GET)
        await stream.send_eof()
        assert (await everything(stream)).endswith(b"alive\n")


async def test_an_answer_to_what_is_not_read_arrives(running: Running) -> None:
    """A socket that is closed with unread data is reset, and takes the answer with it."""
    async with await running.connect() as stream:
        await stream.send_all(b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
        assert (await everything(stream)).startswith(b"HTTP/1.1 405")


async def test_a_head_that_comes_slowly_has_an_end(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "PATIENCE", 0.2)
    async with await running.connect() as slow, await running.connect() as silent:
        with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
            for byte in itertools.cycle(GET[:-4]):
                await slow.send_all(bytes([byte]))
                await trio.sleep(0.01)
        with trio.fail_after(10):
            assert await everything(silent) == b""


async def test_a_client_that_does_not_read_holds_up_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "PATIENCE", 0.2)
    async with await running.connect() as stream, trio.open_nursery() as sending:

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(GET.replace(b"livez", b"full"))

        sending.start_soon(send)
        await until(lambda: running.server.connections)
        await until(lambda: not running.server.connections)
        sending.cancel_scope.cancel()


async def test_clients_that_only_sit_there_keep_no_probe_out(running: Running) -> None:
    async with contextlib.AsyncExitStack() as sitting:
        for _ in range(2 * MOST):
            await sitting.enter_async_context(await running.connect())
        await until(lambda: len(running.server.connections) == MOST)
        async with polling(running, kept=False) as fresh:
            await until(lambda: fresh.polls >= 10)
        assert fresh.failed == []
        assert len(running.server.connections) <= MOST


async def test_a_connection_that_meets_a_bug_ends_alone(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("a bug")

    async with polling(running, kept=True) as kept:
        await until(lambda: kept.polls)
        with monkeypatch.context() as patch:
            patch.setattr(http_connection._Http1, "handle", broken)
            async with await running.connect() as stream:
                await stream.send_all(GET)
                assert await everything(stream) == b""
        await until(lambda: kept.polls > 3)
    assert running.server.restarts == 0
    assert running.server.failures >= 1


async def test_a_page_that_fails_is_a_500(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.url) as client:
        assert (await client.get("/broken")).status_code == 500
        assert (await client.get("/livez")).status_code == 200


async def test_accepting_that_fails_is_begun_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failures = trio.SocketListener.accept, iter([OSError("nobody knows")])

    async def failing(listener: trio.SocketListener) -> trio.SocketStream:
        stream = await accept(listener)
        for failure in failures:
            await stream.aclose()
            raise failure
        return stream

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    monkeypatch.setattr(concurrency, "RESTART_FIRST", 0.01)
    async with polling(running, kept=True) as kept:  # the first that is accepted: `accept` was called before
        await until(lambda: kept.polls)
        async with await running.connect() as lost, await running.connect() as after:
            assert await everything(lost) == b""
            await after.send_all(GET)
            assert (await after.receive_some()).startswith(OK)
        polls = kept.polls
        await until(lambda: kept.polls > polls)
    assert (kept.failed, kept.connections) == ([], 1), "connections that are open go on"
    assert running.server.restarts == 1


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


@pytest.mark.parametrize("bind", ["*:0", "[::]:0"])
async def test_one_setting_serves_both_families(nursery: trio.Nursery, bind: str) -> None:
    server, stop = Server(application(PAGES)), trio.Event()
    host, port = parse_bind(bind)
    url = await nursery.start(server.run, host, port, stop)
    number = url.rpartition(":")[2]
    async with httpx.AsyncClient() as client:
        for address in ("127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])):
            assert (await client.get(f"http://{address}:{number}/livez")).status_code == 200
    stop.set()


async def test_without_ipv6_it_is_ipv4_alone(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server, stop = Server(application(PAGES)), trio.Event()
    url = await nursery.start(server.run, None, 0, stop)
    assert url.startswith("http://0.0.0.0:")
    stop.set()


async def test_all_addresses_of_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server, port = Server(application(PAGES)), taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="HEALTH_BIND: cannot listen on all addresses"):
            await server.run(None, port, trio.Event())


async def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"HEALTH_BIND: cannot listen on 127.0.0.1, port {port} "):
            await Server(application(PAGES)).run("127.0.0.1", port, trio.Event())
