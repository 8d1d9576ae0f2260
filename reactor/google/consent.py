"""A person's consent: from the address to open in a browser to a refresh token.

OAuth 2 for installed applications (https://developers.google.com/identity/protocols/oauth2/native-app). Google
redirects to a loopback address, with the `state` that proves that it answers our question, and with a code. The code is
worth nothing without the verifier whose hash was sent with the question (PKCE, RFC 7636). `access_type=offline` asks
for a refresh token, and `prompt=consent` for one even if the account has consented before.

The code is synchronous because a person waits for it, and nothing else runs meanwhile.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import httpx

from reactor.core.calendar.token_answers import GrantType, read_answer, refusal
from reactor.core.outcome import Dead, Retry, Scope
from reactor.errors import ConfigurationError, PermanentError, ReactorError, TransientError
from reactor.google.network import client_options, why
from reactor.google.token_exchange import SCOPES

_TIMEOUT: Final = httpx.Timeout(10.0)


@dataclass(frozen=True, slots=True)
class ConsentClient:
    """Our OAuth client, and the addresses of Google's endpoints.

    Attributes:
        id: The OAuth client's id.
        secret: Its secret.
        auth_uri: Where people consent.
        token_uri: Where codes are exchanged.
    """

    id: str
    secret: str = field(repr=False)
    auth_uri: str
    token_uri: str


@dataclass(frozen=True, slots=True)
class ConsentQuestion:
    """One question to a person: the address to open, and what proves the answer.

    Attributes:
        url: The address to open in a browser.
        redirect_uri: The loopback address to which Google sends the answer.
        state: A random text that comes back with the answer.
        verifier: Proves that the program that exchanges the code is the one that asked.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsentResult:
    """The tokens that Google granted."""

    refresh_token: str = field(repr=False)
    access_token: str = field(repr=False)


def ask(client: ConsentClient, redirect_uri: str, *, hint: str = "") -> ConsentQuestion:
    """Make the question: the address to open, with a new state and a new verifier.

    Args:
        client: Our OAuth client.
        redirect_uri: Where Google sends the answer.
        hint: The address of the account that Google's page is to propose, if one is known.
    """
    verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": " ".join(SCOPES),
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "access_type": "offline",
        "prompt": "consent",
        **({"login_hint": hint} if hint else {}),
    }
    return ConsentQuestion(f"{client.auth_uri}?{urlencode(query)}", redirect_uri, state, verifier)


def exchange(client: ConsentClient, question: ConsentQuestion, code: str) -> ConsentResult:
    """Turn the code into tokens.

    Raises:
        ConfigurationError: The client's id, secret or redirect is wrong.
        PermanentError: The consent is not what is needed.
        TransientError: Google cannot be reached or does not answer as it should.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": client.id,
        "client_secret": client.secret,
        "redirect_uri": question.redirect_uri,
        "code_verifier": question.verifier,
    }
    answer = _send("POST", client.token_uri, data=form)
    read = _read(answer)
    if answer.status_code != httpx.codes.OK:
        raise _refused(read.get("error"), read_answer(answer.status_code, answer.content, GrantType.USER))
    granted = str(read.get("scope", "")).split()
    if not set(SCOPES) <= set(granted):
        raise PermanentError(
            "The consent does not cover calendar events: the box on Google's page was not ticked. Do it again, tick it."
        )
    refresh_token, access_token = read.get("refresh_token"), read.get("access_token")
    if not isinstance(access_token, str):
        raise TransientError("Google's answer holds no token; try again.")
    if not isinstance(refresh_token, str):
        raise PermanentError(
            "Google gave no refresh token. Take the application's access away at "
            "https://myaccount.google.com/permissions and do it again."
        )
    return ConsentResult(refresh_token, access_token)


def _send(method: str, url: str, **parts: object) -> httpx.Response:
    try:
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=False, **client_options(url)) as client:
            return client.request(method, url, **parts)  # type: ignore[arg-type]
    except httpx.HTTPError as error:
        raise TransientError(
            f"Google cannot be reached ({why(error)}): look at the network and at GOOGLE_TOKEN_URI, and do it again."
        ) from None  # the request holds the secret


def _read(answer: httpx.Response) -> dict[str, object]:
    try:
        read = answer.json()
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise TransientError(f"Google's answer (status {answer.status_code}) cannot be read; try again.")
    return read


def denied(code: str) -> ReactorError:
    """The error for a person when the consent page refuses, by the code that it sends back."""
    if code == "access_denied":
        return PermanentError("Consent was denied on Google's page. Nothing was stored; run it again to ask again.")
    return _refused(code, refusal(code))


def _refused(code: object, means: object) -> ReactorError:
    """The error for a person when Google refuses; by default in the words of the token endpoint's table."""
    assert isinstance(means, Retry | Dead)  # noqa: S101  (for the type checker: it was no success)
    text = f"{means.text[:1].upper()}{means.text[1:]}."
    if code == "redirect_uri_mismatch":
        return ConfigurationError(f"{text} Make one in Google's console.")
    if code == "invalid_grant":
        return PermanentError("The code was used before, or is too old. Do it again.")
    if isinstance(means, Dead):
        return PermanentError(f"{text} Nothing was stored. Use another account, or ask its administrator.")
    if means.scope is Scope.ALL:
        return ConfigurationError(f"{text} Look at GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET. Nothing was stored.")
    return TransientError(f"{text} Try again.")
