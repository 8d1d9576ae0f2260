"""Who may call: users, clients, consents, refresh tokens, access tokens.

The endpoints speak OAuth 2 as Google's do (https://developers.google.com/identity/protocols/oauth2): errors are flat
(`error`, `error_description`), and a refresh rotates the refresh token only if rotation is turned on.
"""

import base64
import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from calendar_emulator.errors import Json
from calendar_emulator.oauth.errors import OAuthError
from calendar_emulator.oauth.service_accounts import ServiceAccounts
from calendar_emulator.settings import Settings

EVENTS_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events"
CLIENT_ID: Final = "emulator.apps.googleusercontent.com"
CLIENT_SECRET: Final = "emulator-client-secret"  # noqa: S105  (opens nothing but this emulator)
_TOKENS_PER_ACCOUNT: Final = 100


@dataclass(slots=True)
class Grant:
    """A person's consent, held as a refresh token."""

    email: str
    client_id: str
    scopes: frozenset[str]
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token stands for.

    Attributes:
        email: The account it acts as.
        scopes: What it may be used for.
        expires: When it stops working, in seconds of the emulator's clock.
        grant: The consent it was made from; None for a service account.
        bare_service_account: Whether it is a service account that acts for no user.
    """

    email: str
    scopes: frozenset[str]
    expires: float
    grant: Grant | None = None
    bare_service_account: bool = False


@dataclass(slots=True)
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str
    method: str
    expires: float
    offline: bool


class OAuth:
    """The authorization server's state.

    Attributes:
        clients: Secrets by client id.
        users: The accounts that exist.
        service_accounts: Service accounts, with their keys.
    """

    def __init__(self, rng: random.Random, settings: Settings) -> None:
        self.clients = {CLIENT_ID: CLIENT_SECRET}
        self.users: set[str] = set()
        self.service_accounts = ServiceAccounts()
        self._settings = settings
        self._rng = rng
        self._grants: dict[str, Grant] = {}
        self._access: dict[str, Access] = {}
        self._codes: dict[str, _Code] = {}

    def grant(self, email: str, *, scopes: Iterable[str] = (EVENTS_SCOPE,), client_id: str = CLIENT_ID) -> str:
        """Let a user consent; return the refresh token. The 101st of an account and client kills the oldest."""
        self.users.add(email)
        return self._keep(Grant(email, client_id, frozenset(scopes)))

    def _keep(self, grant: Grant) -> str:
        token = f"1//{self._random()}"
        alive = [
            old
            for old in self._grants.values()
            if not old.revoked and (old.email, old.client_id) == (grant.email, grant.client_id)
        ]
        for old in alive[: max(0, len(alive) + 1 - _TOKENS_PER_ACCOUNT)]:
            old.revoked = True
        self._grants[token] = grant
        return token

    def issue(
        self, email: str, now: float, *, scopes: Iterable[str] = (EVENTS_SCOPE,), lifetime: float | None = None
    ) -> str:
        """Return a new access token for a user; a lifetime of 0 or less makes one that has expired."""
        self.users.add(email)
        return self._open(
            Access(email, frozenset(scopes), now + (self._settings.token_lifetime if lifetime is None else lifetime))
        )

    def check(self, token: str, now: float) -> Access | None:
        """What an access token stands for; None if it is unknown, expired or its consent was revoked."""
        access = self._access.get(token)
        if access is None or access.expires <= now or (access.grant and access.grant.revoked):
            return None
        return access

    def revoke(self, token: str) -> bool:
        """Revoke a refresh token with its access tokens, or one access token; return whether it was known."""
        if grant := self._grants.get(token):
            grant.revoked = True
            return True
        return self._access.pop(token, None) is not None

    def expire_access_tokens(self) -> None:
        """Make every access token that was ever issued invalid at once."""
        self._access.clear()

    def authorize(self, query: Mapping[str, str], now: float) -> str:
        """The consent page, with a person who clicks at once.

        Args:
            query: The authorization request; `login_hint` chooses the user, else the first one is taken.
            now: Seconds of the emulator's clock.

        Returns:
            The address to send the browser to.

        Raises:
            OAuthError: The client or the request is wrong; nothing is redirected then.
        """
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") not in self.clients:
            raise OAuthError("invalid_client", "The OAuth client was not found.")
        if query.get("response_type") != "code" or not redirect_uri or not query.get("scope"):
            raise OAuthError("invalid_request")
        answer = {"state": query["state"]} if "state" in query else {}
        if self._settings.deny_consent or not self.users:
            answer["error"] = "access_denied"
        else:
            email = query.get("login_hint") or min(self.users)
            grant = Grant(email, query["client_id"], frozenset(query["scope"].split()))
            code = f"4/{self._random()}"
            self._codes[code] = _Code(
                grant,
                redirect_uri,
                query.get("code_challenge", ""),
                query.get("code_challenge_method", "plain"),
                now + 600,
                self._is_offline(query, email),
            )
            answer |= {"code": code, "scope": query["scope"]}
        return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(answer)}"

    def _is_offline(self, query: Mapping[str, str], email: str) -> bool:
        """Whether a refresh token will come of it: asked for, and by the first consent or one that is shown again."""
        again = any(old.email == email and old.client_id == query["client_id"] for old in self._grants.values())
        return query.get("access_type") == "offline" and ("consent" in query.get("prompt", "").split() or not again)

    def token(self, form: Mapping[str, str], now: float) -> Json:
        """Answer a request to the token endpoint.

        Raises:
            OAuthError: It is refused.
        """
        match form.get("grant_type"):
            case "refresh_token":
                return self._refresh(form, now)
            case "authorization_code":
                return self._exchange(form, now)
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                return self._assertion(form, now)
            case None | "":
                raise OAuthError("invalid_request", "Missing required parameter: grant_type")
            case other:
                raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {other}")

    def _client(self, form: Mapping[str, str]) -> str:
        client_id = form.get("client_id", "")
        if client_id not in self.clients:
            raise OAuthError("invalid_client", "The OAuth client was not found.")
        if form.get("client_secret") != self.clients[client_id]:
            raise OAuthError("invalid_client")
        return client_id

    def _refresh(self, form: Mapping[str, str], now: float) -> Json:
        client_id = self._client(form)
        token = form.get("refresh_token", "")
        if not token:
            raise OAuthError("invalid_request", "Missing required parameter: refresh_token")
        grant = self._grants.get(token)
        if grant is None:
            raise OAuthError("invalid_grant", "Bad Request")
        if grant.client_id != client_id:
            raise OAuthError("unauthorized_client")
        if grant.revoked or grant.email not in self.users:
            raise OAuthError("invalid_grant")
        scopes = frozenset(form.get("scope", "").split()) or grant.scopes
        if not scopes <= grant.scopes:
            raise OAuthError("invalid_scope")
        answer = self._answer(Access(grant.email, scopes, now + self._settings.token_lifetime, grant))
        if self._settings.rotate:
            del self._grants[token]
            answer["refresh_token"] = self._keep(grant)
        return answer

    def _exchange(self, form: Mapping[str, str], now: float) -> Json:
        client_id = self._client(form)
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.expires <= now:
            raise OAuthError("invalid_grant", "Malformed auth code.")
        if code.grant.client_id != client_id:
            raise OAuthError("unauthorized_client")
        if form.get("redirect_uri") != code.redirect_uri:
            raise OAuthError("redirect_uri_mismatch", "Bad Request")
        if code.challenge and _challenge(form.get("code_verifier", ""), code.method) != code.challenge:
            raise OAuthError("invalid_grant", "Invalid code verifier.")
        answer = self._answer(
            Access(code.grant.email, code.grant.scopes, now + self._settings.token_lifetime, code.grant)
        )
        if code.offline:
            answer["refresh_token"] = self._keep(code.grant)
        return answer

    def _assertion(self, form: Mapping[str, str], now: float) -> Json:
        if not form.get("assertion"):
            raise OAuthError("invalid_request", "Missing required parameter: assertion")
        asked = self.service_accounts.judge(form["assertion"], self.users, now)
        expires = now + self._settings.token_lifetime
        return self._answer(Access(asked.email, asked.scopes, expires, bare_service_account=asked.itself))

    def _answer(self, access: Access) -> Json:
        return {
            "access_token": self._open(access),
            "expires_in": int(self._settings.token_lifetime),
            "scope": " ".join(sorted(access.scopes)),
            "token_type": "Bearer",
        }

    def _open(self, access: Access) -> str:
        token = f"ya29.{self._random()}"
        self._access[token] = access
        return token

    def _random(self) -> str:
        return f"{self._rng.getrandbits(256):064x}"


def _challenge(verifier: str, method: str) -> str:
    if method == "S256":
        return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return verifier
