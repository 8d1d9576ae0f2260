"""Points in time, as both sides write them, and whether two of them are the same.

Moments are compared, not strings: `09:00+01:00` and `08:00Z` are one moment, and so are 09:00 in Berlin and 08:00 in
London. A whole day is a day and no moment: no zone moves it. Fractions of a second are dropped, because a calendar has
none.

A wall-clock time (`09:00` and a zone) may exist twice or not at all when the clocks change. It agrees with a moment if
the zone's clock shows it at that moment, the first time as well as the second.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY = len("2026-01-31")
_WEEKS_COMPARED = 520


@dataclass(frozen=True, slots=True)
class WallTime:
    """A time on the clocks of a zone.

    Attributes:
        time: Without an offset.
        zone: An IANA name; one that is not known here is compared as a name.
    """

    time: datetime
    zone: str

    def __str__(self) -> str:
        return f"{self.time.isoformat()} {self.zone}"


Point = date | WallTime
"""A day (`date`), a moment (`datetime` with an offset), or a time on the wall."""


def read(text: object, zone: str | None) -> Point | None:
    """Read a day or a time in ISO 8601; None where it is neither.

    Args:
        text: What is written.
        zone: The time's zone, if it has no offset.
    """
    if not isinstance(text, str):
        return None
    try:
        if len(text) <= _DAY:
            return date.fromisoformat(text)
        time = datetime.fromisoformat(text).replace(microsecond=0)
    except ValueError:
        return None
    if time.tzinfo is not None:
        return time
    return WallTime(time, zone) if zone else None


def from_google(point: object) -> Point | None:
    """Read the `start` or `end` of an event; None where there is nothing to be read."""
    if not isinstance(point, dict):
        return None
    zone = point.get("timeZone")
    return read(point.get("date") or point.get("dateTime"), zone if isinstance(zone, str) else None)


def is_day(point: Point) -> bool:
    """Whether it is a whole day."""
    return isinstance(point, date) and not isinstance(point, datetime)


def day(point: Point) -> date:
    """The day of a point, as it is written."""
    time = point.time if isinstance(point, WallTime) else point
    return time.date() if isinstance(time, datetime) else time


def day_after(point: Point, days: int = 0) -> date | None:
    """The first day that is not covered up to a point, and some days more; None beyond the last that there is."""
    time = point.time if isinstance(point, WallTime) else point
    begun = isinstance(time, datetime) and time.time() != time.min.time()
    try:
        return day(point) + timedelta(days=begun + days)
    except OverflowError:
        return None


def same(wanted: Point, actual: Point | None) -> bool:
    """Whether two points are the same."""
    if actual is None or is_day(wanted) or is_day(actual):
        return wanted == actual
    at = moment(actual)
    if wanted == actual or (at is not None and at == moment(wanted)):
        return True
    return isinstance(wanted, WallTime) and _on_the_wall(actual, wanted.zone) == wanted.time


def moment(point: Point) -> datetime | None:
    """The moment in UTC; None for a day, for what the calendar does not reach, and where the zone is not known here."""
    zone = _zone(point.zone) if isinstance(point, WallTime) else None
    time = point.time.replace(tzinfo=zone) if isinstance(point, WallTime) and zone else point
    with suppress(OverflowError):
        if isinstance(time, datetime):
            return time.astimezone(UTC)
    return None


def _on_the_wall(point: Point, zone: str) -> datetime | None:
    """What clocks in the zone show; where it is not known here, what is written."""
    if not isinstance(point, datetime):
        return None
    there = _zone(zone)
    with suppress(OverflowError):
        return (point.astimezone(there) if there else point).replace(tzinfo=None)
    return None


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # not known, no name of a zone, the name of a directory
        return None


def same_zone(wanted: str, actual: object, since: Point) -> bool:
    """Whether a series that begins at a point has the same times in both zones.

    Zones have several names (Europe/Kiev, Europe/Kyiv; UTC, Etc/UTC), and Google may answer with another one. Ten years
    of weeks are compared: that shows every change of the clocks.
    """
    if wanted == actual or not isinstance(actual, str):
        return wanted == actual
    ours, theirs = _zone(wanted), _zone(actual)
    if ours is None or theirs is None:
        return False
    first = datetime.combine(day(since), datetime.min.time())
    weeks = [first + timedelta(weeks=week) for week in range(min(_WEEKS_COMPARED, (date.max - first.date()).days // 7))]
    return all(ours.utcoffset(week) == theirs.utcoffset(week) for week in weeks)


def shown(point: Any) -> str | None:
    """A point as people read it."""
    if isinstance(point, date):
        return point.isoformat()
    return None if point is None else str(point)
