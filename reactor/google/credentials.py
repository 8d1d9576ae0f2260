"""What is stored of a workspace's access to Google, decrypted: a refresh token, or the key of a service account.

The text decides which: a service account's is a JSON object, and no refresh token begins with a brace.

*A key is stored as its exponent and its two primes*, under the names and in the base64url of a JSON Web Key
(https://www.rfc-editor.org/rfc/rfc7518#section-6.3), which any program can export. All its other numbers follow from
these, for two reasons. The claim reads what is stored with every item: 800 characters cost it about 10 µs an item,
the 2,900 of Google's PEM 45, because Postgres keeps what is longer than 2,000 outside of the row. And what is
computed need not be proved: to prove that the numbers of a stored key belong together takes 40 ms for 2,048 bits and
350 ms for 4,096, in which no other thread of Python's gets on; a start with a hundred service accounts would stand
still for seconds. The proof is made once, when a key file is read (`key_file.py`). To compute takes a millisecond.

Signing takes 0.3 ms (3 ms for 4,096 bits), once an hour, in the thread in which google-auth refreshes
(`token_exchange.py`).

*An assertion goes nowhere but to our token endpoint.* The `token_uri` of a key file is compared when it is added and
never used.
"""

import base64
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt
from google.oauth2 import service_account

from reactor.core.calendar.token_answers import GrantType
from reactor.core.pasted import read_json
from reactor.errors import ConfigurationError, PermanentError
from reactor.google.endpoints import NO_CLIENT, OAuthClient
from reactor.google.token_exchange import SCOPES, Account, user_account

SERVICE_ACCOUNT: Final = "service_account"
_NUMBERS: Final = ("e", "p", "q")


class StoredCredentialError(PermanentError):
    """The decrypted text is neither a refresh token nor the key of a service account; another program wrote it."""


class NoClientError(ConfigurationError):
    """A refresh token works with the OAuth client that it was given to only, and there is none."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account's key, and for whom it acts.

    Attributes:
        email: The account's address.
        key_id: Google's name of the key; empty where the file has none.
        e: The key's public exponent.
        p: A prime of the key's.
        q: The other one.
        subject: The user to act for by domain-wide delegation; None: the account acts as itself.
    """

    email: str
    key_id: str
    e: int
    p: int = field(repr=False)
    q: int = field(repr=False)
    subject: str | None = None

    @property
    def text(self) -> str:
        """What is encrypted and stored."""
        document = {
            "type": SERVICE_ACCOUNT,
            "client_email": self.email,
            "private_key_id": self.key_id,
            **{name: _written(getattr(self, name)) for name in _NUMBERS},
        }
        return json.dumps(document | ({"subject": self.subject} if self.subject else {}))

    @property
    def grant(self) -> GrantType:
        """How it was allowed to write the calendar."""
        return GrantType.SERVICE_ACCOUNT if self.subject is None else GrantType.DELEGATION

    def account(self, token_uri: str) -> Account:
        """The account, to fetch tokens for.

        Raises:
            StoredCredentialError: The numbers make no RSA key.
        """
        try:
            d = rsa.rsa_recover_private_exponent(self.e, self.p, self.q)
            dmp1, dmq1 = rsa.rsa_crt_dmp1(d, self.p), rsa.rsa_crt_dmq1(d, self.q)
            public = rsa.RSAPublicNumbers(self.e, self.p * self.q)
            numbers = rsa.RSAPrivateNumbers(self.p, self.q, d, dmp1, dmq1, rsa.rsa_crt_iqmp(self.p, self.q), public)
            key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
        except Exception:  # noqa: BLE001  # whatever these raise may quote the numbers
            raise StoredCredentialError("the stored service account's key is no RSA key") from None
        signer = crypt.RSASigner(key, self.key_id or None)  # type: ignore[no-untyped-call]
        credentials = service_account.Credentials(  # type: ignore[no-untyped-call]
            signer, self.email, token_uri, scopes=SCOPES, subject=self.subject
        )
        return Account(credentials, self.grant)


def service_account_in(secret: str) -> ServiceAccount | None:
    """Read what was decrypted.

    Returns:
        The service account; None where it is a refresh token.

    Raises:
        StoredCredentialError: It is neither.
    """
    if not secret.lstrip().startswith("{"):
        return None
    found = read_json(secret)
    if not isinstance(found, dict) or found.get("type") != SERVICE_ACCOUNT:
        raise StoredCredentialError("what is stored is no service account's key")
    email, key_id, subject = (found.get(name, "") for name in ("client_email", "private_key_id", "subject"))
    if not all(isinstance(each, str) for each in (email, key_id, subject)) or not email:
        raise StoredCredentialError("the stored service account's key lacks its address")
    e, p, q = (_read(found.get(name)) for name in _NUMBERS)
    return ServiceAccount(email, key_id, e, p, q, subject or None)


def _written(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")


def _read(text: object) -> int:
    """Read a number of a key.

    Raises:
        StoredCredentialError: It is none.
    """
    if isinstance(text, str):
        with suppress(ValueError):
            return int.from_bytes(base64.b64decode(f"{text}==", altchars=b"-_"), "big")
    raise StoredCredentialError("the stored service account's key has no numbers")


def account_of(secret: str, client: OAuthClient) -> Account:
    """Make the account from a decrypted text.

    Raises:
        StoredCredentialError: It is neither a refresh token nor a service account's key.
        NoClientError: It is a refresh token, and there are to be service accounts only.
    """
    robot = service_account_in(secret)
    if robot is not None:
        return robot.account(client.token_uri)
    if client.id == NO_CLIENT:
        raise NoClientError(
            "GOOGLE_CLIENT_ID is none, which says that there are service accounts only; a refresh token needs the "
            "OAuth client that it was given to: set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET."
        )
    return user_account(secret, client_id=client.id, client_secret=client.secret, token_uri=client.token_uri)
