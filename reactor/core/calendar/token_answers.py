"""What an answer of Google's token endpoint means.

The endpoint answers as RFC 6749 says (https://www.rfc-editor.org/rfc/rfc6749#section-5): a token with status 200, or
`error` and `error_description` with 400 or 401. Whose fault an error is decides what it may touch:

- the *person's* (consent revoked, account gone, policy of their organisation): the connection is dead, a person must
  connect again;
- the *deployment's* (client id and secret): every workspace would meet the same, so all are held and no connection is
  marked. One wrong secret must not disconnect a thousand workspaces;
- *not certain* (a refresh token of another OAuth client: the one token is old, or our client's id is wrong): the
  workspace is held, and no connection is marked. If it is the id, each workspace finds out for itself;
- the *endpoint's* (5xx, busy, a proxy's page): try again.

A service account's key is the workspace's own, stored as a refresh token is. So what is wrong with the account, its key
or its delegation is as dead as a consent that was revoked, and ends in the same way: a person mends it, then connects
or enables. What is wrong with *us* (the clock that the assertion is dated with, its form) counts nothing and marks
nothing, and holds each such workspace by itself: refresh tokens carry no date, their workspaces go on.

The codes and their meanings: https://developers.google.com/identity/protocols/oauth2/service-account#error-codes and
https://developers.google.com/identity/protocols/oauth2#expiration. Descriptions are for people and change; those that
`DESCRIBED` knows choose between the causes that an assertion's one code has, and none is ever passed on, because it may
quote what was sent. The code itself, a word of a small alphabet, goes with what follows (`said`), also one that is not
known here.
"""

import json
import re
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final

from reactor.core.outcome import Dead, FailureCode, Retry, Scope

DEFAULT_LIFETIME: Final = 3600.0
"""Seconds; what Google's access tokens live, for an answer that does not say. Were it less, a 401 would tell."""
LONGEST_LIFETIME: Final = 86_400.0
TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""A token goes into a header or a form: visible ASCII, https://www.rfc-editor.org/rfc/rfc6749#appendix-A.12."""

