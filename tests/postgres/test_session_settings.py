"""Whatever a role, a database or the environment says, a session of ours has the settings that it relies on."""

import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from reactor.errors import RefusedError, TransientError
from reactor.postgres.connection.admin import open_admin_session
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.pooler import require_sessions
from reactor.postgres.connection.session import ReadOnlySessionError, Session, SessionLostError, open_session
from reactor.postgres.connection.session_settings import Bounds, connect, conninfo
from reactor.postgres.outbox import Outbox
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate, missing
from reactor.postgres.setup.yoyo_backend import Backend
from reactor.process.concurrency import first_of
from tests.support.commands import call
from tests.support.databases import Database, Server, in_memory
from tests.support.outbox_world import World

# What a deployment may say; the first is what we want, where it is the same for every session.
SETTINGS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "default_transaction_isolation": ("read committed", ("repeatable read", "serializable")),
    "default_transaction_read_only": ("off", ("on",)),
    "default_transaction_deferrable": ("off", ("on",)),
    "TimeZone": ("UTC", ("Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati")),
    "DateStyle": ("ISO, YMD", ("SQL, DMY", "German", "Postgres, MDY", "ISO, DMY")),
    "IntervalStyle": ("postgres", ("sql_standard", "iso_8601", "postgres_verbose")),
    "client_encoding": ("UTF8", ("LATIN1", "SQL_ASCII", "WIN1252")),
    "bytea_output": ("hex", ("escape",)),
    "extra_float_digits": ("1", ("-15", "0", "3")),
    "standard_conforming_strings": ("on", ("off",)),
    "transform_null_equals": ("off", ("on",)),
    "array_nulls": ("on", ("off",)),
    "row_security": ("on", ("off",)),
    "statement_timeout": (None, ("2s", "1min")),  # until ours is set its own bounds the first statement
    "lock_timeout": (None, ("1ms", "1min")),
    "idle_in_transaction_session_timeout": (None, ("50ms", "1h")),
    "idle_session_timeout": ("0", ("5s", "1h")),
    "transaction_timeout": ("0", ("2s", "1h")),
    "search_path": (None, ("nowhere", '"$user"', "shadow, pg_catalog", 'pg_catalog, "odd, name"', "")),
    "application_name": (None, ("somebody else",)),
}
SEEDS = range(8)


def show(execute: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, str]:
    rows = execute(f"select name, setting from pg_settings where name in ({', '.join(map(repr, SETTINGS))})")
    return dict(rows)


