"""Writes what becomes of items: everything that is ready in one transaction.

While the database writes one lot the next gathers, so a quiet system writes each end at once and a busy one hundreds
together, without a timer. An item is in hand until it is written, and items in hand are bounded: so is what waits here.
"""

import math
import random
from collections.abc import Callable, Sequence

import trio

from reactor.core.backoff import backoff
from reactor.core.item import Settlement
from reactor.core.stats import Stats
from reactor.errors import TransientError
from reactor.loop.ports import Observer, Outbox

AT_MOST = 500
"""Items per transaction: more makes a transaction of more than 50 ms, and what waits behind it gets old."""
LONGEST_PAUSE = 4.0
"""Seconds between attempts to write what the database refuses."""


class Settler:
    """The one task that writes ends.

    Args:
        outbox: Where.
        stats: Counts.
        observer: Told each end.
        settled: Told the ends that are off our hands, written or not.
        followed: Called when something can be claimed because of them.
        not_written: Says what to write instead of an end whose writing met an error that nobody expected.

    Attributes:
        over: Set when everything is written, after `close`.
    """

    def __init__(
        self,
        outbox: Outbox,
        stats: Stats,
        observer: Observer,
        settled: Callable[[Sequence[Settlement]], None],
        followed: Callable[[], None],
        not_written: Callable[[Settlement, Exception], Settlement],
    ) -> None:
        self.over = trio.Event()
        self._outbox = outbox
        self._stats = stats
        self._observer = observer
        self._settled = settled
        self._followed = followed
        self._not_written = not_written
        self._ends, self._ready = trio.open_memory_channel[tuple[Settlement, float]](math.inf)

    def put(self, settlement: Settlement, claimed_at: float) -> None:
        """Have an end written; `claimed_at` is when its item was claimed."""
        self._ends.send_nowait((settlement, claimed_at))

    def close(self) -> None:
        """Nothing comes any more."""
        self._ends.close()

    async def run(self) -> None:
        """Write what comes, until `close`."""
        async for first in self._ready:
            ends = [first]
            try:
                while len(ends) < AT_MOST:
                    ends.append(self._ready.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                pass
            self._stats.beats["settle"] = trio.current_time()
            await self._write(ends)
            self._stats.beats.pop("settle", None)
        self.over.set()

    async def _write(self, ends: list[tuple[Settlement, float]]) -> None:
        """Write ends; what the database refused is written again, if it is still ours."""
        failures = 0
        while ends:
            try:
                written = await self._outbox.settle([settlement for settlement, _ in ends])
            except TransientError:
                self._stats.refusals += 1
                failures += 1
                await trio.sleep(backoff(failures, random=random.random(), cap=LONGEST_PAUSE))
                ours = {(item.id, item.claim_no) for item in self._outbox.in_flight}
                gone = [end for end in ends if (end[0].item.id, end[0].item.claim_no) not in ours]
                ends = [end for end in ends if (end[0].item.id, end[0].item.claim_no) in ours]
                self._written(gone, [False] * len(gone))
            except Exception as error:  # noqa: BLE001  # a bug that one of them brings out
                await self._write_apart(ends, error)
                return
            else:
                self._written(ends, written)
                if self._outbox.followed:
                    self._followed()
                return

    async def _write_apart(self, ends: list[tuple[Settlement, float]], error: Exception) -> None:
        """Write halves, until what brings the error out is alone, and of that something that is easier to write."""
        if len(ends) == 1:
            [(settlement, claimed_at)] = ends
            await self._write([(self._not_written(settlement, error), claimed_at)])
        else:
            for half in (ends[: len(ends) // 2], ends[len(ends) // 2 :]):
                await self._write(half)

    def _written(self, ends: list[tuple[Settlement, float]], written: Sequence[bool]) -> None:
        now = trio.current_time()
        stats = self._stats
        stats.settles += 1
        for (settlement, claimed_at), is_written in zip(ends, written, strict=True):
            self._observer.ended(settlement, seconds=now - claimed_at, written=is_written)
            if not is_written:
                stats.claims_lost += 1
                continue
            stats.written(settlement)
            if settlement.status == "COMPLETED":
                stats.seconds.observe(settlement.item.age + now - claimed_at)
        self._settled([settlement for settlement, _ in ends])
