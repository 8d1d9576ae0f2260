"""Connections for everything that is not on the hot path: a few, made when they are needed, used in threads.

psycopg's own pool does the work. It is opened with the first statement, so a process that never needs it holds no
connection; a broken connection is replaced, an unused one is closed after a while. Nothing is prepared, so a pooler in
transaction mode would do here.

*Statements are short.* A statement that waits for a lock occupies a connection that others need, so a pool says how
long a statement may take. Then the server refuses it, the connection is free again, and the caller comes back later.
Slow work (a rebuild reads what the application has written) has a pool of its own.

A thread is abandoned when its task is cancelled. The time that it still takes is bounded: by the time-outs for a
connection and for a statement, and by TCP's for a peer that is silent.
"""

import select
from collections.abc import Callable
from typing import LiteralString, TypeVar

import psycopg
import trio
from psycopg_pool import ConnectionPool

from reactor.postgres.connection.driver import Row
from reactor.postgres.connection.errors import as_ours
from reactor.postgres.connection.session import Params
from reactor.postgres.connection.session_settings import STATEMENT_TIMEOUT, Bounds, conninfo, set_up

T = TypeVar("T")

LOCK_TIMEOUT = 0.2
"""Seconds; what waits for a lock is tried again later, and gives others its connection meanwhile."""

_WAIT = 10.0  # seconds for a connection
_IDLE = 60.0  # seconds after which an unused connection is closed


class Pool:
    """A pool of a few connections, used in worker threads.

    Args:
        dsn: libpq's connection string or URL.
        size: How many connections at most.
        name: What `pg_stat_activity` calls them.
        lock_timeout: Seconds that a statement waits for a lock.

    Attributes:
        statement_timeout: Seconds that a statement may take.
    """

    def __init__(
        self, dsn: str, *, size: int = 2, name: str = "calendar-sync-reactor", lock_timeout: float = LOCK_TIMEOUT
    ) -> None:
        self.statement_timeout = STATEMENT_TIMEOUT
        bounds = Bounds(statement=f"{self.statement_timeout:g}s", lock=f"{lock_timeout * 1000:.0f}ms")
        self._limiter = trio.CapacityLimiter(size)
        self._pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            conninfo(dsn),
            min_size=0,
            max_size=size,
            open=False,
            timeout=_WAIT,
            max_idle=_IDLE,
            reconnect_timeout=_WAIT,
            num_workers=1,
            check=_check,
            configure=lambda connection: set_up(connection, name, bounds),
            kwargs={"autocommit": True, "prepare_threshold": None},
        )

    async def run(self, work: Callable[[psycopg.Connection[Row]], T]) -> T:
        """Run `work` with a connection in a worker thread; each statement commits by itself.

        Raises:
            RefusedError: The server refused a statement.
            TransientError: The database cannot be reached, or the connection broke.
        """
        return await trio.to_thread.run_sync(self._with_connection, work, abandon_on_cancel=True, limiter=self._limiter)

    async def execute(self, statement: LiteralString, params: Params | None = None) -> list[Row]:
        """Run one statement and return its rows; raises what `run` raises."""

        def work(connection: psycopg.Connection[Row]) -> list[Row]:
            cursor = connection.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

        return await self.run(work)

    def _with_connection(self, work: Callable[[psycopg.Connection[Row]], T]) -> T:
        try:
            self._pool.open()  # does nothing when it is
            with self._pool.connection() as connection:
                return _in(connection, work)
        except psycopg.Error as error:
            raise as_ours(error) from error

    async def aclose(self) -> None:
        """Close the connections."""
        with trio.CancelScope(shield=True):  # bounded by the pool
            await trio.to_thread.run_sync(self._pool.close, limiter=trio.CapacityLimiter(1))


def _check(connection: psycopg.Connection[Row]) -> None:
    """Check that a connection lives, with a statement only if the server has sent something.

    The end of a connection can be read from its socket. Where the server is silent a statement of ours learns no more
    than the caller's own, which comes next.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


def _in(connection: psycopg.Connection[Row], work: Callable[[psycopg.Connection[Row]], T]) -> T:
    try:
        return work(connection)
    except psycopg.errors.ReadOnlySqlTransaction:
        connection.close()  # another one may write; the pool replaces it
        raise
