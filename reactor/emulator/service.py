"""From an HTTP request to what goes onto the wire: faults, latency, batches, the log.

The order for every call: the fault plan judges, the latency passes, the call is carried out (or not), the answer is
damaged (or not), the exchange is written down. The parts of a batch go through the same, one after another in shuffled
order, and are answered in the order in which they were sent.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import trio

from reactor.emulator import batch
from reactor.emulator.api import WRITES
from reactor.emulator.calls import API_PATH, Answer, Call, Request, read_call
from reactor.emulator.emulator import Emulator
from reactor.emulator.errors import ApiError
from reactor.emulator.faults import Fault, Target, Verdict
from reactor.emulator.log import Exchange
from reactor.emulator.oauth import OAuthError

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


@dataclass(slots=True)
class _Outcome:
    """What became of a call before it is delivered."""

    answer: Answer
    user: str = ""
    reason: str = ""
    committed: bool = False


class Service:
    """Answers HTTP requests for an emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def reply(self, request: Request) -> Reply:
        """Answer one HTTP request."""
        emulator = self.emulator
        with emulator.log.flight():
            if request.path == BATCH_PATH:
                return await self._batch(request)
            if request.path.startswith(API_PATH):
                call = read_call(request)
                with emulator.log.events_in_flight([(call.calendar, call.event)]):
                    if emulator.latency:
                        await trio.sleep(emulator.latency)
                    return await self._call(call, None)
            return await self._oauth(request)

    async def _call(self, call: Call, batch_number: int | None) -> Reply:
        emulator = self.emulator
        number, at = emulator.log.number(), emulator.clock()
        target = Target(call.operation, call.calendar, call.event, batch_number is not None)
        verdict = emulator.faults.judge(target, at)
        if verdict.before:
            await trio.sleep(verdict.before)
        outcome = self._carry_out(call, verdict.fault)
        if verdict.after:
            await trio.sleep(verdict.after)
        reply = _damaged(outcome.answer, verdict.fault)
        payload = reply.answer.payload
        emulator.log.add(
            Exchange(
                number,
                at,
                call.operation,
                call.request.method,
                call.request.path,
                call.request.query,
                call.calendar,
                call.event,
                outcome.user,
                batch_number,
                call.body or None,
                0 if reply.effect in ("drop", "malformed") else reply.answer.status,
                outcome.reason,
                payload if isinstance(payload, dict) else None,
                verdict.fault.effect if verdict.fault else "",
                outcome.committed,
            )
        )
        return reply

    def _carry_out(self, call: Call, fault: Fault | None) -> _Outcome:
        outcome = _Outcome(Answer(503))
        if fault is None or self.emulator.faults.commits(fault):
            try:
                outcome.answer, outcome.user = self.emulator.api.perform(call, self.emulator.clock())
                outcome.committed = call.operation in WRITES
            except ApiError as error:
                outcome.answer, outcome.reason = _refusal(error), error.reason
        if fault is not None and fault.effect == "error":
            injected = _error(fault)
            outcome.answer, outcome.reason = _refusal(injected), injected.reason
        return outcome

    async def _batch(self, request: Request) -> Reply:
        emulator = self.emulator
        number, at = emulator.log.number(), emulator.clock()
        verdict = emulator.faults.judge(Target("batch"), at)
        reason = ""
        try:
            parts = batch.read(request)
            if len(parts) > emulator.batch_limit:
                raise ApiError("badRequest", "The batch request exceeds the allowed number of calls.")  # noqa: TRY301
        except ApiError as error:
            answer, reason = _refusal(error), error.reason
        else:
            answer = await self._parts(parts, number, verdict)
        if verdict.fault and verdict.fault.effect == "error":
            injected = _error(verdict.fault)
            answer, reason = _refusal(injected), injected.reason
        reply = _damaged(answer, verdict.fault)
        emulator.log.add(
            Exchange(
                number,
                at,
                "batch",
                request.method,
                request.path,
                request.query,
                status=0 if reply.effect in ("drop", "malformed") else reply.answer.status,
                reason=reason,
                effect=verdict.fault.effect if verdict.fault else "",
            )
        )
        return reply

    async def _parts(self, parts: list[batch.Part], number: int, verdict: Verdict) -> Answer:
        emulator = self.emulator
        calls = [read_call(part.request) for part in parts]
        replies: list[Reply | None] = [None] * len(parts)
        order = list(range(len(parts)))
        emulator.rng.shuffle(order)
        with emulator.log.events_in_flight([(call.calendar, call.event) for call in calls]):
            if emulator.latency + verdict.before:
                await trio.sleep(emulator.latency + verdict.before)
            for index in order:
                if verdict.fault is None or emulator.faults.commits(verdict.fault):
                    replies[index] = await self._call(calls[index], number)
            if verdict.after:
                await trio.sleep(verdict.after)
        boundary = f"batch_{emulator.rng.getrandbits(128):032x}"
        body = batch.write(
            [
                (part.content_id, reply.answer, reply.effect)
                for part, reply in zip(parts, replies, strict=True)
                if reply is not None
            ],
            boundary,
        )
        return Answer(200, body, content_type=f"multipart/mixed; boundary={boundary}")

    async def _oauth(self, request: Request) -> Reply:
        emulator = self.emulator
        operation = {TOKEN_PATH: "token", AUTHORIZE_PATH: "authorize", REVOKE_PATH: "revoke"}.get(
            request.path, "unknown"
        )
        number, at = emulator.log.number(), emulator.clock()
        verdict = emulator.faults.judge(Target(operation), at)
        if verdict.before:
            await trio.sleep(verdict.before)
        reason = ""
        answer = Answer(503)
        fault = verdict.fault
        try:
            if fault is None or emulator.faults.commits(fault):
                answer = self._authorization(operation, request)
            if fault and fault.effect == "error":
                refusal = OAuthError(fault.reason or "internal_failure", fault.message, status=fault.status)
                headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                answer, reason = Answer(refusal.status, refusal.body(), headers), refusal.error
        except OAuthError as error:
            answer, reason = Answer(error.status, error.body()), error.error
        if verdict.after:
            await trio.sleep(verdict.after)
        reply = _damaged(answer, fault)
        emulator.log.add(
            Exchange(
                number,
                at,
                operation,
                request.method,
                request.path,
                request.query,
                status=0 if reply.effect in ("drop", "malformed") else reply.answer.status,
                reason=reason,
                effect=fault.effect if fault else "",
            )
        )
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


def _error(fault: Fault) -> ApiError:
    return ApiError(
        fault.reason,
        fault.message,
        status=fault.status,
        front_end=fault.front_end,
        retry_after=fault.retry_after,
    )


def _refusal(error: ApiError) -> Answer:
    headers = {"Retry-After": error.retry_after} if error.retry_after else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return Answer(error.status, error.body(), headers)


def _damaged(answer: Answer, fault: Fault | None) -> Reply:
    if fault is None:
        return Reply(answer)
    match fault.effect:
        case "html":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return Reply(Answer(fault.status or 502, _PAGE, headers, _HTML))
        case "garbage":
            return Reply(Answer(200, _GARBAGE))
        case "drop" | "truncate" | "length" | "malformed":
            return Reply(answer, fault.effect)
        case _:
            return Reply(answer)