WRITING_SCOPES: Final = frozenset(
    f"https://www.googleapis.com/auth/calendar{rest}" for rest in ("", ".events", ".events.owned", ".app.created")
)
"""Each of these lets events be written: the method `events.insert` in Google's discovery document."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.]{1,64}")


class GrantType(Enum):
    """How a workspace gave its consent."""

    USER = auto()
    """A person consented; the workspace has a refresh token."""
    DELEGATION = auto()
    """A service account that acts for a user of its domain."""
    SERVICE_ACCOUNT = auto()
    """A service account that acts as itself: the calendar is shared with it."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token.

    Attributes:
        access_token: What goes into the Authorization header.
        lifetime: Seconds from the moment of the request.
        refresh_token: The refresh token to use from now on, None where the answer has none.
        scopes: What it may be used for; empty where the answer does not say.
    """

    access_token: str = field(repr=False)
    lifetime: float
    refresh_token: str | None = field(default=None, repr=False)
    scopes: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def may_write(self) -> bool:
        """Whether it may write events, for all that the answer says."""
        return not self.scopes or not self.scopes.isdisjoint(WRITING_SCOPES)


Answer = AccessToken | Retry | Dead


def _person(reason: str) -> Dead:
    return Dead(FailureCode.AUTH, reason, scope=Scope.LANE, connection_invalid=True)


def _deployment(reason: str) -> Retry:
    return Retry(reason, counts=False, scope=Scope.ALL)


def _workspace(reason: str) -> Retry:
    return Retry(reason, counts=False, scope=Scope.LANE)


def _endpoint(reason: str, after: float | None = None) -> Retry:
    return Retry(reason, counts=True, scope=Scope.LANE, after=after, outage=True)


BUSY: Final = Retry("the token endpoint limits the rate", counts=False, scope=Scope.LANE)
UNREACHABLE: Final = Retry("the token endpoint cannot be reached", counts=False, scope=Scope.LANE, outage=True)
"""No connection came about, so nothing was sent and no attempt is used up."""
NO_ANSWER: Final = _endpoint("the token endpoint did not answer")
BROKEN: Final = _endpoint("the token endpoint's answer cannot be read")
UNKNOWN: Final = Retry("Google refused a token for a reason that is not known", counts=True, scope=Scope.LANE)
NO_THREAD: Final = Retry("no worker thread became free to fetch a token", counts=False, scope=Scope.LANE)

OTHERS_TOKEN: Final = _workspace(
    "the refresh token is another OAuth client's; connect again, or check GOOGLE_CLIENT_ID"
)

_USER: Final[dict[str, Retry | Dead]] = {
    "invalid_grant": _person("the refresh token was revoked or has expired"),
    "invalid_rapt": _person("the organisation demands a new sign-in"),
    "admin_policy_enforced": _person("an administrator of the organisation forbids the access"),
    "access_denied": _person("the access was denied"),
    "org_internal": _person("the OAuth client is for accounts of its own organisation only"),
    "policy_enforced": _person("the account's own protection forbids the access"),
    "access_not_configured": _person("an administrator of the organisation has not let the application in"),
    "invalid_client": _deployment("Google does not accept the OAuth client; check its id and its secret"),
    "deleted_client": _deployment("the OAuth client was deleted"),
    "disabled_client": _deployment("the OAuth client was disabled"),
    "restricted_client": _deployment("the OAuth client is not set up for this; look at its consent screen"),
    "unauthorized_client": OTHERS_TOKEN,
    "invalid_request": _deployment("Google does not accept the token request"),
    "unsupported_grant_type": _deployment("Google does not accept the kind of the token request"),
    "unsupported_response_type": _deployment("Google does not accept the kind of the token request"),
    "invalid_scope": _deployment("Google does not accept the requested scope"),
    "redirect_uri_mismatch": _deployment("Google does not accept the address to return to; use a 'Desktop app' client"),
    "origin_mismatch": _deployment("Google does not accept where the request comes from; use a 'Desktop app' client"),
    "disallowed_useragent": _deployment("Google does not accept the browser that it was asked with"),
    "slow_down": BUSY,
    "rate_limit_exceeded": BUSY,
    "internal_failure": _endpoint("the token endpoint failed"),
    "server_error": _endpoint("the token endpoint failed"),
    "temporarily_unavailable": _endpoint("the token endpoint failed"),
}
_GONE: Final = _person("the service account was deleted or disabled")
_REFUSED: Final = _person("Google accepts the service account or its key no more")
_KEY: Final = _person("the service account's key was deleted, disabled or replaced; connect with a new one")
_NO_SUBJECT: Final = _person("the user to act for does not exist; check the subject")
_NOT_DELEGATED: Final = _person(
    "the service account may not act for this user; an administrator grants domain-wide delegation for calendar.events"
)
_CLOCK: Final = _workspace("Google does not accept the date of the signed assertion; set this machine's clock")
_ASSERTION: Final = _workspace("Google does not accept the signed assertion; check GOOGLE_TOKEN_URI")

DESCRIBED: Final[tuple[tuple[str, Retry | Dead], ...]] = (
    ("Invalid JWT Signature", _KEY),
    ("Invalid JWT: Token must be", _CLOCK),
    ("Invalid JWT", _ASSERTION),
    ("Invalid grant: account not found", _GONE),
    ("Robot is disabled", _GONE),
    ("Invalid email or User ID", _NO_SUBJECT),
    ("Not a valid email", _NO_SUBJECT),
    ("The account has been deleted", _NO_SUBJECT),
    ("Invalid impersonation", _NO_SUBJECT),
)
"""How Google's description of an `invalid_grant` or `invalid_request` begins, and what follows; the first that fits."""

