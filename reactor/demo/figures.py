"""What the demo counts: at the application, at Google, and in the outbox."""

import bisect
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from reactor.core.event import SEQ
from reactor.emulator import Exchange
from reactor.postgres.session import Session

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
class Outbox:
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
        """Items that are."""
        return self.done + self.superseded + self.dead


@dataclass(slots=True)
class Latencies:
    """Seconds, kept in order; the last few also by themselves."""

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    all: list[float] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        """Take one."""
        self.recent.append(seconds)
        bisect.insort(self.all, seconds)
        if len(self.all) > _REMEMBERED:
            del self.all[:: len(self.all) - 1]  # the extremes; the middle is what is asked for


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """The nearest-rank percentile of values in order, None of none."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


class Figures:
    """The counters.

    Attributes:
        rows: Rows of the outbox that the application made.
        requests: HTTP requests that reached Google; a batch is one.
        outbox: The state of the items when last asked.
        latencies: Seconds from a row's commit to the arrival of the first request that carries it, of the rows that
            were committed while nothing went wrong. A cancel's request does not say which row it is for.
        per_second: Items settled in each of the last seconds, oldest first.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.requests = 0
        self.outbox = Outbox()
        self.latencies = Latencies()
        self.per_second: deque[int] = deque(maxlen=_SECONDS)
        self._started = time.monotonic()
        self._ended: float | None = None
        self._committed: dict[int, float] = {}
        self._arrived: dict[int, float] = {}
        self._settled_before = 0
        self._second = self._started

    @property
    def seconds(self) -> float:
        """Since the beginning, to the end if there was one."""
        return (self._ended or time.monotonic()) - self._started

    def begin(self) -> None:
        """Everything is there: the clock starts."""
        self._started = time.monotonic()

    def end(self) -> None:
        """The clock stops."""
        self._ended = time.monotonic()

    def committed(self, seqs: range, at: float, *, measured: bool) -> None:
        """A transaction of the application was committed.

        Args:
            seqs: The places of its rows.
            at: When, by the clock on the wall.
            measured: Whether their latencies count.
        """
        self.rows += len(seqs)
        for seq in seqs if measured else ():
            if seq in self._arrived:  # the reactor was faster than the news of the commit
                self.latencies.add(max(0.0, self._arrived.pop(seq) - at))
            else:
                self._committed[seq] = at
        while len(self._committed) > _REMEMBERED:
            del self._committed[next(iter(self._committed))]

    def observe(self, exchange: Exchange) -> None:
        """Google answered a call."""
        if exchange.batch is None:
            self.requests += 1
        private = ((exchange.body or {}).get("extendedProperties") or {}).get("private") or {}
        if SEQ not in private:
            return
        seq = int(private[SEQ])
        if seq in self._committed:
            self.latencies.add(max(0.0, exchange.at - self._committed.pop(seq)))
        elif seq > self.rows:  # places are given in order, so this one's commit has not been heard of yet
            self._arrived.setdefault(seq, exchange.at)

    async def look(self, owner: Session) -> None:
        """Ask the outbox."""
        [row] = await owner.execute(_OUTBOX)
        self.outbox = Outbox(*map(int, row))
        now = time.monotonic()
        if now - self._second >= 1:
            self.per_second.append(self.outbox.settled - self._settled_before)
            self._settled_before = self.outbox.settled
            self._second = now
