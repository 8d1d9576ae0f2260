"""What the loop has done so far, as plain numbers: metrics read them, nothing is decided by them."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3600.0, 86_400.0)
"""Bounds for the time from insert to settled: from a wake on a quiet machine to a backlog of a day."""
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0)
"""Bounds for items per request; Google's batches end at 50."""


class Histogram:
    """Counts of values by size.

    Args:
        bounds: The inclusive upper bounds, rising; what is above the last is counted too.

    Attributes:
        bounds: As given.
        counts: How many values fell under each bound and above the one before it; one count more than bounds.
        total: The sum of all values.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Stats:
    """Counters, from the start of the process.

    Attributes:
        looks: Looks at the outbox, by what they came to (`Found`'s names, and "REFUSED" by the database).
        claimed: Items claimed.
        settled: Items whose end was written, by status.
        codes: The same, by failure code, where there is one.
        retries: Items that will be tried again, by reason.
        claims_lost: Items whose end was not written, because the claim was not ours any more.
        given_back: Items given back without an attempt.
        sends: Requests begun; a batch is one.
        sent: Items in them.
        broken_off: Requests cancelled under way.
        crashes: Requests that ended in an error that nobody expected.
        settles: Transactions of settling.
        refusals: Transactions of settling or sweeping that the database refused.
        sweeps: Sweeps.
        orphans: Items taken over from lost workers.
        sizes: Items per request.
        seconds: From insert to completion, of completed items.
        beats: When the loops "look" and "sweep" last completed a cycle, on the loop's clock; and, only while it writes,
            since when "settle" does.
    """

    looks: Counter[str] = field(default_factory=Counter)
    claimed: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    claims_lost: int = 0
    given_back: int = 0
    sends: int = 0
    sent: int = 0
    broken_off: int = 0
    crashes: int = 0
    settles: int = 0
    refusals: int = 0
    sweeps: int = 0
    orphans: int = 0
    sizes: Histogram = field(default_factory=lambda: Histogram(SIZES))
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    beats: dict[str, float] = field(default_factory=dict)
