"""`connect` from end to end: the command asks, the test is the browser, the emulator is Google."""

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import trio

from calendar_emulator import Fault
from reactor.errors import ConfigurationError, PermanentError, TransientError
from reactor.google import consent
from reactor.google.token_exchange import SCOPES
from reactor.postgres.setup.migrations import migrate
from reactor.token_encryption import TokenCipher
from tests.support.commands import call, call_beside, inherited, settings_of
from tests.support.databases import Database, deploy
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import KEYS

WORKSPACE = UUID(int=7)
SAID_OF_A_TAKEN_PORT = (
    "--port: cannot listen on 127.0.0.1, port {} (Address already in use): end what listens there, or register another "
    "port with the OAuth client and give that.\n"
)


class Asking:
    """The command while it waits.

    Attributes:
        url: The address that a person is to open.
    """

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.url = ""
        self._said = b""

    async def has_asked(self) -> None:
        assert self._process.stderr
        with trio.fail_after(60):
            while b"\n\n" not in self._said.partition(b"http")[2]:
                more = await self._process.stderr.receive_some()
                assert more, self._said
                self._said += more
        [self.url] = [word for word in self._said.decode().split() if word.startswith("http")]

    async def end(self) -> tuple[int, str, Any]:
        """Wait for its end; return the exit code, what it said after the address, and its document."""
        assert self._process.stderr
        assert self._process.stdout
        rest, printed = b"", b""
        with trio.fail_after(60):
            async for piece in self._process.stderr:
                rest += piece
            async for piece in self._process.stdout:
                printed += piece
            code = await self._process.wait()
        assert b"Traceback" not in rest
        return code, rest.decode(), json.loads(printed) if printed else None


