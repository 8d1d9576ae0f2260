"""Connections for everything that is not on the hot path: a few, made when they are needed, used in threads.

psycopg's own pool does the work. It is opened with the first statement, so a process that never needs it holds no
connection; a connection that broke is replaced, one that has not been used for a while is closed. Nothing is
prepared, so a pooler in transaction mode would do here.

*Nobody waits for long.* Who waits for a lock occupies a connection that others need, so a pool says for how long a
statement may; the server then refuses, the connection is free again, and the caller comes back later. What takes its
time by nature (a rebuild reads what the application has written) has a pool of its own.

A thread is left behind when its task is cancelled. What it does there is bounded: by the time-outs for a connection and
for a statement, and by TCP's for a peer that is silent.
"""

from collections.abc import Callable
from typing import LiteralString, TypeVar

import psycopg
import trio
from psycopg.pq import ConnStatus
from psycopg_pool import ConnectionPool

from reactor.errors import RefusedError, TransientError
from reactor.postgres.driver import Row
from reactor.postgres.session import CLIENT_END, CONNECT_TIMEOUT, STATEMENT_TIMEOUT, Params

T = TypeVar("T")

LOCK_TIMEOUT = 0.2
"""Seconds; what waits for a lock is tried again later, and gives others its connection meanwhile."""

_WAIT = 10.0  # seconds for a connection
_IDLE = 60.0  # seconds after which an unused connection is closed
_CONFIGURE: LiteralString = (
    "select set_config('application_name', %s, false), set_config('statement_timeout', %s, false),"
    " set_config('lock_timeout', %s, false)"
)
_READ_ONLY = "25006"
_SERVER_ENDS = ("08", "57P")  # the beginnings of SQLSTATEs that say that the connection is over


class Pool:
    """A few connections.

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
        configure = (name, *(f"{seconds * 1000:.0f}ms" for seconds in (self.statement_timeout, lock_timeout)))
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
            configure=lambda connection: _configure(connection, configure),
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT, **CLIENT_END},
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
                try:
                    return work(connection)
                except psycopg.Error as error:
                    raise _meaning(error, connection) from error
        except psycopg.OperationalError as error:
            raise TransientError(f"The database does not let us in: {str(error).strip()}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        with trio.CancelScope(shield=True):  # bounded by the pool
            await trio.to_thread.run_sync(self._pool.close, limiter=trio.CapacityLimiter(1))


def _configure(connection: psycopg.Connection[Row], values: tuple[str, ...]) -> None:
    connection.execute(_CONFIGURE, values)


def _meaning(error: psycopg.Error, connection: psycopg.Connection[Row]) -> TransientError:
    """Tell a refusal from the loss of the connection; one that can only read any more is given up."""
    sqlstate = error.sqlstate or ""
    if connection.closed or connection.pgconn.status != ConnStatus.OK or sqlstate.startswith(_SERVER_ENDS):
        return TransientError("The connection to the database broke.")
    if sqlstate == _READ_ONLY:
        connection.close()  # another one may reach a server that writes
    return RefusedError(sqlstate)
