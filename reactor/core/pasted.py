"""Recognises a text that was given in place of a refresh token or of a service account's key file.

People paste what they find, and programs write `null`. Most of these texts can be recognised: Google's credentials
begin with letters of their own, a JSON file has its fields. So we do not send a wrong text to Google, which would
refuse it for a reason that helps no reader; we say what the text is, and what to do. A text that looks like nothing
known may be a refresh token: Google decides.

No sentence quotes the text, because it may be a secret in the wrong place; the words for "none" are known.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

LONGEST_TOKEN: Final = 4_096
"""Characters; Google's refresh tokens have about 100, and 512 at most."""

_NO_VALUES: Final = frozenset(
    {"null", "undefined", "none", "nil", "nan", "true", "false", "(null)", "<nil>", "<none>", "[object object]", "{}"}
)
_QUOTES: Final = tuple("\"'`“”«»\u2018\u2019")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_ESCAPED: Final = re.compile(r"%[0-9a-fA-F]{2}|\\/|\\u[0-9a-fA-F]{4}|&#?[a-zA-Z0-9]+;")
_ASSIGNMENT: Final = re.compile(r"(export\s+)?([A-Za-z_]\w*\s*[=:]\s*[\"']?1//|[A-Z][A-Z0-9_]+=).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PastedKind:
    """Something that is no refresh token.

    Attributes:
        what: Its name, with its article.
        remedy: What to do, where a refresh token was wanted.
    """

    what: str
    remedy: str

    @property
    def sentence(self) -> str:
        """What to tell a person who gave it for a refresh token."""
        return f"That is {self.what}; {self.remedy}."


_TOKEN_IS: Final = "a refresh token is one word that begins with 1//"  # noqa: S105  (a sentence)
_FROM_CONNECT: Final = "`python -m reactor connect` gets one from a person's consent"

QUOTED: Final = PastedKind("a text in quotation marks", "take them away")
ESCAPED: Final = PastedKind(
    "a text that is still escaped, as for a URL (%2F), in JSON (\\/) or in HTML (&#x2F;)", "give the text itself"
)
ACCESS_TOKEN: Final = PastedKind("an access token, which works for an hour", "a refresh token begins with 1//")
CODE: Final = PastedKind("an authorization code, which works once and for some minutes", _FROM_CONNECT)
ID_TOKEN: Final = PastedKind("an id token (a JWT), which says who a person is and opens no calendar", _FROM_CONNECT)
API_KEY: Final = PastedKind("an API key, which opens no calendar of a person's", _FROM_CONNECT)
CLIENT_SECRET: Final = PastedKind("an OAuth client's secret", "it belongs into GOOGLE_CLIENT_SECRET")
CLIENT_ID: Final = PastedKind("an OAuth client's id", "it belongs into GOOGLE_CLIENT_ID")
SEALED: Final = PastedKind("a token that is already encrypted, as the database holds it", "give the token in the clear")
BASE64: Final = PastedKind("a refresh token in base64", "decode it: `base64 -d`")
URL: Final = PastedKind("the address of a page", _FROM_CONNECT)
ADDRESS: Final = PastedKind("an e-mail address or a calendar's id", _TOKEN_IS)
WORKSPACE: Final = PastedKind("a UUID", f"it belongs behind --workspace; {_TOKEN_IS}")
ASSIGNMENT: Final = PastedKind("a line with a name before the value", "give the value alone")
HEADER: Final = PastedKind(
    "an Authorization header", "what stands in it is an access token; a refresh token begins with 1//"
)
PEM: Final = PastedKind(
    "a key or a certificate (PEM)", "a service account's key is the whole JSON file: --service-account FILE"
)
P12: Final = PastedKind(
    "a file that is no text, perhaps a P12 key", "have Google's console make a key of the type JSON"
)
TOKEN: Final = PastedKind("a refresh token", "pipe it in, without --service-account")

KEY_FILE: Final = PastedKind("a service account's key file", "pass it with --service-account FILE")
AUTHORIZED_USER: Final = PastedKind(
    "an authorized_user file, which holds a person's refresh token",
    "the token is its field `refresh_token`, and works with the OAuth client that it names",
)
CLIENT_FILE: Final = PastedKind(
    "an OAuth client's file", "its fields belong into GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET; it holds no token"
)
TOKEN_ANSWER: Final = PastedKind(
    "an answer of a token endpoint", "the token is its field `refresh_token`, if it has one"
)
EXTERNAL: Final = PastedKind("a configuration of workload identity or impersonation, which holds no key", _FROM_CONNECT)
IAM_ANSWER: Final = PastedKind(
    "an answer of Google's IAM", "its field `privateKeyData` is the key file in base64; decode it: `base64 -d`"
)
PUBLIC_KEYS: Final = PastedKind("a file of public keys, which sign nothing", _FROM_CONNECT)
OTHER_JSON: Final = PastedKind("JSON that holds no credential of Google's", _TOKEN_IS)
BROKEN_JSON: Final = PastedKind("JSON that is cut off or damaged", "take the whole file, unchanged")

_STARTS: Final = (
    ("-----BEGIN", PEM),
    ("Bearer ", HEADER),
    ("Authorization:", HEADER),
    ("ya29.", ACCESS_TOKEN),
    ("4/", CODE),
    ("AIza", API_KEY),
    ("GOCSPX-", CLIENT_SECRET),
    ("v1:", SEALED),
    ("v2:", SEALED),
    ("MS8v", BASE64),
    ("http://", URL),
    ("https://", URL),
)
_JSON_TYPES: Final = {
    "service_account": KEY_FILE,
    "authorized_user": AUTHORIZED_USER,
    "external_account": EXTERNAL,
    "external_account_authorized_user": EXTERNAL,
    "impersonated_service_account": EXTERNAL,
    "gdch_service_account": EXTERNAL,
}
_JSON_FIELDS: Final = (
    ("installed", CLIENT_FILE),
    ("web", CLIENT_FILE),
    ("privateKeyData", IAM_ANSWER),
    ("access_token", TOKEN_ANSWER),
    ("refresh_token", TOKEN_ANSWER),
    ("id_token", TOKEN_ANSWER),
    ("keys", PUBLIC_KEYS),
)


def kind_of(text: str) -> PastedKind | None:
    """Recognise a text that is no refresh token.

    Args:
        text: What was given, without white space around it.

    Returns:
        What it is; None where it may be a refresh token, for all that can be seen.
    """
    if text.lower() in _NO_VALUES:
        return PastedKind(f"{text!r}, which stands for an empty value", "look at the program that wrote it")
    if text[:1] in _QUOTES and text[1:2] not in ("", " "):
        return QUOTED
    if text[:1] in ("{", "["):
        return _json(text)
    if found := next((kind for start, kind in _STARTS if text.startswith(start)), None):
        return found
    return _shape(text)


def document_kind(document: object) -> PastedKind:
    """Recognise a JSON document, KEY_FILE among others."""
    if not isinstance(document, dict):
        return OTHER_JSON
    known = _JSON_TYPES.get(str(document.get("type")))
    if known is not None:
        return known
    return next((kind for field, kind in _JSON_FIELDS if field in document), OTHER_JSON)


def read_json(text: str) -> Any:
    """Read JSON; None where it is broken. What the parser would say quotes the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json(text: str) -> PastedKind:
    document = read_json(text)
    return BROKEN_JSON if document is None else document_kind(document)


def _shape(text: str) -> PastedKind | None:
    """Recognise a text by the whole of it."""
    for matches, kind in (
        ("\x00" in text or "\ufffd" in text, P12),
        (text.endswith(".apps.googleusercontent.com"), CLIENT_ID),
        (_JWT.fullmatch(text), ID_TOKEN),
        (_UUID.fullmatch(text), WORKSPACE),
        (_ESCAPED.search(text), ESCAPED),
        ("@" in text and "/" not in text, ADDRESS),
        (_ASSIGNMENT.fullmatch(text), ASSIGNMENT),
    ):
        if matches:
            return kind
    return None


def is_token(text: str) -> bool:
    """Whether it can be a token at all: one word of visible ASCII that is not too long (RFC 6749, appendix A.17)."""
    return 0 < len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text
