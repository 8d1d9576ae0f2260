"""One Postgres session: its statements, one at a time, its notifications, and its end.

**Cancellation and time-outs.** When a statement is interrupted, we do not know what the server made of it, and the
connection is in the middle of an answer. So an interrupted session is never used again: it is *lost*. We could cancel
the statement in the server and go on, but a cancellation that comes late hits the next statement. A caller that cannot
afford to lose the session to a cancellation (it may hold locks that others rely on) shields the call; the time-out
still bounds it. A session that is given up while a statement waits in it has its socket shut down for both directions:
the wait fails at once, whatever the network does.

**Loss.** A session that holds advisory locks must learn at once that it lost them, because another session may take
them the next moment. A ping is too late. So a session watches its socket for the end of the stream, and also pings,
under a deadline, to find a peer that vanished without a word. `open_session` is a cancel scope: when the session is
lost, the block inside is cancelled and `SessionLostError` is raised. The watch waits for the end alone (EPOLLRDHUP,
epoll(7)): if it waited for anything to read, it would wake beside the statement whose answer that is, and an item
waits for that answer. Where the system has no epoll, and in a session that listens, it does wake then, to find nothing
or notifications.

**Notifications** arrive whenever the server likes. Those that come during a statement are read by psycopg together with
its result, and the socket does not turn readable for them a second time. So a handler that psycopg calls collects both
kinds, and after every statement and every wake-up of the socket the input is drained until a pass yields nothing.

**Dead peers.** TCP keepalives find a silent peer only while nothing is unacknowledged; with data on its way the
retransmission timer rules, and a lock stayed held for more than 40 s. Both ends therefore set `tcp_user_timeout` too
(then: 15.5 s; `reactor.postgres.connection.session_settings`).

**A read-only session.** A server that has become a standby, or a database whose owner has stopped its writers, refuses
writes with 25006. A session begun later may write, the one that was refused never will: it is lost at once.
"""

import math
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
import trio
from psycopg.pq import ConnStatus

from reactor.errors import RefusedError, TransientError
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.connection.errors import as_ours, unreachable
from reactor.postgres.connection.session_settings import STATEMENT_TIMEOUT, Bounds, connect, read_anything

T = TypeVar("T")
Params = dict[str, Any] | tuple[Any, ...]

DEADLINE = 10.0  # seconds until a session that does not answer is given up; the server gives a statement up before
PING_INTERVAL = 5.0  # seconds of silence before a session is asked whether it lives
PING_TIMEOUT = 5.0  # seconds


class SessionLostError(TransientError):
    """The session is gone, and its locks with it."""


class ReadOnlySessionError(SessionLostError, RefusedError):
    """The server refused a write because the session is read-only; we gave it up, because another one may write."""

    def __init__(self) -> None:
        RefusedError.__init__(self, "25006")


