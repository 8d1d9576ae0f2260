"""What pulses add up to: points over time, and how long items took.

The times are known by buckets. They are added up over replicas and minutes, and a quantile is found in the sum: within
its bucket the times are taken to be spread evenly. So p95 of an hour is that of all its items, not a mean of sixty.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from reactor.core.stats import SECONDS


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """What all replicas did in a time.

    Attributes:
        at: Its beginning.
        claimed: Items claimed.
        done: Items completed, whether they were applied or needed no request.
        failed: Attempts after which an item is tried again.
        dead: Items that became dead letters.
        p50: Seconds from insert to completion that half of the completed items took at most; None without any.
        p95: The same for nineteen of twenty.
        answers: Google's answers by code.
    """

    at: datetime
    claimed: int
    done: int
    failed: int
    dead: int
    p50: float | None
    p95: float | None
    answers: Mapping[str, int]


def trend(pulses: Iterable[Mapping[str, Any]], since: datetime, until: datetime, step: timedelta) -> list[TrendPoint]:
    """Add pulses up by time; a time without any is a point too, because replicas that are idle write none.

    Args:
        pulses: Rows of `sync_pulses`: minute, counts, done, answers.
        since: Where the first point begins.
        until: Where the last one ends at the latest.
        step: The time of a point.
    """
    points = range(max(0, math.ceil((until - since) / step)))
    sums: list[dict[str, Counter[str]]] = [{name: Counter() for name in ("counts", "done", "answers")} for _ in points]
    for pulse in pulses:
        place = (pulse["minute"] - since) // step
        if place in points:
            for name, total in sums[place].items():
                total.update(pulse[name])
    return [_point(since + number * step, **total) for number, total in enumerate(sums)]


def _point(at: datetime, counts: Counter[str], done: Counter[str], answers: Counter[str]) -> TrendPoint:
    return TrendPoint(
        at=at,
        claimed=counts["claimed"],
        done=counts["applied"] + counts["superseded"],
        failed=counts["retried"],
        dead=counts["dead"],
        p50=quantile(done, 0.5),
        p95=quantile(done, 0.95),
        answers=dict(answers),
    )


def quantile(buckets: Mapping[str, int], part: float) -> float | None:
    """Return the value that a part of all does not exceed; None where there is none.

    Args:
        buckets: How many values fell under each upper bound, and above the next lower one of `SECONDS`.
        part: From 0 to 1.

    Returns:
        A value within the bucket; above the last bound, that bound.
    """
    counts = {float(bound): number for bound, number in buckets.items() if number > 0}
    if not counts:
        return None
    bounds = sorted({0.0, *SECONDS, *counts})
    filled = [(lower, upper) for lower, upper in zip([0.0, *bounds], bounds, strict=False) if upper in counts]
    totals = list(accumulate(counts[upper] for _, upper in filled))
    rank = part * totals[-1]
    place = min(bisect_left(totals, rank), len(totals) - 1)
    lower, upper = filled[place]
    if upper == math.inf:
        return lower
    return upper - (upper - lower) * (totals[place] - rank) / counts[upper]
