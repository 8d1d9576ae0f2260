"""Batches take turns: a crowd of answers must not keep everybody else waiting."""

import pytest
import trio

from reactor.core.calendar.messages import ApiRequest, Reply, Response
from reactor.core.outcome import Outcome, Retry
from reactor.google.client import GoogleCalendar
from reactor.google.transport import Transport
from tests.support.byte_server import http, listening, sends
from tests.support.google_client import Static, item

CROWD = 10


class Rounds(trio.abc.Instrument):
    """Counts the scheduler's rounds."""

    count = 0

    def before_io_wait(self, _timeout: float) -> None:
        self.count += 1


async def test_a_crowd_of_answers_is_read_one_in_each_round_of_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = trio.Event()
    rounds = Rounds()
    waiting = 0
    read: list[int] = []

    async def answered_together(_transport: Transport, _request: ApiRequest, _token: str) -> Reply:
        nonlocal waiting
        waiting += 1
        if waiting == CROWD:
            everybody.set()
        await everybody.wait()
        return Response(503)

    async def send(client: GoogleCalendar) -> None:
        def report(place: int, outcome: Outcome) -> None:
            assert isinstance(outcome, Retry)
            if place == 0:
                read.append(rounds.count)

        await client.send([item(1), item(2)], Static(), report)

    monkeypatch.setattr(Transport, "send", answered_together)
    trio.lowlevel.add_instrument(rounds)
    async with GoogleCalendar("http://127.0.0.1:1/") as client, trio.open_nursery() as sending:
        for _ in range(CROWD):
            sending.start_soon(send, client)
    assert len(set(read)) == CROWD


async def test_a_request_leaves_in_the_second_round_of_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has started one lets three pass before it does anything else (`reactor.loop.loop`)."""
    rounds = Rounds()
    left: list[int] = []
    send_all = trio.SocketStream.send_all

    async def noting(self: trio.SocketStream, data: bytes) -> None:
        if data.startswith(b"POST"):
            left.append(rounds.count - began)
        await send_all(self, data)

    monkeypatch.setattr(trio.SocketStream, "send_all", noting)
    trio.lowlevel.add_instrument(rounds)
    async with (
        listening(sends(http(500), keep=True)) as server,
        GoogleCalendar(server.root) as client,
        trio.open_nursery() as sending,
    ):
        began = 0
        await client.send([item(1)], Static())  # opens the connection
        began = rounds.count
        sending.start_soon(client.send, [item(2)], Static())
    assert left[1] == 2


async def test_an_answer_that_has_come_is_read_whatever_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = trio.CancelScope()
    read: list[Outcome] = []

    async def answered_too_late(_transport: Transport, _request: ApiRequest, _token: str) -> Reply:
        scope.cancel()
        return Response(503)

    monkeypatch.setattr(Transport, "send", answered_too_late)
    async with GoogleCalendar("http://127.0.0.1:1/") as client:
        with scope:
            await client.send([item(1), item(2)], Static(), lambda _place, outcome: read.append(outcome))
    assert len(read) == 2
