"""Credentials at rest: AES-256-GCM under keys with names, bound to the workspace whose row holds them.

    v1:<key id>:<base64 of nonce and ciphertext>.<check>
    v2:<key id>:<base64 of nonce and ciphertext>.<check>

*Two versions, one form.* `v1` holds a refresh token, `v2` what releases up to 0.1 would take for one and send to
Google: the key of a service account. They refuse the prefix and hold the workspace, as they do where a key is missing.
Here what is encrypted decides, the prefix does not.

*What protects.* The base64 part is AES-256-GCM (NIST SP 800-38D) with a random 12 byte nonce in front and the 16 byte
tag at the end; the associated data is the workspace id in its canonical text form, so a token that is copied into
another workspace's row does not decrypt. Random nonces are safe for 2**32 encryptions under a key; a connection is
encrypted once when it is made and once per rotation. Nothing is returned unless GCM authenticates it.

*What explains.* GCM fails in one way only. A person who restores a backup, replaces a key or moves a row needs to know
what went wrong, and a guess from the failure would be dishonest. Hence the check: 8 hexadecimal digits of the key's
fingerprint and 16 of an HMAC-SHA-256 over the text before it, but *not* over the workspace. Both come from keys
that are derived from the encryption key (HKDF, RFC 5869), never from that key itself. Then each failure has a proof:

- the check is missing or short: the text was cut off, wherever that happened, because the check is its end;
- the HMAC does not fit and the fingerprint is another one: the key under this id was replaced;
- the HMAC does not fit and the fingerprint is ours: the text was changed;
- the HMAC fits and GCM refuses: all of the text is as we wrote it, and only the workspace can differ.

An attacker who can write the row can choose the wording (by changing the fingerprint, say), and nothing else: every
text that differs from what was written in a single bit is refused. The fingerprint tells which rows share a key, as the
key id does anyway, and gives no help to guess a key that the ciphertext would not give; keys are 32 random bytes.

A text without any check is accepted if GCM authenticates it, so that another program can store a token with nothing
but an AES-GCM function. Such a text counts as in need of rotation, which adds the check.
"""

import base64
import binascii
import hmac
import os
import re
from hashlib import sha256
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from reactor.errors import ConfigurationError, PermanentError, ReactorError

SETTING: Final = "TOKEN_ENCRYPTION_KEYS"
VERSION_1: Final = "v1:"
"""Begins an encrypted refresh token."""
VERSION_2: Final = "v2:"
"""Begins every other encrypted credential: releases up to 0.1 must not use it."""
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
FINGERPRINT_DIGITS: Final = 8
CHECK_DIGITS: Final = FINGERPRINT_DIGITS + 16
# 16 characters at most: too short for a key in base64 or hexadecimal, so an id may be shown even if they were swapped.
KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")
TEXT: Final = re.compile(r"v[12]:([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]*={0,2})(?:\.([0-9a-f]*))?")


class TokenCipherError(ReactorError):
    """A stored token cannot be read, or the keys cannot be used."""


class KeySettingError(TokenCipherError, ConfigurationError):
    """TOKEN_ENCRYPTION_KEYS is malformed.

    Attributes:
        problems: One sentence each; never any part of a key.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"{SETTING}: " + "; ".join(problems))
        self.problems = tuple(problems)


class UnknownKeyError(TokenCipherError, ConfigurationError):
    """The text names a key that is not in the setting: add it behind the first one."""


class WrongKeyError(TokenCipherError, ConfigurationError):
    """The key under this id is not the one that the text was written with: give the old one back its id."""


class LegacyPlaintextError(TokenCipherError, ConfigurationError):
    """The reactor did not encrypt the text; it may be a token in the clear."""


class WrongWorkspaceError(TokenCipherError, PermanentError):
    """The text is intact and was written for another workspace."""


class TruncatedError(TokenCipherError, PermanentError):
    """The end of the text is missing."""


class TamperedError(TokenCipherError, PermanentError):
    """The text is not what was written."""


class _Key:
    """One named key and what is derived from it."""

    __slots__ = ("_aead", "_mac_key", "fingerprint", "id")

    def __init__(self, key_id: str, key: bytes) -> None:
        self.id = key_id
        self._aead = AESGCM(key)
        self._mac_key = _derive(key, b"calendar-sync reactor, vault v1, check")
        fingerprint = _derive(key, b"calendar-sync reactor, vault v1, fingerprint")
        self.fingerprint = fingerprint.hex()[:FINGERPRINT_DIGITS]

    def check(self, text: str) -> str:
        """What ends a text: the key's fingerprint and a proof that its holder wrote all of it."""
        mac = hmac.digest(self._mac_key, text.encode(), sha256).hex()
        return self.fingerprint + mac[: CHECK_DIGITS - FINGERPRINT_DIGITS]

    def seal(self, workspace: bytes, secret: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret, workspace)

    def open(self, workspace: bytes, sealed: bytes) -> bytes:
        return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], workspace)


