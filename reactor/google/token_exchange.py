"""Fetches an access token: google-auth in a worker thread, the wire on Trio.

google-auth is synchronous. Its `Credentials.refresh` builds the form, signs the assertion of a service account and
keeps the tokens; all of that runs in a thread. We give it a transport that carries the request back to Trio. There one
`httpx.AsyncClient` sends it, under the deadlines and the cancellation of the task that waits for the thread.

google-auth sees only responses that grant a token. All others are decided here (`core/calendar/token_answers.py`) and
leave its code as our own exception, for three reasons. On 408, 5xx and some 400s it would sleep in the thread and try
again on its own. Its `RefreshError` contains the body of the response, sometimes as one argument and sometimes as two.
And a response 200 without the expected fields ends there in some `TypeError`. Of a granting response we hand on what we
read from it, so that `"refresh_token": null` cannot erase the refresh token.

Only `refresh` is called. `before_request` may ask other endpoints about regional restrictions; `google.auth.aio` and
`google.oauth2._credentials_async` need asyncio.
"""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import structlog
import trio
from google.auth import transport
from google.oauth2 import credentials as user, service_account

from reactor.core.backoff import parse_retry_after
from reactor.core.calendar.token_answers import (
    BROKEN,
    NO_ANSWER,
    NO_THREAD,
    UNREACHABLE,
    AccessToken,
    Answer,
    GrantType,
    read_answer,
)
from reactor.core.outcome import Dead, Retry
from reactor.google.endpoints import TOKEN_URI
from reactor.google.wire import with_body

SCOPES: Final = ("https://www.googleapis.com/auth/calendar.events",)
"""The smallest scope that may write events; a service account asks for it, a person's consent contains it."""
TIMEOUT: Final = httpx.Timeout(5.0, read=10.0)
EXCHANGE_SECONDS: Final = 15.0
"""For a whole request. The time-outs above bound each step; a server that sends a byte now and then meets none."""
TOTAL_SECONDS: Final = 45.0
"""For a request and the wait for a thread before it."""
THREADS: Final = 32
"""A thread waits for the answer, so this is how many workspaces can be asked for at once. With answers after 100 ms, 8
threads fetched 75 tokens per second, 32 fetched 277, 64 fetched 483, at 1.1 ms of CPU each whatever their number: after
a restart a thousand workspaces have their tokens within four seconds, for a third of one core."""
LONGEST_BODY: Final = 65_536

log = structlog.get_logger(__name__)

Credentials = user.Credentials | service_account.Credentials


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a token is fetched for.

    Attributes:
        credentials: google-auth's object. It changes with each exchange, so one exchange at a time.
        grant: How the workspace gave its consent.
        refresh_token: The refresh token that the account was made with, None for a service account.
    """

    credentials: Credentials = field(repr=False)
    grant: GrantType
    refresh_token: str | None = field(default=None, repr=False)


def user_account(refresh_token: str, *, client_id: str, client_secret: str, token_uri: str = TOKEN_URI) -> Account:
    """Return the account behind a person's refresh token; `credentials.account_of` makes one of whatever is stored.

    Raises:
        ValueError: It is no refresh token: a service account's key must never be sent as one.
    """
    if refresh_token.lstrip().startswith("{"):
        raise ValueError("this is no refresh token")
    credentials = user.Credentials(  # type: ignore[no-untyped-call]  # google-auth is typed in part only
        None, refresh_token=refresh_token, token_uri=token_uri, client_id=client_id, client_secret=client_secret
    )
    return Account(credentials, GrantType.USER, refresh_token)


class TokenExchange:
    """Fetches tokens; one for the process.

    Args:
        client: Sends the requests; its owner closes it.
        threads: How many exchanges may run at once.

    Attributes:
        outcomes: How often a token was `granted`, was `refused` for good, or is to be asked for again (`failed`).
    """

    def __init__(self, client: httpx.AsyncClient, *, threads: int = THREADS) -> None:
        self.outcomes: Counter[str] = Counter()
        self._client = client
        self._limiter = trio.CapacityLimiter(threads)

    async def refresh(self, account: Account) -> Answer:
        """Fetch a new access token; failures are values, nothing is raised but cancellation."""
        answer: Answer = NO_THREAD
        with trio.move_on_after(TOTAL_SECONDS):
            answer = await self._refresh(account)
        self.outcomes[_outcome(answer)] += 1
        return answer

    async def _refresh(self, account: Account) -> Answer:
        request = _TrioRequest(self._client, account.grant)
        try:
            await trio.to_thread.run_sync(account.credentials.refresh, request, limiter=self._limiter)
        except _RefusedError as refused:
            return refused.outcome
        except Exception as error:  # noqa: BLE001  # google-auth met something unforeseen; its texts may quote secrets
            log.error("token_exchange_failed", error=type(error).__name__)  # noqa: TRY400  # a traceback shows them too
            return BROKEN
        return request.granted or BROKEN


def _outcome(answer: Answer) -> str:
    if isinstance(answer, AccessToken):
        return "granted"
    return "refused" if isinstance(answer, Dead) else "failed"


class _RefusedError(Exception):
    """Leaves google-auth's code with the outcome. Never leaves this module."""

    def __init__(self, outcome: Retry | Dead) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Response(transport.Response):
    """A granting answer, in the form that google-auth reads."""

    def __init__(self, granted: AccessToken) -> None:
        content: dict[str, Any] = {"access_token": granted.access_token, "expires_in": int(granted.lifetime)}
        if granted.refresh_token is not None:
            content["refresh_token"] = granted.refresh_token
        self._data = json.dumps(content).encode()

    @property
    def status(self) -> int:
        return 200

    @property
    def headers(self) -> Mapping[str, str]:
        return {"content-type": "application/json"}

    @property
    def data(self) -> bytes:
        return self._data


class _TrioRequest(transport.Request):
    """google-auth's transport, for one exchange: called in the thread, sends on Trio."""

    def __init__(self, client: httpx.AsyncClient, grant: GrantType) -> None:
        self._client = client
        self._grant = grant
        self.granted: AccessToken | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002  # ours are on every step
        **_: object,
    ) -> _Response:
        answer = trio.from_thread.run(self._send, url, method, body, headers)
        if not isinstance(answer, AccessToken):
            raise _RefusedError(answer)
        self.granted = answer
        return _Response(answer)

    async def _send(self, url: str, method: str, body: bytes | None, headers: Mapping[str, str] | None) -> Answer:
        try:
            with trio.fail_after(EXCHANGE_SECONDS):
                request = self._client.build_request(method, url, content=body, headers=headers, timeout=TIMEOUT)
                # Not redirected: the form holds the client secret.
                response = await self._client.send(with_body(request, body), stream=True, follow_redirects=False)
                async with aclosing(response):
                    content = await _read(response)
        except httpx.PoolTimeout:
            return NO_THREAD
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return UNREACHABLE
        except (httpx.HTTPError, trio.TooSlowError):
            return NO_ANSWER
        if content is None:
            return BROKEN
        retry_after = parse_retry_after(response.headers, datetime.now(UTC))
        return read_answer(response.status_code, content, self._grant, retry_after)


async def _read(response: httpx.Response) -> bytes | None:
    """Read a body, None where it is longer than any answer of the token endpoint."""
    content = b""
    with trio.CancelScope() as scope:
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > LONGEST_BODY:
                scope.cancel()  # not `break`, which would leave httpx's generators to the garbage collector
    return content if len(content) <= LONGEST_BODY else None
