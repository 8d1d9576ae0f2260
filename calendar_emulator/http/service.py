"""From an HTTP request to what goes onto the wire: faults, latency, batches, the log.

The order for every call: the fault plan judges, the latency passes, the call is carried out (or not), the answer is
damaged (or not), the exchange is written down. The parts of a batch go through the same, one after another in shuffled
order, and are answered in the order in which they were sent.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import trio

from calendar_emulator.api import WRITES
from calendar_emulator.calls import API_PATH, Answer, Call, Request, read_call
from calendar_emulator.emulator import Emulator
from calendar_emulator.errors import ApiError
from calendar_emulator.faults import Fault, Target
from calendar_emulator.http import batch, control
from calendar_emulator.log import Exchange
from calendar_emulator.oauth.errors import OAuthError

BATCH_PATH: Final = "/batch/calendar/v3"
TOKEN_PATH: Final = "/token"  # noqa: S105  (a path)
AUTHORIZE_PATH: Final = "/o/oauth2/v2/auth"
REVOKE_PATH: Final = "/revoke"

_HTML = "text/html; charset=UTF-8"
_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><title>Error</title><body><h1>Error</h1><p>Please try again later.</p></body></html>\n"
)
_GARBAGE: Final = b'{"kind": "calendar#event", "id": '


@dataclass(slots=True)
class Reply:
    """An answer with the way in which it is delivered.

    Attributes:
        answer: What to send.
        effect: "" to send it whole; drop, truncate, length or malformed.
    """

    answer: Answer
    effect: str = ""


class Service:
    """Answers HTTP requests for an emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def reply(self, request: Request) -> Reply:
        """Answer one HTTP request."""
        emulator = self.emulator
        if request.path.startswith(control.PREFIX):
            return Reply(control.answer(emulator, request))
        with emulator.log.flight():
            if request.path == BATCH_PATH:
                return await self._batch(request)
            if not request.path.startswith(API_PATH):
                return await self._oauth(request)
            call = read_call(request)
            with emulator.log.events_in_flight([(call.calendar, call.event)]):
                await _wait(emulator.settings.latency)
                return await self._call(call, None)

    async def _call(self, call: Call, batch_number: int | None) -> Reply:
        """A call of the API, alone or as a part of a batch."""
        emulator, request = self.emulator, call.request
        exchange = Exchange(
            emulator.log.number(),
            emulator.clock(),
            call.operation,
            request.method,
            request.path,
            request.query,
            call.calendar,
            call.event,
            batch=batch_number,
            body=call.body or None,
        )
        target = Target(call.operation, call.calendar, call.event, batch_number is not None)
        verdict = emulator.faults.judge(target, exchange.at)
        await _wait(verdict.before)
        answer = self._carry_out(call, verdict.fault, exchange)
        await _wait(verdict.after)
        return self._deliver(answer, verdict.fault, exchange)

    def _carry_out(self, call: Call, fault: Fault | None, exchange: Exchange) -> Answer:
        answer = Answer(503)
        if fault is None or self.emulator.faults.commits(fault):
            try:
                answer, exchange.user = self.emulator.api.perform(call, self.emulator.clock())
                exchange.committed = call.operation in WRITES
            except ApiError as error:
                answer = _refusal(error, exchange)
        if fault is not None and fault.effect == "error":
            return _refusal(_injected(fault), exchange)
        return answer

    async def _batch(self, request: Request) -> Reply:
        """A batch: the parts one after another in shuffled order, answered in the order of the request."""
        emulator = self.emulator
        exchange = self._exchange("batch", request)
        verdict = emulator.faults.judge(Target("batch"), exchange.at)
        await _wait(emulator.settings.latency + verdict.before)
        try:
            parts = batch.read(request)
            if len(parts) > emulator.settings.batch_limit:
                raise ApiError("badRequest", "The batch request exceeds the allowed number of calls.")  # noqa: TRY301
        except ApiError as error:
            answer = _refusal(error, exchange)
        else:
            answer = await self._parts(parts, exchange.number, verdict.fault)
        if verdict.fault and verdict.fault.effect == "error":
            answer = _refusal(_injected(verdict.fault), exchange)
        await _wait(verdict.after)
        return self._deliver(answer, verdict.fault, exchange)

    async def _parts(self, parts: list[batch.Part], number: int, fault: Fault | None) -> Answer:
        emulator = self.emulator
        calls = [read_call(part.request) for part in parts]
        replies: dict[int, Reply] = {}
        order = list(range(len(parts)))
        emulator.rng.shuffle(order)
        with emulator.log.events_in_flight([(call.calendar, call.event) for call in calls]):
            for index in order:
                if fault is None or emulator.faults.commits(fault):
                    replies[index] = await self._call(calls[index], number)
        boundary = f"batch_{emulator.rng.getrandbits(128):032x}"
        answers = [(parts[i].content_id, replies[i].answer, replies[i].effect) for i in sorted(replies)]
        return Answer(200, batch.write(answers, boundary), content_type=f"multipart/mixed; boundary={boundary}")

    async def _oauth(self, request: Request) -> Reply:
        """Everything that is no call of the API: tokens, consent, revocation, paths that lead nowhere."""
        emulator = self.emulator
        names = {TOKEN_PATH: "token", AUTHORIZE_PATH: "authorize", REVOKE_PATH: "revoke"}
        exchange = self._exchange(names.get(request.path, "unknown"), request)
        verdict = emulator.faults.judge(Target(exchange.operation), exchange.at)
        fault = verdict.fault
        await _wait(verdict.before)
        answer = Answer(503)
        try:
            if fault is None or emulator.faults.commits(fault):
                answer = self._authorization(exchange.operation, request)
            if fault and fault.effect == "error":
                raise OAuthError(fault.reason or "internal_failure", fault.message, status=fault.status)  # noqa: TRY301
        except OAuthError as error:
            exchange.reason = error.error
            answer = Answer(error.status, error.body(), _retry_after(fault.retry_after if fault else None))
        await _wait(verdict.after)
        return self._deliver(answer, fault, exchange)

    def _exchange(self, operation: str, request: Request) -> Exchange:
        number, at = self.emulator.log.number(), self.emulator.clock()
        return Exchange(number, at, operation, request.method, request.path, request.query)

    def _deliver(self, answer: Answer, fault: Fault | None, exchange: Exchange) -> Reply:
        """Damage the answer as the fault wants it, and write the exchange down."""
        reply = _damaged(answer, fault)
        payload = reply.answer.payload
        exchange.status = 0 if reply.effect in ("drop", "malformed") else reply.answer.status
        # Responses of the token endpoint contain secrets, which do not belong in a log.
        exchange.answer = payload if isinstance(payload, dict) and exchange.operation != "token" else None
        exchange.effect = fault.effect if fault else ""
        self.emulator.log.add(exchange)
        return reply

    def _authorization(self, operation: str, request: Request) -> Answer:
        oauth, now = self.emulator.oauth, self.emulator.clock()
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        match operation, request.method:
            case "token", "POST":
                return Answer(200, oauth.token(form, now), {"Cache-Control": "no-store"})
            case "authorize", "GET":
                query = {name: values[-1] for name, values in request.query.items()}
                return Answer(302, None, {"Location": oauth.authorize(query, now)})
            case "revoke", "POST":
                token = form.get("token") or request.query.get("token", [""])[-1]
                if oauth.revoke(token):
                    return Answer(200, {})
                raise OAuthError("invalid_token", "Token expired or revoked")
            case "unknown", _:
                return Answer(404, _PAGE, content_type=_HTML)
            case _:
                return Answer(405, _PAGE, content_type=_HTML)


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await trio.sleep(seconds)


def _injected(fault: Fault) -> ApiError:
    return ApiError(
        fault.reason,
        fault.message,
        status=fault.status,
        front_end=fault.front_end,
        retry_after=fault.retry_after,
    )


def _refusal(error: ApiError, exchange: Exchange) -> Answer:
    exchange.reason = error.reason
    headers = _retry_after(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return Answer(error.status, error.body(), headers)


def _retry_after(value: str | None) -> dict[str, str]:
    return {"Retry-After": value} if value else {}


def _damaged(answer: Answer, fault: Fault | None) -> Reply:
    if fault is None:
        return Reply(answer)
    match fault.effect:
        case "html":
            return Reply(Answer(fault.status or 502, _PAGE, _retry_after(fault.retry_after), _HTML))
        case "garbage":
            return Reply(Answer(200, _GARBAGE))
        case "drop" | "truncate" | "length" | "malformed":
            return Reply(answer, fault.effect)
        case _:
            return Reply(answer)
