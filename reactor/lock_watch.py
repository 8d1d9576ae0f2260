"""Whether the item locks of the claims session and the items in hand agree: looked at now and then.

They must; what does not belongs in a log at once. An item without its lock may be sent by somebody else too, and a lock
without an item keeps its row from everybody.
"""

import random

import structlog
import trio

from reactor.errors import TransientError
from reactor.postgres.outbox import Outbox
from reactor.postgres.reports import Invariants

INTERVAL = 60.0  # seconds; it reads all locks of the server, which costs a millisecond or so

log = structlog.get_logger(__name__)


class LockWatch:
    """Looks.

    Attributes:
        seen: What it saw last.
    """

    def __init__(self) -> None:
        self.seen = Invariants(0, 0, 0, 0, 0)

    async def run(self, outbox: Outbox) -> None:
        """Look for ever; what the database refuses is asked again the next time.

        Raises:
            SessionLostError: The session is gone.
        """
        while True:
            await trio.sleep(INTERVAL * random.uniform(0.75, 1.25))
            try:
                await self.look(outbox)
            except TransientError:
                continue

    async def look(self, outbox: Outbox) -> None:
        """Look once.

        Raises:
            TransientError: The database refused.
            SessionLostError: The session is gone.
        """
        self.seen = seen = await outbox.invariants()
        if seen.stray_locks or seen.missing_locks or seen.doubled:
            log.error("locks_disagree", stray=seen.stray_locks, missing=seen.missing_locks, doubled=seen.doubled)
        for item in await outbox.refused():
            log.warning("item_locked_by_another", item_id=str(item.id), seconds=round(item.seconds), pid=item.pid)
