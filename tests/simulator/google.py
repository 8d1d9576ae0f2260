"""The wire to Google without one: requests, as the client wrote them, go to the emulator in memory.

A request that has left is carried out whatever becomes of the client: it has a task of its own. Its answer is damaged
as the emulator's server would damage it on the wire.
"""

import math
import random
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import h11
import trio

from reactor.core.backoff import parse_retry_after
from reactor.core.messages import Answer
from reactor.core.token_answers import NO_ANSWER, UNREACHABLE, Answer as TokenAnswer, Grant, read_answer
from reactor.emulator import Service
from reactor.emulator.calls import Request, parse_query
from reactor.emulator.oauth import CLIENT_ID, CLIENT_SECRET
from reactor.emulator.service import Reply
from reactor.google import client
from reactor.google.client import GoogleCalendar
from reactor.google.connection import BrokenError, Connection, NotConnectedError, Patience
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
            NotConnectedError: No connection came about.
        """
        if trio.current_time() < self.cut_until:
            await trio.sleep(self._rng.uniform(0.001, 0.5))
            raise NotConnectedError
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


class _Connection(Connection):
    """A connection to the emulator."""

    is_closed = False

    def __init__(self, wire: Wire) -> None:
        self.is_free = True
        self._wire = wire

    async def exchange(
        self, head: h11.Request, body: bytes, patience: Patience, *, write: float, read: float, largest: int
    ) -> Answer | None:
        del patience, write, largest
        path, _, query = head.target.partition(b"?")
        headers = {name.decode(): value.decode() for name, value in head.headers}
        asked = Request(head.method.decode(), path.decode(), parse_query(query.decode()), headers, body)
        reply = await self._wire.ask(asked, read)
        if reply is None or reply.effect:  # one that is cut off in the middle, too
            raise BrokenError
        answer = reply.answer
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()} | {"content-type": answer.content_type},
            answer.body(),
        )

    async def aclose(self) -> None:
        pass


@cache
def _to_emulator() -> Transport:
    """A transport: to make one reads all certificates, which takes longer than most histories."""
    return Transport(ROOT, Timeouts())


class MemoryTransport(Transport):
    """The client's transport, with connections to the emulator."""

    def __init__(self, wire: Wire) -> None:
        self.__dict__.update(_to_emulator().__dict__, _idle=[])
        self._wire = wire

    async def _connect(self) -> Connection:
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
        except NotConnectedError:
            return UNREACHABLE
        if reply is None or reply.effect:
            return NO_ANSWER
        answer = reply.answer
        return read_answer(answer.status, answer.body(), Grant.USER, _after(answer.headers.get("Retry-After")))


def _after(header: str | None) -> float | None:
    return parse_retry_after(header, _EPOCH)
