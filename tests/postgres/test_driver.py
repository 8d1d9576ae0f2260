"""psycopg's connection under Trio."""

import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio

from reactor.postgres.connection.driver import TrioConnection


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[TrioConnection]:
    connection = await TrioConnection.adopt(psycopg.connect(dsn, autocommit=True))
    try:
        yield connection
    finally:
        await connection.close()


def test_the_one_method_that_is_replaced_is_what_it_was() -> None:
    """All that is relied on below psycopg's documentation: it runs a generator, which comes first."""
    assert inspect.iscoroutinefunction(psycopg.AsyncConnection.wait)
    assert list(inspect.signature(psycopg.AsyncConnection.wait).parameters)[:2] == ["self", "gen"]


async def test_it_is_in_the_mode_in_which_it_was_opened(empty_database: str) -> None:
    async with connected(empty_database) as connection:
        await connection.execute("create table t (a int)")
        async with connected(empty_database) as other:
            assert (await (await other.execute("select count(*) from t")).fetchone()) == (0,)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_it_is_adopted_whatever_is_cancelled(empty_database: str) -> None:
    """Or it would belong to nobody, and stay open."""
    with trio.CancelScope() as scope:
        scope.cancel()
        adopted = await TrioConnection.adopt(psycopg.connect(empty_database, autocommit=True))
    await adopted.close()


async def test_a_statement_may_be_larger_than_what_the_socket_takes(empty_database: str) -> None:
    """Then it waits for both directions: for room, and for what the server says meanwhile."""
    async with connected(empty_database) as connection:
        for text in ("a" * 10_000_000, "b"):
            cursor = await connection.execute("select length(%s), %s", (text, text))
            assert await cursor.fetchone() == (len(text), text)


async def test_others_run_while_it_waits(empty_database: str) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.01)
            ticks += 1

    async with connected(empty_database) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await connection.execute("select pg_sleep(0.2)")
        nursery.cancel_scope.cancel()
    assert ticks > 0


async def test_nothing_is_begun_in_a_scope_that_is_cancelled(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A ROLLBACK in the middle of an answer would only fail, and psycopg would say so in the log."""
    async with connected(empty_database) as connection:
        with caplog.at_level(logging.WARNING), trio.move_on_after(0.1):
            async with connection.transaction():
                await connection.execute("select pg_sleep(60)")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE
    assert caplog.messages == []


async def test_the_end_of_the_stream_is_an_error_and_not_a_wait(empty_database: str) -> None:
    async with connected(empty_database) as connection, connected(empty_database) as killer:
        async with trio.open_nursery() as nursery:

            async def kill() -> None:
                while True:
                    cursor = await killer.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(61)'"
                    )
                    if await cursor.fetchall():
                        return

            nursery.start_soon(kill)
            with trio.fail_after(10), pytest.raises(psycopg.OperationalError):
                await connection.execute("select pg_sleep(61)")
        assert connection.pgconn.status == psycopg.pq.ConnStatus.BAD
