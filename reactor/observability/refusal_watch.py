"""Reports what the database refuses: in the log, and in the name of the claims session, which `status` reads."""

from collections.abc import Awaitable, Callable

import structlog
import trio

from reactor.core.refusals import Refusals, RefusedWork, advice
from reactor.loop import Observer

SUFFIX = ", refused: "
"""Stands in a session's name between the name and the SQLSTATEs."""
_SHOWN = 3  # SQLSTATEs in a name: the server cuts it off at 63 characters
_INTERVAL = 1.0  # seconds between two looks at what lasts, while something is refused

log = structlog.get_logger(__name__)


class RefusalWatch(Observer):
    """Keeps what the database refuses, and reports it.

    Attributes:
        refusals: The kinds of work that the database refuses now.
    """

    def __init__(self) -> None:
        self.refusals = Refusals()
        self._refused = trio.Event()

    def refused(self, kind: RefusedWork, sqlstate: str) -> None:
        """Note that the database refused work of a kind; log it the first time."""
        if self.refusals.refused(kind, sqlstate, trio.current_time()):
            log.warning("database_refuses", work=kind.value, sqlstate=sqlstate, problem=advice(sqlstate))
        self._refused.set()

    def accepted(self, kind: RefusedWork) -> None:
        """Note that work of a kind was done, or that none is left; log that the refusal is over."""
        over = self.refusals.accepted(kind)
        if over is not None:
            seconds = round(trio.current_time() - over.since, 1)
            log.info("database_accepts", work=kind.value, sqlstate=over.sqlstate, seconds=seconds)

    @property
    def suffix(self) -> str:
        """What a session's name ends with: empty, or the SQLSTATEs of the refusals that last."""
        codes = sorted({each.sqlstate for each in self.refusals.lasting(trio.current_time())})
        return SUFFIX + " ".join(codes[:_SHOWN]) if codes else ""

    async def run(self, shown: str, show: Callable[[str], Awaitable[object]]) -> None:
        """Keep a session's suffix true, for ever.

        Args:
            shown: Its suffix now.
            show: Changes it.
        """
        while True:
            if not shown and not self.refusals.standing(trio.current_time()):
                self._refused = trio.Event()
                await self._refused.wait()
            if (suffix := self.suffix) != shown:
                await show(suffix)
                shown = suffix
            await trio.sleep(_INTERVAL)
