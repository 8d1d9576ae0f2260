"""One look at the outbox for all visitors: made when one of them asks, and not more often than every 2 s.

However many pages are open, the database is asked once. Who asks while a look is being made waits for that one. A look
that failed is shared as well, so that a database in trouble is not asked by every open page.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import trio

from reactor.console.database import PageCost
from reactor.errors import ReactorError

FRESH = 2.0
"""Seconds for which a look is shared; a page asks again after as many."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the outbox.

    Attributes:
        status: The document of `python -m reactor status --json`.
        activity: What the replicas did in the last hour (`reactor.desk.pulses.activity`).
        met: What waiting items have met (`reactor.desk.met`).
        taken_at: When.
        cost: What it has cost the database.
    """

    status: dict[str, Any]
    activity: dict[str, Any]
    met: list[dict[str, Any]] = field(default_factory=list)
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    cost: PageCost = field(default_factory=PageCost)


class SharedSnapshot:
    """Looks at the outbox for all visitors; a call returns a look that is at most `FRESH` seconds old.

    Args:
        take: Makes one look.
    """

    def __init__(self, take: Callable[[], Awaitable[Snapshot]]) -> None:
        self._take = take
        self._taking = trio.Lock()
        self._last: Snapshot | ReactorError | None = None
        self._until = -1.0

    async def __call__(self) -> Snapshot:
        """Return a fresh look; raises the error of that look, also for those who share it."""
        async with self._taking:
            if self._last is None or trio.current_time() >= self._until:
                try:
                    self._last = await self._take()
                except ReactorError as error:
                    self._last = error
                self._until = trio.current_time() + FRESH
            last = self._last
        if isinstance(last, ReactorError):
            raise last
        return last