_SERVICE_ACCOUNT: Final = _USER | {
    "invalid_grant": _REFUSED,
    "unauthorized_client": _person("Google does not authorise the service account for calendar events"),
    "access_denied": _person("Google does not authorise the service account for calendar events"),
    "invalid_client": _REFUSED,
    "deleted_client": _GONE,
    "disabled_client": _GONE,
    "restricted_client": _REFUSED,
    "invalid_request": _ASSERTION,
    "unsupported_grant_type": _ASSERTION,
    "unsupported_response_type": _ASSERTION,
    "redirect_uri_mismatch": _ASSERTION,
    "origin_mismatch": _ASSERTION,
    "disallowed_useragent": _ASSERTION,
    "invalid_scope": _workspace("Google does not accept the requested scope"),
}
_REFUSALS: Final = {
    GrantType.USER: _USER,
    GrantType.SERVICE_ACCOUNT: _SERVICE_ACCOUNT,
    GrantType.DELEGATION: _SERVICE_ACCOUNT | {"unauthorized_client": _NOT_DELEGATED, "access_denied": _NOT_DELEGATED},
}


def read_answer(status: int, body: bytes, grant: GrantType, retry_after: float | None = None) -> Answer:
    """Tell what an answer of the token endpoint means.

    Args:
        status: The HTTP status.
        body: The whole body; anything, including a proxy's page.
        grant: How the workspace gave its consent.
        retry_after: Seconds from the answer's Retry-After header.
    """
    content = _object(body)
    answer = _read(status, content, grant, retry_after)
    return (
        answer if isinstance(answer, AccessToken) else replace(answer, said=" ".join([str(status), *_words(content)]))
    )


def refusal(code: str) -> Retry | Dead:
    """Tell what a code means that the consent page sends a person back with (RFC 6749, section 4.1.2.1)."""
    return replace(_USER.get(code, UNKNOWN), said=" ".join(_words({"error": code})))


def _read(status: int, content: dict[str, Any] | None, grant: GrantType, retry_after: float | None) -> Answer:
    if status == 429:
        return Retry(BUSY.reason, counts=False, scope=Scope.LANE, after=retry_after)
    if status >= 500 or status == 408:
        return _endpoint("the token endpoint failed", retry_after)
    if content is None:
        return BROKEN
    return _granted(content) if status == 200 else _refusal(content, grant)


def _granted(content: dict[str, Any]) -> Answer:
    access_token = _token(content.get("access_token"))
    if access_token is None:
        return BROKEN
    scope = content.get("scope")
    scopes = frozenset(scope.split() if isinstance(scope, str) else ())
    return AccessToken(access_token, _lifetime(content.get("expires_in")), _token(content.get("refresh_token")), scopes)


def _refusal(content: dict[str, Any], grant: GrantType) -> Retry | Dead:
    code, description = content.get("error"), content.get("error_description")
    if not isinstance(code, str):
        return BROKEN
    if content.get("error_subtype") in ("invalid_rapt", "rapt_required"):
        code = "invalid_rapt"
    if grant is not GrantType.USER and code in ("invalid_grant", "invalid_request") and isinstance(description, str):
        described = (outcome for start, outcome in DESCRIBED if description.startswith(start))
        return next(described, None) or _REFUSALS[grant].get(code, UNKNOWN)
    return _REFUSALS[grant].get(code, UNKNOWN)


def _words(content: dict[str, Any] | None) -> list[str]:
    """What may be written down: the code and its subtype."""
    found = [(content or {}).get(name) for name in ("error", "error_subtype")]
    return [text for text in found if isinstance(text, str) and _WORD.fullmatch(text)]


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _token(value: object) -> str | None:
    return value if isinstance(value, str) and TOKEN.fullmatch(value) else None


def _lifetime(value: object) -> float:
    """Read `expires_in`: RFC 6749 says a number, some servers send a string."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124  # NaN
        return DEFAULT_LIFETIME
    return float(min(max(value, 0), LONGEST_LIFETIME))
