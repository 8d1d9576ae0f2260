"""A Google without a wire: dialogues are driven against the emulator synchronously, one request after another."""

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from calendar_emulator import Emulator, Service
from calendar_emulator.calls import Request as HttpRequest
from reactor.core.calendar.dialogue import Send
from reactor.core.calendar.exchange import exchange
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import ApiRequest, Method, Reply, Response
from reactor.core.outcome import Outcome
from reactor.core.payload import parse, source_key

WORKSPACE = "7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"
SOURCE = "0b8e7f52-91f5-4d0e-8a43-5b2f6f1c9d11"
KEY = source_key("task", SOURCE)
CALENDAR = "ada@example.com"
OTHER = "team@group.calendar.google.com"

Interceptor = Callable[[Send], Reply | None]


def upsert_json(title: Any = "Review", calendar_id: str = CALENDAR, **event: Any) -> dict[str, Any]:
    times = {"start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"}
    return {
        "operation": "UPSERT_EVENT",
        "workspaceId": WORKSPACE,
        "calendarId": calendar_id,
        "sourceType": "task",
        "sourceId": SOURCE,
        "eventType": "GATE_REVIEW",
        "event": {"title": title, **times, **event},
    }


def cancel_json(calendar_id: str = CALENDAR, **more: Any) -> dict[str, Any]:
    return {
        "operation": "CANCEL_EVENT",
        "workspaceId": WORKSPACE,
        "calendarId": calendar_id,
        "sourceType": "task",
        "sourceId": SOURCE,
        **more,
    }


def work(payload: dict[str, Any], *, seq: int = 1, **memory: Any) -> SyncIntent:
    parsed: Any = parse(payload["operation"], WORKSPACE, payload)
    return SyncIntent(WORKSPACE, KEY, seq, parsed, **memory)


class Google:
    """An emulator with one user who owns two calendars, spoken to without HTTP.

    Attributes:
        asked: Every question so far.
    """

    def __init__(self, seed: int = 1) -> None:
        self.emulator = Emulator(rng=random.Random(seed))
        self.emulator.add_user(CALENDAR, calendars=[OTHER])
        self._token = self.emulator.issue_access_token(CALENDAR)
        self._service = Service(self.emulator)
        self.asked: list[Send] = []

    def sign_in(self, email: str) -> None:
        """Speak with the consent of another account, which has a calendar of its own, from now on."""
        self.emulator.add_user(email)
        self._token = self.emulator.issue_access_token(email)

    @property
    def steps(self) -> list[Method]:
        return [ask.request.api_method for ask in self.asked]

    def carry_out(self, request: ApiRequest) -> Response:
        path, _, query = request.target.partition("?")
        headers = {**request.headers, "authorization": f"Bearer {self._token}"}
        coroutine = self._service.reply(
            HttpRequest(request.http_method, f"/{path}", parse_qs(query), headers, request.body)
        )
        try:
            coroutine.send(None)
        except StopIteration as stop:
            answer = stop.value.answer
            return Response(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.body())
        raise AssertionError("the emulator waits for something")

    def run(self, item: SyncIntent, intercept: Interceptor = lambda _: None) -> Outcome:
        """Drive an item's dialogue to its end; `intercept` may answer in Google's place, or do something before it."""
        dialogue = exchange(item)
        try:
            ask = next(dialogue)
            while True:
                self.asked.append(ask)
                reply = intercept(ask)
                ask = dialogue.send(self.carry_out(ask.request) if reply is None else reply)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome

    def titles(self, calendar_id: str = CALENDAR) -> list[str]:
        """What a person sees in a calendar."""
        return [event["summary"] for event in self.emulator.events(calendar_id)]
