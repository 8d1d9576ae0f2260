"""The console's way to the database: two sessions at most, used in threads, which read unless an act asks to write.

A page is worth little to the database, so it gets little: a statement is given up after 3 s and a wait for a lock after
1 s, and a third page waits for one of the two sessions. Each page says what it has cost.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from reactor.errors import TransientError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.connection.admin_pool import AdminPool
from reactor.postgres.connection.session_settings import Bounds

T = TypeVar("T")

SESSIONS = 2
BOUNDS = Bounds(statement="3s", lock="1s", idle_in_transaction="10s")
IDLE = 60.0
"""Seconds after which an unused session is closed: a console at which no one looks holds none."""
_GIVEN_UP = "57014"  # SQLSTATE query_canceled, which is what a time-out of a statement comes as


class SlowDatabaseError(TransientError):
    """A statement of a page took too long, and was given up."""


@dataclass(slots=True)
class PageCost:
    """What an answer has cost the database.

    Attributes:
        statements: How many statements.
        seconds: How long they took together, as the console has waited for them.
        shared: Whether all visitors share it.
    """

    statements: int = 0
    seconds: float = 0.0
    shared: bool = False

    def share(self, cost: "PageCost") -> None:
        """Take over the cost of what all visitors share."""
        self.statements += cost.statements
        self.seconds += cost.seconds
        self.shared = True


class ConsoleDatabase:
    """Runs a page's work on a session of the database, in a thread.

    Args:
        dsn: libpq's connection string or URL.
    """

    def __init__(self, dsn: str) -> None:
        self._pool = AdminPool(dsn, name="console", bounds=BOUNDS)
        self._limiter = trio.CapacityLimiter(SESSIONS)

    async def read(self, work: Callable[[AdminSession], T], cost: PageCost) -> T:
        """Run `work` with a session that cannot write, in a thread.

        Raises:
            SlowDatabaseError: A statement took too long.
            TransientError: The database cannot be reached, or a lock is held.
            ConfigurationError: It is not the reactor's, or the login may not do this.
        """
        return await self._run(work, cost, may_write=False)

    async def write(self, work: Callable[[AdminSession], T], cost: PageCost) -> T:
        """Run `work` with a session that can write; raises what `read` raises. It is not given up half-way."""
        return await self._run(work, cost, may_write=True)

    async def _run(self, work: Callable[[AdminSession], T], cost: PageCost, *, may_write: bool) -> T:
        call = partial(self._work, work, cost, may_write=may_write)
        return await trio.to_thread.run_sync(call, abandon_on_cancel=not may_write, limiter=self._limiter)

    def _work(self, work: Callable[[AdminSession], T], cost: PageCost, *, may_write: bool) -> T:
        try:
            with self._pool.session(may_write=may_write) as session:
                try:
                    return work(session)
                finally:
                    cost.statements += session.statements
                    cost.seconds += session.seconds
        except TransientError as error:
            if getattr(error.__cause__, "sqlstate", None) == _GIVEN_UP:
                raise SlowDatabaseError(
                    "The database took too long for this page. Narrow it, to one workspace for example; if it is busy, "
                    "try again later."
                ) from error
            raise

    async def keep(self) -> None:
        """Close sessions that have not been used for a while, until cancelled; then close all."""
        try:
            while True:
                await trio.sleep(IDLE / 2)
                self._pool.close(unused_since=time.monotonic() - IDLE)
        finally:
            self._pool.close()
