"""`connections add` asks Google before it replaces what works: with the emulator, a database and the real command."""

import json
import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import trio
from typer.testing import Result

from calendar_emulator import EVENTS_SCOPE, Fault
from calendar_emulator.oauth.endpoints import Grant
from reactor.token_encryption import TokenCipher
from tests.core.test_pasted import DOCUMENTS, KINDS
from tests.support.commands import call_beside
from tests.support.databases import Database
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.key_files import ROBOT, key_file, secrets
from tests.support.outbox_world import World as Rows, workspace
from tests.support.process_world import KEYS

TEAM = "team@group.calendar.google.com"
WORKS = "1//what works"
READONLY = "https://www.googleapis.com/auth/calendar.readonly"


@pytest.fixture
def rows(database: Database) -> Iterator[Rows]:
    """A workspace whose connection works, and must not be replaced by what does not."""
    rows = Rows(database)
    rows.connect("w", TokenCipher.from_setting(KEYS).encrypt(workspace(), WORKS))
    yield rows
    rows.close()


def stored(rows: Rows) -> str:
    text = rows.one("select refresh_token_encrypted from google_connections where workspace_id = %s", workspace())
    return TokenCipher.from_setting(KEYS).decrypt(workspace(), str(text))


async def add(
    google: GoogleServer, database: Database, given: str, *more: str, calendar: str = "primary", **environment: str
) -> Result:
    arguments = ("connections", "add", "--workspace", str(workspace()), "--calendar", calendar, *more)
    with trio.fail_after(60):
        result = await call_beside(google, database.reactor, *arguments, stdin=given, **environment)
    assert [line for line in secrets() if line in result.output] == []
    assert given.strip() not in result.output or len(given) < 20
    return result


async def test_a_token_that_works_is_stored(google: GoogleServer, database: Database, rows: Rows) -> None:
    result = await add(google, database, f" {google.refresh_token}\n", "--json")
    assert (result.exit_code, json.loads(result.stdout)["new"]) == (0, False), result.output
    assert stored(rows) == google.refresh_token
    assert google.emulator.log.count("token", 200) == google.emulator.log.count("list", 200) == 1


async def test_a_token_that_is_replaced_by_the_trial_is_not_lost(
    google: GoogleServer, database: Database, rows: Rows
) -> None:
    google.emulator.settings.rotate = True
    assert (await add(google, database, google.refresh_token)).exit_code == 0
    assert stored(rows) not in (WORKS, google.refresh_token)
    assert (await add(google, database, stored(rows))).exit_code == 0


async def test_what_is_no_token_is_not_sent_anywhere(google: GoogleServer, database: Database, rows: Rows) -> None:
    """Some of the kinds, drawn at random; all of them are in tests/core/test_pasted.py."""
    texts = [(text, kind) for kind, all_ in KINDS for text in all_ if "\x00" not in text and len(text) < 4_096]
    texts += [(json.dumps(each), kind) for kind, all_ in DOCUMENTS for each in all_]
    for text, kind in random.sample(texts, 8):
        result = await add(google, database, text)
        assert (result.exit_code, result.stderr) == (2, f"{kind.sentence}\n"), text
    assert stored(rows) == WORKS
    assert google.emulator.log.count("token") == 0


async def test_what_google_refuses_replaces_nothing(google: GoogleServer, database: Database, rows: Rows) -> None:
    oauth, emulator = google.emulator.oauth, google.emulator
    emulator.share(TEAM, USER, "reader")
    oauth.clients["other"] = "s"
    revoked = oauth.grant(USER)
    oauth.revoke(revoked)
    others = oauth._keep(Grant(USER, "other", frozenset({EVENTS_SCOPE})))
    narrow = oauth.grant(USER, scopes=[READONLY])
    suspended = oauth.grant("eve@example.com")
    oauth.users.discard("eve@example.com")
    good = google.refresh_token
    cases: list[tuple[str, str, int, str]] = [
        ("1//mistyped", "primary", 1, "The refresh token was revoked or has expired (400 invalid_grant)."),
        (revoked, "primary", 1, "The refresh token was revoked or has expired (400 invalid_grant). To Google, a token"),
        (suspended, "primary", 1, "The refresh token was revoked or has expired (400 invalid_grant)."),
        (
            others,
            "primary",
            2,
            "The refresh token is another OAuth client's; connect again, or check GOOGLE_CLIENT_ID (401",
        ),
        (good, "unknown@example.com", 1, "The account of this token does not know this calendar. Look at --calendar"),
        (good, TEAM, 1, "The account of this token may read this calendar and not change it."),
        (narrow, "primary", 1, "The account of this token did not allow calendar events to be written"),
    ]
    for given, calendar, code, sentence in cases:
        result = await add(google, database, given, calendar=calendar)
        assert (result.exit_code, result.stderr[: len(sentence)]) == (code, sentence)
        assert stored(rows) == WORKS
    wrong = await add(google, database, good, GOOGLE_CLIENT_SECRET="wrong")
    assert (wrong.exit_code, "check its id and its secret (401 invalid_client). Nothing" in wrong.stderr) == (2, True)
    assert rows.one("select is_valid from google_connections") is True
    assert stored(rows) == WORKS


