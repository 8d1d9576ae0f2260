"""Pauses between attempts."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, strategies as st

from reactor.core.backoff import ITEM_CAP, JITTER, LONGEST_RETRY_AFTER, REBUILD_CAP, Pauses, backoff, parse_retry_after

NOW = datetime(2026, 3, 29, 0, 59, 30, tzinfo=UTC)
FRACTION = st.floats(0, 1, exclude_max=True)
FAILURES = st.integers(-5, 10**6)


def test_the_pauses_double_up_to_an_hour() -> None:
    pauses = [backoff(n, random=0.0) for n in range(1, 15)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]


def test_a_rebuild_comes_back_within_a_minute() -> None:
    assert backoff(30, random=0.0, cap=REBUILD_CAP) == 60


def test_pauses_grow_to_a_cap_and_begin_again() -> None:
    pauses = Pauses(first=0.05, cap=5.0)
    lengths = [pauses.after_failure(0.5) for _ in range(20)]
    assert lengths[:2] == pytest.approx([0.05 * 1.125, 0.1 * 1.125])
    assert lengths[7:] == pytest.approx([5.0 * 1.125] * 13)
    pauses.reset()
    assert pauses.after_failure(0.0) == pytest.approx(0.05)


def test_jitter_is_added_after_the_cap_so_that_old_failures_stay_apart() -> None:
    assert backoff(30, random=0.8, cap=60.0) == pytest.approx(72)


@pytest.mark.parametrize(("asked", "waited"), [(0.5, 1.0), (90.0, 90.0), (None, 1.0)])
def test_a_longer_retry_after_wins(asked: float | None, waited: float) -> None:
    assert backoff(1, random=0.0, retry_after=asked) == waited


@given(FAILURES, FRACTION)
def test_a_pause_is_bounded(failures: int, random: float) -> None:
    assert 1 <= backoff(failures, random=random) <= ITEM_CAP * (1 + JITTER)


@given(FAILURES, FRACTION)
def test_more_failures_never_wait_less(failures: int, random: float) -> None:
    assert backoff(failures, random=random) <= backoff(failures + 1, random=random)


@given(FAILURES, FRACTION)
def test_jitter_never_shortens_and_adds_a_quarter_at_most(failures: int, random: float) -> None:
    plain = backoff(failures, random=0.0)
    assert plain <= backoff(failures, random=random) <= plain * 1.25


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 120 ", 120),
        ("0", 0),
        ("9" * 500, LONGEST_RETRY_AFTER),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("Sun, 29 Mar 2026 01:00:00 GMT", 30),
        ("Sun, 29 Mar 2026 01:00:00 -0000", 30),
        ("Sun, 29 Mar 2026 00:00:00 GMT", 0),
        ("Sun, 29 Mar 2099 01:00:00 GMT", LONGEST_RETRY_AFTER),
        ("Sun, 99 Mar 2026 01:00:00 GMT", None),
        ("Sun, 29 Mar 2026 01:00:00 +9999", None),
    ],
)
def test_a_retry_after_header_is_read(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    assert parse_retry_after(headers, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} \d{2}:\d{2}:\d{2} [-+A-Z0-9]{1,6}"))
def test_no_header_is_too_strange(header: str) -> None:
    seconds = parse_retry_after({"retry-after": header}, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER


@given(st.integers(0, 80_000))
def test_a_date_and_its_distance_mean_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    read = parse_retry_after({"retry-after": date}, NOW)
    assert read is not None
    assert math.isclose(read, seconds)
