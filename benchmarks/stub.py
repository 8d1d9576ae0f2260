"""The least that the client takes for Google: every insert succeeds, after a latency.

In a process of its own, so that only our CPU is counted; on asyncio, since it must cost less than what it measures.
"""

import asyncio
import json
import multiprocessing
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

_ID = re.compile(rb'"id":"([0-9a-v]+)"')
_NAME = re.compile(rb"content-id: <([0-9]+)>")
_NUMBER = re.compile(rb"bench-([0-9]+)")
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_EVENT = b'{"id":"%s","status":"confirmed","etag":"\\"3321539261536000\\""}'
_TOKEN = b'{"access_token":"token","expires_in":3600,"token_type":"Bearer"}'
_PART = b"--b\r\nContent-Type: application/http\r\nContent-ID: <response-%s>\r\n\r\n%s\r\n"
_HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"


@dataclass
class _Seen:
    """What came: calls (a batch is one), events, and when the event titled `bench-N` first came (monotonic)."""

    calls: int = 0
    events: int = 0
    arrivals: dict[int, float] = field(default_factory=dict)


class _Protocol(asyncio.Protocol):
    def __init__(self, latency: float, seen: _Seen) -> None:
        self._latency = latency
        self._seen = seen
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        arrived = time.monotonic()
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._data, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._data) < whole:
                return
            head, body, self._data = self._data[:end], self._data[end:whole], self._data[whole:]
            if head.startswith(b"GET /events"):
                self._transport.write(_json(b"%d" % self._seen.events))
                continue
            if head.startswith(b"GET /seen"):
                self._transport.write(_json(json.dumps(vars(self._seen)).encode()))
                continue
            answer = _json(_TOKEN) if head.startswith(b"POST /token") else self._answer(head, body, arrived)
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)

    def _answer(self, head: bytes, body: bytes, arrived: float) -> bytes:
        self._seen.calls += 1
        for number in _NUMBER.findall(body):
            self._seen.arrivals.setdefault(int(number), arrived)
        if not head.startswith(b"POST /batch/"):
            self._seen.events += 1
            found = _ID.search(body)
            return _json(_EVENT % (found[1] if found else b"x"))
        parts = list(zip(_NAME.findall(body), _ID.findall(body), strict=True))
        self._seen.events += len(parts)
        answers = b"".join(_PART % (name, _json(_EVENT % event_id)) for name, event_id in parts) + b"--b--\r\n"
        return _HTTP % (b"multipart/mixed; boundary=b", len(answers), answers)


def _json(body: bytes) -> bytes:
    return _HTTP % (b"application/json", len(body), body)


def serve_stub(pipe: Any, latency: float) -> None:
    """Serve until the process ends; sends the URL and a token through the pipe."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(partial(_Protocol, latency, _Seen()), "127.0.0.1", 0)
        pipe.send((f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token"))
        await server.serve_forever()

    asyncio.run(main())


def seen(url: str) -> _Seen:
    """Ask a stub what came."""
    with urllib.request.urlopen(f"{url}/seen") as answer:
        told = json.load(answer)
    return _Seen(told["calls"], told["events"], {int(number): at for number, at in told["arrivals"].items()})


def events(url: str) -> int:
    """Ask a stub how many events came; it costs the stub next to nothing, so it can be asked while it is at work."""
    with urllib.request.urlopen(f"{url}/events") as answer:
        return int(answer.read())


@contextmanager
def running(server: Callable[[Any, float], None], latency: float) -> Iterator[tuple[str, str]]:
    """Run a server in a process of its own; yields its URL and an access token."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=server, args=(theirs, latency), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()