OUTAGES = (
    (Fault(operation="token", effect="drop"), "The token endpoint did not answer."),
    (Fault(operation="token", effect="error", reason="internal_failure"), "The token endpoint failed (500 "),
    (Fault(operation="token", effect="error", reason="rate_limit_exceeded"), "The token endpoint limits the rate"),
    (Fault(operation="token", effect="html", status=400), "The token endpoint's answer cannot be read"),
    (Fault(operation="list", effect="drop"), "Google's calendars cannot be reached (an answer that cannot be read)"),
    (Fault(operation="list", effect="error", status=503), "Google failed (503 backendError)."),
    (Fault(operation="list", effect="html", status=404), "Answered by something that is not Google (404)."),
    (Fault(operation="list", effect="garbage"), "Google's answer about the calendar cannot be read."),
)


async def test_an_outage_is_told_and_stores_nothing(google: GoogleServer, database: Database, rows: Rows) -> None:
    for fault, sentence in OUTAGES:
        google.emulator.faults.clear()
        google.emulator.fault(fault)
        result = await add(google, database, google.refresh_token)
        assert (result.exit_code, result.stderr[: len(sentence)]) == (1, sentence)
        assert result.stderr.endswith("Nothing was stored. Try again later, or store it untried with --no-verify.\n")
        assert stored(rows) == WORKS
    assert (await add(google, database, google.refresh_token, "--no-verify")).exit_code == 0
    assert stored(rows) == google.refresh_token


async def test_what_is_wrong_with_the_project_is_a_wrong_setting(
    google: GoogleServer, database: Database, rows: Rows
) -> None:
    google.emulator.fault(Fault(operation="list", effect="error", reason="accessNotConfigured", status=403))
    result = await add(google, database, google.refresh_token)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "The Calendar API is disabled for the project (403 SERVICE_DISABLED accessNotConfigured"
    )
    assert stored(rows) == WORKS


async def test_without_an_oauth_client_it_says_what_it_is_for(
    google: GoogleServer, database: Database, rows: Rows
) -> None:
    result = await add(google, database, google.refresh_token, GOOGLE_CLIENT_ID="", GOOGLE_CLIENT_SECRET="")
    assert result.exit_code == 2
    assert [line.split()[0] for line in result.stderr.splitlines()] == [
        "GOOGLE_CLIENT_ID",
        "GOOGLE_CLIENT_SECRET",
        "Google",
    ]
    assert "--no-verify" in result.stderr
    assert stored(rows) == WORKS


async def test_where_there_are_service_accounts_only_a_refresh_token_is_refused(
    google: GoogleServer, database: Database, rows: Rows
) -> None:
    alone = {"GOOGLE_CLIENT_ID": "none", "GOOGLE_CLIENT_SECRET": "none"}
    asked = ("connect", "--workspace", str(workspace()), "--calendar", "primary")
    for result in (
        await add(google, database, google.refresh_token, **alone),
        await call_beside(google, database.reactor, *asked, **alone),
    ):
        assert (result.exit_code, result.stderr[:24]) == (2, "GOOGLE_CLIENT_ID is none")
    assert (stored(rows), google.emulator.log.count("token")) == (WORKS, 0)


# Service accounts


