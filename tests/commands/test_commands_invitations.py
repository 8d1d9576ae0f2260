"""`invitations`: a link by which a workspace's admin connects its calendar on the console; made, listed, taken back."""

import hashlib
import re
from typing import Any
from uuid import uuid4

import pytest

from tests.support.commands import call, document
from tests.support.databases import Database
from tests.support.outbox_world import World as Rows, workspace

W, CALENDAR, CONSOLE = str(workspace()), "team@example.com", "https://console.example.com"
OF = ("--workspace", W)
MAKE = ("invitations", "make", *OF, "--calendar", CALENDAR)
LINK = re.compile(re.escape(CONSOLE) + r"/connect/([A-Za-z0-9_-]{43})")


@pytest.fixture
def connected(rows: Rows) -> Rows:
    rows.connect()
    return rows


def listed(database: Database) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(database, "invitations", "list", *OF)
    return found


def test_the_link_is_on_standard_output_alone_and_its_hash_in_the_database(database: Database, connected: Rows) -> None:
    made = call(database.reactor, *MAKE, "--console", f"{CONSOLE}/", "--reason", "INC-7")
    assert made.exit_code == 0, made.output
    [secret] = LINK.findall(made.stdout)
    assert made.stdout == f"{CONSOLE}/connect/{secret}\n", "what a script can take as it is"
    assert secret not in made.stderr
    [found] = listed(database)
    assert found["id"] == hashlib.sha256(secret.encode()).hexdigest()
    assert (found["state"], found["calendar"]) == ("good", CALENDAR)
    for shown in (call(database.reactor, "invitations", "list", *OF), call(database.reactor, "acts", "list")):
        assert secret not in shown.output
    for table in ("sync_acts", "sync_invitations"):
        assert secret not in connected.one(f"select jsonb_agg(to_jsonb(t))::text from {table} as t")


def test_where_the_console_is_may_stand_in_the_environment(database: Database, connected: Rows) -> None:
    made = call(database.reactor, *MAKE, "--json", CONSOLE_ORIGIN=CONSOLE)
    assert LINK.search(made.stdout), made.output
    assert call(database.reactor, *MAKE).exit_code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "http://console.example.com",
        "console.example.com",
        "https://a.example/path",
        "https://[::1",
        "https://a.example;id",
        "https://$(id)",
        "https://a example",
        "",
    ],
)
def test_a_link_leads_to_a_console_that_browsers_trust(database: Database, connected: Rows, wrong: str) -> None:
    refused = call(database.reactor, *MAKE, "--console", wrong)
    assert (refused.exit_code, listed(database)) == (2, []), refused.output
    assert "https" in refused.output


@pytest.mark.parametrize(
    "calendar", ["primary", "PRIMARY", "", "my calendar", "..", "…", "primary\u200b", "\x1b[2J", "\u202eabc"]
)
def test_the_calendar_is_named(database: Database, connected: Rows, calendar: str) -> None:
    refused = call(database.reactor, *MAKE[:-1], calendar, "--console", CONSOLE)
    assert (refused.exit_code, listed(database)) == (2, []), refused.output
    assert "names its calendar" in refused.stderr


def test_one_that_is_taken_back_is_good_no_longer(database: Database, connected: Rows) -> None:
    for _ in range(2):
        assert call(database.reactor, *MAKE, "--console", CONSOLE).exit_code == 0
    newest, oldest = (each["id"] for each in listed(database))
    revoke = ("invitations", "revoke", *OF)
    said = call(database.reactor, *revoke, newest, "--reason", "wrong person")
    assert (said.exit_code, said.stderr) == (0, "The invitation is revoked.\n")
    assert {each["id"]: each["state"] for each in listed(database)} == {newest: "revoked", oldest: "good"}
    [act] = [each for each in document(database, "acts", "list")["acts"] if each["act"] == "invitation revoke"]
    assert (act["reason"], act["target"]["invitation"]) == ("wrong person", newest)
    for wrong in (newest, "0" * 64, "no-id", ""):
        refused = call(database.reactor, *revoke, wrong)
        assert (refused.exit_code, "good no longer" in refused.stderr) == (2, True), refused.output
    elsewhere = ("invitations", "revoke", "--workspace", str(uuid4()), oldest)
    assert call(database.reactor, *elsewhere).exit_code == 2
    assert document(database, *revoke, oldest) == {"workspace": W, "revoked": oldest}
    assert "There are none" in call(database.reactor, "invitations", "list", "--workspace", str(uuid4())).stderr


def test_a_workspace_has_five_at_one_time(database: Database, connected: Rows) -> None:
    made = [call(database.reactor, *MAKE, "--console", CONSOLE) for _ in range(6)]
    assert [each.exit_code for each in made] == [0] * 5 + [2]
    assert "5 invitations that are good" in made[-1].stderr
