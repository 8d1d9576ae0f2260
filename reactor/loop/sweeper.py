"""Takes over what lost its worker: now and then, and often while anything goes on."""

import math
import random
from collections.abc import Callable

import trio

from reactor.core.dispatch.gate import LookResult
from reactor.core.refusals import RefusedWork
from reactor.core.stats import Stats
from reactor.errors import RefusedError, TransientError
from reactor.loop.ports import Observer, OutboxPort

SWEEP = 1.4
"""Seconds between sweeps while anything goes on: what a killed peer had in hand is sent again within two seconds. More
often buys little, and sweeps are half of all transactions in the minute after an item."""
JITTER = 0.05
"""Part of it by which a pause may be longer or shorter, so that replicas do not stay in step."""
SWEEP_IDLE = 5.0
"""Seconds between sweeps while nothing goes on; an idle replica has one or two transactions a second in all."""
LIVELY = 60.0
"""Seconds after the last sign of work anywhere for which things go on: a peer may have an item in hand for as long."""


class Sweeper:
    """The one task that sweeps.

    Args:
        outbox: What is swept.
        stats: Counts.
        observer: Told what the database refuses.
        recovered: Called when items are due again, or their sources free; nobody else announces them.
    """

    def __init__(self, outbox: OutboxPort, stats: Stats, observer: Observer, recovered: Callable[[], None]) -> None:
        self._outbox = outbox
        self._stats = stats
        self._observer = observer
        self._recovered = recovered
        self._active_at = self._looked_at = -math.inf
        self._lively = trio.Event()

    def looked(self, found: LookResult) -> None:
        """Take in a look; one that finds something, or follows another quickly, means that things go on.

        Every replica is called when an item is inserted, also those that do not get it.
        """
        now = trio.current_time()
        if found is not LookResult.NOTHING or now - self._looked_at < SWEEP:
            self._active_at = now
            self._lively.set()
        self._looked_at = now

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            if trio.current_time() - self._active_at < LIVELY:
                await trio.sleep(SWEEP * random.uniform(1 - JITTER, 1 + JITTER))
            else:
                self._lively = trio.Event()
                with trio.move_on_after(SWEEP_IDLE * random.uniform(0.75, 1.25)):
                    await self._lively.wait()
            await self.sweep()

    async def sweep(self) -> None:
        """Sweep once."""
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
            if swept.recovered or swept.dead:
                self._recovered()
        self._stats.beats["sweep"] = trio.current_time()
