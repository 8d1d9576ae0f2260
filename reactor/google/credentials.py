"""What is stored of a workspace's access to Google, decrypted: a refresh token, or the key of a service account.

The text decides which: a service account's is a JSON object with the names of Google's own key file, so that another
program can store that file as it is. No refresh token begins with a brace.

*The key is checked when it is added, and only then.* To prove that the numbers of an RSA key belong together takes 40
ms for 2,048 bits and 350 ms for 4,096, in which no other thread of Python's gets on either: a start with a hundred
service accounts would stand still for seconds. What the vault decrypts is what was checked, bit by bit, so it is read
without that proof in a tenth of a millisecond. Signing takes 0.3 ms (3 ms for 4,096 bits), once an hour, in the thread
in which google-auth refreshes (`token_exchange.py`).

*An assertion goes nowhere but to our token endpoint.* The `token_uri` of a key file is compared when it is added and
never used.
"""

import json
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.auth import crypt
from google.oauth2 import service_account

from reactor.core.pasted import read_json
from reactor.core.token_answers import Grant
from reactor.errors import ConfigurationError, PermanentError
from reactor.google.token_exchange import SCOPES, Account, user_account

SERVICE_ACCOUNT: Final = "service_account"
NO_CLIENT: Final = "none"
"""The OAuth client's id in a deployment that has service accounts only: to make a client takes a consent screen."""


class StoredCredentialError(PermanentError):
    """What was decrypted is neither a refresh token nor the key of a service account; somebody else wrote it."""


class NoClientError(ConfigurationError):
    """A refresh token works with the OAuth client that it was given to only, and there is none."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Who we are to the token endpoint, and where it is.

    Attributes:
        id: The OAuth client's id, or NO_CLIENT.
        secret: Its secret.
        token_uri: The token endpoint.
    """

    id: str
    secret: str = field(repr=False)
    token_uri: str


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account's key, and for whom it acts.

    Attributes:
        email: The account's address.
        key_id: Google's name of the key; empty where the file has none.
        private_key: PEM.
        subject: The user to act for by domain-wide delegation; None: the account acts as itself.
    """

    email: str
    key_id: str
    private_key: str = field(repr=False)
    subject: str | None = None

    @property
    def text(self) -> str:
        """What is encrypted and stored."""
        document = {
            "type": SERVICE_ACCOUNT,
            "client_email": self.email,
            "private_key_id": self.key_id,
            "private_key": self.private_key,
            "subject": self.subject,
        }
        return json.dumps({name: value for name, value in document.items() if value is not None})

    @property
    def grant(self) -> Grant:
        """How it was allowed to write the calendar."""
        return Grant.SERVICE_ACCOUNT if self.subject is None else Grant.DELEGATION

    def account(self, token_uri: str) -> Account:
        """The account, to fetch tokens for.

        Raises:
            StoredCredentialError: The key is not an RSA key in PEM.
        """
        try:
            key = load_pem_private_key(self.private_key.encode(), None, unsafe_skip_rsa_key_validation=True)
        except Exception:  # noqa: BLE001  # whatever the parser raises may quote the key
            raise StoredCredentialError("the stored service account's key cannot be read") from None
        if not isinstance(key, RSAPrivateKey):
            raise StoredCredentialError("the stored service account's key is not an RSA key")
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
    email, key, key_id = found.get("client_email"), found.get("private_key"), found.get("private_key_id", "")
    subject = found.get("subject")
    if not all(isinstance(each, str) for each in (email, key, key_id, subject or "")):
        raise StoredCredentialError("the stored service account's key lacks its address or its key")
    return ServiceAccount(str(email), str(key_id), str(key), subject or None)


def account_of(secret: str, client: OAuthClient) -> Account:
    """The account behind what was decrypted.

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
