"""Keeps a replica's part of Google's quota, through its claims session; `core/dispatch/sharing.py` decides the part.

The locks are the claims session's, so they end with the lease. Other replicas notify when they come, leave, or use
less; that is a channel of its own. The session that settles listens to it, because a session that listens wakes with
every answer to see what else has come, and an item waits for a claim's. The two sessions end together. A replica that
vanished without a notification is noticed by the count that comes with every sweep. So none of this sends a statement
while nothing changes.

A statement that the server refuses is tried again a moment later; if it refuses for long, our part is no longer valid
and nothing is sent.
"""

from collections.abc import Callable, Sequence
from typing import Any, LiteralString

import psycopg
import trio

from reactor.core.dispatch.sharing import GOOD_FOR, NOTHING, Census, Sharing, SharingAction, SharingStep
from reactor.errors import RefusedError
from reactor.postgres.connection.errors import as_ours
from reactor.postgres.connection.session import Session
from reactor.postgres.statements import statements

_SQL = statements("shares")

AGAIN = 0.05
"""Seconds until a newcomer for which the others leave no room counts again."""
REFUSED = 1.0
"""Seconds until the next try after the server refused one."""


def with_census(statement: LiteralString) -> LiteralString:
    """Extend a query of items by their ids, so that it also counts the replicas.

    Returns:
        A statement whose rows begin with the count's two columns. Where there are no items there is one row, and all
        that follows in it is null.
    """
    census, query = _SQL["census"].removesuffix(";"), statement.removesuffix(";")
    return f"select c.*, i.* from ({census}) as c left join ({query}) as i on true order by i.id"  # noqa: S608


class Shares:
    """A replica's part, for the time of a claims session.

    Args:
        use: Called when our part changes, with the divisor (one part in so many) and the time until which it holds.
    """

    def __init__(self, use: Callable[[int, float], object]) -> None:
        self._use = use
        self._sharing = Sharing()
        self._counted_at = trio.current_time()
        self._woken = trio.Event()

    def called(self, pid: int) -> None:
        """Note that another replica has come, left, or uses less."""
        del pid
        self._woken.set()

    def counted(self, began: float, divisors: Sequence[int], older: int) -> None:
        """Use a count of the replicas that came with another statement."""
        self._counted_at = began
        if self._sharing.take_in(Census(began, tuple(divisors), older)):
            self._woken.set()
        self._apply()

    async def join(self, session: Session, listening: Session) -> None:
        """Join the count of replicas, and wait until there is a part for us.

        Args:
            session: The claims session.
            listening: The session that calls `called`.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        await _execute(listening, "listen")
        while self._sharing.divisor == NOTHING:
            await self._adjust(session)
            if self._sharing.divisor == NOTHING:
                await self._wait(AGAIN)

    async def run(self, session: Session) -> None:
        """Adjust our part as replicas come and go, for ever.

        Raises:
            SessionLostError: The session is gone.
        """
        while True:
            wait = self._counted_at + GOOD_FOR / 2 - trio.current_time()
            if wait > 0 and not await self._wait(wait):
                continue  # a sweep may have counted meanwhile
            try:
                await self._adjust(session)
            except RefusedError:
                await trio.sleep(REFUSED)
                self._woken.set()

    async def leave(self, session: Session) -> None:
        """Stop using a part, and leave it to the others.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        await _execute(session, "leave")
        await _execute(session, "call")

    async def _wait(self, seconds: float) -> bool:
        """Wait; return whether something has happened before the time was over."""
        with trio.move_on_after(seconds):
            await self._woken.wait()
        was_woken, self._woken = self._woken.is_set(), trio.Event()
        return was_woken

    async def _adjust(self, session: Session) -> None:
        steps, answer = self._sharing.adjust(), None
        try:
            while True:
                step = steps.send(answer)
                self._apply()
                answer = await self._do(session, step)
        except StopIteration:
            self._apply()

    async def _do(self, session: Session, step: SharingStep) -> Census | None:
        match step.do:
            case SharingAction.COUNT:
                self._counted_at = began = trio.current_time()
                [[divisors, older]] = await _execute(session, "census")
                return Census(began, tuple(divisors), older)
            case SharingAction.CALL:
                await _execute(session, "call")
            case _:
                await _execute(session, step.do.name.lower(), divisor=step.divisor)
        return None

    def _apply(self) -> None:
        if self._sharing.divisor != NOTHING:
            self._use(self._sharing.divisor, self._sharing.good_until)


async def _execute(session: Session, name: str, **params: Any) -> list[tuple[Any, ...]]:
    """Run a statement to its end, because one that is interrupted costs the session."""
    refusal: psycopg.Error
    with trio.CancelScope(shield=True):
        try:
            return await session.execute(_SQL[name], params)
        except psycopg.Error as error:
            refusal = error
    raise as_ours(refusal) from refusal
