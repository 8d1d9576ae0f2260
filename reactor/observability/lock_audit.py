"""Looks at locks now and then: whether item locks and items in hand agree, and who holds a lock of ours for long.

The former must; what does not belongs in a log at once. An item without its lock may be sent by somebody else too, and
a lock without an item keeps its row from everybody. The latter is said by name: nobody finds a forgotten `psql` by
looking at what does not happen.
"""

import random

import structlog
import trio

from reactor.core.holders import Holders, Lock
from reactor.errors import TransientError
from reactor.postgres.claim import Invariants
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import SessionLostError
from reactor.postgres.lock_holders import holders
from reactor.postgres.outbox import Outbox

INTERVAL = 60.0  # seconds; it reads all locks of the server, which costs a millisecond or so

log = structlog.get_logger(__name__)


class LockAudit:
    """Checks once a minute that the session's locks match its items in flight, and who else holds a lock of ours.

    Attributes:
        seen: What it saw last.
        held: How many of our locks other sessions had held for long, by lock, when it looked last.
    """

    def __init__(self) -> None:
        self.last = Invariants(0, 0, 0, 0, 0)
        self.held_by_others = dict.fromkeys(map(str, Lock), 0)
        self._holders = Holders()

    async def run(self, outbox: Outbox, pool: Pool) -> None:
        """Look for ever; what the database refuses is asked again the next time.

        Args:
            outbox: Of the claims session.
            pool: Connections to the database.

        Raises:
            SessionLostError: The session is gone.
        """
        while True:
            await trio.sleep(INTERVAL * random.uniform(0.75, 1.25))
            try:
                await self.check(outbox)
                await self.check_holders(pool)
            except SessionLostError:
                raise
            except TransientError:
                continue

    async def check(self, outbox: Outbox) -> None:
        """Look once.

        Raises:
            TransientError: The database refused.
            SessionLostError: The session is gone.
        """
        self.last = found = await outbox.invariants()
        if found.unexpected_locks or found.missing_locks or found.doubled:
            log.error(
                "locks_disagree", stray=found.unexpected_locks, missing=found.missing_locks, doubled=found.doubled
            )
        refused = await outbox.refused()
        self.held_by_others[Lock.ITEM] = len(refused)
        for item in refused:
            log.warning(
                "item_locked_by_another",
                item_id=str(item.id),
                seconds=round(item.seconds),
                pid=item.pid,
                application=item.application,
            )

    async def check_holders(self, pool: Pool) -> None:
        """Look once who holds the locks that are everybody's.

        Raises:
            TransientError: The database refused, or is away.
        """
        held = self._holders.look(await pool.run(holders), trio.current_time())
        for lock in (Lock.CLAIM, Lock.GATE):
            self.held_by_others[lock] = sum(holder.lock is lock for holder, _ in held)
        for holder, seconds in held:
            log.warning(
                "lock_held_for_long",
                lock=holder.lock.value,
                pid=holder.pid,
                application=holder.application,
                seconds=round(seconds),
            )
