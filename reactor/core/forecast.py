"""When a backlog will have left, by the rate at which Google lets it: "4,312 items at 10 a second: through by 14:32".

An item is one call as a rule (docs/scaling.md). New items, answers that ask for a second call, and a rate that
climbs or falls make it later or sooner: the forecast says what the present comes to.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST = timedelta(days=365)
"""What takes longer has no date."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a backlog will have left.

    Attributes:
        items: How many items wait.
        capped: Whether they are more than that.
        rate: Calls a second.
        through_by: When the last of them will have left; None where that is more than a year away.
    """

    items: int
    capped: bool
    rate: float
    through_by: datetime | None

    def sentence(self, now: datetime) -> str:
        """The forecast in words; times are those of `now`'s zone."""
        over = "over " if self.capped else ""
        noun = "item" if self.items == 1 else "items"
        return f"{over}{self.items:,} {noun} at {per_time(self.rate)}: {self._end(now)}"

    def _end(self, now: datetime) -> str:
        if self.through_by is None:
            return "not within a year"
        at = self.through_by.astimezone(now.tzinfo)
        shown = f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"
        return f"not before {shown}" if self.capped else f"through by {shown}"


def forecast(
    items: int, rates: Iterable[float | None], now: datetime, *, opens_in: float = 0.0, capped: bool = False
) -> Forecast | None:
    """Forecast when a backlog will have left.

    Args:
        items: How many items wait.
        rates: Calls a second that each replica may make for them; None where it has no quota.
        now: The present.
        opens_in: Seconds until the first of them may leave.
        capped: Whether they are more than that.

    Returns:
        None where nothing waits, where no quota bounds the rate, or where none is known.
    """
    known = list(rates)
    total = sum(rate for rate in known if rate is not None)
    if items <= 0 or None in known or total <= 0:
        return None
    seconds = max(0.0, opens_in) + items / total
    if seconds > LONGEST.total_seconds():
        return Forecast(items, capped, total, None)
    end = now + timedelta(seconds=seconds)
    whole = end.replace(second=0, microsecond=0)
    return Forecast(items, capped, total, whole if whole == end else whole + timedelta(minutes=1))


def per_time(rate: float) -> str:
    """A rate in words, with two digits."""
    for many, time in ((rate, "a second"), (60 * rate, "a minute")):
        if many >= 1:
            return f"{many:,.0f} {time}" if many >= 9.95 else f"{many:.1f} {time}".replace(".0 ", " ")
    return f"{3600 * rate:.2g} an hour"
