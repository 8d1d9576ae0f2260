"""A service account's key file is read, or refused by a sentence that says what it is and holds nothing of it."""

import base64
import json
import traceback
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.auth import crypt
from hypothesis import given, settings, strategies as st

from reactor.core.calendar.token_answers import GrantType
from reactor.errors import ConfigurationError
from reactor.google.credentials import (
    ServiceAccount,
    StoredCredentialError,
    account_of,
    service_account_in,
)
from reactor.google.endpoints import TOKEN_URI, OAuthClient
from reactor.google.key_file import LONGEST, TOKEN_URIS, read_key_file
from reactor.google.token_exchange import user_account
from reactor.token_encryption import TokenCipher
from tests.core.test_pasted import DOCUMENTS, KINDS, TOKEN
from tests.support.key_files import ROBOT, key_file, secrets
from tests.support.process_world import KEYS

CLIENT = OAuthClient("id", "hush", "https://endpoint.example/token")


def read(document: object, **options: Any) -> ServiceAccount:
    return read_key_file(json.dumps(document, indent=2).encode(), "key.json", **options)


def refusal(content: object) -> str:
    given = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(ConfigurationError) as caught:
        read_key_file(given, "key.json")
    shown = "".join(traceback.format_exception(caught.value))
    assert [secret for secret in secrets() if secret in shown] == []
    return str(caught.value)


@pytest.mark.parametrize("subject", [None, "ada@example.com"])
def test_a_key_file_is_read_stored_and_read_again(subject: str | None) -> None:
    robot = read(key_file(), subject=subject)
    assert (robot.email, robot.subject) == (ROBOT, subject)
    assert service_account_in(robot.text) == robot
    account = account_of(robot.text, CLIENT)
    assert account.grant is (GrantType.DELEGATION if subject else GrantType.SERVICE_ACCOUNT)
    assert account.refresh_token is None
    shown = f"{robot!r} {robot} {account!r}"
    assert [secret for secret in secrets() if secret in shown] == []


def test_what_is_stored_are_numbers_of_a_json_web_key() -> None:
    """So another program can write it; and it is short enough to stay in its row."""
    robot = read(key_file(), subject="ada@example.com")
    stored = json.loads(robot.text)
    assert set(stored) == {"type", "client_email", "private_key_id", "e", "p", "q", "subject"}
    assert stored["e"] == "AQAB"
    assert jwk(stored["p"]) * jwk(stored["q"]) == public_modulus()
    assert len(TokenCipher.from_setting(KEYS).encrypt(uuid4(), robot.text)) < 1_500


