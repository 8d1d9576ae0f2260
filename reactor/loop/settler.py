"""Writes how items end: everything that is ready in one transaction.

While the database writes one transaction the next ends gather, so a quiet system writes each end at once and a busy one
hundreds together, without a timer. An item is in flight until its end is written, and items in flight are bounded, so
the ends that wait here are bounded too.

An end that waits for a lock of another session is kept apart and written again after a pause, with the others of its
kind, so that it does not delay the ends of other items.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence

import trio

from reactor.core.backoff import backoff
from reactor.core.item import Settlement, SettlementResult
from reactor.core.refusals import RefusedWork
from reactor.core.stats import Stats
from reactor.errors import RefusedError, TransientError
from reactor.loop.ports import Observer, OutboxPort

MAX_ENDS = 500
"""Items per transaction: more makes a transaction of more than 50 ms, and what waits behind it gets old."""
LONGEST_PAUSE = 4.0
"""Seconds between attempts to write what the database refuses, or what waits for a lock."""

End = tuple[Settlement, float]
"""How an item ends, and when the item was claimed, in seconds of the loop's clock."""


class Settler:
    """The task that writes how items end.

    Args:
        outbox: The outbox that the ends are written to.
        stats: Counts ends, lost claims and refusals.
        observer: Is called with each end.
        settled: Is called with the ends that are done with, written or lost.
        followed: Is called when the written ends have made something claimable.
        asks: Says whether to find out what has waited for the ends that were just written.
        waits: Is called when an end begins to wait for a lock (True), and before `settled` is called with it (False).
        not_written: Says what to write instead of an end whose writing met an unexpected error.

    Attributes:
        over: Set when everything is written that can be, after `close`.
    """

    def __init__(
        self,
        outbox: OutboxPort,
        stats: Stats,
        observer: Observer,
        settled: Callable[[Sequence[Settlement]], None],
        followed: Callable[[], None],
        *,
        asks: Callable[[], bool],
        waits: Callable[[Settlement, bool], None],
        not_written: Callable[[Settlement, Exception], Settlement],
    ) -> None:
        self.over = trio.Event()
        self._outbox = outbox
        self._stats = stats
        self._observer = observer
        self._settled = settled
        self._followed = followed
        self._asks = asks
        self._waits = waits
        self._not_written = not_written
        self._ends: deque[End] = deque()
        self._ready = trio.Event()  # something is there to be written, or nothing comes any more
        self._is_open = True
        self._apart: list[End] = []
        self._deferred: set[int] = set()  # their claims
        self._tries = 0
        self._again_at = math.inf

    def put(self, settlement: Settlement, claimed_at: float) -> None:
        """Have an end written; `claimed_at` is when its item was claimed."""
        self._ends.append((settlement, claimed_at))
        self._ready.set()

    def close(self) -> None:
        """Note that no more ends come."""
        self._is_open = False
        self._ready.set()

    async def run(self) -> None:
        """Write ends until `close`; then try once more to write those that wait for a lock, and return."""
        is_open = True
        while is_open:
            ends, is_open = await self._gather()
            self._stats.beats["settle"] = trio.current_time()
            if ends:
                await self._write(ends)
            if self._apart and (not is_open or trio.current_time() >= self._again_at):
                apart, self._apart = self._apart, []
                await self._write(apart)
            self._stats.beats.pop("settle", None)
        self.over.set()

    async def _gather(self) -> tuple[list[End], bool]:
        """The ends that are ready, at most `MAX_ENDS`, and whether more may come."""
        with trio.move_on_at(self._again_at):
            await self._ready.wait()
        ends = [self._ends.popleft() for _ in range(min(MAX_ENDS, len(self._ends)))]
        may_come = self._is_open or bool(self._ends)
        if may_come and not self._ends:
            self._ready = trio.Event()
        return ends, may_come

    async def _write(self, ends: list[End]) -> None:
        """Write ends. If the database refuses, write those again whose claims are still ours."""
        failures = 0
        while ends:
            try:
                written = await self._outbox.settle([end for end, _ in ends], asks=self._asks)
            except TransientError as error:
                if isinstance(error, RefusedError):
                    self._observer.refused(RefusedWork.SETTLE, error.sqlstate)
                self._stats.refusals += 1
                failures += 1
                await trio.sleep(backoff(failures, random=random.random(), cap=LONGEST_PAUSE))
                ours = {(item.id, item.claim_no) for item in self._outbox.in_flight}
                gone = [end for end in ends if (end[0].item.id, end[0].item.claim_no) not in ours]
                ends = [end for end in ends if (end[0].item.id, end[0].item.claim_no) in ours]
                self._finish(gone, [SettlementResult.LOST] * len(gone))
            except Exception as error:  # noqa: BLE001  # a bug that one of them brings out
                await self._write_halves(ends, error)
                return
            else:
                self._take_in(ends, written)
                if self._outbox.followed:
                    self._followed()
                break
        self._observer.accepted(RefusedWork.SETTLE)

    async def _write_halves(self, ends: list[End], error: Exception) -> None:
        """Write halves until the end that causes the error is alone; for that one, write something simpler."""
        if len(ends) == 1:
            [(settlement, claimed_at)] = ends
            await self._write([(self._not_written(settlement, error), claimed_at)])
        else:
            for half in (ends[: len(ends) // 2], ends[len(ends) // 2 :]):
                await self._write(half)

    def _take_in(self, ends: list[End], written: Sequence[SettlementResult]) -> None:
        waiting = [end for end, is_written in zip(ends, written, strict=True) if is_written is SettlementResult.WAITING]
        self._keep_apart(waiting)
        others = [(end, each) for end, each in zip(ends, written, strict=True) if each is not SettlementResult.WAITING]
        self._finish([end for end, _ in others], [each for _, each in others])

    def _keep_apart(self, waiting: list[End]) -> None:
        """Have what waits for a lock written again after a pause, which grows for as long as anything waits."""
        for settlement, _ in waiting:
            if settlement.item.claim_no not in self._deferred:
                self._deferred.add(settlement.item.claim_no)
                self._waits(settlement, True)
        self._apart += waiting
        if not self._apart:
            self._tries, self._again_at = 0, math.inf
        elif trio.current_time() >= self._again_at or self._again_at == math.inf:
            self._tries += 1
            pause = backoff(self._tries, random=random.random(), cap=LONGEST_PAUSE) / 2
            self._again_at = trio.current_time() + pause

    def _finish(self, ends: list[End], written: Sequence[SettlementResult]) -> None:
        now = trio.current_time()
        stats = self._stats
        stats.settles += 1
        for (settlement, claimed_at), each in zip(ends, written, strict=True):
            is_written = each is SettlementResult.WRITTEN
            if settlement.item.claim_no in self._deferred:
                self._deferred.remove(settlement.item.claim_no)
                self._waits(settlement, False)
            self._observer.ended(settlement, seconds=now - claimed_at, written=is_written)
            if not is_written:
                stats.claims_lost += 1
                continue
            stats.written(settlement)
            if settlement.status == "COMPLETED":
                stats.seconds.observe(settlement.item.age + now - claimed_at)
        self._settled([settlement for settlement, _ in ends])
