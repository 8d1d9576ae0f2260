"""The Google Calendar client: drives dialogues, alone or many in a batch.

What to ask and what a response means is decided without I/O in `reactor.core`; this module decides how requests travel.
It works in rounds. Each dialogue has at most one request open. Requests that may go together are put into batches,
never two about one event. The responses are given back to the dialogues, and what these ask next is the next round. A
call of `send` has one request on the wire at a time, so the number of calls bounds the number of requests.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self, TypeVar

import trio

from reactor.core.calendar.answers import AnswerKind, classify
from reactor.core.calendar.dialogue import Send
from reactor.core.calendar.exchange import exchange, inventory
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import ApiRequest, Method, NoResponse, RemoteEvent, Reply, Response
from reactor.core.calendar.rounds import DialogueRunner
from reactor.core.calendar.token_answers import GrantType
from reactor.core.outcome import Dead, Outcome, Retry, Superseded
from reactor.core.stats import Calls
from reactor.google import batch
from reactor.google.tokens import TokenUnavailable
from reactor.google.transport import Timeouts, Transport

T = TypeVar("T")
Report = Callable[[int, Outcome], None]
_UNREADABLE = NoResponse("the answer to the batch cannot be read")


QUOTA_USER = "x-goog-quota-user"
"""The header for `quotaUser`: https://developers.google.com/workspace/calendar/api/guides/quota."""


class AccessTokens(Protocol):
    """The source of access tokens of one connection."""

    @property
    def quota_user(self) -> str | None:
        """The user whose quota the requests count against; None for the account's own."""
        ...

    @property
    def grant(self) -> GrantType:
        """How the workspace gave its consent: a user's refresh token or a service account."""
        ...

    async def token(self, rejected: str | None = None) -> str:
        """A usable access token.

        Args:
            rejected: The token that Google has just refused, so that one refresh serves all callers that used it.

        Raises:
            TokenUnavailable: There is none.
        """
        ...


class GoogleCalendar:
    """Google Calendar, or what stands in its place.

    Args:
        api_root: The URL under which `calendar/v3/` and `batch/calendar/v3` lie.
        batch_parts: How many requests go into one batch at most, 50 or fewer; 1 turns batching off.
        timeouts: How long a request may take.
        calls: Counts calls and their results.
        requested: Called after each request, in the task that sent it, with its method, its code and its seconds.

    Raises:
        ConfigurationError: The root is not https, nor http on loopback.
    """

    def __init__(
        self,
        api_root: str,
        *,
        batch_parts: int = batch.MOST_PARTS,
        timeouts: Timeouts | None = None,
        calls: Calls | None = None,
        requested: Callable[[Method, str, float], object] = lambda *_: None,
    ) -> None:
        self._transport = Transport(api_root, timeouts or Timeouts())
        self._calls = calls or Calls()
        self._requested = requested
        self._parts = max(1, min(batch_parts, batch.MOST_PARTS))
        self._turn = trio.Lock()

    async def send(
        self, works: Sequence[SyncIntent], tokens: AccessTokens, report: Report | None = None
    ) -> list[Outcome]:
        """Make Google agree with some items of one lane.

        Args:
            works: The items.
            tokens: The lane's tokens.
            report: Called with the index of an item and its outcome as soon as it is known, before the others are done.

        Returns:
            The items' outcomes, in their order.
        """
        if len(works) > 1:
            await self._take_turn()
        rounds = DialogueRunner([exchange(work, tokens.grant) for work in works], report)
        await self._drive(rounds, tokens)
        return rounds.results

    async def list_events(
        self, calendar_id: str, workspace_id: str, tokens: AccessTokens
    ) -> list[RemoteEvent] | Superseded | Retry | Dead:
        """List what a calendar holds of a workspace, or say why it cannot be listed."""
        rounds = DialogueRunner([inventory(calendar_id, workspace_id, tokens.grant)])
        await self._drive(rounds, tokens)
        return rounds.results[0]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _drive(self, rounds: DialogueRunner[T], tokens: AccessTokens) -> None:
        sent_with: dict[int, str] = {}
        try:
            while not rounds.over:
                if rounds.pause:
                    await trio.sleep(rounds.pause)
                for group in rounds.groups(self._parts):
                    token = await tokens.token(_rejected(group, sent_with))
                    sent_with |= dict.fromkeys(rounds.askers(group), token)
                    await self._carry(rounds, group, token, tokens.quota_user)
        except TokenUnavailable as unavailable:
            rounds.abandon(unavailable.outcome)

    async def _carry(
        self, rounds: DialogueRunner[T], group: dict[int, Send], token: str, quota_user: str | None
    ) -> None:
        """Send one group and hand out the replies."""
        requests = [ask.request for ask in group.values()]
        if len(group) > 1:
            replies = await self._batch(requests, token, quota_user)
        else:
            replies = [await self._request(requests[0], token, quota_user)]
        for place, reply in zip(group, replies, strict=True):
            if reply is None:
                rounds.send_alone(place)
            else:
                rounds.answer(place, reply)

    async def _take_turn(self) -> None:
        """Let all other tasks that are ready run first, and of those that wait here one at a time.

        To write a batch of 50 or to read its response takes one or two milliseconds of CPU, and many responses come at
        once: read one after the other, 30 of them delayed a claim that the database had finished by 40 ms.
        """
        with trio.CancelScope(shield=True):  # a response that has arrived must be read
            async with self._turn:  # acquiring it, even free, waits for the scheduler's next round
                pass

    async def _request(self, request: ApiRequest, token: str, quota_user: str | None) -> Reply:
        """Send one request and report it. The parts of a batch count against the quota that the batch names."""
        if quota_user is not None:
            request = replace(request, headers={**request.headers, QUOTA_USER: quota_user})
        began = trio.current_time()
        reply = await self._transport.send(request, token)
        seconds = trio.current_time() - began
        self._requested(request.api_method, self._calls.request(request.api_method, reply, seconds), seconds)
        return reply

    async def _batch(
        self, requests: Sequence[ApiRequest], token: str, quota_user: str | None
    ) -> Sequence[Reply | None]:
        """Send requests as one; None stands for a request that must be sent alone.

        If the batch itself fails (a limit, an outage, the token), its reply is the reply of each part. Any other
        refusal says nothing about the parts: they are sent one by one.
        """
        content_type, body = batch.write(requests, f"batch{secrets.token_hex(16)}")
        outer = ApiRequest(Method.BATCH, "POST", batch.PATH, {"content-type": content_type}, body)
        reply = await self._request(outer, token, quota_user)
        await self._take_turn()
        means = classify(Method.BATCH, reply)
        if means is AnswerKind.SUCCESS and isinstance(reply, Response):
            try:
                parts = batch.read(reply.headers.get("content-type", ""), reply.body, len(requests))
            except batch.BatchAnswerError:
                return [_UNREADABLE] * len(requests)
            for request, part in zip(requests, parts, strict=True):
                if part is not None:
                    self._calls.part(request.api_method, part)
            return parts
        if means is AnswerKind.UNAUTHORIZED or isinstance(means, Retry):
            return [reply] * len(requests)
        return [None] * len(requests)


def _rejected(group: dict[int, Send], sent_with: dict[int, str]) -> str | None:
    """The token that was refused to anyone in the group."""
    return next((sent_with[place] for place, ask in group.items() if ask.renew), None) if sent_with else None
