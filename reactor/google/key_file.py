"""A service account's key file, as Google's console makes it: reads and checks it, or says what other file it is.

We check here everything that could fail hours later: the fields, that the key is an RSA key whose numbers belong
together (`credentials.py` says why only here), and that the file is Google's. A file with another `token_uri` or
`universe_domain` was made for another cloud, or to make us sign something for a stranger.
"""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from reactor.core import pasted
from reactor.core.pasted import PastedKind
from reactor.errors import ConfigurationError
from reactor.google.credentials import ServiceAccount
from reactor.google.endpoints import TOKEN_URI

LONGEST: Final = 65_536
"""Bytes; Google's files have about 2,400."""
LARGEST_KEY: Final = 4_096
"""Bits; Google makes 2,048."""
UNIVERSE: Final = "googleapis.com"
TOKEN_URIS: Final = frozenset(
    {
        TOKEN_URI,
        "https://accounts.google.com/o/oauth2/token",
        "https://www.googleapis.com/oauth2/v3/token",
        "https://www.googleapis.com/oauth2/v4/token",
    }
)
"""What Google has written into key files over the years; all are answered by one service."""

_DOMAIN: Final = ".gserviceaccount.com"
_PEM: Final = "-----BEGIN PRIVATE KEY-----"
_OWN_REMEDY: Final = (pasted.TOKEN, pasted.AUTHORIZED_USER, pasted.IAM_ANSWER, pasted.CLIENT_FILE, pasted.P12)
_MAKE_ONE: Final = (
    "Google's console makes one under IAM, Service Accounts, Keys, Add key, JSON; pass that file unchanged"
)


def read_key_file(
    content: bytes, name: str, *, subject: str | None = None, token_uri: str = TOKEN_URI
) -> ServiceAccount:
    """Read a key file.

    Args:
        content: The file's.
        name: What the file is called in a sentence.
        subject: The user to act for, or None.
        token_uri: The endpoint that is configured; a file that names it is ours too.

    Raises:
        ConfigurationError: It cannot be used. The sentence says what it is; nothing of it is quoted.
    """
    if len(content) > LONGEST:
        raise ConfigurationError(
            f"{name} is too large for a service account's key file: give the one that Google made, about 2,400 bytes."
        )
    text = content.decode("utf-8-sig", "replace").strip()
    document: Any = pasted.read_json(text) if text.startswith("{") else None
    kind = pasted.document_kind(document) if document is not None else _kind(text)
    if kind is not pasted.KEY_FILE:
        remedy = kind.remedy if kind in _OWN_REMEDY else _MAKE_ONE
        raise ConfigurationError(f"{name} is {kind.what}, not a service account's key file: {remedy}.")
    try:
        return _checked(document, subject, {*TOKEN_URIS, token_uri})
    except ValueError as error:
        raise ConfigurationError(f"{name} is a service account's key file, but {error}: {_MAKE_ONE}.") from None


def _kind(text: str) -> PastedKind:
    if not text:
        return PastedKind("empty", "")
    unknown = pasted.TOKEN if text.startswith("1/") else PastedKind("no JSON", "")
    return pasted.kind_of(text) or unknown


def _checked(document: dict[str, Any], subject: str | None, token_uris: set[str]) -> ServiceAccount:
    """Make the account of a key file's fields.

    Raises:
        ValueError: With the problem as the rest of a sentence.
    """
    email, key, key_id = (document.get(field) for field in ("client_email", "private_key", "private_key_id"))
    if not isinstance(email, str) or not email.endswith(_DOMAIN) or email.split() != [email] or not email.isascii():
        raise ValueError(f"its client_email is not a service account's address (…{_DOMAIN})")
    if document.get("universe_domain", UNIVERSE) != UNIVERSE:
        raise ValueError(f"its universe_domain is not {UNIVERSE}: it is of another cloud")
    if document.get("token_uri", TOKEN_URI) not in token_uris:
        raise ValueError(
            "its token_uri is neither Google's nor GOOGLE_TOKEN_URI: it was changed, and what we sign is worth an "
            "access to the calendar to those who receive it"
        )
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > 128):
        raise ValueError("its private_key_id is not a text")
    numbers = _checked_key(key).private_numbers()
    return ServiceAccount(email, key_id or "", numbers.public_numbers.e, numbers.p, numbers.q, subject)


def _checked_key(pem: object) -> RSAPrivateKey:
    if not isinstance(pem, str) or not pem.strip():
        raise ValueError("its private_key is missing")
    if "\\n" in pem:
        raise ValueError("its private_key has \\n where lines should end: it was escaped twice")
    if not pem.lstrip().startswith(_PEM):
        raise ValueError(f"its private_key does not begin with {_PEM}: it was left out, replaced or encrypted")
    try:
        key = load_pem_private_key(pem.strip().encode(), None)
    except Exception:  # noqa: BLE001  # whatever the parser raises may quote the key
        raise ValueError("its private_key cannot be read: it was cut off or changed") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("its private_key is not an RSA key")  # noqa: TRY004  (not a type of ours)
    if key.key_size > LARGEST_KEY:
        raise ValueError(f"its private_key has more than {LARGEST_KEY:,} bits")
    return key
