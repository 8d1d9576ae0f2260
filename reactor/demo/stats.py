"""The demo's statistics: at the application, at Google, and in the outbox."""

import bisect
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from calendar_emulator import Exchange
from reactor.core.calendar.event import SEQ
from reactor.postgres.connection.session import Session

_REMEMBERED = 20_000  # commits whose request did not come yet; a superseded row's never comes
_RECENT = 300  # latencies that the live figures are about
_SECONDS = 120  # of throughput

_OUTBOX = """
select count(*) filter (where status = 'COMPLETED' and failure_code is null),
       count(*) filter (where status = 'COMPLETED' and failure_code = 'SUPERSEDED'),
       count(*) filter (where status = 'DEAD_LETTER'),
       count(*) filter (where status = 'PROCESSING'),
       count(*) filter (where status in ('PENDING', 'FAILED')),
       coalesce(sum(attempts), 0)
  from sync_outbox
"""


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How many items are in which state, and how many attempts were counted against them."""

    done: int = 0
    superseded: int = 0
    dead: int = 0
    in_flight: int = 0
    waiting: int = 0
    attempts: int = 0

    @property
    def open(self) -> int:
        """Items that are not settled."""
        return self.in_flight + self.waiting

    @property
    def settled(self) -> int:
        """Items that are settled."""
        return self.done + self.superseded + self.dead


@dataclass(slots=True)
class Latencies:
    """Seconds, kept in order; the last few also by themselves."""

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    all: list[float] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        """Add one latency."""
        self.recent.append(seconds)
        bisect.insort(self.all, seconds)
        if len(self.all) > _REMEMBERED:
            del self.all[:: len(self.all) - 1]  # the extremes; the middle is what is asked for


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """The nearest-rank percentile of values in order, None of none."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


class DemoStats:
    """The counters.

    Attributes:
        rows: Rows of the outbox that the application made.
        requests: HTTP requests that reached Google; a batch is one.
        outbox: The state of the items when last asked.
        wakes: Seconds from a row's commit to the arrival of the first request that carries it, of rows that found the
            reactor asleep: committed while nothing went wrong and there was nothing to do. Not of a calendar's first
            row, and not of a cancel, whose request does not say which row it is for.
        latencies: The same of all rows that were committed while nothing went wrong. Those that come while requests of
            their workspace are in flight wait for them, and then go out together.
        per_second: Items settled in each of the last seconds, oldest first.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.requests = 0
        self.outbox = OutboxCounts()
        self.wakes = Latencies()
        self.latencies = Latencies()
        self.per_second: deque[int] = deque(maxlen=_SECONDS)
        self._started = time.monotonic()
        self._ended: float | None = None
        self._committed: dict[int, float] = {}
        self._arrived: dict[int, float] = {}
        self._parts: dict[int | None, list[int]] = {}
        self._wakers: set[int] = set()
        self._heard = 0  # the last place of which we heard that it was committed
        self._known: set[str] = set()
        self._settled_before = 0
        self._second = self._started

    @property
    def seconds(self) -> float:
        """Seconds since the start of the clock, up to its stop."""
        return (self._ended or time.monotonic()) - self._started

    def begin(self) -> None:
        """Start the clock, when all parts are ready."""
        self._started = time.monotonic()

    def end(self) -> None:
        """Stop the clock."""
        self._ended = time.monotonic()

    def committed(self, seqs: range, at: float, *, healthy: bool, idle: bool) -> None:
        """Note that a transaction of the application was committed.

        Args:
            seqs: The places of its rows.
            at: The wall-clock time of the commit.
            healthy: Whether nothing went wrong then.
            idle: Whether there was nothing to do when it began.
        """
        self.rows += len(seqs)
        if seqs:
            self._heard = seqs[-1]
        if healthy and idle and seqs:
            self._wakers.add(seqs[0])
        for seq in seqs:
            arrived = self._arrived.pop(seq, None)  # there, if the request came before we heard of the commit
            if healthy:
                self._committed[seq] = at
                if arrived is not None:
                    self._joined(seq, arrived)
        while len(self._committed) > _REMEMBERED:
            self._wakers.discard(oldest := next(iter(self._committed)))
            del self._committed[oldest]

    def observe(self, exchange: Exchange) -> None:
        """Note that Google answered a call.

        The parts of a batch come before the batch itself, and only the batch knows when it arrived.
        """
        if exchange.operation == "batch":
            for seq in self._parts.pop(exchange.number, ()):
                self._requested(seq, exchange.at)
        if exchange.batch is None:
            self.requests += 1
        private = ((exchange.body or {}).get("extendedProperties") or {}).get("private") or {}
        if SEQ not in private:
            return
        seq = int(private[SEQ])
        if exchange.calendar not in self._known:
            self._known.add(exchange.calendar)
            self._wakers.discard(seq)  # an access token had to be fetched first
        if exchange.batch is None:
            self._requested(seq, exchange.at)
        else:
            self._parts.setdefault(exchange.batch, []).append(seq)

    def _requested(self, seq: int, at: float) -> None:
        """A request that carries a row has arrived."""
        if seq in self._committed:
            self._joined(seq, at)
        elif seq > self._heard:  # places are given in order, so we have not heard of this commit yet
            self._arrived.setdefault(seq, at)

    def _joined(self, seq: int, arrived: float) -> None:
        """Both the commit and the request of a row are known."""
        seconds = max(0.0, arrived - self._committed.pop(seq))
        self.latencies.add(seconds)
        if seq in self._wakers:
            self._wakers.remove(seq)
            self.wakes.add(seconds)

    async def look(self, owner: Session) -> None:
        """Count the items of the outbox."""
        with trio.CancelScope(shield=True):  # a session that is interrupted is lost; the time-out bounds it
            [row] = await owner.execute(_OUTBOX)
        self.outbox = OutboxCounts(*map(int, row))
        now = time.monotonic()
        if now - self._second >= 1:
            self.per_second.append(self.outbox.settled - self._settled_before)
            self._settled_before = self.outbox.settled
            self._second = now
