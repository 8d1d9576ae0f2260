"""The wire: whatever goes wrong is a reply, in bounded time; connections are kept, replaced and closed."""

import gc
import socket

import httpcore
import pytest
import trio
from hypothesis import given, settings, strategies as st

from reactor.core.calendar import messages
from reactor.core.calendar.messages import ApiRequest, EventRef, NoResponse, Reply, Response
from reactor.core.outcome import Dead, Done, Retry, Superseded
from reactor.errors import ConfigurationError
from reactor.google import transport
from reactor.google.client import GoogleCalendar
from reactor.google.transport import Timeouts, Transport
from tests.support.byte_server import Behaviour, http, listening, sends
from tests.support.google_client import Static, item

GET = messages.get(EventRef("ada@example.com", "e1"))
PATIENT = Timeouts()
IMPATIENT = Timeouts(read=0.05)


async def reply_to(behaviour: Behaviour, request: ApiRequest = GET, timeouts: Timeouts = PATIENT) -> Reply:
    async with listening(behaviour) as wire, Transport(wire.root, timeouts) as wired:
        with trio.fail_after(5):
            return await wired.send(request, "token")


async def test_a_request_that_is_cancelled_half_way_out_leaves_nothing_unfinished() -> None:
    """httpcore's own body is an async generator; Trio warns about one that is dropped, and warnings are errors here."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        large = ApiRequest(messages.Method.INSERT, "POST", "events", body=bytes(64 * 1024 * 1024))
        async with Transport(f"http://127.0.0.1:{deaf.getsockname()[1]}/", PATIENT) as wired:
            with trio.move_on_after(0.2) as scope:  # nobody reads: it hangs in the middle of its body
                await wired.send(large, "token")
        assert scope.cancelled_caught
    gc.collect()


async def test_an_answer_is_read_whole() -> None:
    reply = await reply_to(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: x\r\n\r\n", b"ab", b"cd"))
    assert isinstance(reply, Response)
    assert (reply.status, reply.body, reply.headers["etag"]) == (200, b"abcd", "x")


async def test_every_request_carries_the_token_and_is_plain() -> None:
    async with listening(sends(http(200), keep=True)) as wire, Transport(wire.root, PATIENT) as wired:
        await wired.send(GET, "tok")
        head = wire.heads[0].decode().lower()
    assert head.startswith("get /calendar/v3/calendars/ada%40example.com/events/e1?fields=")
    assert "authorization: bearer tok" in head
    assert "accept-encoding: identity" in head


async def test_a_root_may_have_a_path() -> None:
    async with listening(sends(http(200), keep=True)) as wire, Transport(f"{wire.root}google", PATIENT) as wired:
        await wired.send(GET, "tok")
        assert wire.heads[0].startswith(b"GET /google/calendar/v3/")


async def test_a_connection_that_is_refused_was_never_used() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with Transport(f"http://127.0.0.1:{held.getsockname()[1]}/", PATIENT) as wired:
            assert await wired.send(GET, "token") == NoResponse("no connection", sent=False)


async def test_an_encoding_that_nobody_asked_for_is_not_decoded() -> None:
    reply = await reply_to(sends(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"))
    assert isinstance(reply, Response)
    assert reply.body == b"abc"


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Le",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nab"),
        (b"HTTP/1.1 what\r\n\r\n",),
        (b"\x00" * 100,),
    ],
)
async def test_an_answer_that_is_cut_or_broken_may_have_been_preceded_by_the_deed(chunks: tuple[bytes, ...]) -> None:
    assert await reply_to(sends(*chunks)) == NoResponse("the connection was lost")


async def never(stream: trio.SocketStream) -> bool:
    await stream.wait_send_all_might_not_block()
    await trio.sleep_forever()


async def trickle(stream: trio.SocketStream) -> bool:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.01)


async def test_a_server_that_never_answers_is_left_after_the_read_timeout() -> None:
    assert await reply_to(never, timeouts=IMPATIENT) == NoResponse("the connection was lost")


async def test_an_answer_that_comes_a_byte_at_a_time_is_left_after_the_whole_timeout() -> None:
    timeouts = Timeouts(read=5.0, whole=0.1)
    assert await reply_to(trickle, timeouts=timeouts) == NoResponse("the answer took too long")


async def test_an_answer_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LARGEST_ANSWER", 1_000)
    assert await reply_to(sends(http(200, b"x" * 100_000))) == NoResponse("the answer is too large")


async def test_a_token_that_could_not_be_a_header_is_no_crash() -> None:
    async with listening(sends(http(200))) as wire, Transport(wire.root, PATIENT) as wired:
        for token in ("\N{CALENDAR}", "a\r\nb: c"):
            assert isinstance(await wired.send(GET, token), NoResponse)
        assert wire.heads == []


async def test_a_target_goes_out_as_it_was_written() -> None:
    long = "x" * 70_000
    async with listening(sends(http(200), keep=True)) as wire, Transport(wire.root, PATIENT) as wired:
        for place in (EventRef("..", "a/b"), EventRef(long, "e")):
            request = messages.get(place)
            assert isinstance(await wired.send(request, "token"), Response)
            assert wire.heads[-1].startswith(f"GET /{request.target} HTTP/1.1\r\n".encode())


# Connections


async def test_one_request_after_the_other_is_one_connection() -> None:
    async with listening(sends(http(200), keep=True)) as wire, Transport(wire.root, PATIENT) as wired:
        for _ in range(10):
            assert isinstance(await wired.send(GET, "token"), Response)
        assert wire.connections == 1


async def test_requests_at_once_are_as_many_connections_and_no_more() -> None:
    async with listening(sends(http(200), keep=True)) as wire, Transport(wire.root, PATIENT) as wired:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(7):
                    nursery.start_soon(wired.send, GET, "token")
        assert wire.connections <= 7


async def test_all_connections_are_closed_also_by_a_cancelled_task() -> None:
    """To close one is a checkpoint: cancelled there, the others would stay open."""
    async with listening(sends(http(200), keep=True)) as wire:
        with trio.CancelScope() as scope:
            async with Transport(wire.root, PATIENT) as wired:
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(wired.send, GET, "token")
                scope.cancel()
    del wired
    gc.collect()  # a socket that is open is a warning, and warnings are errors here


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    closing = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with listening(sends(closing)) as wire, Transport(wire.root, PATIENT) as wired:
        for _ in range(3):
            assert isinstance(await wired.send(GET, "token"), Response)
        assert wire.connections == 3


async def test_after_a_failure_the_next_request_is_none_the_worse() -> None:
    behaviours = iter([sends(b"HTTP/1.1 200 OK\r\n"), sends(http(200), keep=True), sends(http(200), keep=True)])

    async def behave(stream: trio.SocketStream) -> bool:
        return await next(behaviours)(stream)

    async with listening(behave) as wire, Transport(wire.root, PATIENT) as wired:
        assert isinstance(await wired.send(GET, "token"), NoResponse)
        assert isinstance(await wired.send(GET, "token"), Response)


async def test_a_request_that_is_cancelled_leaves_nothing_behind() -> None:
    """The half-read answer of the cancelled request must never be taken for the next one's."""
    started = trio.Event()
    first = True

    async def behave(stream: trio.SocketStream) -> bool:
        nonlocal first
        if first:
            first = False
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nold")
            started.set()
            await trio.sleep_forever()
        await stream.send_all(http(200, b"new"))
        return True

    async with listening(behave) as wire, Transport(wire.root, Timeouts()) as wired:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wired.send, GET, "token")
            await started.wait()
            nursery.cancel_scope.cancel()
        reply = await wired.send(GET, "token")
        assert isinstance(reply, Response)
        assert reply.body == b"new"
        assert wire.connections == 2


