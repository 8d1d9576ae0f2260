"""Service accounts: their keys, the users they may act for, and what an assertion of theirs is worth.

Judged as Google does (https://developers.google.com/identity/protocols/oauth2/service-account#error-codes): the
signature against the keys of the account that issued it, then its times, audience, scope and subject, each refused in
the words that Google's users report. The audience is Google's own token endpoint wherever the assertion is sent.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from calendar_emulator.errors import Json
from calendar_emulator.oauth.errors import OAuthError

AUDIENCE: Final = "https://oauth2.googleapis.com/token"
_LONGEST: Final = 3_600
_SKEW: Final = 300
_SCOPES: Final = "https://www.googleapis.com/auth/"
_TIMES: Final = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp "
    "values in the JWT claim."
)


@dataclass(slots=True)
class ServiceAccount:
    """A service account.

    Attributes:
        keys: Its public keys by their ids; take one out, and what it signs is refused.
        delegated: Scopes for which it may act as any user of the domain.
        disabled: Whether it is switched off.
    """

    keys: dict[str, rsa.RSAPublicKey] = field(default_factory=dict)
    delegated: frozenset[str] = field(default_factory=frozenset)
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Asserted:
    """What a good assertion asks for.

    Attributes:
        email: The account to act as.
        scopes: What for.
        itself: Whether the service account acts as itself.
    """

    email: str
    scopes: frozenset[str]
    itself: bool


class ServiceAccounts:
    """All service accounts, by their addresses; change or delete them in `known`."""

    def __init__(self) -> None:
        self.known: dict[str, ServiceAccount] = {}

    def add(self, email: str, token_uri: str = AUDIENCE, *, delegated: Iterable[str] = ()) -> Json:
        """Create a service account, or give one that exists a new key in place of the old ones.

        Args:
            email: Its address.
            token_uri: The token endpoint to write into its key file.
            delegated: Scopes for which it may act as any user of the domain; none: it acts as itself only.

        Returns:
            The content of its key file.
        """
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key_id = hashlib.sha256(pem).hexdigest()[:40]
        self.known[email] = ServiceAccount({key_id: key.public_key()}, frozenset(delegated))
        return {
            "type": "service_account",
            "project_id": "emulator",
            "private_key_id": key_id,
            "private_key": pem.decode(),
            "client_email": email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }

    def judge(self, assertion: str, users: Iterable[str], now: float) -> Asserted:
        """Read an assertion.

        Args:
            assertion: The signed token.
            users: The accounts that exist.
            now: Seconds of the emulator's clock.

        Raises:
            OAuthError: It is refused.
        """
        issuer, account, claims = self._signed(assertion)
        _check_times(claims, now)
        if claims.get("aud") != AUDIENCE:
            raise OAuthError("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = frozenset(str(claims.get("scope") or "").split())
        if not scopes:
            raise OAuthError("invalid_scope", "Empty or missing scope not allowed.")
        if not all(scope.startswith(_SCOPES) for scope in scopes):
            raise OAuthError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        subject = claims.get("sub") or issuer
        if not isinstance(subject, str):
            raise OAuthError("invalid_request", 'Invalid impersonation "sub" field.')
        if subject != issuer:
            _check_delegation(account, scopes, subject, users)
        return Asserted(subject, scopes, itself=subject == issuer)

    def _signed(self, assertion: str) -> tuple[str, ServiceAccount, Json]:
        """The issuer and the claims of an assertion whose signature is right."""
        try:
            signed, _, signature = assertion.rpartition(".")
            header, claims = (json.loads(_unbase64(part)) for part in signed.split("."))
            account = self.known.get(claims["iss"])
            if header["alg"] != "RS256" or account is None:
                raise OAuthError("invalid_grant", "Invalid grant: account not found")
            if account.disabled:
                raise OAuthError("invalid_grant", "Robot is disabled.")
            _verify(account.keys, header, signed.encode(), _unbase64(signature))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise OAuthError("invalid_grant", "Bad Request") from error
        return claims["iss"], account, claims


def _verify(keys: Mapping[str, rsa.RSAPublicKey], header: Json, signed: bytes, signature: bytes) -> None:
    """By the key that is named; where none is named any will do."""
    named = header.get("kid")
    for key_id, key in keys.items():
        if named in (None, key_id):
            try:
                key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                continue
            return
    raise OAuthError("invalid_grant", "Invalid JWT Signature.")


def _check_times(claims: Json, now: float) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        raise OAuthError("invalid_grant", "Invalid JWT: iat and exp are required.")
    if not issued - _SKEW <= now < expires or expires - issued > _LONGEST:
        raise OAuthError("invalid_grant", _TIMES)


def _check_delegation(account: ServiceAccount, scopes: frozenset[str], subject: str, users: Iterable[str]) -> None:
    if not scopes <= account.delegated:
        raise OAuthError(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of "
            "the scopes requested.",
        )
    if subject not in users:
        raise OAuthError("invalid_grant", "Invalid email or User ID")


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
