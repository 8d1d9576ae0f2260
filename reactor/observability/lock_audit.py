"""Audits locks once a minute: whether locks match the items in flight, and which other sessions hold a lock of ours.

The first must always be true, so an error is logged at once if it is not. An item without its lock may be sent by
another worker too, and a lock without an item keeps all workers from its row. For the second we log the session that
holds the lock, because a forgotten `psql` is hard to find by what does not happen.
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
        last: The result of the last check.
        held_by_others: How many of our locks other sessions had held for long at the last check, by lock.
    """

    def __init__(self) -> None:
        self.last = Invariants(0, 0, 0, 0, 0)
        self.held_by_others = dict.fromkeys(map(str, Lock), 0)
        self._holders = Holders()

    async def run(self, outbox: Outbox, pool: Pool) -> None:
        """Check once a minute, for ever; if the database refuses a check, the next one asks again.

        Args:
            outbox: The outbox of the claims session.
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
        """Check once that the session's locks match its items in flight.

        Raises:
            TransientError: The database refused.
            SessionLostError: The session is gone.
        """
        self.last = found = await outbox.invariants()
        if found.unexpected_locks or found.missing_locks or found.doubled:
            log.error(
                "locks_disagree", stray=found.unexpected_locks, missing=found.missing_locks, doubled=found.doubled
            )
        locked = await outbox.locked_by_others()
        self.held_by_others[Lock.ITEM] = len(locked)
        for item in locked:
            log.warning(
                "item_locked_by_another",
                item_id=str(item.id),
                seconds=round(item.seconds),
                pid=item.pid,
                application=item.application,
            )

    async def check_holders(self, pool: Pool) -> None:
        """Check once which sessions hold the locks that all replicas share.

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
