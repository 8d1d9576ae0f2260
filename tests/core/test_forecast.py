"""When a backlog will have left, in numbers and in words."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from reactor.core.forecast import Forecast, forecast, per_time

NOW = datetime(2026, 11, 29, 14, 24, 48, tzinfo=UTC)


def said(items: int, *rates: float, **more: float) -> str:
    found = forecast(items, rates, NOW, **more)  # type: ignore[arg-type]
    assert found is not None
    return found.sentence(NOW)


def test_it_says_how_many_at_which_rate_and_when() -> None:
    assert said(4_312, 5.0, 5.0) == "4,312 items at 10 a second: through by 14:32"
    assert said(1, 9.719) == "1 item at 9.7 a second: through by 14:25"
    assert said(12, 1.0) == "12 items at 1 a second: through by 14:25", "to the minute"
    assert said(13, 1.0) == "13 items at 1 a second: through by 14:26", "a begun minute counts"
    assert said(60, 1.0, opens_in=60.0) == "60 items at 1 a second: through by 14:27"
    assert said(60, 1.0, opens_in=-5.0) == "60 items at 1 a second: through by 14:26"


def test_more_than_were_counted_are_not_through_before() -> None:
    assert said(10_000, 10.0, capped=True) == "over 10,000 items at 10 a second: not before 14:42"


def test_another_day_has_its_date() -> None:
    assert said(10_000, 0.2) == "10,000 items at 12 a minute: through by 2026-11-30 04:19"
    assert said(1_000_000, 0.01) == "1,000,000 items at 36 an hour: not within a year"


def test_times_are_of_the_readers_zone() -> None:
    found = forecast(60, [1.0], NOW)
    assert found is not None
    there = NOW.astimezone(timezone(timedelta(hours=2)))
    assert found.sentence(there).endswith("through by 16:26")


@pytest.mark.parametrize(("items", "rates"), [(0, [1.0]), (5, []), (5, [0.0]), (5, [None]), (5, [1.0, None])])
def test_without_a_bound_there_is_no_forecast(items: int, rates: list[float | None]) -> None:
    assert forecast(items, rates, NOW) is None


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (166.2, "166 a second"),
        (9.719, "9.7 a second"),
        (9.96, "10 a second"),
        (4.86, "4.9 a second"),
        (1.0, "1 a second"),
        (0.2, "12 a minute"),
        (0.1, "6 a minute"),
        (0.01, "36 an hour"),
        (0.001, "3.6 an hour"),
    ],
)
def test_a_rate_has_two_digits(rate: float, words: str) -> None:
    assert per_time(rate) == words


@given(st.integers(1, 10**12), st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5), st.floats(0, 1e6))
def test_more_items_are_never_sooner(items: int, rates: list[float], opens_in: float) -> None:
    one, more = (forecast(number, rates, NOW, opens_in=opens_in) for number in (items, 2 * items))
    assert isinstance(one, Forecast)
    assert isinstance(more, Forecast)
    assert one.sentence(NOW)
    last = datetime.max.replace(tzinfo=UTC)
    assert NOW < (one.through_by or last) <= (more.through_by or last)
