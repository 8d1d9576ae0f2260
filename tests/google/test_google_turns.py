"""Batches take turns: a crowd of answers must not keep everybody else waiting."""

import pytest
import trio

from reactor.core.calendar.messages import ApiRequest, Reply, Response
from reactor.core.outcome import Outcome, Retry
from reactor.google.client import GoogleCalendar
from reactor.google.transport import Transport
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
