"""Tokens at rest."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, strategies as st

from reactor.errors import ConfigurationError, PermanentError
from reactor.token_encryption import (
    VERSION_2,
    KeySettingError,
    LegacyPlaintextError,
    TamperedError,
    TokenCipher,
    TokenCipherError,
    TruncatedError,
    UnknownKeyError,
    WrongKeyError,
    WrongWorkspaceError,
)
from tests.support import release_0_1

OURS, OTHER = UUID("6f1a2b3c-0000-4000-8000-00000000000a"), uuid4()
SECRET = "1//0gRefreshTokenThatNobodyMaySee"
K1, K2, K3 = (bytes([n]) * 32 for n in (1, 2, 3))


def setting(**keys: bytes) -> str:
    return ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in keys.items())


def cipher(**keys: bytes) -> TokenCipher:
    return TokenCipher.from_setting(setting(**(keys or {"k1": K1})))


def by_another_program(key: bytes, secret: bytes, workspace: UUID = OURS, key_id: str = "k1") -> str:
    nonce = b"twelve bytes"
    sealed = nonce + AESGCM(key).encrypt(nonce, secret, str(workspace).encode())
    return f"v1:{key_id}:{base64.b64encode(sealed).decode()}"


TEXT = cipher().encrypt(OURS, SECRET)
BARE = TEXT.split(".")[0]  # without its check


@given(st.uuids(), st.text())
def test_what_was_encrypted_is_what_is_decrypted(workspace: UUID, secret: str) -> None:
    assert cipher().decrypt(workspace, cipher().encrypt(workspace, secret)) == secret


def test_the_text_form_is_version_key_id_and_nonce_with_ciphertext() -> None:
    """Anybody with the key and an AES-GCM function can read it."""
    version, key_id, rest = TEXT.split(":")
    sealed = base64.b64decode(rest.split(".")[0], validate=True)
    assert (version, key_id) == ("v1", "k1")
    assert AESGCM(K1).decrypt(sealed[:12], sealed[12:], str(OURS).encode()) == SECRET.encode()


def test_the_same_secret_never_looks_the_same() -> None:
    assert len({cipher().encrypt(OURS, SECRET).split(":")[2][:16] for _ in range(100)}) == 100


@pytest.mark.parametrize("spelling", [str(OURS).upper(), OURS.hex, f"{{{OURS}}}", OURS.urn])
def test_any_spelling_of_the_workspace_id_is_the_same_workspace(spelling: str) -> None:
    assert cipher().decrypt(spelling, TEXT) == SECRET


def test_a_workspace_id_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="UUID"):
        cipher().encrypt("workspace", SECRET)


def test_a_plain_text_of_another_program_is_read() -> None:
    assert cipher().decrypt(OURS, by_another_program(K1, SECRET.encode())) == SECRET


# What goes wrong, each with an error of its own


def test_a_token_in_the_clear_says_how_to_convert_it() -> None:
    with pytest.raises(LegacyPlaintextError, match="connections add"):
        cipher().decrypt(OURS, SECRET)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(UnknownKeyError, match="'k1'"):
        cipher(k2=K2).decrypt(OURS, TEXT)


def test_a_replaced_key_is_told_from_a_changed_text() -> None:
    with pytest.raises(WrongKeyError, match="another key"):
        cipher(k1=K2).decrypt(OURS, TEXT)


def test_a_text_in_another_workspaces_row_is_told_from_a_changed_text() -> None:
    with pytest.raises(WrongWorkspaceError, match="another workspace"):
        cipher().decrypt(OTHER, TEXT)


@pytest.mark.parametrize("length", set(range(3, len(TEXT))) - {len(BARE)})
def test_a_text_is_truncated_wherever_it_was_cut(length: int) -> None:
    with pytest.raises(TruncatedError):
        cipher().decrypt(OURS, TEXT[:length])


def test_a_text_that_lost_just_its_check_is_still_authentic() -> None:
    assert cipher().decrypt(OURS, BARE) == SECRET
    with pytest.raises(TokenCipherError):
        cipher().decrypt(OTHER, BARE)


def test_a_changed_ciphertext_is_tampered() -> None:
    """Every bit of the base64 part, in this workspace and in another."""
    start, end = len("v1:k1:"), len(BARE)
    for text in flips(TEXT, start, end):
        for workspace in (OURS, OTHER):
            with pytest.raises(TamperedError):
                cipher().decrypt(workspace, text)


def flips(text: str, start: int, end: int) -> list[str]:
    changed = []
    for place in range(start, end):
        for bit in range(7):
            raw = bytearray(text.encode())
            raw[place] ^= 1 << bit
            changed.append(raw.decode())
    return changed


def test_every_single_bit_flip_is_refused() -> None:
    ring = cipher(k1=K1, k0=K2, k3=K3)  # flips of the key id may meet another key
    for text in flips(TEXT, 0, len(TEXT)):
        with pytest.raises(TokenCipherError):
            ring.decrypt(OURS, text)


def test_every_single_bit_flip_of_a_text_without_a_check_is_refused() -> None:
    ring = cipher(k1=K1, k0=K2, k3=K3)
    text = by_another_program(K1, SECRET.encode())
    assert text.endswith("=")  # so that the last digit has unused bits
    for changed in flips(text, 0, len(text)):
        with pytest.raises(TokenCipherError):
            ring.decrypt(OURS, changed)


@given(st.data())
def test_any_other_text_is_refused(data: st.DataObject) -> None:
    """Cuts, repetitions, and anything in between."""
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(TEXT))] * 2)))
    text = TEXT[:start] + data.draw(st.text() | st.text(alphabet="0123456789abcdefAB:.=/+v1k")) + TEXT[end:]
    if text not in (TEXT, BARE):
        with pytest.raises(TokenCipherError):
            cipher().decrypt(OURS, text)


@pytest.mark.parametrize(
    "text",
    [
        by_another_program(K2, b"x"),
        by_another_program(K1, b"x", OTHER),
        "v1:k1:",
        "v1:k1:A",
        "v1:k1:" + base64.b64encode(b"short").decode(),
    ],
    ids=["another key", "of another", "empty", "cut off", "short"],
)
def test_a_text_without_a_check_that_does_not_decrypt_says_all_that_it_can_be(text: str) -> None:
    with pytest.raises(TruncatedError, match="another program"):
        cipher().decrypt(OURS, text)


def test_what_is_authentic_but_no_text_is_not_shown() -> None:
    with pytest.raises(TamperedError, match="not text") as caught:
        cipher().decrypt(OURS, by_another_program(K1, b"\xff\xfe"))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("error", [KeySettingError, UnknownKeyError, WrongKeyError, LegacyPlaintextError])
def test_what_an_operator_can_mend_is_a_configuration_error(error: type[Exception]) -> None:
    assert issubclass(error, TokenCipherError)
    assert issubclass(error, ConfigurationError)


@pytest.mark.parametrize("error", [WrongWorkspaceError, TruncatedError, TamperedError])
def test_what_only_a_new_connection_mends_is_permanent(error: type[Exception]) -> None:
    assert issubclass(error, TokenCipherError)
    assert issubclass(error, PermanentError)


@given(st.uuids(), st.text())
def test_a_newer_version_is_what_releases_before_it_refuse(workspace: UUID, secret: str) -> None:
    text = cipher().encrypt(workspace, secret, version=VERSION_2)
    assert text.startswith("v2:k1:")
    assert cipher().decrypt(workspace, text) == secret
    renewed = cipher(k2=K2, k1=K1).rotate(workspace, text)
    assert renewed.startswith("v2:k2:")
    assert cipher(k2=K2).decrypt(workspace, renewed) == secret


def test_the_version_is_part_of_what_is_authentic() -> None:
    text = cipher().encrypt(OURS, SECRET, version=VERSION_2)
    for changed in ("v1" + text[2:], "v2" + TEXT[2:], "v3" + text[2:]):
        with pytest.raises(TokenCipherError):
            cipher().decrypt(OURS, changed)
    for changed in flips(text, 0, len(text)):
        with pytest.raises(TokenCipherError):
            cipher(k1=K1, k0=K2, k3=K3).decrypt(OURS, changed)


def test_release_0_1_takes_no_newer_text_for_a_refresh_token(tmp_path: Path) -> None:
    """It would send the key of a service account to Google, and mark the connection."""
    program = (
        "import sys; from reactor.vault import Vault, LegacyPlaintextError\n"
        "try: print(Vault.from_setting(sys.argv[1]).decrypt(*sys.argv[2:]))\n"
        "except LegacyPlaintextError: print('refused')"
    )
    environment = {**os.environ, **release_0_1.environment_of(tmp_path / "0.1")}
    for text, outcome in ((TEXT, SECRET), (cipher().encrypt(OURS, SECRET, version=VERSION_2), "refused")):
        arguments = [sys.executable, "-c", program, setting(k1=K1), str(OURS), text]
        run = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == outcome


# Rotation


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    ring = cipher(k2=K2, k1=K1)
    assert ring.decrypt(OURS, TEXT) == SECRET
    assert ring.encrypt(OURS, SECRET).startswith("v1:k2:")


def test_rotation_moves_a_text_to_the_first_key_once() -> None:
    ring = cipher(k2=K2, k1=K1)
    assert ring.needs_rotation(TEXT)
    rotated = ring.rotate(OURS, TEXT)
    assert not ring.needs_rotation(rotated)
    assert cipher(k2=K2).decrypt(OURS, rotated) == SECRET


def test_rotation_adds_the_check_that_another_program_left_out() -> None:
    text = by_another_program(K1, SECRET.encode())
    assert cipher().needs_rotation(text)
    assert not cipher().needs_rotation(cipher().rotate(OURS, text))


@pytest.mark.parametrize(
    ("text", "error"),
    [(SECRET, LegacyPlaintextError), (cipher(k1=K2).encrypt(OURS, "x"), WrongKeyError)],
    ids=["plain", "another key"],
)
def test_what_cannot_be_read_needs_rotation_and_says_why_when_it_is_tried(
    text: str, error: type[TokenCipherError]
) -> None:
    assert cipher().needs_rotation(text)
    with pytest.raises(error):
        cipher().rotate(OURS, text)


def test_rotation_does_not_carry_a_token_into_another_workspace() -> None:
    with pytest.raises(WrongWorkspaceError):
        cipher(k2=K2, k1=K1).rotate(OTHER, TEXT)


# The setting


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no key"),
        (" , \n", "names no key"),
        (setting(k1=K1) + ",", "entry 2 is empty"),
        (base64.b64encode(K1).decode(), "entry 1 has no colon"),
        (f":{base64.b64encode(K1).decode()}", "entry 1 has a key id"),
        (f"{base64.b64encode(K1).decode()}:k1", "entry 1 has a key id"),
        ("k1:not base64!", "entry 1 ('k1') is not base64"),
        ("k1:ключ", "entry 1 ('k1') is not base64"),
        ("k1:", "entry 1 ('k1') has 0 bytes and needs 32"),
        (setting(k1=K1[:16]), "entry 1 ('k1') has 16 bytes and needs 32"),
        (setting(k1=K1) + "," + setting(k1=K2), "entry 2 repeats the key id 'k1'"),
        (setting(k2=K1, k1=K1), "entry 2 ('k1') is the same key as 'k2'"),
    ],
)
def test_a_malformed_setting_is_explained(text: str, problem: str) -> None:
    with pytest.raises(KeySettingError) as caught:
        TokenCipher.from_setting(text)
    assert problem in str(caught.value)


def test_every_problem_of_the_setting_is_named_at_once() -> None:
    with pytest.raises(KeySettingError) as caught:
        TokenCipher.from_setting(f"k1:short,{setting(k2=K2)},,k2:AAAA")
    assert [problem.split()[1] for problem in caught.value.problems] == ["1", "3", "4"]


def test_spaces_around_entries_do_not_matter() -> None:
    assert repr(TokenCipher.from_setting(f" {setting(k2=K2)} , {setting(k1=K1)}\n")) == "TokenCipher(keys=['k2', 'k1'])"


@given(st.lists(st.sampled_from(["k1", "k2", "", ":", ",", *map(str, range(3))]), max_size=9), st.binary(max_size=64))
def test_no_problem_shows_a_part_of_a_key(parts: list[str], noise: bytes) -> None:
    key = base64.b64encode(K3 + noise).decode()
    try:
        shown = repr(TokenCipher.from_setting(key.join(parts)))
    except KeySettingError as error:
        shown = f"{error} {error!r}"
    assert key[:8] not in shown


def test_applications_of_release_0_1_find_it_by_its_name_then() -> None:
    from reactor.vault import Vault  # noqa: PLC0415  (what they import)

    stored = Vault.from_setting(setting(k1=K1)).encrypt(OURS, SECRET)
    assert TokenCipher.from_setting(setting(k1=K1)).decrypt(OURS, stored) == SECRET