def jwk(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


def public_modulus() -> int:
    key = serialization.load_pem_private_key(PEM.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.public_key().public_numbers().n


def test_what_is_computed_of_them_is_the_key() -> None:
    """Its signature is that of the key in the file: with PKCS#1 v1.5 a key makes one of a text."""
    credentials = read(key_file()).account(TOKEN_URI).credentials
    ours: Any = credentials
    theirs: Any = crypt.RSASigner.from_service_account_info(key_file())  # type: ignore[no-untyped-call]
    assert ours.signer.sign(b"text") == theirs.sign(b"text")
    assert ours.signer.key_id == theirs.key_id


@pytest.mark.parametrize("token_uri", [*sorted(TOKEN_URIS), None, "http://127.0.0.1:8085/token"])
def test_whatever_the_file_says_the_configured_endpoint_is_asked(token_uri: str | None) -> None:
    robot = read(key_file(token_uri=token_uri), token_uri="http://127.0.0.1:8085/token")
    assert robot.account(TOKEN_URI).credentials._token_uri == TOKEN_URI
    assert "token_uri" not in robot.text


def test_white_space_and_a_byte_order_mark_do_not_matter() -> None:
    assert read_key_file(b"\xef\xbb\xbf\r\n" + json.dumps(key_file()).encode() + b"\n\n", "x") == read(key_file())


def elliptic() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


PEM = key_file()["private_key"]


def inconsistent() -> str:
    """An RSA key in its right form whose numbers do not belong together."""
    key = serialization.load_pem_private_key(PEM.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    n = key.private_numbers()
    numbers = rsa.RSAPrivateNumbers(n.p, n.q, n.d + 2, n.dmp1, n.dmq1, n.iqmp, n.public_numbers)
    return (
        numbers.private_key(unsafe_skip_rsa_key_validation=True)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def test_a_key_is_proved_when_it_is_added() -> None:
    said = refusal(key_file(private_key=inconsistent()))
    assert "its private_key cannot be read: it was cut off or changed" in said


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"client_email": None}, "its client_email is not a service account's address"),
        ({"client_email": "ada@example.com"}, "its client_email is not a service account's address"),
        ({"client_email": f" {ROBOT}"}, "its client_email is not a service account's address"),
        ({"token_uri": "https://evil.example/token"}, "its token_uri is neither Google's nor GOOGLE_TOKEN_URI"),
        ({"token_uri": "https://oauth2.googleapis.com.evil.example/token"}, "its token_uri is neither Google's"),
        ({"token_uri": "http://oauth2.googleapis.com/token"}, "its token_uri is neither Google's"),
        ({"token_uri": ""}, "its token_uri is neither Google's"),
        ({"universe_domain": "example.goog"}, "its universe_domain is not googleapis.com"),
        ({"private_key": None}, "its private_key is missing"),
        ({"private_key": 7}, "its private_key is missing"),
        ({"private_key": "REDACTED"}, "its private_key does not begin with -----BEGIN PRIVATE KEY-----"),
        ({"private_key": PEM.replace("\n", "\\n")}, "it was escaped twice"),
        ({"private_key": PEM.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")}, "left out, replaced or encrypted"),
        ({"private_key": PEM[:900]}, "its private_key cannot be read: it was cut off or changed"),
        ({"private_key": PEM.replace(PEM[100:110], PEM[110:120])}, "its private_key cannot be read"),
        ({"private_key": elliptic()}, "its private_key is not an RSA key"),
        ({"private_key_id": 7}, "its private_key_id is not a text"),
    ],
)
def test_a_key_file_that_was_changed_is_refused(change: dict[str, object], problem: str) -> None:
    said = refusal(key_file(**change))
    assert said.startswith("key.json is a service account's key file, but ")
    assert problem in said
    assert "Google's console makes one" in said


@pytest.mark.parametrize(
    ("content", "what"),
    [(text.encode(), kind.what) for kind, texts in KINDS for text in texts if "\ufffd" not in text]
    + [(json.dumps(each).encode(), kind.what) for kind, all_ in DOCUMENTS[1:] for each in all_]
    + [
        (b"", "empty"),
        (b"0\x82\x09\xff\xfe", "a file that is no text, perhaps a P12 key"),
        (TOKEN.encode(), "a refresh token"),
        (b"hello", "no JSON"),
        (b"null", "'null', which stands for an empty value"),
        (b'{"type": "service_account"', "JSON that is cut off or damaged"),
    ],
)
def test_another_file_is_called_by_its_name(content: bytes, what: str) -> None:
    said = refusal(content)
    assert said.startswith(f"key.json is {what}, not a service account's key file: ")
    assert said.endswith(".")


def test_a_file_that_is_too_large_is_not_read() -> None:
    assert refusal(b" " * (LONGEST + 1)).startswith("key.json is too large for a service account's key file")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_damage_shows_a_part_of_the_key(data: st.DataObject) -> None:
    """Cut, doubled, overwritten anywhere: it is read or refused, and nothing of it is told."""
    text = json.dumps(key_file())
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    content = (text[:start] + data.draw(st.text(max_size=8)) + text[end:]).encode("utf-8", "surrogatepass")
    try:
        shown = repr(read_key_file(content, "key.json"))
    except ConfigurationError as error:
        shown = "".join(traceback.format_exception(error))
    assert [secret for secret in secrets() if secret in shown] == []


STORED = json.loads(read(key_file()).text)
NO_VALUES: dict[str, list[object]] = {
    "client_email": [7, None, ""],
    "private_key_id": [7],
    "subject": [7],
    "e": ["", "AA", "Ag", None],
    "p": ["", "AQ", 7, None, "!", "A" * 6_000],
    "q": ["", "AQ"],
}


@pytest.mark.parametrize(
    "secret",
    ["{", "{}", '{"type": "authorized_user", "refresh_token": "1//x"}', json.dumps(key_file())]
    + [json.dumps({**STORED, name: value}) for name, values in NO_VALUES.items() for value in values],
)
def test_what_is_stored_and_no_credential_is_never_sent_as_one(secret: str) -> None:
    with pytest.raises(StoredCredentialError) as caught:
        account_of(secret, CLIENT)
    assert [line for line in secrets() if line in "".join(traceback.format_exception(caught.value))] == []


def test_a_key_is_never_sent_as_a_refresh_token() -> None:
    with pytest.raises(ValueError, match="no refresh token"):
        user_account(f"\n{json.dumps(STORED)}", client_id="c", client_secret="s")


def test_a_refresh_token_is_a_persons() -> None:
    account = account_of("1//x", CLIENT)
    assert (account.grant, account.refresh_token) == (GrantType.USER, "1//x")