class TokenCipher:
    """Encrypts with the first key and decrypts with all of them.

    Made with `from_setting`. Safe to share between threads. Shows the names of its keys and nothing else.
    """

    __slots__ = ("_first", "_keys")

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._keys = {key_id: _Key(key_id, key) for key_id, key in keys.items()}
        self._first = next(iter(self._keys.values()))

    @classmethod
    def from_setting(cls, text: str) -> "TokenCipher":
        """Read `k2:<base64>,k1:<base64>`, the form of TOKEN_ENCRYPTION_KEYS.

        Raises:
            KeySettingError: With every problem at once.
        """
        keys: dict[str, bytes] = {}
        problems: list[str] = []
        if not text.strip(", \t\r\n"):
            raise KeySettingError(["names no key; an entry is <key id>:<base64 of 32 bytes>"])
        for position, entry in enumerate(text.split(","), start=1):
            problem = _read_entry(entry.strip(), keys)
            if problem is not None:
                problems.append(f"entry {position} {problem}")
        if problems:
            raise KeySettingError(problems)
        return cls(keys)

    @property
    def key_ids(self) -> list[str]:
        """The names of the keys; the first encrypts."""
        return list(self._keys)

    def __repr__(self) -> str:
        return f"TokenCipher(keys={self.key_ids!r})"

    def encrypt(self, workspace_id: UUID | str, secret: str, *, version: str = VERSION_1) -> str:
        """Encrypt a secret for a workspace with the first key.

        Args:
            workspace_id: The workspace that it belongs to.
            secret: A refresh token, or another credential.
            version: `VERSION_1` for a refresh token, `VERSION_2` for everything else.

        Raises:
            ValueError: The workspace id is not a UUID.
        """
        sealed = self._first.seal(_canonical(workspace_id), secret.encode("utf-8", "surrogatepass"))
        text = f"{version}{self._first.id}:{base64.b64encode(sealed).decode()}"
        return f"{text}.{self._first.check(text)}"

    def decrypt(self, workspace_id: UUID | str, text: str) -> str:
        """Decrypt what `encrypt` returned for the same workspace.

        Raises:
            LegacyPlaintextError, UnknownKeyError, WrongKeyError: A person has to do what the message says.
            WrongWorkspaceError, TruncatedError, TamperedError: The workspace has to be connected again.
            ValueError: The workspace id is not a UUID.
        """
        workspace = _canonical(workspace_id)
        key, encoded, check = self._parse(text)
        if check is None:
            secret = _open_unchecked(key, workspace, encoded)
        else:
            _verify(key, text, check)
            try:
                secret = key.open(workspace, base64.b64decode(encoded))
            except InvalidTag:
                raise WrongWorkspaceError(
                    "the stored token is intact but was encrypted for another workspace: its row was copied or moved"
                ) from None
        try:
            return secret.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # it carries the bytes
            raise TamperedError("the stored token is authentic but is not text: another program wrote it") from None

    def needs_rotation(self, text: str) -> bool:
        """Whether `rotate` would change more than the nonce: another key, no check, or not readable as it is."""
        match = TEXT.fullmatch(text)
        return match is None or match[1] != self._first.id or not (match[3] or "").startswith(self._first.fingerprint)

    def rotate(self, workspace_id: UUID | str, text: str) -> str:
        """Encrypt again with the first key, in the same version; raises what `decrypt` raises."""
        secret = self.decrypt(workspace_id, text)
        return self.encrypt(workspace_id, secret, version=text[: len(VERSION_1)])

    def _parse(self, text: str) -> tuple[_Key, str, str | None]:
        """Take a text apart into its key, its base64 part and its check."""
        if not text.startswith((VERSION_1, VERSION_2)):
            raise LegacyPlaintextError(
                f"the stored token does not start with {VERSION_1!r} or {VERSION_2!r}, so the reactor did not encrypt "
                "it; if it is a token in the clear, pass it to `python -m reactor connections add` on standard input, "
                "to be stored encrypted"
            )
        match = TEXT.fullmatch(text)
        if match is None and text.count(":") < 2:
            raise TruncatedError("the stored token ends before its ciphertext: it was cut off")
        if match is None:
            raise TamperedError("the stored token contains characters that no encrypted token has")
        key = self._keys.get(match[1])
        if key is None:
            raise UnknownKeyError(
                f"the stored token was encrypted with key {match[1]!r}; {SETTING} does not have it: add it at the end"
            )
        return key, match[2], match[3]