async def test_a_service_account_is_tried_as_well(google: GoogleServer, database: Database, rows: Rows) -> None:
    emulator = google.emulator
    document = await trio.to_thread.run_sync(lambda: emulator.add_service_account(ROBOT))
    known, file = emulator.oauth.service_accounts.known, json.dumps(document)
    robot: dict[str, Any] = {"calendar": TEAM, "GOOGLE_CLIENT_ID": "", "GOOGLE_CLIENT_SECRET": ""}
    ada = ("--subject", USER)
    emulator.add_calendar(TEAM)

    async def refused(code: int, sentence: str, *more: str, given: str = file, **changes: str) -> None:
        result = await add(google, database, given, "--service-account", "-", *more, **(robot | changes))
        assert (result.exit_code, result.stderr[: len(sentence)]) == (code, sentence)
        assert stored(rows) == WORKS

    await refused(1, f"The service account {ROBOT} does not know this calendar. Share the calendar with this address")
    emulator.share(TEAM, ROBOT, "reader")
    await refused(1, f"The service account {ROBOT} may read this calendar and not change it. Share the calendar with")
    await refused(2, "--calendar primary is the service account's own calendar, which no person", calendar="primary")
    await refused(1, "The service account may not act for this user; an administrator grants domain-wide", *ada)
    known[ROBOT].delegated = frozenset({EVENTS_SCOPE})
    await refused(1, "The user to act for does not exist; check the subject", "--subject", "nobody@example.com")
    await refused(1, f"The user {USER} does not know this calendar.", *ada, calendar="unknown@example.com")
    await refused(2, "--subject is the user to act for; leave it out", "--subject", ROBOT)
    await refused(2, "--subject is a user's e-mail address", "--subject", "ada")
    await refused(1, "The service account's key was deleted, disabled or replaced", given=json.dumps(key_file()))
    await refused(2, "What came on standard input is a refresh token, not a service", given=google.refresh_token)
    known[ROBOT].disabled = True
    await refused(1, "The service account was deleted or disabled (400 invalid_grant). Nothing was stored.")
    known[ROBOT].disabled = False
    emulator.fault(Fault(operation="token", effect="drop", times=1))
    await refused(1, "The token endpoint did not answer. Nothing was stored. Try again later, or store it untried")

    emulator.share(TEAM, ROBOT, "writer")
    for more, calendar in (((), TEAM), (ada, "primary")):
        result = await add(google, database, file, "--service-account", "-", *more, **(robot | {"calendar": calendar}))
        assert result.exit_code == 0, result.output
        assert json.loads(stored(rows)).get("subject") == (USER if more else None)
    assert emulator.events(TEAM) == emulator.events(USER) == []


async def test_what_stands_beside_a_service_account(
    google: GoogleServer, database: Database, rows: Rows, tmp_path: Any
) -> None:
    path = tmp_path / "key.json"
    for more, sentence in (
        (("--subject", USER), "--subject goes with --service-account"),
        (
            ("--service-account", str(path)),
            f"--service-account: {path} cannot be read (No such file or directory): look at its path.",
        ),
        (
            ("--service-account", str(tmp_path)),
            f"--service-account: {tmp_path} cannot be read (Is a directory): look at its path.",
        ),
    ):
        result = await add(google, database, google.refresh_token, *more)
        assert (result.exit_code, result.stderr[: len(sentence)]) == (2, sentence)
    path.write_text(json.dumps(key_file(token_uri="https://evil.example/token")))
    result = await add(google, database, "", "--service-account", str(path), "--no-verify")
    assert (result.exit_code, "its token_uri is neither Google's" in result.stderr) == (2, True)
    assert stored(rows) == WORKS
    path.write_text(json.dumps(key_file()))
    result = await add(google, database, "", "--service-account", str(path), "--no-verify", calendar=TEAM)
    assert (result.exit_code, google.emulator.log.counts) == (0, {})
    assert json.loads(stored(rows))["client_email"] == ROBOT


async def test_a_service_account_is_listed_and_its_key_never(
    google: GoogleServer, database: Database, rows: Rows
) -> None:
    given, file = ("--service-account", "-", "--subject", USER, "--no-verify"), json.dumps(key_file())
    assert (await add(google, database, file, *given)).exit_code == 0

    async def listed(*more: str, **environment: str) -> Result:
        result = await call_beside(google, database.reactor, "connections", "list", *more, **environment)
        assert result.exit_code == 0
        assert [line for line in secrets() if line in result.output] == []
        return result

    assert f"service account {ROBOT} for {USER}" in (await listed()).stdout
    [found] = json.loads((await listed("--json")).stdout)
    assert (found["kind"], found["account"], found["subject"]) == ("service account", ROBOT, USER)
    for keys in ("", "k9:" + "C" * 42 + "A="):
        result = await listed("--json", TOKEN_ENCRYPTION_KEYS=keys)
        [found] = json.loads(result.stdout)
        assert (found["kind"], found["account"], found["subject"]) == ("service account", None, None)
        assert ("addresses of service accounts are not shown" in result.stderr) == (keys == "")
    with psycopg.connect(database.owner) as owner:
        [[text]] = owner.execute("select refresh_token_encrypted from google_connections").fetchall()
    assert text.startswith("v2:k1:")
    assert len(text) < 8_192
