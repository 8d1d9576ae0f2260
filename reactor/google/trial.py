"""Tries a credential before it replaces one that works: at the token endpoint, then in its calendar.

The token is fetched as the reactor fetches it (`token_exchange.py`), and the same tables say what the responses mean;
only the sentences are for the person who waits. Nothing is written to the calendar.

Google does not rotate refresh tokens. A server that does has used up the old one with the trial, so the new one must be
stored.
"""

from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
import trio

from reactor.core.calendar.answers import NO_CALENDAR, AnswerKind, classify
from reactor.core.calendar.messages import Method, Response
from reactor.core.calendar.token_answers import OTHERS_TOKEN, AccessToken, GrantType
from reactor.core.outcome import Dead, Retry, Scope
from reactor.errors import ConfigurationError, PermanentError, ReactorError, TransientError
from reactor.google.network import client_options, why
from reactor.google.token_exchange import Account, TokenExchange

T = TypeVar("T")

NOT_STORED: Final = "Nothing was stored."
MISTYPED: Final = "To Google, a token that was mistyped or cut off looks the same. "
UNTRIED: Final = f"{NOT_STORED} Try again later, or store it untried with --no-verify."

_TIMEOUT: Final = httpx.Timeout(10.0)
_WRITERS: Final = ("owner", "writer")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A credential to try: the account, and the calendar that it must be able to change.

    Attributes:
        who: The account, as a sentence begins with it.
        remedy: What to do where it may not, as a sentence.
        calendar: The calendar's id.
        api_root: Where calendars are.
    """

    who: str
    remedy: str
    calendar: str
    api_root: str


def try_credential(account: Account, candidate: Candidate, token_uri: str) -> str | None:
    """Fetch an access token from that endpoint, and look at the calendar with it.

    Returns:
        The refresh token that replaced the account's; None where none did.

    Raises:
        ConfigurationError: The OAuth client, the project or an address is wrong.
        PermanentError: Google does not accept the credential, or it may not write the calendar.
        TransientError: Google cannot be asked now.
    """

    async def attempt() -> str | None:
        async with _client(token_uri) as client:
            answer = await TokenExchange(client).refresh(account)
        if not isinstance(answer, AccessToken):
            raise _refused(answer, MISTYPED if account.grant is GrantType.USER else "")
        if not answer.may_write:
            raise PermanentError(
                f"{candidate.who} did not allow calendar events to be written: its consent is for something else. "
                f"{NOT_STORED} Run `python -m reactor connect`."
            )
        await _look(answer.access_token, candidate)
        return answer.refresh_token

    return trio.run(attempt)


def require_calendar(access_token: str, candidate: Candidate) -> None:
    """Make sure that the owner of an access token may write the calendar.

    Raises:
        ConfigurationError, PermanentError, TransientError: As `try_credential`.
    """
    trio.run(_look, access_token, candidate)


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, **client_options(url))


async def _look(access_token: str, candidate: Candidate) -> None:
    url = f"{candidate.api_root.rstrip('/')}/calendar/v3/calendars/{quote(candidate.calendar, safe='')}/events"
    query = {"maxResults": "1", "fields": "accessRole"}
    try:
        async with _client(url) as client:
            found = await client.get(url, params=query, headers={"Authorization": f"Bearer {access_token}"})
    except httpx.HTTPError as error:
        raise TransientError(
            f"Google's calendars cannot be reached ({why(error)}): look at the network and at "
            f"GOOGLE_API_ROOT. {UNTRIED}"
        ) from None  # the request holds the token
    answer = Response(found.status_code, {name.lower(): value for name, value in found.headers.items()}, found.content)
    means = classify(Method.LIST, answer)
    if means is not AnswerKind.SUCCESS:
        raise _refused_there(means, found.status_code, candidate)
    role = _role(found)
    if role is None:
        raise TransientError(f"Google's answer about the calendar cannot be read. {UNTRIED}")
    if role not in _WRITERS:
        raise PermanentError(f"{candidate.who} may read this calendar and not change it. {candidate.remedy}")


def _role(found: httpx.Response) -> str | None:
    try:
        read = found.json()
    except ValueError:
        return None
    role = read.get("accessRole") if isinstance(read, dict) else None
    return role if isinstance(role, str) else None


def _refused(answer: Retry | Dead, hint: str = "") -> ReactorError:
    """What a refusal is to a person; the hint is for one that is final."""
    text = f"{answer.text[:1].upper()}{answer.text[1:]}."
    if isinstance(answer, Dead):
        return PermanentError(f"{text} {hint}{NOT_STORED}")
    if answer.scope is Scope.ALL or answer == OTHERS_TOKEN:
        return ConfigurationError(f"{text} {NOT_STORED}")
    return TransientError(f"{text} {UNTRIED}")


def _refused_there(means: object, status: int, candidate: Candidate) -> ReactorError:
    """What the calendar's refusal is to a person."""
    if means == NO_CALENDAR:
        return PermanentError(f"{candidate.who} does not know this calendar. {candidate.remedy}")
    if isinstance(means, Dead | Retry):
        return _refused(means)
    return PermanentError(f"Google refuses a fresh access token (status {status}). {NOT_STORED}")
