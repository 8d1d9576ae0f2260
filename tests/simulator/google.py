"""The wire to Google without one: httpcore's requests, as the client wrote them, go to the emulator in memory.

A request that has left is carried out whatever becomes of the client: it has a task of its own. Its answer is damaged
as the emulator's server would damage it on the wire.
"""

import math
import random
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import httpcore
import trio

from calendar_emulator import Service
from calendar_emulator.calls import Request, parse_query, reason_phrase
from calendar_emulator.http.service import Reply
from calendar_emulator.oauth.endpoints import CLIENT_ID, CLIENT_SECRET
from reactor.core.backoff import parse_retry_after
from reactor.core.calendar.token_answers import NO_ANSWER, UNREACHABLE, Answer as TokenAnswer, GrantType, read_answer
from reactor.google import client
from reactor.google.client import GoogleCalendar
from reactor.google.token_exchange import Account
from reactor.google.transport import Timeouts, Transport

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = "http://127.0.0.1/"


class Wire:
    """The network between all replicas and Google.

    Args:
        service: The emulator.
        rng: How long things take.
        nursery: Where requests are carried out.

    Attributes:
        cut_until: No connection comes about before.
        latency: Seconds for the way there and back, at most.
    """

    def __init__(self, service: Service, rng: random.Random, nursery: trio.Nursery) -> None:
        self.service = service
        self.cut_until = -math.inf
        self.latency = 0.05
        self._rng = rng
        self._nursery = nursery

    async def ask(self, request: Request, within: float) -> Reply | None:
        """Send a request; None where no answer came in time.

        Raises:
            httpcore.ConnectError: No connection came about.
        """
        if trio.current_time() < self.cut_until:
            await trio.sleep(self._rng.uniform(0.001, 0.5))
            raise httpcore.ConnectError("no route")
        replies: list[Reply] = []
        landed = trio.Event()
        self._nursery.start_soon(self._carry_out, request, replies, landed)
        with trio.move_on_after(within):
            await landed.wait()
        return replies[0] if replies else None

    async def _carry_out(self, request: Request, replies: list[Reply], landed: trio.Event) -> None:
        reply = await self.service.reply(request)
        await trio.sleep(self._rng.uniform(0.2, 1.0) * self.latency)  # all of it on the way back: see docs/google.md
        replies.append(reply)
        landed.set()


class _Connection(httpcore.AsyncConnectionInterface):
    """A connection to the emulator."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        body = b"".join([piece async for piece in request.stream])  # type: ignore[union-attr]  # ours are async
        path, _, query = request.url.target.partition(b"?")
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        asked = Request(request.method.decode(), path.decode(), parse_query(query.decode()), headers, body)
        reply = await self._wire.ask(asked, request.extensions["timeout"]["read"])
        if reply is None:
            raise httpcore.ReadTimeout("no answer")
        return _delivered(reply)

    def is_idle(self) -> bool:
        return True

    def has_expired(self) -> bool:
        return False

    async def aclose(self) -> None:
        pass


class _Stream:
    def __init__(self, body: bytes, *, whole: bool) -> None:
        self._pieces = [body]
        self._whole = whole

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._pieces:
            return self._pieces.pop()
        if not self._whole:
            raise httpcore.RemoteProtocolError("the connection ended in the middle")
        raise StopAsyncIteration


def _delivered(reply: Reply) -> httpcore.Response:
    """What the client's HTTP library sees of a reply."""
    if reply.effect in ("drop", "malformed"):
        raise httpcore.RemoteProtocolError("not an answer")
    answer = reply.answer
    body = answer.body()
    whole = reply.effect == ""
    if not whole:
        body = body[: len(body) // 2]
    headers = {**answer.headers, "content-type": answer.content_type}
    return httpcore.Response(
        answer.status,
        headers=list(headers.items()),
        content=_Stream(body, whole=whole),
        extensions={"reason_phrase": reason_phrase(answer.status).encode()},
    )


@cache
def _to_emulator() -> Transport:
    """A transport: to make one reads all certificates, which takes longer than most histories."""
    return Transport(ROOT, Timeouts())


class MemoryTransport(Transport):
    """The client's transport, with connections to the emulator."""

    def __init__(self, wire: Wire) -> None:
        self.__dict__.update(_to_emulator().__dict__, _idle=[])
        self._wire = wire

    async def _connection(self) -> httpcore.AsyncConnectionInterface:
        return _Connection(self._wire)


def calendar(wire: Wire, parts: int) -> GoogleCalendar:
    """The client, over that wire."""
    module: Any = client
    real, module.Transport = module.Transport, lambda *_: MemoryTransport(wire)
    try:
        return GoogleCalendar(ROOT, batch_parts=parts)
    finally:
        module.Transport = real


class MemoryExchange:
    """Fetches access tokens: google-auth's part, in a few lines, to the emulator's token endpoint."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def refresh(self, account: Account) -> TokenAnswer:
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": account.refresh_token or "",
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        request = Request("POST", "/token", {}, headers, urlencode(form).encode())
        try:
            reply = await self._wire.ask(request, 15.0)
        except httpcore.ConnectError:
            return UNREACHABLE
        if reply is None or reply.effect:
            return NO_ANSWER
        answer = reply.answer
        return read_answer(answer.status, answer.body(), GrantType.USER, _after(answer.headers.get("Retry-After")))


def _after(header: str | None) -> float | None:
    return parse_retry_after({"retry-after": header or ""}, _EPOCH)
