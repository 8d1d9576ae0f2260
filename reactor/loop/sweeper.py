"""Takes over items that lost their worker: often while any replica has items in flight, and seldom otherwise.

*Why it polls.* The server says nothing when a session ends. To be notified of it, a replica would have to wait for a
lock of that session, and a session that waits for a lock within a statement holds back VACUUM in the whole database for
as long (core/dispatch/gate.py). So a killed replica is noticed by the next sweep: one look at the small index of the
items in flight, and at the leases.

*When it is worth it.* Only items in flight elsewhere can lose their worker. So a sweep that sees such items, or items
that were lost and could not be taken over yet, is followed by another one soon, and so is every sign that another
replica may have claimed something since the last one:

    a writer called                      every replica is called, also those that do not get the item
    a look met a busy peer, or found     that peer is claiming; where there is something for one, there may be
    something, or there is no room       something for another
    an item fell due                     a peer knew that as well, and no notification is sent for it

Without such a sign, and with nothing in flight anywhere, the system is quiet, and sweeps become rare at once. When it
becomes quiet this replica looks once more: an item that failed at another replica is due again at a time that was not
known when this one looked before, and now it is known. So a retry that another replica claims is a sign too. (Items in
flight here keep sweeps frequent for another reason: the sweeps show that the session, and so the lease, is there.)

*What is left to the rare sweep.* Items that a peer claims without any of this: a slow poll of the peer's found them
because no trigger had fired, or the peer alone was free to claim them (its lane had opened, ours had not). If that peer
is killed too, before anything else happens, they wait for `SWEEP_IDLE`.
"""

import math
import random
from collections.abc import Callable

import trio

from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.refusals import RefusedWork
from reactor.core.stats import Stats
from reactor.errors import RefusedError, TransientError
from reactor.loop.ports import Observer, OutboxPort

SWEEP = 0.45
"""Seconds between sweeps while anything is in flight, and from a sign to the next sweep. What a killed peer had in
flight is claimed again after this time and a few milliseconds."""
SWEEP_IDLE = 9.5
"""Seconds between sweeps while the system is quiet. Below the 10 s after which a replica counts the others by itself
(reactor/postgres/shares.py): a sweep counts too, and nothing else has to be asked."""
PAUSE_FACTOR = 10
"""The pause is at least so many times as long as the last sweep: with thousands of items in flight that takes some
milliseconds."""
JITTER = 0.05
"""Part of it by which a pause may be shorter, so that replicas do not stay in step; an idle one may be longer too."""


class Sweeper:
    """The task that sweeps.

    Args:
        outbox: The outbox that is swept.
        stats: Counts sweeps, orphans and refusals.
        observer: Is called when the database refuses a sweep.
        recovered: Called when items are due again, or their sources are free; they are announced in no other way.
        quiet: Called when nothing is in flight any more: what failed may be due again, at a time that is not known
            here.
    """

    def __init__(
        self,
        outbox: OutboxPort,
        stats: Stats,
        observer: Observer,
        recovered: Callable[[], None],
        quiet: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._stats = stats
        self._observer = observer
        self._recovered = recovered
        self._quiet = quiet
        self._soon = trio.Event()
        self._is_full = False
        self._took = 0.0
        self._due_at = math.inf
        self._called_at = -math.inf

    def looked(self, look: Look, called_at: float) -> None:
        """Note a look, and when we were notified last."""
        now = trio.current_time()
        self._is_full = look.found is LookResult.FULL
        if look.found is not LookResult.NOTHING or called_at > self._called_at or now >= self._due_at:
            self._soon.set()
        self._called_at = called_at
        self._due_at = now + look.due_in

    async def run(self) -> None:
        """Sweep again and again, until the task is cancelled."""
        while True:
            with trio.move_on_after(SWEEP_IDLE * random.uniform(1 - JITTER, 1 + JITTER)):
                await self._soon.wait()
                await trio.sleep(max(SWEEP * random.uniform(1 - JITTER, 1), PAUSE_FACTOR * self._took))
            await self.sweep()

    async def sweep(self) -> None:
        """Take over lost items once, and decide whether the next sweep comes soon."""
        began, was_lively, self._soon = trio.current_time(), self._soon.is_set(), trio.Event()
        again = was_lively
        try:
            swept = await self._outbox.sweep()
        except TransientError as error:
            if isinstance(error, RefusedError):
                self._observer.refused(RefusedWork.SWEEP, error.sqlstate)
            self._stats.refusals += 1
        else:
            self._observer.accepted(RefusedWork.SWEEP)
            self._stats.sweeps += 1
            self._stats.orphans += swept.recovered
            again = swept.again or bool(self._outbox.in_flight)
            if swept.recovered or swept.dead:
                self._recovered()
        if again or self._is_full:
            self._soon.set()
        elif was_lively and not self._soon.is_set():
            self._quiet()
        self._took = trio.current_time() - began
        self._stats.beats["sweep"] = trio.current_time()
