"""The console's sessions: they read, they are few and bounded, they say what they cost, and they heal."""

import threading
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
import trio

from reactor.console.database import BOUNDS, SESSIONS, ConsoleDatabase, PageCost, SlowDatabaseError
from reactor.errors import ConfigurationError, TransientError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.connection.admin_pool import AdminPool
from reactor.postgres.connection.session_settings import Bounds
from tests.console.test_door import NOWHERE
from tests.support.databases import Database, wait_until

NAMED = "select count(*) from pg_stat_activity where application_name = 'calendar-sync-reactor console'"
WRITE: LiteralString = (
    "insert into sync_brakes (workspace_id, cause, deletes, events) values (gen_random_uuid(), 'BURST', 1, 1)"
)


@pytest.fixture
def pool(database: Database) -> Iterator[AdminPool]:
    pool = AdminPool(database.reactor, name="console", bounds=BOUNDS)
    yield pool
    pool.close()


@pytest.fixture
async def console(database: Database, nursery: trio.Nursery) -> ConsoleDatabase:
    console = ConsoleDatabase(database.reactor)
    nursery.start_soon(console.keep)
    return console


def ask(database: Database, statement: LiteralString) -> Any:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        cursor = owner.execute(statement)
        return (cursor.fetchone() or [None])[0] if cursor.description else None


def test_a_session_reads_unless_it_is_asked_to_write(pool: AdminPool, database: Database) -> None:
    for _ in range(2):
        with pytest.raises(TransientError, match="read-only"), pool.session() as session:
            session.rows(WRITE)
        with pool.session(may_write=True) as session:
            session.rows(WRITE)
    assert ask(database, "select count(*) from sync_brakes") == 2


def test_an_act_that_fails_leaves_no_session_that_writes(pool: AdminPool) -> None:
    with pytest.raises(ZeroDivisionError), pool.session(may_write=True):
        print(1 // 0)  # noqa: T201
    with pytest.raises(TransientError, match="read-only"), pool.session() as session:
        session.rows(WRITE)


def test_a_session_is_kept_named_bounded_and_closed(pool: AdminPool, database: Database) -> None:
    pids = []
    for _ in range(3):
        with pool.session() as session:
            pids.append(session.one("select pg_backend_pid() as pid")["pid"])
            shown = session.one(
                "select current_setting('statement_timeout') as s, current_setting('lock_timeout') as l"
            )
            assert (shown["s"], shown["l"]) == (BOUNDS.statement, BOUNDS.lock)
    assert len(set(pids)) == 1
    assert ask(database, NAMED) == 1
    pool.close()
    wait_until(lambda: ask(database, NAMED) == 0)


def test_it_counts_what_a_page_costs(pool: AdminPool) -> None:
    for _ in range(2):
        with pool.session() as session:
            session.rows("select pg_sleep(0.01)")
            session.connection.execute("select 1")
            assert session.statements == 2
            assert 0.01 < session.seconds < 3


def test_a_session_that_the_server_has_ended_is_replaced(pool: AdminPool, database: Database) -> None:
    """Also where it ends in the middle of a page; that page fails, and the next one does not."""
    with pool.session() as session:
        session.rows("select 1")
    end_sessions(database)
    with pool.session() as session:
        assert _one(session) == 1
    with pytest.raises(TransientError, match="Cannot connect"):
        cut_off(pool, database)
    with pool.session() as session:
        assert _one(session) == 1


def end_sessions(database: Database) -> None:
    ask(
        database,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name like '%console'",
    )
    wait_until(lambda: ask(database, NAMED) == 0)


def cut_off(pool: AdminPool, database: Database) -> None:
    with pool.session() as session:
        end_sessions(database)
        session.rows("select 1")


def test_a_database_that_is_none_of_ours_is_a_sentence(empty_database: str) -> None:
    pool = AdminPool(empty_database, name="console", bounds=BOUNDS)
    with pytest.raises(ConfigurationError, match="has no sync_outbox"), pool.session():
        pass


async def test_a_statement_that_takes_too_long_is_given_up(
    console: ConsoleDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_pool", AdminPool(database.reactor, name="console", bounds=Bounds(statement="50ms")))
    with pytest.raises(SlowDatabaseError, match="Narrow it"):
        await console.read(lambda admin: admin.rows("select pg_sleep(60)"), PageCost())
    console._pool.close()


async def test_a_database_that_is_away_is_said_and_found_again(database: Database, nursery: trio.Nursery) -> None:
    console = ConsoleDatabase(NOWHERE)
    nursery.start_soon(console.keep)
    with pytest.raises(TransientError, match="Cannot connect to the database"):
        await console.read(_one, PageCost())
    console._pool._dsn = database.reactor  # it is back
    assert await console.read(_one, PageCost()) == 1


async def test_no_more_sessions_than_two(console: ConsoleDatabase, database: Database) -> None:
    gate, inside, most = threading.Event(), [0], [0]

    def work(admin: AdminSession) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        if inside[0] == SESSIONS:
            gate.set()
        gate.wait(30)
        admin.rows("select 1")
        inside[0] -= 1

    with trio.fail_after(60):
        async with trio.open_nursery() as pages:
            for _ in range(3 * SESSIONS):
                pages.start_soon(console.read, work, PageCost())
    assert most[0] == SESSIONS
    assert ask(database, NAMED) <= SESSIONS


def _one(admin: AdminSession) -> int:
    return int(admin.one("select 1 as n")["n"])
