"""What is given for a refresh token or a key file, and what it is called."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from reactor.core import pasted
from reactor.core.pasted import LONGEST_TOKEN, document_kind, is_token, kind_of

TOKEN = "1//0gAb-_cD" + "x" * 90
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

KINDS: list[tuple[pasted.PastedKind, list[str]]] = [
    (pasted.QUOTED, [f'"{TOKEN}"', f"'{TOKEN}'", f"`{TOKEN}`", f"“{TOKEN}”", f'"{TOKEN}']),
    (
        pasted.ESCAPED,
        ["1%2F%2F0gAb", "1%2f%2f0g", "1\\/\\/0gAb", "1&#x2F;&#x2F;0gAb", "1\\u002f\\u002f0gAb", "4%2F0A"],
    ),
    (pasted.ACCESS_TOKEN, ["ya29.a0Af", "ya29.c.b0Aaek"]),
    (pasted.CODE, ["4/0AX4XfWh", "4/P7q7W91a-oMsCeLvIaQm6bTrgtp7"]),
    (pasted.ID_TOKEN, [JWT]),
    (pasted.API_KEY, ["AIzaSyA-1234567890"]),
    (pasted.CLIENT_SECRET, ["GOCSPX-abc_def"]),
    (pasted.CLIENT_ID, ["1234-abc.apps.googleusercontent.com"]),
    (pasted.SEALED, ["v1:k1:AAAA.0011", "v2:k1:AAAA"]),
    (pasted.BASE64, ["MS8vMGdBYg=="]),
    (pasted.URL, ["http://127.0.0.1:8080/?code=4/0AX", "https://accounts.google.com/o/oauth2/v2/auth"]),
    (pasted.ADDRESS, ["ada@example.com", "team@group.calendar.google.com"]),
    (pasted.WORKSPACE, ["7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"]),
    (pasted.ASSIGNMENT, [f"REFRESH_TOKEN={TOKEN}", f"export T='{TOKEN}'", f"refresh_token: {TOKEN}", "TOKEN=null"]),
    (pasted.HEADER, ["Bearer ya29.a0", f"Authorization: Bearer {TOKEN}"]),
    (pasted.PEM, ["-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"]),
    (pasted.P12, ["0\x82\x00\x01", "0\ufffd\ufffd"]),
    (pasted.BROKEN_JSON, ["{", '{"type": "service_account", "private', "[" * 60_000]),
    (pasted.OTHER_JSON, ["[]", '{"a": 1}', '[{"type": "service_account"}]', '{"type": ["service_account"]}']),
]
DOCUMENTS: list[tuple[pasted.PastedKind, list[dict[str, Any]]]] = [
    (pasted.KEY_FILE, [{"type": "service_account", "private_key": "x"}]),
    (pasted.AUTHORIZED_USER, [{"type": "authorized_user", "refresh_token": TOKEN}]),
    (pasted.EXTERNAL, [{"type": "external_account"}, {"type": "impersonated_service_account"}]),
    (pasted.CLIENT_FILE, [{"installed": {"client_secret": "x"}}, {"web": {}}]),
    (pasted.TOKEN_ANSWER, [{"access_token": "a", "refresh_token": TOKEN}, {"refresh_token": TOKEN}, {"id_token": JWT}]),
    (pasted.IAM_ANSWER, [{"name": "projects/p/serviceAccounts/s/keys/k", "privateKeyData": "e30="}]),
    (pasted.PUBLIC_KEYS, [{"keys": [{"kty": "RSA"}]}]),
]


@pytest.mark.parametrize(
    ("text", "kind"),
    [(text, kind) for kind, texts in KINDS for text in texts]
    + [(json.dumps(each), kind) for kind, documents in DOCUMENTS for each in documents],
)
def test_a_text_is_called_by_its_name(text: str, kind: pasted.PastedKind) -> None:
    assert kind_of(text) == kind
    assert kind.sentence.startswith(f"That is {kind.what}; ")


@pytest.mark.parametrize("word", ["null", "undefined", "None", "NULL", "nil", "NaN", "false", "[object Object]", "{}"])
def test_a_word_for_nothing_is_named(word: str) -> None:
    kind = kind_of(word)
    assert kind is not None
    assert kind.sentence == f"That is {word!r}, which stands for an empty value; look at the program that wrote it."


@pytest.mark.parametrize("token", [TOKEN, "1/fFAGRNJru1FTz70BzhT3Zg", "1//a=b", '"', "stand-in:token=", "0.AXoA-azure"])
def test_what_may_be_a_refresh_token_is_left_to_google(token: str) -> None:
    assert kind_of(token) is None
    assert is_token(token)


@pytest.mark.parametrize(
    "text", ["", "two words", "line\nbreak", "1//ключ", "1//a\x00", "1//\x7f", "1" * (LONGEST_TOKEN + 1)]
)
def test_what_cannot_be_a_token(text: str) -> None:
    assert not is_token(text)


def test_a_document_that_is_no_object_is_no_key_file() -> None:
    assert document_kind([]) == document_kind("service_account") == pasted.OTHER_JSON


@settings(max_examples=50)
@given(
    st.sampled_from([text for _, texts in KINDS for text in texts] + [TOKEN]),
    st.sampled_from(["", "%2F", "null", '"', "\\/", "4/", "ya29.", "MS8v", "{", "@", "="]),
    st.integers(0, 120),
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2020), max_size=5),
)
def test_nothing_of_a_text_is_in_its_sentence(text: str, piece: str, place: int, noise: str) -> None:
    secret = "hUsH0123456789hUsH"
    kind = kind_of(f"{text[:place]}{piece}{secret}{noise}{text[place:]}")
    assert kind is None or secret not in kind.sentence
