"""`connections` and `tokens`: consents are stored, changed and encrypted anew, and never shown."""

from uuid import UUID, uuid4

import psycopg
import pytest

from reactor.commands.access import tokens
from reactor.desk import connections
from reactor.postgres.connection.admin import open_admin_session
from reactor.token_encryption import TokenCipher
from tests.support.commands import call, document
from tests.support.databases import Database, deploy
from tests.support.outbox_world import World as Rows, workspace
from tests.support.process_world import KEYS

TOKEN = "1//0a-refresh-token"
CALENDAR = "team@example.com"
NEW_KEY = "k2:" + "B" * 42 + "A="
BOTH = f"{NEW_KEY},{KEYS}"
ADD = ("connections", "add", "--no-verify")  # tests/commands/test_connections_tried.py tries them


def add(database: Database, name: str = "w", calendar: str = CALENDAR, token: str = TOKEN) -> None:
    arguments = (*ADD, "--workspace", str(workspace(name)), "--calendar", calendar)
    result = call(database.reactor, *arguments, stdin=f"{token}\n")
    assert result.exit_code == 0, result.output
    assert token not in result.output


def stored(rows: Rows, name: str = "w") -> str:
    text = rows.one("select refresh_token_encrypted from google_connections where workspace_id = %s", workspace(name))
    assert isinstance(text, str)
    return text


def test_a_token_from_standard_input_is_stored_encrypted(database: Database, rows: Rows) -> None:
    add(database)
    assert TokenCipher.from_setting(KEYS).decrypt(workspace(), stored(rows)) == TOKEN
    assert TOKEN not in stored(rows)
    shown = call(database.reactor, "connections", "list")
    assert (str(workspace()) in shown.stdout, CALENDAR in shown.stdout, "k1" in shown.stdout) == (True, True, True)
    assert stored(rows) not in shown.output
    [found] = document(database, "connections", "list")
    names = {"workspace", "calendar", "kind", "account", "subject", "valid", "key", "waiting", "dead", "updated_at"}
    assert set(found) == names
    assert (found["kind"], found["account"], found["subject"]) == ("refresh token", None, None)


def test_connecting_again_puts_back_what_died_for_want_of_it(database: Database, rows: Rows) -> None:
    add(database)
    rows.connection.execute("update google_connections set is_valid = false")
    dead = rows.insert(status="DEAD_LETTER", failure_code="AUTH")
    arguments = (*ADD, "--workspace", str(workspace()), "--calendar", "primary")
    said = call(database.reactor, *arguments, stdin="1//new").stderr.splitlines()
    assert said[:2] == [f"Workspace {workspace()} is connected again.", "1 dead letter put back."]
    assert said[2].startswith("Its calendar is another one than before.")
    assert f"`python -m reactor rebuild --workspace {workspace()}` moves all of them" in said[2]
    said = call(database.reactor, *arguments, stdin="1//another").stderr.splitlines()
    assert said[1].startswith("If this is another account than before, `python -m reactor rebuild --workspace")
    assert rows.status(dead)[0] == "PENDING"
    assert rows.one("select is_valid from google_connections") is True


@pytest.mark.parametrize(
    ("given", "calendar", "sentence"),
    [
        ("", CALENDAR, "There is no refresh token on standard input"),
        ("null", CALENDAR, "That is 'null', which stands for an empty value"),
        ("two words", CALENDAR, "What came on standard input is no refresh token"),
        ("x" * 5_000, CALENDAR, "What came on standard input is no refresh token"),
        ("ya29.a0Af", CALENDAR, "That is an access token, which works for an hour"),
        (TOKEN, "my calendar", "--calendar is a calendar's id"),
        (TOKEN, "..", "--calendar is a calendar's id"),
    ],
)
def test_what_is_no_token_or_no_calendar(
    database: Database, rows: Rows, given: str, calendar: str, sentence: str
) -> None:
    arguments = (*ADD, "--workspace", str(workspace()), "--calendar", calendar)
    result = call(database.reactor, *arguments, stdin=given)
    assert result.exit_code == 2
    assert result.stderr.startswith(sentence)
    assert given in ("", "null") or given not in result.output
    assert rows.one("select count(*) from google_connections") == 0


def test_without_keys_it_says_so_before_it_reads_a_token(database: Database) -> None:
    arguments = (*ADD, "--workspace", str(workspace()), "--calendar", CALENDAR)
    result = call(database.reactor, *arguments, stdin=TOKEN, TOKEN_ENCRYPTION_KEYS="")
    assert result.exit_code == 2
    assert result.stderr.startswith("TOKEN_ENCRYPTION_KEYS is not set: The keys of the stored refresh tokens")


def test_a_workspace_that_the_application_does_not_know(empty_database: str) -> None:
    deploy(empty_database, items=0)
    arguments = (*ADD, "--workspace", str(uuid4()), "--calendar", CALENDAR)
    call(empty_database, "migrate")
    result = call(empty_database, *arguments, stdin=TOKEN)
    assert result.exit_code == 2
    assert "in the application's table; take the id from there." in result.stderr


