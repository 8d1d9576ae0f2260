"""Connections for everything that is not on the hot path: a few, made when they are needed, used in threads.

psycopg's own pool does the work. It is opened with the first statement, so a process that never needs it holds no
connection; a connection that broke is replaced, one that has not been used for a while is closed. Nothing is
prepared, so a pooler in transaction mode would do here.

A thread is left behind when its task is cancelled. What it does there is bounded: by the time-outs for a connection and
for a statement, and by TCP's for a peer that is silent.
"""

from collections.abc import Callable
from typing import LiteralString, TypeVar

import psycopg
import trio
from psycopg_pool import ConnectionPool

from reactor.errors import TransientError
from reactor.postgres.driver import Row
from reactor.postgres.session import CLIENT_END, CONNECT_TIMEOUT, STATEMENT_TIMEOUT, Params

T = TypeVar("T")

_WAIT = 10.0  # seconds for a connection
_IDLE = 60.0  # seconds after which an unused connection is closed
_CONFIGURE: LiteralString = (
    "select set_config('application_name', %s, false), set_config('statement_timeout', %s, false)"
)


class Pool:
    """A few connections.

    Args:
        dsn: libpq's connection string or URL.
        size: How many connections at most.
        name: What `pg_stat_activity` calls them.
    """

    def __init__(self, dsn: str, *, size: int = 2, name: str = "calendar-sync-reactor") -> None:
        self._limiter = trio.CapacityLimiter(size)
        self._pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            dsn,
            min_size=0,
            max_size=size,
            open=False,
            timeout=_WAIT,
            max_idle=_IDLE,
            reconnect_timeout=_WAIT,
            num_workers=1,
            check=ConnectionPool.check_connection,
            configure=lambda connection: _configure(connection, name),
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT, **CLIENT_END},
        )

    async def run(self, work: Callable[[psycopg.Connection[Row]], T]) -> T:
        """Run `work` with a connection in a worker thread; each statement commits by itself.

        Raises:
            TransientError: The database cannot be reached, or the connection broke.
            psycopg.Error: The server refused a statement.
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
                return work(connection)
        except psycopg.OperationalError as error:
            raise TransientError(f"The database does not let us in: {str(error).strip()}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        with trio.CancelScope(shield=True):  # bounded by the pool
            await trio.to_thread.run_sync(self._pool.close, limiter=trio.CapacityLimiter(1))


def _configure(connection: psycopg.Connection[Row], name: str) -> None:
    connection.execute(_CONFIGURE, (name, f"{STATEMENT_TIMEOUT:g}s"))