class Session:
    """A session of PostgreSQL; `open_session` makes it."""

    def __init__(self, connection: TrioConnection, on_notify: Callable[[int], None] | None = None) -> None:
        self._connection = connection
        # A descriptor of its own: one Trio task may wait for a descriptor, and a statement waits for the first one.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._watched = self._socket if on_notify else _end_of(self._socket)
        self._lock = trio.Lock()
        self._lost = trio.Event()
        self._why = "closed"
        self._last_heard = trio.current_time()
        self._on_notify = on_notify
        self._notified: list[int] = []
        if on_notify:
            connection.add_notify_handler(lambda notify: self._notified.append(notify.pid))

    async def execute(
        self, statement: LiteralString, params: Params | None = None, *, timeout: float = DEADLINE
    ) -> list[Row]:
        """Run one statement, which commits by itself, and return its rows.

        Args:
            statement: SQL with psycopg's placeholders.
            params: Their values.
            timeout: Seconds until the session is given up.

        Raises:
            SessionLostError: The session was lost before or meanwhile, or did not answer in time.
            psycopg.Error: The server refused the statement; the session goes on.
        """

        async def work(connection: TrioConnection) -> list[Row]:
            cursor = await connection.execute(statement, params)
            return await cursor.fetchall() if cursor.description else []

        return await self.run(work, timeout=timeout)

    async def run(
        self, work: Callable[[TrioConnection], Awaitable[T]], *, timeout: float = DEADLINE, shield: bool = False
    ) -> T:
        """Run `work` with the connection: several statements, or a transaction, in one go.

        If the session is free, its first statement is sent before any other task runs. If it is cancelled in between,
        the session is lost, because we do not know what the server made of it.

        Args:
            work: Called once; it waits for nothing but the connection.
            timeout: Seconds until the session is given up, from when it is free.
            shield: Whether it goes on although it is cancelled.

        Raises:
            SessionLostError: The session was lost before or meanwhile, or did not answer in time.
            psycopg.Error: The server refused a statement; the session goes on.
        """
        waits = self._lock.locked()
        with trio.CancelScope(deadline=math.inf if waits else trio.current_time() + timeout, shield=shield) as scope:
            await self._acquire()
            try:
                if waits:
                    scope.deadline = trio.current_time() + timeout
                return await self._run(work)
            finally:
                self._lock.release()
        raise SessionLostError(f"The database did not answer within {timeout:g} s.")

    async def ask(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `work` with the connection and some arguments, although it is cancelled.

        Raises:
            SessionLostError: As `run`.
            RefusedError: The server refused a statement; the session goes on.
        """
        try:
            return await self.run(lambda connection: work(connection, *args), shield=True)
        except psycopg.Error as error:
            raise as_ours(error) from error

    async def _acquire(self) -> None:
        """Take the lock; if it is free, without a round of the scheduler, because an item waits for the result."""
        await trio.lowlevel.checkpoint_if_cancelled()  # a statement that has not begun does not cost the session
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def _run(self, work: Callable[[TrioConnection], Awaitable[T]]) -> T:
        self.check()
        try:
            return await work(self._connection)
        except trio.Cancelled:
            self.discard("interrupted in the middle of a statement")
            raise
        except psycopg.errors.ReadOnlySqlTransaction as error:  # another session may write
            self.discard("it is read-only")
            raise ReadOnlySessionError from error
        except psycopg.Error as error:  # either the connection is lost, or the server refused a statement
            if self._connection.closed or self._connection.pgconn.status != ConnStatus.OK:
                self.discard("the server ended the connection")
                raise SessionLostError("The connection to the database broke.") from error
            raise
        finally:
            if self._on_notify:
                self._drain()
            elif not self._lost.is_set():
                self._last_heard = trio.current_time()

    def check(self) -> None:
        """Raise if the session is lost.

        Raises:
            SessionLostError: It is; the message says why.
        """
        if self._lost.is_set():
            raise SessionLostError(f"The database session is gone: {self._why}.")

    def discard(self, why: str) -> None:
        """Give up the session; a statement that waits in it fails at once, and so does the block around the session."""
        if self._lost.is_set():
            return
        self._why = why
        self._lost.set()
        with suppress(OSError):  # the server may have been quicker
            self._socket.shutdown(socket.SHUT_RDWR)

    def _drain(self) -> None:
        """Read what has arrived, pass on the notifications, and notice the end of the stream."""
        if self._lost.is_set():
            return
        pgconn = self._connection.pgconn
        try:
            while True:
                pgconn.consume_input()
                arrived = pgconn.notifies()
                if arrived is None:
                    break
                self._notified.append(arrived.be_pid)
        except psycopg.Error:
            self.discard("the server ended the connection")
            return
        self._last_heard = trio.current_time()
        notified, self._notified = self._notified, []
        if self._on_notify:
            for pid in notified:
                self._on_notify(pid)

    async def watch(self) -> None:
        """Read notifications that arrive between statements; return when the session is lost."""
        while not self._lost.is_set():
            await trio.lowlevel.wait_readable(self._watched)
            await self._acquire()
            self._drain()
            self._lock.release()

    async def ping(self, statement: LiteralString, *, interval: float, timeout: float) -> None:
        """Ping a silent session; return when it is lost.

        Args:
            statement: A cheap query; no row in its answer means that the pooler switched the server session.
            interval: Seconds of silence before it is asked.
            timeout: Seconds for the answer.
        """
        while not self._lost.is_set():
            await trio.sleep_until(self._last_heard + interval)
            if trio.current_time() - self._last_heard < interval:
                continue
            try:
                if not await self.execute(statement, timeout=timeout):
                    self.discard("the pooler switched the server session")
            except psycopg.Error:
                self.discard("the server refuses a ping")
            except SessionLostError:
                return

    async def aclose(self) -> None:
        """Close the connection, after a statement that still waits in it has failed."""
        self.discard("closed")
        with trio.CancelScope(shield=True):  # bounded: with its socket shut, nothing waits
            async with self._lock:
                await self._connection.close()
        self._watched.close()
        self._socket.close()


def _end_of(stream: socket.socket) -> socket.socket | select.epoll:
    """What turns readable when a stream ends or fails, and not when something arrives; without epoll, the stream."""
    if not hasattr(select, "epoll"):
        return stream
    ends = select.epoll()
    ends.register(stream, select.EPOLLRDHUP)
    return ends


@asynccontextmanager
async def open_session(
    dsn: str,
    *,
    name: str,
    lock_timeout: str = "1s",
    statement_timeout: str = f"{STATEMENT_TIMEOUT:g}s",
    on_notify: Callable[[int], None] | None = None,
    ping: LiteralString = "select 1",
    ping_interval: float = PING_INTERVAL,
    ping_timeout: float = PING_TIMEOUT,
) -> AsyncIterator[Session]:
    """Connect; for the length of the block there is a session, and when it is lost the block is cancelled.

    Args:
        dsn: libpq's connection string or URL.
        name: What `pg_stat_activity` calls it.
        lock_timeout: How long a statement waits for a lock, in Postgres' own units.
        statement_timeout: How long it may take, in the same.
        on_notify: Called for each notification, with the process id of the backend that sent it.
        ping: A cheap query for silent times; no row means that the pooler switched the server session.
        ping_interval: Seconds of silence before a ping.
        ping_timeout: Seconds for its answer.

    Raises:
        SessionLostError: It cannot be made, or it was lost before the block ended. Where the block met the loss itself,
            it comes in an exception group, like everything out of a nursery: catch it with `except*`.
    """
    connection = await TrioConnection.adopt(
        await _connect(dsn, name, Bounds(lock=lock_timeout, statement=statement_timeout, look_ups=True))
    )
    read_anything(connection)
    session = Session(connection, on_notify)
    finished = False
    try:
        async with trio.open_nursery() as nursery:

            async def end_with_session() -> None:
                await session.watch()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with_session)
            nursery.start_soon(partial(session.ping, ping, interval=ping_interval, timeout=ping_timeout))
            yield session
            finished = True
            nursery.cancel_scope.cancel()
        if not finished:
            session.check()
    finally:
        await session.aclose()


async def _connect(dsn: str, name: str, bounds: Bounds) -> psycopg.Connection[Row]:
    """Connect in a thread; when cancelled, close the connection, or let the thread close the one it still gets."""
    handover = threading.Lock()
    abandoned = False
    made: list[psycopg.Connection[Row]] = []

    def work() -> psycopg.Connection[Row]:
        connection = connect(dsn, name, bounds)
        with handover:
            made.append(connection)
            if abandoned:
                connection.close()
        return connection

    try:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    except psycopg.Error as error:
        raise SessionLostError(unreachable(error)) from error
    except TransientError as error:
        raise SessionLostError(str(error)) from error
    except trio.Cancelled:
        with handover:
            abandoned = True
            for connection in made:  # the thread had ended, and its result was on its way to us
                connection.close()
        raise
