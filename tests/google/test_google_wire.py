"""A request leaves in one piece."""

import gc
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpcore
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reactor.core.calendar import messages
from reactor.core.calendar.messages import EventRef, NoResponse, Response
from reactor.google.client import GoogleCalendar
from reactor.google.transport import Timeouts, Transport
from reactor.google.wire import WholeStream
from tests.support.byte_server import http, listening, sends
from tests.support.google_client import Static, item


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
    """Whatever httpcore makes of it."""
    sent: list[bytes] = []
    send_all = trio.SocketStream.send_all

    async def noting(self: trio.SocketStream, data: bytes) -> None:
        if data.startswith(b"POST"):
            sent.append(data)
        await send_all(self, data)

    monkeypatch.setattr(trio.SocketStream, "send_all", noting)
    answer = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
    async with listening(sends(answer)) as server, GoogleCalendar(server.root) as client:
        await client.send([item(number) for number in range(items)], Static())
    [request] = sent
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert b"event 0" in body


HOST = "calendar.example.com"
LOOPBACK = IPv4Address("127.0.0.1")


def certified(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for host and loopback that is its own authority: the file to trust, and what its server needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(LOOPBACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, secret = directory / "trusted.pem", directory / "secret.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(trusted, secret)
    return trusted, context


async def test_encrypted_and_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is in production. A record is read at a time, so what is read first is what was written with one call."""
    trusted, context = certified(tmp_path)
    place = EventRef("a+b/c d@example.com", "e1")
    requests = messages.insert(place, {"summary": "launch"}), messages.get(place), messages.listing("é@x", "w", "a=&b")
    asked: list[bytes] = []
    read: list[bytes] = []

    async def proxy_and_server(stream: trio.SocketStream) -> None:
        asked.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        for _ in requests:
            read.append(bytes(await encrypted.receive_some()))
            await encrypted.send_all(http(200, b"{}"))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, proxy_and_server, 0, host="127.0.0.1"))
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            async with Transport(f"https://{HOST}/", Timeouts()) as wired:
                for request in requests:
                    answer = await wired.send(request, "token")
                    assert isinstance(answer, Response)
                    assert (answer.status, answer.body) == (200, b"{}")
            nursery.cancel_scope.cancel()
    assert [head.partition(b"\r\n")[0] for head in asked] == [f"CONNECT {HOST}:443 HTTP/1.1".encode()]
    assert [piece.partition(b" HTTP/1.1")[0].decode() for piece in read] == [
        f"{request.http_method} /{request.target}" for request in requests
    ]
    assert b"launch" in read[0]


GET = messages.get(EventRef("ada@example.com", "e1"))


@pytest.mark.parametrize("trusts", [True, False])
async def test_encrypted_without_a_proxy(trusts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    trusted, context = certified(tmp_path)
    connections = 0

    async def server(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            while await encrypted.receive_some():
                await encrypted.send_all(http(200, b"{}"))

    if trusts:
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, server, 0, host=str(LOOPBACK)))
            port = listener.socket.getsockname()[1]
            async with Transport(f"https://{LOOPBACK}:{port}/", Timeouts()) as wired:
                answers = [await wired.send(GET, "token") for _ in range(2)]
            nursery.cancel_scope.cancel()
    if trusts:
        assert [type(answer) for answer in answers] == [Response, Response]
        assert connections == 1
    else:
        assert answers == [NoResponse("no connection", sent=False)] * 2


async def test_a_handshake_that_is_cancelled_leaves_no_connection() -> None:
    closed = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():  # says nothing, and hears the end
            pass
        closed.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, silent, 0, host=str(LOOPBACK)))
            port = listener.socket.getsockname()[1]
            async with Transport(f"https://{LOOPBACK}:{port}/", Timeouts()) as wired:
                with trio.move_on_after(0.1):
                    await wired.send(GET, "token")
                await closed.wait()
            nursery.cancel_scope.cancel()
    gc.collect()
