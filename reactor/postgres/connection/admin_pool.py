"""A pool of a few operators' sessions, for pages, which are requested every few seconds.

Why not psycopg's pool: without a database it reports after its own time-out that there was no connection, but not why.
Here a session is opened when none is free, so the caller gets its error at once. There is no thread beside those of the
callers, and the callers bound how many sessions there are.
"""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from reactor.postgres.connection.admin import AdminSession, Row, errors_as_sentences, require_outbox
from reactor.postgres.connection.session_settings import Bounds, connect
from reactor.postgres.statements import statements

_SQL = statements("admin")


class _Counted(psycopg.Connection[Row]):
    """A connection that counts its statements, and the seconds that they take."""

    statements = 0
    seconds = 0.0


class _CountedCursor(psycopg.Cursor[Row]):
    def execute(self, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN202  (psycopg's)
        began = time.perf_counter()
        try:
            return super().execute(*args, **kwargs)
        finally:
            if isinstance(self.connection, _Counted):
                self.connection.statements += 1
                self.connection.seconds += time.perf_counter() - began


class PooledSession(AdminSession):
    """An operator's session out of the pool.

    Attributes:
        statements: How many statements it has run since it was taken.
        seconds: How long they took.
    """

    connection: _Counted

    def __init__(self, connection: _Counted) -> None:
        super().__init__(connection)
        self.used_at = 0.0
        self.begin()

    def begin(self) -> None:
        """Count from here."""
        self.connection.statements, self.connection.seconds = 0, 0.0

    @property
    def statements(self) -> int:
        """How many statements it has run since it was taken."""
        return self.connection.statements

    @property
    def seconds(self) -> float:
        """How long they took."""
        return self.connection.seconds


class AdminPool:
    """Operators' sessions, kept for the next use.

    Args:
        dsn: libpq's connection string or URL.
        name: Their name in `pg_stat_activity`.
        bounds: Their time-outs.
    """

    def __init__(self, dsn: str, *, name: str, bounds: Bounds) -> None:
        self._dsn, self._title, self._bounds = dsn, f"calendar-sync-reactor {name}", bounds
        self._free: list[PooledSession] = []
        self._lock = threading.Lock()
        self._keeps = True

    @contextmanager
    def session(self, *, may_write: bool = False) -> Iterator[PooledSession]:
        """Take a session; another thread may take another one.

        Args:
            may_write: Whether it may write; otherwise the server refuses it.

        Raises:
            TransientError: The database cannot be reached, or took too long.
            ConfigurationError: It is not the reactor's, or the role may not do what it is asked to.
        """
        with errors_as_sentences():
            session = self._take() or self._open()
            try:
                session.begin()
                if may_write:
                    session.rows(_SQL["keep_read_only"], read_only="off")
                yield session
            finally:
                if may_write and _is_usable(session):
                    session.rows(_SQL["keep_read_only"], read_only="on")
                self._put(session)

    def close(self, *, unused_since: float = float("inf")) -> None:
        """Close the free sessions that have not been used since then, by `time.monotonic`.

        Without a time, all of them, and one that is in use is not kept either.
        """
        with self._lock:
            self._keeps = unused_since < float("inf")
            old = [each for each in self._free if each.used_at < unused_since]
            self._free = [each for each in self._free if each.used_at >= unused_since]
        for each in old:
            each.connection.close()

    def _open(self) -> PooledSession:
        made = connect(
            self._dsn,
            self._title,
            self._bounds,
            kind=_Counted,
            row_factory=dict_row,
            prepare_threshold=None,
            cursor_factory=_CountedCursor,
        )
        try:
            session = PooledSession(cast("_Counted", made))
            require_outbox(session)
            session.rows(_SQL["keep_read_only"], read_only="on")
        except BaseException:
            made.close()
            raise
        return session

    def _take(self) -> PooledSession | None:
        while True:
            with self._lock:
                if not self._free:
                    return None
                session = self._free.pop()
            if _is_usable(session) and not _has_news(session):
                return session
            session.connection.close()

    def _put(self, session: PooledSession) -> None:
        if not (self._keeps and _is_usable(session)):
            session.connection.close()
            return
        session.used_at = time.monotonic()
        with self._lock:
            self._free.append(session)


def _is_usable(session: PooledSession) -> bool:
    return session.connection.info.transaction_status == TransactionStatus.IDLE


def _has_news(session: PooledSession) -> bool:
    """Whether the server has said something unasked, which is that it ends the connection."""
    poll = select.poll()
    poll.register(session.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
