"""Reading calendars: at a bounded rate, patient with limits and outages, and never more than it must."""

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from reactor.core.calendar.messages import ApiRequest, NoResponse, Reply, Response
from reactor.core.calendar.token_answers import GrantType
from reactor.drift.answers import DriftAnswer, read
from reactor.errors import PermanentError, ReactorError, TransientError
from reactor.google.reader import TRIES, Pace, Reader, documents

FOUND = Response(200, {}, b'{"items": [7]}')


def refusal(status: int, reason: str, **headers: str) -> Response:
    return Response(status, headers, json.dumps({"error": {"errors": [{"reason": reason}]}}).encode())


LIMITED = refusal(403, "rateLimitExceeded")
DOWN = refusal(503, "backendError")
UNAUTHORIZED = refusal(401, "authError")


class Wire:
    """Answers one after the other, the last one for ever.

    Attributes:
        times: When each question came.
        asked: The questions, with their tokens.
    """

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)
        self.times: list[float] = []
        self.asked: list[tuple[str, str]] = []

    async def send(self, request: ApiRequest, token: str) -> Reply:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        self.asked.append((request.target, token))
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


class Tokens:
    """A new one whenever the last one is refused."""

    quota_user = None
    grant = GrantType.USER

    async def token(self, rejected: str | None = None) -> str:
        await trio.lowlevel.checkpoint()
        return "second" if rejected == "first" else "first"


def reading(*replies: Reply, rate: float = 5.0, quota_user: str | None = None) -> tuple[Reader, Wire]:
    wire = Wire(replies)
    return Reader(cast("Any", wire), Tokens(), Pace(rate), quota_user), wire


async def test_the_rate_is_kept_over_all_questions(autojump_clock: MockClock) -> None:
    reader, wire = reading(FOUND, rate=4.0)
    for _ in range(9):
        await reader.event("c", "e")
    assert wire.times[-1] - wire.times[0] == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [LIMITED, DOWN, NoResponse("the connection was lost"), Response(200, {}, b"<html>")])
async def test_what_passes_is_waited_for(autojump_clock: MockClock, bad: Reply) -> None:
    reader, wire = reading(bad, bad, FOUND)
    said = await reader.page("c", "w")
    assert documents(said) == [7]
    assert wire.times[-1] - wire.times[0] >= 1.0 + 2.0


async def test_a_limit_halves_the_rate(autojump_clock: MockClock) -> None:
    reader, wire = reading(LIMITED, FOUND, rate=1.0)
    for _ in range(3):
        await reader.event("c", "e")
    assert wire.times[-1] - wire.times[-2] == pytest.approx(2.0)


async def test_what_the_server_asks_for_is_kept(autojump_clock: MockClock) -> None:
    reader, wire = reading(refusal(429, "rateLimitExceeded", **{"retry-after": "50"}), FOUND)
    await reader.event("c", "e")
    assert wire.times[-1] - wire.times[0] >= 50.0


@pytest.mark.parametrize(
    ("reply", "questions", "error", "sentence"),
    [
        (DOWN, TRIES, TransientError, "Google does not answer as it should (503 backendError): try again later."),
        (LIMITED, TRIES, TransientError, "Google does not answer as it should (403 rateLimitExceeded)"),
        (
            refusal(429, "rateLimitExceeded", **{"retry-after": "3600"}),
            1,
            TransientError,
            "(429 rateLimitExceeded)",
        ),
        (
            refusal(403, "quotaExceeded"),
            1,
            PermanentError,
            "Google refuses to show the calendar (403 quotaExceeded): docs/google.md",
        ),
        (UNAUTHORIZED, 2, PermanentError, "Google refuses the access token (401 authError): connect the workspace"),
    ],
)
async def test_what_does_not_pass_is_given_up(
    autojump_clock: MockClock, reply: Reply, questions: int, error: type[ReactorError], sentence: str
) -> None:
    reader, wire = reading(reply)
    with pytest.raises(error) as caught:
        await reader.event("c", "e")
    assert sentence in str(caught.value)
    assert len(wire.times) == questions


async def test_a_token_that_is_refused_is_renewed_once(autojump_clock: MockClock) -> None:
    reader, wire = reading(UNAUTHORIZED, FOUND)
    await reader.event("c", "e")
    assert [token for _, token in wire.asked] == ["first", "second"]


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_not_there_is_an_answer(autojump_clock: MockClock, status: int) -> None:
    reader, _ = reading(refusal(status, "notFound"))
    assert (await reader.event("c", "e")).means is DriftAnswer.ABSENT


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (lambda r: r.event("a/b", "e 1"), "calendar/v3/calendars/a%2Fb/events/e%201?fields=id"),
        (lambda r: r.event("..", "e"), "calendar/v3/calendars/%2E%2E/events/e?"),
        (lambda r: r.page("c", "w", "t2"), "showDeleted=true"),
        (lambda r: r.page("c", "w", "t2"), "pageToken=t2&quotaUser=w"),
    ],
)
async def test_what_is_asked(ask: Callable[[Reader], Any], target: str) -> None:
    reader, wire = reading(FOUND, quota_user="w")
    await ask(reader)
    assert target in wire.asked[0][0]


def test_a_page_without_events() -> None:
    assert documents(read(200, b'{"items": "none"}')) == []
