"""What the demo counts, and how it sums it up."""

from typing import Any

import pytest

from calendar_emulator import Exchange
from reactor.demo.comparison import Disagreement
from reactor.demo.stats import DemoStats, Latencies, OutboxCounts, percentile
from reactor.demo.summary import Summary


def exchange(seq: int | None, at: float, *, batch: int | None = None) -> Exchange:
    body: dict[str, Any] = {"extendedProperties": {"private": {"reactorSeq": str(seq)}}} if seq else {}
    return Exchange(1, at, "insert", "POST", "/", {}, calendar="a@example.com", batch=batch, body=body or None)


@pytest.mark.parametrize(("part", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.95, 4.0), (1.0, 4.0)])
def test_percentiles_are_values_that_there_were(part: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], part) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None


def test_latency_is_from_commit_to_the_first_request_whichever_is_heard_of_first() -> None:
    stats = DemoStats()
    stats.committed(range(1, 3), 10.0, healthy=True, idle=False)
    stats.observe(exchange(1, 10.25))
    stats.observe(exchange(1, 99.0))  # a retry
    stats.observe(exchange(3, 11.0))  # its commit has not been heard of
    stats.committed(range(3, 4), 10.5, healthy=True, idle=False)
    assert stats.latencies.all == [0.25, 0.5]
    assert stats.rows == 3


def test_a_row_that_is_committed_in_trouble_is_not_measured() -> None:
    stats = DemoStats()
    stats.committed(range(1, 2), 10.0, healthy=False, idle=True)
    stats.observe(exchange(1, 15.0))
    assert (stats.rows, stats.latencies.all, stats.wakes.all) == (1, [], [])


def test_nothing_is_kept_of_rows_that_are_not_measured() -> None:
    """Places go by twos; a demo that is left alone for days must not grow by each row in trouble."""
    stats = DemoStats()
    for number in range(50):
        if number % 2:
            stats.observe(exchange(2 * number + 1, 10.5))  # its commit has not been heard of
        stats.committed(range(2 * number + 1, 2 * number + 3, 2), 10.0, healthy=False, idle=True)
        stats.observe(exchange(2 * number + 1, 11.0))
    assert stats._arrived == {}
    assert stats.latencies.all == []


def test_a_wake_is_the_first_row_of_a_transaction_that_found_nothing_in_flight() -> None:
    stats = DemoStats()
    stats.committed(range(1, 2), 10.0, healthy=True, idle=True)  # the calendar's first row
    stats.committed(range(2, 4), 10.0, healthy=True, idle=True)
    stats.committed(range(4, 5), 10.0, healthy=True, idle=False)
    stats.committed(range(5, 5), 10.0, healthy=True, idle=True)  # an edit that no calendar shows
    for seq, at in ((1, 11.0), (2, 10.25), (3, 10.5), (4, 10.75)):
        stats.observe(exchange(seq, at))
    assert stats.wakes.all == [0.25]
    assert stats.latencies.all == [0.25, 0.5, 0.75, 1.0]


def test_a_batch_is_one_request() -> None:
    stats = DemoStats()
    stats.committed(range(1, 3), 10.0, healthy=True, idle=True)
    for seq in (1, 2):
        stats.observe(exchange(seq, 10.75, batch=1))
    stats.observe(Exchange(1, 10.5, "batch", "POST", "/", {}))
    assert stats.requests == 1
    assert stats.latencies.all == [0.5, 0.5]  # when the batch came, not when its parts were carried out


def test_latencies_of_a_long_run_keep_their_middle() -> None:
    latencies = Latencies()
    for value in range(30_000):
        latencies.add(float(value % 100))
    assert len(latencies.all) <= 20_000
    assert percentile(latencies.all, 0.5) == pytest.approx(50, abs=2)


def summary(**changes: Any) -> Summary:
    stats = DemoStats()
    stats.rows, stats.requests = 200, 30
    stats.outbox = OutboxCounts(done=190, superseded=10)
    values: dict[str, Any] = {
        "stats": stats,
        "settled": True,
        "stopped": False,
        "healed": {"503": 2},
        "calls_met": 9,
        "events": 77,
        "differences": [],
    }
    return Summary(**(values | changes))


def test_the_summary_ends_with_the_verdict() -> None:
    assert summary().as_text().endswith("\ncalendar equals application")
    assert summary().as_json()["equal"] is True
    assert summary().as_json()["requests_per_1000_rows"] == 150


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({"settled": False}, "not settled in time: 0 items are open"),
        ({"stopped": True}, "stopped; nothing was compared (--items N compares at the end)"),
        ({"differences": [Disagreement("c", "task:1", "title")]}, "calendar differs from application"),
    ],
)
def test_no_other_end_is_equal(changes: dict[str, Any], last: str) -> None:
    assert summary(**changes).as_text().splitlines()[-1] == last
    assert summary(**changes).as_json()["equal"] is False


def test_no_line_is_wider_than_a_terminal() -> None:
    healed = dict.fromkeys(("503", "consent revoked", "lost answers", "rate limit", "slow answers"), 10)
    made = summary(healed=healed, calls_met=12_345)
    made.stats.outbox = OutboxCounts(done=1_234_567, superseded=123_456, dead=1_234, in_flight=1_234)
    assert max(map(len, made.as_text().splitlines())) <= 80


def test_only_the_first_differences_are_shown() -> None:
    text = summary(differences=[Disagreement("c", f"task:{n}", "title") for n in range(12)]).as_text()
    assert "c: task:9: title\n... and 2 more\n" in text
    assert "task:10" not in text