def _verify(key: _Key, text: str, check: str) -> None:
    """Tell a text that was cut off, written with another key, or changed."""
    if len(check) < CHECK_DIGITS:
        raise TruncatedError("the stored token ends inside its check: it was cut off")
    if hmac.compare_digest(key.check(text[: -len(check) - 1]), check):
        return
    if not check.startswith(key.fingerprint):
        raise WrongKeyError(
            f"the stored token was encrypted with another key than the present {key.id!r} of {SETTING}; "
            f"give every key an id of its own and keep the old ones behind the first"
        )
    raise TamperedError("the stored token is not what was written: it was changed or damaged")


def _open_unchecked(key: _Key, workspace: bytes, encoded: str) -> bytes:
    """Open a text without a check, which another program may have written."""
    try:
        sealed = base64.b64decode(encoded, validate=True)
        # Unused bits of the last digit decode to nothing; a text that differs in them was changed.
        if len(sealed) >= NONCE_BYTES + TAG_BYTES and base64.b64encode(sealed).decode() == encoded:
            return key.open(workspace, sealed)
    except (binascii.Error, InvalidTag):
        pass
    raise TruncatedError(
        f"the stored token does not decrypt with key {key.id!r} and its check is missing: it was cut off, or another "
        "program wrote it with another key or for another workspace"
    )


def _read_entry(entry: str, keys: dict[str, bytes]) -> str | None:
    """Add one `id:base64` to the keys, or return what is wrong with it without showing any of it."""
    key_id, colon, encoded = entry.partition(":")
    if not colon:
        return "is empty: take it away" if not entry else "has no colon; an entry is <key id>:<base64 of 32 bytes>"
    if KEY_ID.fullmatch(key_id) is None:
        return "has a key id that is not 1 to 16 letters, digits, '-' or '_'"
    if key_id in keys:
        return f"repeats the key id {key_id!r}"
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        return f"({key_id!r}) is not base64; `openssl rand -base64 32` makes a key"
    if len(key) != KEY_BYTES:
        return f"({key_id!r}) has {len(key)} bytes and needs {KEY_BYTES}; `openssl rand -base64 32` makes a key"
    twin = next((other for other, known in keys.items() if known == key), None)
    if twin is not None:
        return f"({key_id!r}) is the same key as {twin!r}"
    keys[key_id] = key
    return None


def _canonical(workspace_id: UUID | str) -> bytes:
    """The one text form of a UUID: lower case with hyphens, as Postgres shows it."""
    return str(UUID(str(workspace_id))).encode()


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=32, info=purpose).derive(key)
