"""Who may call: users, clients, consents, refresh tokens, access tokens, service accounts.

The endpoints speak OAuth 2 as Google's do (https://developers.google.com/identity/protocols/oauth2): errors are flat
(`error`, `error_description`), a refresh does not rotate the refresh token unless told to, and a service account's
assertion names Google's own token endpoint as its audience wherever it is sent.
"""

import base64
import binascii
import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from reactor.emulator.errors import Json
from reactor.emulator.settings import Settings

EVENTS_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events"
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
CLIENT_ID: Final = "emulator.apps.googleusercontent.com"
CLIENT_SECRET: Final = "emulator-client-secret"  # noqa: S105  (opens nothing but this emulator)
_TOKENS_PER_ACCOUNT: Final = 100
_LONGEST_ASSERTION: Final = 3_600
_SKEW: Final = 300

ERRORS: Final[dict[str, tuple[int, str]]] = {
    "invalid_grant": (400, "Token has been expired or revoked."),
    "invalid_rapt": (400, "reauth related error (invalid_rapt)"),
    "invalid_client": (401, "The provided client secret is invalid."),
    "deleted_client": (401, "The OAuth client was deleted."),
    "unauthorized_client": (401, "Unauthorized"),
    "unsupported_grant_type": (400, "Invalid grant_type."),
    "invalid_scope": (400, "Some requested scopes were invalid."),
    "invalid_request": (400, "Missing required parameter."),
    "admin_policy_enforced": (400, "Access to this account's data is restricted by a policy of its administrator."),
    "rate_limit_exceeded": (429, "Rate limit exceeded."),
    "internal_failure": (500, "Internal failure."),
    "temporarily_unavailable": (503, "The service is temporarily unavailable."),
}
"""Every error of the token endpoint with its status and usual description."""


class OAuthError(Exception):
    """The token endpoint refuses.

    Attributes:
        status: The HTTP status.
        error: The error's name.
    """

    def __init__(self, error: str, description: str = "", *, status: int = 0) -> None:
        known_status, known = ERRORS.get(error, (400, "Bad Request"))
        self.error, self.status = error, status or known_status
        super().__init__(description or known)

    def body(self) -> Json:
        """The answer's JSON."""
        if self.error == "invalid_rapt":
            return {"error": "invalid_grant", "error_description": str(self), "error_subtype": "invalid_rapt"}
        return {"error": self.error, "error_description": str(self)}


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
        bare_service_account: Whether it is a service account that acts for nobody.
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


@dataclass(slots=True)
class _ServiceAccount:
    key: rsa.RSAPublicKey
    delegated: frozenset[str] = field(default_factory=frozenset)


class OAuth:
    """The authorization server's state.

    Attributes:
        clients: Secrets by client id.
        users: The accounts that exist.
    """

    def __init__(self, rng: random.Random, settings: Settings) -> None:
        self.clients = {CLIENT_ID: CLIENT_SECRET}
        self.users: set[str] = set()
        self._settings = settings
        self._rng = rng
        self._grants: dict[str, Grant] = {}
        self._access: dict[str, Access] = {}
        self._codes: dict[str, _Code] = {}
        self._service_accounts: dict[str, _ServiceAccount] = {}

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

    def add_service_account(self, email: str, token_uri: str, *, delegated: Iterable[str] = ()) -> Json:
        """Create a service account.

        Args:
            email: Its address.
            token_uri: The token endpoint to write into its key file.
            delegated: Scopes for which it may act as any user of the domain; none: it acts as itself only.

        Returns:
            The content of its key file.
        """
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self._service_accounts[email] = _ServiceAccount(key.public_key(), frozenset(delegated))
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "emulator",
            "private_key_id": hashlib.sha256(pem).hexdigest()[:40],
            "private_key": pem.decode(),
            "client_email": email,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
        }

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
                return self._assertion(form.get("assertion", ""), now)
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

    def _assertion(self, assertion: str, now: float) -> Json:
        claims = self._claims(assertion)
        account = self._service_accounts[claims["iss"]]
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int | float) or not isinstance(expires, int | float):
            raise OAuthError("invalid_grant", "Invalid JWT: iat and exp are required.")
        if not issued - _SKEW <= now < expires or expires - issued > _LONGEST_ASSERTION:
            raise OAuthError("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes).")
        if claims.get("aud") != AUDIENCE:
            raise OAuthError("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes:
            raise OAuthError("invalid_scope", "Empty or missing scope not allowed.")
        subject = claims.get("sub") or claims["iss"]
        itself = subject == claims["iss"]
        if not itself and not scopes <= account.delegated:
            raise OAuthError(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any "
                "of the scopes requested.",
            )
        if not itself and subject not in self.users:
            raise OAuthError("invalid_grant", "Invalid email or User ID")
        return self._answer(Access(subject, scopes, now + self._settings.token_lifetime, bare_service_account=itself))

    def _claims(self, assertion: str) -> Json:
        """The claims of an assertion whose signature is right."""
        try:
            signed, _, signature = assertion.rpartition(".")
            header, claims = (json.loads(_unbase64(part)) for part in signed.split("."))
            account = self._service_accounts.get(claims["iss"])
            if header["alg"] != "RS256" or account is None:
                raise OAuthError("invalid_grant", "Invalid grant: account not found")
            account.key.verify(_unbase64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise OAuthError("invalid_grant", "Invalid JWT Signature.") from error
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise OAuthError("invalid_grant", "Bad Request") from error
        return dict(claims)

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


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
