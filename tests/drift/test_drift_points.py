"""Moments are compared, not strings: zones, days, clocks that change."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from reactor.drift import points
from reactor.drift.points import Point, WallTime
from reactor.drift.recurrence import rules

BERLIN = "Europe/Berlin"


def wall(text: str, zone: str = BERLIN) -> WallTime:
    return WallTime(datetime.fromisoformat(text), zone)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-03-01", None, date(2026, 3, 1)),
        ("2026-03-01T09:00:00.999Z", None, datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T09:00:00", BERLIN, wall("2026-03-01T09:00:00")),
        ("2026-03-01T09:00:00", None, None),
        ("2026-02-30", None, None),
        ("next Tuesday", BERLIN, None),
        (17, BERLIN, None),
    ],
)
def test_reading(text: object, zone: str | None, expected: Point | None) -> None:
    assert points.read(text, zone) == expected


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ({"date": "2026-03-01"}, date(2026, 3, 1)),
        ({"dateTime": "2026-03-01T10:00:00+01:00", "timeZone": BERLIN}, datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ({"dateTime": "2026-03-01T10:00:00", "timeZone": BERLIN}, wall("2026-03-01T10:00:00")),
        ({"dateTime": "2026-03-01T10:00:00", "timeZone": 7}, None),
        ({}, None),
        (None, None),
    ],
)
def test_reading_what_google_shows(point: object, expected: Point | None) -> None:
    assert points.from_google(point) == expected


def at(hour: int, offset: int, day: int = 1, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=timezone(timedelta(hours=offset)))


TWICE = wall("2026-10-25T02:30:00")  # the clocks go back at 3
NEVER = wall("2026-03-29T02:30:00")  # the clocks go forward at 2


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        (at(9, 1), at(8, 0), True),
        (at(9, 1), at(9, 0), False),
        (date(2026, 3, 1), date(2026, 3, 1), True),
        (date(2026, 3, 1), date(2026, 3, 2), False),
        (date(2026, 3, 1), at(0, 0), False),
        (at(0, 0), date(2026, 3, 1), False),
        (at(9, 0), None, False),
        (wall("2026-03-01T09:00:00"), at(8, 0), True),
        (wall("2026-07-01T09:00:00"), at(8, 0, month=7), False),
        (wall("2026-07-01T09:00:00"), at(7, 0, month=7), True),
        (wall("2026-03-01T09:00:00"), wall("2026-03-01T08:00:00", "Europe/London"), True),
        (wall("2026-03-01T09:00:00", "Mars/Base"), wall("2026-03-01T09:00:00", "Mars/Base"), True),
        (wall("2026-03-01T09:00:00", "Mars/Base"), at(9, 3), True),
        (wall("2026-03-01T09:00:00", "Mars/Base"), at(8, 3), False),
        (wall("2026-03-01T09:00:00", "Mars/Base"), wall("2026-03-01T09:00:00"), False),
        (TWICE, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), True),
        (TWICE, datetime(2026, 10, 25, 1, 30, tzinfo=UTC), True),
        (TWICE, datetime(2026, 10, 25, 2, 30, tzinfo=UTC), False),
        (NEVER, datetime(2026, 3, 29, 1, 30, tzinfo=UTC), True),
        (wall("2026-03-01T09:00:00"), datetime.max.replace(tzinfo=timezone(-timedelta(hours=9))), False),
    ],
)
def test_the_same_point(wanted: Point, actual: Point | None, *, expected: bool) -> None:
    assert points.same(wanted, actual) is expected


@pytest.mark.parametrize(
    ("point", "days", "expected"),
    [
        (date(2026, 3, 1), 0, date(2026, 3, 1)),
        (date(2026, 3, 1), 1, date(2026, 3, 2)),
        (at(0, 0), 0, date(2026, 3, 1)),
        (at(9, 5), 0, date(2026, 3, 2)),
        (wall("2026-03-01T00:01:00"), 0, date(2026, 3, 2)),
        (date.max, 1, None),
    ],
)
def test_the_day_that_is_not_covered(point: Point, days: int, expected: date | None) -> None:
    assert points.day_after(point, days) == expected


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        ("Europe/Berlin", "Europe/Berlin", True),
        ("UTC", "Etc/UTC", True),
        ("Europe/Kiev", "Europe/Kyiv", True),
        ("Europe/Berlin", "Europe/London", False),
        ("Europe/Berlin", "Africa/Lagos", False),  # the same hour in winter
        ("Europe/Berlin", "", False),
        ("Mars/Base", "Europe/Berlin", False),
        ("../etc", "Europe/Berlin", False),
        ("Europe/Berlin", None, False),
    ],
)
def test_the_same_zone(wanted: str, actual: object, *, expected: bool) -> None:
    assert points.same_zone(wanted, actual, at(9, 1)) is expected
    assert points.same_zone(wanted, actual, date(9999, 12, 1)) in (True, expected), "however late the series begins"


def test_points_as_people_read_them() -> None:
    assert points.shown(date(2026, 3, 1)) == "2026-03-01"
    assert points.shown(wall("2026-03-01T09:00:00")) == "2026-03-01T09:00:00 Europe/Berlin"
    assert points.shown(None) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (["RRULE:FREQ=WEEKLY;COUNT=3"], ["rrule:count=3;freq=weekly;INTERVAL=1"], True),
        (["RRULE:FREQ=WEEKLY;BYDAY=MO,TU"], ["RRULE:BYDAY=TU,MO;FREQ=WEEKLY;"], True),
        (["RRULE:FREQ=WEEKLY;INTERVAL=2"], ["RRULE:FREQ=WEEKLY"], False),
        (["RRULE:FREQ=WEEKLY"], ["EXRULE:FREQ=WEEKLY"], False),
        (["EXDATE:20260301,20260308"], ["EXDATE:20260308", "EXDATE:20260301"], True),
        (["EXDATE;TZID=Europe/Berlin:20260301T090000"], ["EXDATE;TZID=Asia/Tokyo:20260301T090000"], False),
        ([], None, True),
        ([7], "RRULE", True),
    ],
)
def test_the_same_rules(one: object, other: object, *, expected: bool) -> None:
    assert (rules(one) == rules(other)) is expected
