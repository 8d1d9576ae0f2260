"""Whatever is wrong is a sentence that says what to do, with exit code 2; secrets are not in it."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from reactor.errors import ConfigurationError
from reactor.postgres.connection.pooler import require_sessions
from tests.support.commands import call
from tests.support.databases import Database, Server

W = "3c9f5f0e-7a2e-4a55-9a3f-5b1f1f3f9d11"
ALL = (
    ("status",),
    ("locks",),
    ("dead-letters", "list"),
    ("dead-letters", "show", W),
    ("dead-letters", "requeue", "--all"),
    ("explain", W),
    ("rebuild", "--workspace", W),
    ("connections", "list"),
    ("connections", "enable", "--workspace", W),
    ("connections", "disable", "--workspace", W),
    ("tokens", "rotate"),
    ("brake", "list"),
    ("brake", "release", "--workspace", W),
    ("acts", "list"),
    ("invitations", "list", "--workspace", W),
    (
        "invitations",
        "make",
        "--workspace",
        W,
        "--calendar",
        "a@example.com",
        "--console",
        "https://console.example.com",
    ),
    ("invitations", "revoke", "--workspace", W, "0" * 64),
)
each_command = pytest.mark.parametrize("arguments", ALL, ids=" ".join)


@each_command
def test_no_address(arguments: tuple[str, ...]) -> None:
    result = call(None, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("DATABASE_URL is not set: the connection string"), "and nothing else is asked for"
    assert len(result.stderr.splitlines()) == 1


@each_command
@pytest.mark.parametrize(
    ("name", "value"), [("PGSSLMODE", "hunter2"), ("SSL_CERT_FILE", "/nowhere.pem"), ("DATABASE_URL", "{}\n")]
)
def test_a_variable_that_a_library_cannot_work_with(arguments: tuple[str, ...], name: str, value: str) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/app"
    result = call(None, *arguments, **{"DATABASE_URL": url, name: value.format(url)})
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{name} ")
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output


def test_a_variable_that_is_none_of_ours_is_warned_of() -> None:
    result = call(None, "status", CALENDAR_SYNC_POLL_INTERVAL="2000")
    assert result.stderr.startswith("Warning: CALENDAR_SYNC_POLL_INTERVAL is no setting")
    assert "did you mean CALENDAR_SYNC_POLL_INTERVAL_MS?" in result.stderr
    result = call(None, "check", CALENDAR_SYNC_POLL_INTERVAL="2000")
    assert "did you mean CALENDAR_SYNC_POLL_INTERVAL_MS?" in result.stdout


@each_command
def test_a_database_that_is_away(arguments: tuple[str, ...]) -> None:
    result = call("postgresql://me:hunter2@127.0.0.1:1/app", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Cannot connect to the database: ")
    assert "Look at host, port, name and password in DATABASE_URL" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize(("name", "value"), [("PGTZ", "Mars/X"), ("PGOPTIONS", "-c hunter2"), ("PGGEQO", "hunter2")])
def test_a_parameter_that_the_server_refuses(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The service ends too: tried again, it would be refused again."""
    result = call(empty_database, "status", **{name: value})
    assert result.exit_code == 2
    assert result.stderr.startswith("The server refuses ")
    assert name in result.stderr
    assert value not in result.output
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="The server refuses "):
        require_sessions(empty_database)


@each_command
def test_a_database_without_the_schema(arguments: tuple[str, ...], empty_database: str) -> None:
    result = call(empty_database, *arguments)
    assert result.exit_code == 2
    assert "has no sync_outbox" in result.stderr
    assert "run `python -m reactor migrate`" in result.stderr


def test_a_schema_of_before(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("drop function sync_lease_holders() cascade")
    result = call(database.owner, "status")
    assert result.exit_code == 2
    assert "The database lacks what this needs" in result.stderr
    assert "run `python -m reactor migrate`" in result.stderr


@pytest.fixture
def stranger(postgres: Server, database: Database) -> Iterator[str]:
    """A login that may read the tables, and that row level security shows nothing."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("create role stranger login password 'x'")
        owner.execute("grant select on sync_outbox, google_connections to stranger")
        yield make_conninfo(database.owner, user="stranger", password="x")
        owner.execute(sql.SQL("drop owned by {0}").format(sql.Identifier("stranger")))
        owner.execute("drop role stranger")


def test_a_role_that_would_see_nothing(stranger: str) -> None:
    for arguments in ALL:
        result = call(stranger, *arguments)
        assert result.exit_code == 2, arguments
        assert "Row level security hides the outbox from 'stranger'" in result.stderr
        assert "calendar_sync_reactor" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("locks",), ("dead-letters", "list"), ("connections", "list"), ("explain", W), ("rebuild",)],
    ids=" ".join,
)
def test_a_workspace_that_is_not_known(arguments: tuple[str, ...], database: Database) -> None:
    result = call(database.reactor, *arguments, "--workspace", W)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Nothing is known of workspace {W}")


def test_what_is_no_uuid() -> None:
    result = call(None, "status", "--workspace", "7d1f")
    assert result.exit_code == 2
    assert "Invalid value for '--workspace'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("requeue",), "Say which: --workspace, --code, --before, --age, --error or --id; or --all."),
        (("list", "--code", "SAD"), "There is no code SAD. Codes are: AUTH, "),
        (("list", "--age", "1 week"), "--age is a number and a unit, such as 90s"),
        (("list", "--before", "yesterday"), "--before is a date or a time in ISO 8601"),
        (("show", W), f"There is no item {W}: look whether it was mistyped; retention may have deleted it"),
    ],
)
def test_wrong_filters(database: Database, arguments: tuple[str, ...], sentence: str) -> None:
    result = call(database.reactor, "dead-letters", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(sentence)


def test_help_has_examples_and_exit_codes() -> None:
    for arguments in (*ALL, ("check",), ("connect",), ("drift",), ("migrate",), ("connections", "add")):
        words = [word for word in arguments if not word.startswith("-") and word != W]
        result = call(None, *words, "--help")
        assert result.exit_code == 0
        assert "Example" in result.stdout, words
        assert "Exit codes" in result.stdout, words


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "{}"),
        ("dead-letters", "list", "--error", "{}"),
        ("connections", "add", "--workspace", W, "--calendar", "{}", "--no-verify"),
        ("invitations", "make", "--workspace", W, "--calendar", "{}", "--console", "https://console.example.com"),
        ("rebuild", "--workspace", W, "--reason", "{}"),
    ],
    ids=" ".join,
)
def test_bytes_that_are_no_text(database: Database, arguments: tuple[str, ...]) -> None:
    """What Python makes of an argument such as $'\\xff'."""
    result = call(database.reactor, *(each.format("\udcff") for each in arguments), stdin="1//0token")
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