def test_disabling_and_enabling(database: Database, rows: Rows) -> None:
    rows.connect()
    dead = rows.insert(status="DEAD_LETTER", failure_code="AUTH")
    which = ("--workspace", str(workspace()))
    assert document(database, "connections", "disable", *which) == {
        "workspace": str(workspace()),
        "valid": False,
        "changed": True,
        "requeued": 0,
    }
    assert [each["valid"] for each in document(database, "connections", "list", "--invalid")] == [False]
    assert rows.status(dead)[0] == "DEAD_LETTER"
    result = call(database.reactor, "connections", "enable", *which)
    assert result.stderr == f"The connection of workspace {workspace()} is now valid.\n1 dead letter put back.\n"
    assert rows.status(dead)[0] == "PENDING"
    again = call(database.reactor, "connections", "enable", *which)
    assert (again.exit_code, "was already valid" in again.stderr) == (0, True)
    assert call(database.reactor, "connections", "list", "--invalid").stderr == "All are valid.\n"
    unknown = call(database.reactor, "connections", "enable", "--workspace", str(uuid4()))
    assert (unknown.exit_code, "has no connection: `python -m reactor connect --workspace" in unknown.stderr) == (
        2,
        True,
    )


def rotate(database: Database, *arguments: str, code: int = 0) -> dict[str, object]:
    found = document(database, "tokens", "rotate", *arguments, code=code, TOKEN_ENCRYPTION_KEYS=BOTH)
    assert isinstance(found, dict)
    return found


def test_tokens_are_encrypted_with_the_first_key(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "PORTION", 2)
    names = "abcde"
    for name in names:
        add(database, name, token=f"1//{name}")
    before = stored(rows, "a")
    assert rotate(database, "--dry-run")["rotated"] == 5
    assert stored(rows, "a") == before
    assert rotate(database)["rotated"] == 5
    assert [TokenCipher.from_setting(NEW_KEY).decrypt(workspace(n), stored(rows, n)) for n in names] == [
        f"1//{n}" for n in names
    ]
    assert rotate(database) == {
        "rotated": 0,
        "current": 5,
        "replaced": 0,
        "failed": 0,
        "dry_run": False,
        "problems": {},
    }


def test_a_token_that_is_replaced_meanwhile_is_not_lost(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database)
    real = TokenCipher.rotate
    newer = TokenCipher.from_setting(KEYS).encrypt(workspace(), "1//of a person who came back")

    def slow(cipher: TokenCipher, workspace_id: UUID, text: str) -> str:
        if text != newer:
            rows.connection.execute("update google_connections set refresh_token_encrypted = %s", (newer,))
        return real(cipher, workspace_id, text)

    monkeypatch.setattr(TokenCipher, "rotate", slow)
    assert rotate(database)["rotated"] == 1
    assert TokenCipher.from_setting(NEW_KEY).decrypt(workspace(), stored(rows)) == "1//of a person who came back"


def test_what_cannot_be_decrypted_is_named_and_left(database: Database, rows: Rows) -> None:
    add(database, "fine")
    rows.connect("clear", "1//in the clear")
    rows.connect("moved", stored(rows, "fine"))
    found = rotate(database, code=1)
    assert (found["rotated"], found["failed"]) == (1, 2)
    assert isinstance(found["problems"], dict)
    assert set(found["problems"]) == {str(workspace("clear")), str(workspace("moved"))}
    assert "in the clear" not in str(found).replace("a token in the clear", "")
    assert stored(rows, "clear") == "1//in the clear"
    shown = call(database.reactor, "tokens", "rotate", TOKEN_ENCRYPTION_KEYS=BOTH)
    assert (shown.exit_code, "Left as they are" in shown.stdout) == (1, True)


def test_another_key_is_not_a_new_consent(database: Database, rows: Rows) -> None:
    """What waits for a person goes on waiting: an invalid connection stays so, and what died of it stays dead."""
    add(database)
    rows.connection.execute("update google_connections set is_valid = false")
    dead = rows.insert(status="DEAD_LETTER", failure_code="AUTH")
    with psycopg.connect(database.reactor, autocommit=True) as listening:
        listening.execute("listen sync_outbox")
        listening.execute("select pg_advisory_lock(718300, 1)")  # a reactor that sleeps
        assert rotate(database)["rotated"] == 1
        assert list(listening.notifies(timeout=0)) == []
    assert rows.one("select is_valid from google_connections") is False
    assert rows.status(dead)[0] == "DEAD_LETTER"


def test_connections_are_looked_at_page_by_page(database: Database, rows: Rows) -> None:
    for number in range(7):
        rows.connect(str(number), valid=number % 3 > 0)
    with open_admin_session(database.reactor, name="test") as admin:
        whole = [row["workspace"] for row in connections.listed(admin).rows]
        seen, after = [], None
        while True:
            page = connections.listed(admin, behind=after, rows=2)
            seen += [row["workspace"] for row in page.rows]
            if not page.is_cut:
                break
            after = (page.rows[-1]["valid"], page.rows[-1]["workspace"])
    assert seen == whole
    assert len(whole) == 7
