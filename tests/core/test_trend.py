"""Pulses of all replicas add up; quantiles are those of all items together."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from reactor.core.stats import SECONDS, Histogram
from reactor.core.trend import quantile, trend

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def pulse(minutes: int, done: dict[str, int] | None = None, **counts: int) -> dict[str, Any]:
    return {"minute": NOON + minutes * MINUTE, "counts": counts, "done": done or {}, "answers": {"200": 1}}


def test_replicas_are_added_up_by_the_minute() -> None:
    rows = [
        pulse(0, {"0.5": 1}, claimed=3, applied=1, superseded=1, retried=2, dead=1),
        pulse(0, {"0.5": 1}, claimed=1),
        pulse(2, {"1": 1}, applied=1),
        pulse(-1, applied=100),
        pulse(3, applied=100),
    ]
    points = trend(rows, NOON, NOON + 3 * MINUTE, MINUTE)
    assert [point.at for point in points] == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]
    first, idle, last = points
    assert (first.claimed, first.done, first.failed, first.dead, first.answers) == (4, 2, 2, 1, {"200": 2})
    assert (idle.claimed, idle.done, idle.p50, idle.p95, idle.answers) == (0, 0, None, None, {})
    assert (last.done, last.p50) == (1, 0.75)


def test_a_longer_step_has_the_items_of_its_minutes() -> None:
    rows = [pulse(minute, {"0.5": minute}, applied=minute) for minute in range(7)]
    points = trend(rows, NOON, NOON + 7 * MINUTE, 5 * MINUTE)
    assert [point.done for point in points] == [0 + 1 + 2 + 3 + 4, 5 + 6]


def test_no_time_has_no_points() -> None:
    assert trend([pulse(0)], NOON, NOON, MINUTE) == trend([pulse(0)], NOON, NOON - MINUTE, MINUTE) == []


@pytest.mark.parametrize(
    ("buckets", "part", "value"),
    [
        ({}, 0.5, None),
        ({"0.5": 0}, 0.5, None),
        ({"0.005": 10}, 0.5, 0.0025),
        ({"0.5": 10}, 0.5, 0.375),
        ({"0.5": 10, "3600": 10}, 0.5, 0.5),
        ({"0.5": 94, "60": 6}, 0.95, 10 + 50 / 6),
        ({"inf": 1}, 0.5, 86_400.0),
        ({"0.5": 1, "inf": 9}, 0.95, 86_400.0),
        ({"0.7": 1}, 1.0, 0.7),
        ({"0.5": 3}, 0.0, 0.25),
    ],
)
def test_a_quantile_lies_in_its_bucket(buckets: dict[str, int], part: float, value: float | None) -> None:
    found = quantile(buckets, part)
    assert found == (None if value is None else pytest.approx(value))


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_in_the_bucket_of_the_value_that_it_stands_for(values: list[float], part: float) -> None:
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)
    names = [*(f"{bound:g}" for bound in SECONDS), "inf"]
    found = quantile(Counter(dict(zip(names, histogram.counts, strict=True))), part)
    assert found is not None
    rank = min(len(values), max(1, -int(-part * len(values) // 1)))
    exact = sorted(values)[rank - 1]
    above = next((bound for bound in SECONDS if exact <= bound), SECONDS[-1])
    below = max((bound for bound in (0.0, *SECONDS) if bound < exact), default=0.0)
    assert below - 1e-9 <= found <= above + 1e-9
