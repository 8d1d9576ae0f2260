"""Work that takes longer than a request: an act begins it, and a page shows how far it is.

One errand of a name runs at a time, and two in all. A visitor who begins one that runs already is shown that one. Its
result is kept for all visitors until the next run, in memory only: an errand that runs when the console ends is lost.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
import trio

from reactor.errors import ReactorError, TransientError

log = structlog.get_logger(__name__)

AT_ONCE = 2
"""Errands under way; each may have a thread and a session of the database."""
KEPT = 50
"""Errands whose end is remembered."""


@dataclass(slots=True)
class Errand:
    """An errand, under way or over.

    Attributes:
        by: Who began it.
        began: When.
        ended: When it ended; None while it is under way.
        result: Its result, or that of the part that is done.
        error: Why it failed, for a person; empty where it has not.
    """

    by: str
    began: datetime
    result: Any
    ended: datetime | None = None
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.ended is not None


Work = Callable[[Errand], Awaitable[None]]
"""The function that does an errand; it keeps the errand's `result` up to date."""


class Errands:
    """Runs errands in the background, and keeps what the last one of each name has found."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Errand] = OrderedDict()
        self._hand_over, self._take = trio.open_memory_channel[tuple[str, Errand, Work]](AT_ONCE)

    def of(self, name: str) -> Errand | None:
        """The last errand of a name."""
        return self._kept.get(name)

    def begin(self, name: str, by: str, work: Work, *, result: Any = None) -> Errand:
        """Begin an errand, or find the one of that name that is under way.

        Args:
            name: What it is about.
            by: Who wants it.
            work: Does the work.
            result: What there is of its result at the beginning.

        Raises:
            TransientError: Two others are under way.
        """
        last = self._kept.get(name)
        if last is not None and not last.is_over:
            return last
        if sum(not each.is_over for each in self._kept.values()) >= AT_ONCE:
            raise TransientError("The console is busy with two other looks: try again when one of them is done.")
        errand = Errand(by, datetime.now(UTC), result)
        self._kept[name] = errand
        self._kept.move_to_end(name)
        over = [each for each, kept in self._kept.items() if kept.is_over]
        for each in over[: max(0, len(self._kept) - KEPT)]:
            del self._kept[each]
        self._hand_over.send_nowait((name, errand, work))
        return errand

    async def run(self) -> None:
        """Do what is begun, until cancelled."""
        async with trio.open_nursery() as nursery:
            async for name, errand, work in self._take:
                nursery.start_soon(self._do, name, errand, work)

    async def _do(self, name: str, errand: Errand, work: Work) -> None:
        try:
            await work(errand)
        except ReactorError as error:
            errand.error = str(error)
        except Exception:
            log.exception("console_errand_failed", errand=name.partition(" ")[0])
            errand.error = "This is a bug in the console. There is an error in the console's log."
        finally:
            errand.ended = datetime.now(UTC)
