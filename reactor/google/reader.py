"""Reads calendars and changes nothing: one request at a time, at a bounded rate, slower where Google asks for it.

The rate is for the whole process, all accounts together, because the reactor uses the same quotas and goes first. When
Google says that we are too fast, the rate is halved for the rest of the run.
"""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import trio

from reactor.core.backoff import backoff, parse_retry_after
from reactor.core.calendar.messages import ApiRequest, Method, NoResponse
from reactor.drift import answers
from reactor.drift.answers import DriftAnswer, ReadAnswer
from reactor.drift.calendar_event import FIELDS, MARK
from reactor.errors import PermanentError, TransientError
from reactor.google.client import AccessTokens
from reactor.google.transport import Transport

PAGE: Final = 250
"""Events on a page: at Google's longest texts some 10 MB."""
TRIES: Final = 6
LONGEST_PAUSE: Final = 120.0
"""Seconds; where Google asks for a pause of more than twice that, the reader gives up and says so."""
SLOWEST: Final = 10.0
"""Seconds between two requests, however often Google says that we are too fast."""


class Pace:
    """Bounds the rate: lets one request pass at a time.

    Args:
        rate: Requests a second.

    Attributes:
        questions: How many requests have passed.
    """

    def __init__(self, rate: float) -> None:
        self.questions = 0
        self._interval = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next request may leave."""
        self.questions += 1
        at = max(self._next, trio.current_time())
        self._next = at + self._interval
        await trio.sleep_until(at)

    def too_fast(self) -> None:
        """Halve the rate, down to one request in `SLOWEST` seconds."""
        self._interval = min(2 * self._interval, SLOWEST)


class Reader:
    """Reads the calendars of one account.

    Args:
        transport: Sends requests.
        tokens: The account's access tokens.
        pace: Bounds the rate.
        quota_user: To be sent as `quotaUser`, if anything.
    """

    def __init__(self, transport: Transport, tokens: AccessTokens, pace: Pace, quota_user: str | None = None) -> None:
        self._transport = transport
        self._tokens = tokens
        self._pace = pace
        self._more = {"quotaUser": quota_user} if quota_user else {}

    async def page(self, calendar_id: str, workspace_id: str, token: str | None = None) -> ReadAnswer:
        """Ask for a page of what a calendar holds of a workspace, with tombstones as far as Google knows their mark.

        Raises:
            ReactorError: There is no answer, or it is a refusal.
        """
        query = {
            "privateExtendedProperty": f"{MARK}={workspace_id}",
            "maxResults": str(PAGE),
            "showDeleted": "true",
            "fields": f"nextPageToken,items({FIELDS})",
        }
        return await self._ask(_events(calendar_id), query | ({"pageToken": token} if token else {}))

    async def event(self, calendar_id: str, event_id: str) -> ReadAnswer:
        """Ask for one event, alive or deleted; raises as `page`."""
        return await self._ask(f"{_events(calendar_id)}/{_segment(event_id)}", {"fields": FIELDS})

    async def _ask(self, path: str, query: Mapping[str, str]) -> ReadAnswer:
        request = ApiRequest(Method.GET, "GET", f"{path}?{urlencode({**query, **self._more})}")
        refused: str | None = None
        said = ReadAnswer(DriftAnswer.LATER)
        for tries in range(1, TRIES + 1):
            await self._pace.turn()
            token = await self._tokens.token(refused)
            reply = await self._transport.send(request, token)
            if isinstance(reply, NoResponse):
                said, wanted = ReadAnswer(DriftAnswer.LATER, codes=reply.reason), None
            else:
                said = answers.read(reply.status, reply.body)
                wanted = parse_retry_after(reply.headers, datetime.now(UTC))
            match said.means:
                case DriftAnswer.FOUND | DriftAnswer.ABSENT:
                    return said
                case DriftAnswer.REFUSED:
                    raise PermanentError(
                        f"Google refuses to show the calendar ({said.codes}): docs/google.md says what that means."
                    )
                case DriftAnswer.RENEW if refused is not None:
                    raise PermanentError(
                        f"Google refuses the access token ({said.codes}): connect the workspace again."
                    )
                case DriftAnswer.RENEW:
                    refused = token
                    continue
                case DriftAnswer.LIMITED:
                    self._pace.too_fast()
            pause = backoff(tries, random=random.random(), cap=LONGEST_PAUSE, retry_after=wanted)
            if tries == TRIES or pause > 2 * LONGEST_PAUSE:
                break
            await trio.sleep(pause)
        raise TransientError(f"Google does not answer as it should ({said.codes}): try again later.")


def _events(calendar_id: str) -> str:
    return f"calendar/v3/calendars/{_segment(calendar_id)}/events"


def _segment(text: str) -> str:
    """One segment of a path; one of only dots would mean another path."""
    encoded = quote(text, safe="", errors="surrogatepass")
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")


def documents(said: ReadAnswer) -> list[Any]:
    """The events of a page."""
    items = said.document.get("items")
    return items if isinstance(items, list) else []