@asynccontextmanager
async def asking(google: GoogleServer, database: Database, *more: str) -> AsyncIterator[Asking]:
    arguments = ("connect", "--workspace", str(WORKSPACE), "--no-browser", "--json", "--calendar", *more)
    environment = {"DATABASE_URL": database.reactor, "TOKEN_ENCRYPTION_KEYS": KEYS, **settings_of(google)}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", "-m", "reactor", *arguments],
        env=inherited(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with process.stdout, process.stderr:  # type: ignore[union-attr]
        try:
            yield Asking(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def browse(url: str) -> httpx.Response:
    """What a browser does: opens the page, and follows where Google sends it."""
    async with httpx.AsyncClient(follow_redirects=True, timeout=30) as browser:
        return await browser.get(url)


def connections(database: Database) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.owner) as owner:
        return owner.execute(
            "select workspace_id, calendar_id, is_valid, refresh_token_encrypted from google_connections"
        ).fetchall()


async def test_a_consent_is_stored_and_works(google: GoogleServer, database: Database) -> None:
    async with asking(google, database, google.user) as command:
        await command.has_asked()
        query = {name: values[0] for name, values in parse_qs(urlsplit(command.url).query).items()}
        assert query["code_challenge_method"] == "S256"
        assert (query["access_type"], query["prompt"]) == ("offline", "consent")
        assert urlsplit(query["redirect_uri"]).hostname == "127.0.0.1"
        page = await browse(command.url)
        assert (page.status_code, "You may close this window" in page.text) == (200, True)
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        code, said, document = await command.end()
    assert (code, said) == (0, "")
    assert document == {
        "workspace": str(WORKSPACE),
        "calendar": google.user,
        "new": True,
        "calendar_changed": False,
        "requeued": 0,
    }
    [(workspace, calendar, valid, stored)] = connections(database)
    assert (workspace, calendar, valid) == (WORKSPACE, google.user, True)
    token = TokenCipher.from_setting(KEYS).decrypt(WORKSPACE, stored)
    form = {"grant_type": "refresh_token", "refresh_token": token}
    client = {"client_id": google.client_id, "client_secret": google.client_secret}
    async with httpx.AsyncClient() as http:
        assert (await http.post(google.token_uri, data=form | client)).status_code == 200


async def test_an_answer_comes_to_the_port_that_is_asked_for(google: GoogleServer, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with asking(google, database, google.user, "--port", port) as command:
            code, said, _ = await command.end()
        assert (code, said) == (2, SAID_OF_A_TAKEN_PORT.format(port))
    async with asking(google, database, google.user, "--port", port) as command:
        await command.has_asked()
        assert parse_qs(urlsplit(command.url).query)["redirect_uri"] == [f"http://127.0.0.1:{port}"]
        assert (await browse(command.url)).status_code == 200
        assert (await command.end())[0] == 0


async def test_consent_is_denied(google: GoogleServer, database: Database) -> None:
    google.emulator.settings.deny_consent = True
    async with asking(google, database, google.user) as command:
        await command.has_asked()
        assert "Consent was not given" in (await browse(command.url)).text
        code, said, _ = await command.end()
    assert code == 1
    assert said == "Consent was denied on Google's page. Nothing was stored; run it again to ask again.\n"
    assert connections(database) == []


async def test_an_answer_to_another_question_changes_nothing(google: GoogleServer, database: Database) -> None:
    async with asking(google, database, google.user) as command:
        await command.has_asked()
        back = parse_qs(urlsplit(command.url).query)["redirect_uri"][0]
        for path in ("/?code=stolen&state=guessed", "/?code=stolen", "/favicon.ico", "/other?code=stolen&state=x"):
            answer = await browse(back + path)
            assert answer.status_code in (400, 404)
            assert "stolen" not in answer.text
        assert (await browse(command.url)).status_code == 200
        assert (await command.end())[0] == 0


async def test_nobody_consents(google: GoogleServer, database: Database) -> None:
    async with asking(google, database, google.user, "--timeout", "1") as command:
        await command.has_asked()
        code, said, _ = await command.end()
    assert code == 1
    assert said.startswith("Consent was not given within 1 s. Run it again, and open the address in a browser")


@pytest.mark.parametrize(
    ("role", "sentence"),
    [(None, "The account that consented does not know this calendar."), ("reader", "may read this calendar and not")],
)
async def test_an_account_that_may_not_write_the_calendar(
    google: GoogleServer, database: Database, role: str | None, sentence: str
) -> None:
    google.emulator.add_calendar("theirs@example.com")
    if role:
        google.emulator.share("theirs@example.com", google.user, role)
    async with asking(google, database, "theirs@example.com") as command:
        await command.has_asked()
        await browse(command.url)
        code, said, _ = await command.end()
    assert code == 1
    assert sentence in said
    assert connections(database) == []


async def test_a_calendar_that_cannot_be_looked_at_is_stored_where_that_is_asked_for(
    google: GoogleServer, database: Database
) -> None:
    google.emulator.fault(Fault(operation="list", effect="error", status=503))
    async with asking(google, database, google.user) as command:
        await command.has_asked()
        await browse(command.url)
        code, said, _ = await command.end()
    assert (code, said.startswith("Google failed (503 backendError). Nothing was stored.")) == (1, True)
    assert "--no-verify" in said
    assert connections(database) == []
    async with asking(google, database, google.user, "--no-verify") as command:
        await command.has_asked()
        await browse(command.url)
        assert (await command.end())[0] == 0
    assert len(connections(database)) == 1


async def test_a_client_secret_that_is_wrong(google: GoogleServer, database: Database) -> None:
    async with asking(google, database, google.user) as command:
        await command.has_asked()
        google.emulator.oauth.clients[google.client_id] = "changed"
        await browse(command.url)
        code, said, _ = await command.end()
    assert code == 2
    assert said.startswith("Google does not accept the OAuth client")
    assert "Look at GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET" in said


async def test_a_workspace_that_is_not_there_is_said_before_anybody_is_asked(
    google: GoogleServer, empty_database: str
) -> None:
    deploy(empty_database, items=0)
    migrate(empty_database, progress=lambda _: None)
    arguments = ("connect", "--workspace", str(WORKSPACE), "--calendar", google.user)
    result = await call_beside(google, empty_database, *arguments)
    assert result.exit_code == 2
    assert result.stderr == f"There is no workspace {WORKSPACE} in the application's table; take the id from there.\n"


async def test_half_an_emulator(google: GoogleServer, database: Database) -> None:
    arguments = ("connect", "--workspace", str(WORKSPACE), "--calendar", "primary")
    result = await call_beside(google, database.reactor, *arguments, GOOGLE_AUTH_URI="")
    assert result.exit_code == 2
    assert result.stderr.startswith("GOOGLE_AUTH_URI is Google's and GOOGLE_TOKEN_URI is not")


def test_all_that_is_missing_is_said_before_anybody_is_asked() -> None:
    result = call(None, "connect", "--workspace", str(uuid4()), "--calendar", "primary", TOKEN_ENCRYPTION_KEYS="")
    assert result.exit_code == 2
    assert [line.split()[0] for line in result.stderr.splitlines()] == [
        "DATABASE_URL",
        "GOOGLE_CLIENT_ID",
        "GOOGLE_CLIENT_SECRET",
        "TOKEN_ENCRYPTION_KEYS",
    ]


CLIENT = consent.ConsentClient("id", "hush", "https://a.example/auth", "https://a.example/token")
GOOD = {"access_token": "at", "refresh_token": "rt", "scope": f"openid {SCOPES[0]}"}


@pytest.mark.parametrize(
    ("status", "answer", "kind", "sentence"),
    [
        (200, GOOD | {"scope": "openid"}, PermanentError, "does not cover calendar events"),
        (200, {"access_token": "at", "scope": SCOPES[0]}, PermanentError, "myaccount.google.com/permissions"),
        (200, {"scope": SCOPES[0]}, TransientError, "holds no token"),
        (200, [], TransientError, "cannot be read"),
        (400, {"error": "invalid_grant"}, PermanentError, "used before"),
        (400, {"error": "redirect_uri_mismatch"}, ConfigurationError, "Desktop app"),
        (401, {"error": "invalid_client"}, ConfigurationError, r"its secret \(401 invalid_client\)"),
        (400, {"error": "admin_policy_enforced"}, PermanentError, "administrator .* Nothing was stored"),
        (400, {"error": "something_new"}, TransientError, r"not known \(400 something_new\). Try again"),
        (503, {"error": "internal_failure"}, TransientError, r"\(503 internal_failure\)"),
    ],
)
def test_an_answer_that_is_not_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, status: int, answer: object, kind: type[Exception], sentence: str
) -> None:
    monkeypatch.setattr(consent, "_send", lambda *_, **__: httpx.Response(status, json=answer))
    with pytest.raises(kind, match=sentence):
        consent.exchange(CLIENT, consent.ask(CLIENT, "http://127.0.0.1:1"), "code")


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("access_denied", PermanentError, "denied on Google's page"),
        ("org_internal", PermanentError, r"own organisation only \(org_internal\)"),
        ("disabled_client", ConfigurationError, r"was disabled \(disabled_client\)"),
        ("server_error", TransientError, "server_error"),
        ("something_new", TransientError, "something_new"),
        ("<b>two words", TransientError, "is not known. Try again"),
    ],
)
def test_what_the_consent_page_refuses_with_is_said(code: str, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        raise consent.denied(code)


def test_secrets_are_in_no_repr_and_no_error() -> None:
    question = consent.ask(CLIENT, "http://127.0.0.1:1")
    closed = consent.ConsentClient("id", "hush", "", "http://127.0.0.1:1/token")
    with pytest.raises(TransientError, match="Google cannot be reached") as failed:
        consent.exchange(closed, question, "the code")
    for text in (repr(CLIENT), repr(question), str(failed.value), repr(consent.ConsentResult("rt", "at"))):
        assert not {"hush", question.verifier, "the code", "'rt'"} & set(text.replace("=", " ").split())
        assert question.verifier not in text