@pytest.fixture
def odd(database: Database, postgres: Server, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database whose settings, and those of its login, are drawn."""
    draw = random.Random(request.param)
    login = str(conninfo_to_dict(database.reactor)["user"])
    name = str(conninfo_to_dict(database.owner)["dbname"])
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for shadowed in ("now()", "hashtext(text)", "clock_timestamp()"):
            owner.execute("create schema if not exists shadow; grant usage on schema shadow to public")
            body = "begin raise ''shadowed''; end"
            kind = "integer" if shadowed.startswith("hash") else "timestamptz"
            owner.execute(f"create function shadow.{shadowed} returns {kind} language plpgsql as '{body}'".encode())
        known = {row[0].lower() for row in owner.execute("select name from pg_settings")}
    roles = []
    with postgres.session() as admin:
        for setting, (_, values) in SETTINGS.items():
            if setting.lower() not in known or draw.random() < 0.2:
                continue
            target: sql.Composable = sql.SQL("database {}").format(sql.Identifier(name))
            if draw.random() < 0.5:
                target = sql.SQL("role {} in {}").format(sql.Identifier(login), target)
                roles.append(setting)
            drawn = draw.choice(values)
            value = sql.SQL(drawn or "''") if setting == "search_path" else sql.Literal(drawn)  # a list, and no text
            admin.execute(sql.SQL("alter {} set {} = {}").format(target, sql.Identifier(setting), value))
    yield database
    with postgres.session() as admin:
        admin.execute(sql.SQL("alter role {} in database {} reset all").format(*map(sql.Identifier, (login, name))))


def is_ours(found: dict[str, str], bounds: dict[str, str]) -> None:
    wanted = {setting: value for setting, (value, _) in SETTINGS.items() if value is not None and setting in found}
    assert {setting: found[setting] for setting in wanted} == wanted
    assert {setting: found[setting] for setting in bounds} == bounds
    path = found["search_path"]
    assert "public" in path
    assert "pg_catalog" not in path, "it comes first where it is not named"


@pytest.mark.parametrize("odd", SEEDS, indirect=True)
async def test_a_session_has_our_settings(odd: Database) -> None:
    async with open_session(odd.reactor, name="ours", lock_timeout="100ms") as session:
        rows = await session.run(_show)
        is_ours(rows, {"statement_timeout": "8000", "lock_timeout": "100", "application_name": "ours"})
        [[moment]] = await session.execute("select now()")
        assert isinstance(moment, datetime)


async def _show(connection: Any) -> dict[str, str]:
    names = ", ".join(map(repr, SETTINGS))
    cursor = await connection.execute(f"select name, setting from pg_settings where name in ({names})")
    return dict(await cursor.fetchall())


@pytest.mark.parametrize("odd", SEEDS, indirect=True)
async def test_the_pool_the_commands_and_the_migration_have_our_settings(odd: Database) -> None:
    pool = Pool(odd.reactor, name="pool")
    found = await pool.run(lambda connection: show(lambda text: connection.execute(text.encode()).fetchall()))
    is_ours(found, {"statement_timeout": "8000", "lock_timeout": "200", "application_name": "pool"})
    await pool.aclose()
    with open_admin_session(odd.reactor, name="x") as admin:
        found = show(lambda text: [tuple(row.values()) for row in admin.connection.execute(text.encode()).fetchall()])
        is_ours(found, {"statement_timeout": "60000", "lock_timeout": "5000"})
    with Backend.connected(odd.owner) as backend:
        found = show(lambda text: backend.connection.execute(text.encode()).fetchall())
        is_ours(found, {"statement_timeout": "0", "lock_timeout": "2000"})
        assert found["search_path"].startswith("public")
        backend.init_connection(backend.connection)
        again = show(lambda text: backend.connection.execute(text.encode()).fetchall())
        assert again == found, "twice is as good as once"
    require_sessions(odd.reactor)
    assert missing(odd.reactor) == []
    migrate(odd.owner, progress=lambda _: None)


@pytest.mark.parametrize("odd", SEEDS, indirect=True)
def test_commands_print_what_they_print_anywhere(odd: Database) -> None:
    for arguments in (
        ("status",),
        ("locks",),
        ("connections", "list"),
        ("dead-letters", "list"),
        ("brake", "list"),
        ("migrate", "--check"),
    ):
        result = call(odd.reactor, *arguments)
        assert result.exit_code == 0, (arguments, result.output)


async def test_the_applications_path_is_kept_for_its_triggers(database: Database) -> None:
    name = conninfo_to_dict(database.owner)["dbname"]
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("create schema app; create table app.audit (a int); grant usage on schema app to public")
        owner.execute("grant insert on app.audit to public")
        owner.execute(f'alter database "{name}" set search_path = app, pg_catalog')
    async with open_session(database.reactor, name="ours") as session:
        assert await session.execute("show search_path") == [("app, public",)]
        await session.execute("insert into audit values (1)")


async def test_the_server_gives_a_statement_up_before_the_session_is(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_session(empty_database, name="test") as session:
        began = trio.current_time()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await session.execute("select pg_sleep(60)")
        assert trio.current_time() - began < 10
        assert await session.execute("select 1") == [(1,)]


def read_only(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table if not exists t (a int)")


async def test_a_session_that_may_only_read_is_lost_at_once(empty_database: str) -> None:
    read_only(empty_database)
    sessions: list[Session] = []
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012
        async with open_session(empty_database, name="test") as session:
            sessions.append(session)
            await session.execute("set default_transaction_read_only = on")
            await session.execute("insert into t values (1)")
    error = first_of(caught.value)
    assert isinstance(error, ReadOnlySessionError)
    assert isinstance(error, SessionLostError)
    assert isinstance(error, RefusedError)
    assert error.sqlstate == "25006"
    with pytest.raises(SessionLostError, match="read-only"):
        sessions[0].check()


async def test_the_pool_replaces_a_connection_that_may_only_read(empty_database: str) -> None:
    read_only(empty_database)
    pool = Pool(empty_database, size=1)
    await pool.execute("set default_transaction_read_only = on")
    with pytest.raises(RefusedError) as caught:
        await pool.execute("insert into t values (1)")
    assert caught.value.sqlstate == "25006"
    await pool.execute("insert into t values (1)")
    await pool.aclose()


async def test_the_pool_tells_a_refusal_from_an_outage(empty_database: str) -> None:
    pool = Pool(empty_database, size=1)
    for statement, sqlstate in (("select 1/0", "22012"), ("select x", "42703"), ("select lo_get(1)", "42704")):
        with pytest.raises(RefusedError) as caught:
            await pool.execute(statement)
        assert caught.value.sqlstate == sqlstate
    with pytest.raises(TransientError) as lost:
        await pool.execute("select pg_terminate_backend(pg_backend_pid())")
    assert not isinstance(lost.value, RefusedError)
    await pool.aclose()


ODD_VALUES = {
    "'infinity'::timestamptz": "infinity",
    "'-infinity'::timestamptz": "-infinity",
    "'-infinity'::timestamp": "-infinity",
    "'20000-01-01 00:00:00+00'::timestamptz": "20000-01-01 00:00:00+00",
    "'4713-01-02 00:00:00+00 BC'::timestamptz": "4713-01-02 00:00:00+00 BC",
    "'infinity'::date": "infinity",
    "'100000000 years'::interval": "100000000 years",
    "repeat('9', 5000)::jsonb": "9" * 5000,
    "(repeat('[', 3000) || repeat(']', 3000))::jsonb": "[" * 3000 + "]" * 3000,
    "(repeat('[', 3000) || repeat(']', 3000))::json": "[" * 3000 + "]" * 3000,
    "(repeat('[', 600) || repeat(']', 600))::jsonb": "[" * 600 + "]" * 600,
}


@pytest.mark.parametrize("value", ODD_VALUES)
async def test_what_python_cannot_hold_comes_as_text(empty_database: str, value: str) -> None:
    async with open_session(empty_database, name="test") as session:
        assert await session.execute(f"select {value}") == [(ODD_VALUES[value],)]
        [row] = await session.execute("select '2026-01-02 03:04:05+00'::timestamptz, '{\"a\": 1}'::jsonb")
        assert row == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), {"a": 1})
    with connect(empty_database, "test", Bounds()) as connection:
        assert connection.execute(f"select {value}".encode()).fetchone() == (ODD_VALUES[value],)


async def test_what_is_wide_and_not_deep_comes_as_a_value(empty_database: str) -> None:
    async with open_session(empty_database, name="test") as session:
        [[wide]] = await session.execute(
            "select jsonb_agg(jsonb_build_object('a', n)) from generate_series(1, 1000) as n"
        )
    assert wide == [{"a": n} for n in range(1, 1001)]


@pytest.fixture
def ascii_database(postgres: Server) -> Iterator[str]:
    """A database that takes any bytes for text."""
    name = f"ascii_{random.randrange(10**9)}"
    with postgres.session() as admin:
        admin.execute(f"create database {name} template template0 encoding 'SQL_ASCII' locale 'C'")
    yield postgres.dsn(name)
    postgres.drop_database(name)


def test_a_database_without_an_encoding(ascii_database: str) -> None:
    for arguments in (("migrate",), ("status",), ("connections", "list"), ("dead-letters", "list"), ("locks",)):
        result = call(ascii_database, *arguments)
        assert result.exit_code == 0, (arguments, result.output)
    with psycopg.connect(ascii_database, autocommit=True) as owner:
        owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload, status, failure_code, last_error)"
            " values (gen_random_uuid(), 'CANCEL_EVENT', '{}', 'DEAD_LETTER', 'AUTH', E'caf\\xe9')"
        )
    result = call(ascii_database, "dead-letters", "list")
    assert result.exit_code == 1, result.output
    assert "caf\ufffd" in result.stdout


async def test_items_are_claimed_from_a_database_without_an_encoding(ascii_database: str) -> None:
    migrate(ascii_database, progress=lambda _: None)
    world = World(Database(ascii_database, ascii_database))
    world.connect()
    item_id = world.insert()
    async with open_session(ascii_database, name="claims") as session:
        [item] = (await Outbox(session).claim(slots=5)).items
        assert (item.id, item.operation, type(item.source_key)) == (item_id, "UPSERT_EVENT", str)
    world.close()


def test_the_primary_is_asked_for_unless_the_string_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGTARGETSESSIONATTRS", raising=False)
    asked = conninfo_to_dict(conninfo("postgresql://a,b/x"))
    assert asked["target_session_attrs"] == "primary"
    asked = conninfo_to_dict(conninfo("postgresql://a,b/x?target_session_attrs=any"))
    assert asked["target_session_attrs"] == "any"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    assert "target_session_attrs" not in conninfo_to_dict(conninfo("postgresql://a,b/x"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[EmbeddedPostgres, str]]:
    """A primary, and the connection string of its standby."""
    with embedded_postgres({"wal_level": "replica", "max_wal_senders": "5"}, below=in_memory()) as primary:
        standby = primary.data.parent / "standby"
        standby.mkdir(mode=0o700)
        if primary._user:
            shutil.chown(standby, primary._user)

        def run(program: str, *arguments: object) -> None:
            command = [str(primary.bin_path / program), *map(str, arguments)]
            quiet = subprocess.DEVNULL
            subprocess.run(command, user=primary._user, cwd="/", check=True, stdout=quiet, stderr=quiet)

        copied = ("-D", standby, "-R", "-X", "stream", "-c", "fast")
        run("pg_basebackup", *copied, "-h", primary.data, "-U", "postgres")
        (standby / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # the primary's
        options = f'-h "" -k "{standby}"'
        run("pg_ctl", "start", "-w", "-D", standby, "-o", options, "-l", standby / "log")
        try:
            yield primary, f"postgresql://postgres@/postgres?host={quote(str(standby), safe='')}"
        finally:
            run("pg_ctl", "stop", "-w", "-D", standby, "-m", "immediate")
            shutil.rmtree(standby, ignore_errors=True)


async def test_a_standby_is_refused_with_a_sentence(cluster: tuple[EmbeddedPostgres, str]) -> None:
    _, standby = cluster
    with pytest.raises(SessionLostError, match="hot standby"):
        async with open_session(standby, name="test"):
            pass
    with pytest.raises(SessionLostError, match="not the primary"):
        async with open_session(standby + "&target_session_attrs=any", name="test"):
            pass
    for arguments in (("status",), ("check",), ("locks",)):
        result = call(standby + "&target_session_attrs=any", *arguments)
        assert result.exit_code in (1, 2)
        assert "not the primary" in result.output
    with pytest.raises(TransientError, match="hot standby"):
        require_sessions(standby)


async def test_of_several_hosts_the_primary_is_taken(cluster: tuple[EmbeddedPostgres, str]) -> None:
    primary, standby = cluster
    hosts = f"{conninfo_to_dict(standby)['host']},{primary.data}"
    async with open_session(f"host={hosts} user=postgres dbname=postgres", name="test") as session:
        assert await session.execute("select pg_is_in_recovery()") == [(False,)]
    assert threading.active_count() < 50