async def test_connections_that_nobody_needs_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(sends(http(200), keep=True)) as wire, Transport(wire.root, PATIENT) as wired:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(wired.send, GET, "token")
        monkeypatch.setattr(transport, "_IDLE", -1.0)
        opened = wire.connections
        await wired.send(GET, "token")
        assert len(wired._idle) == 1
        assert wire.connections == opened + 1


# What is accepted as a root


@pytest.mark.parametrize(
    "root", ["https://www.googleapis.com/", "http://127.0.0.1:80", "http://[::1]:80/", "http://localhost/x/"]
)
def test_roots_that_are_accepted(root: str) -> None:
    Transport(root, PATIENT)


@pytest.mark.parametrize(
    "root",
    [
        "http://www.googleapis.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "ftp://127.0.0.1/",
        "",
        "www.googleapis.com",
        "https://user:password@www.googleapis.com/",
        "https://www.googleapis.com/?a=b",
        "https://www.googleapis.com/#a",
        "https://a\x00b/",
    ],
)
def test_roots_that_are_refused(root: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GoogleCalendar(root)
    assert "password" not in str(caught.value)


def test_a_proxy_is_for_the_world_and_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", "internal.example.com")
    assert isinstance(Transport("https://www.googleapis.com/", PATIENT)._endpoint._proxy, httpcore.AsyncHTTPProxy)
    assert Transport("https://internal.example.com/", PATIENT)._endpoint._proxy is None
    assert Transport("http://127.0.0.1/", PATIENT)._endpoint._proxy is None


# Any answer at all

BYTES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 401 X\r\n",
        b"HTTP/1.1 409 X\r\n",
        b"HTTP/1.0 412 X\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: x\r\n",
        b"Content-Length: 20\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: deflate\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"\r\n",
        b'{"id":"e","etag":"\\"1\\""}',
        b'{"error":{"code":409,"errors":[{"reason":"duplicate"}]}}',
        b"--b\r\n\r\nContent-ID: <response-0>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n--b--",
        b"0\r\n\r\n",
    ]
)


@settings(max_examples=40)
@given(st.lists(BYTES | st.binary(max_size=12), max_size=8).map(b"".join), st.integers(1, 3))
def test_any_bytes_end_in_outcomes(answer: bytes, items: int) -> None:
    async def main() -> None:
        async with listening(sends(answer)) as wire, GoogleCalendar(wire.root, timeouts=PATIENT) as client:
            with trio.fail_after(20):
                outcomes = await client.send([item(number) for number in range(items)], Static())
        assert len(outcomes) == items
        assert all(isinstance(outcome, Done | Superseded | Retry | Dead) for outcome in outcomes)

    trio.run(main)
