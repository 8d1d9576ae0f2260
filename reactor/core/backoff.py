"""How long to wait before trying again.

Doubling from the first pause up to a cap, then jitter on top: at most a quarter, so that the pauses of the first
attempts stay what an operator expects (1 s, 2 s, 4 s ...) while items that failed together come back apart. The jitter
is added after the cap; added before it, everything that has waited long would come back at the same instant.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE = 1.0
ITEM_CAP = 3600.0
"""Seconds; the longest pause of an ordinary item, before jitter."""
REBUILD_CAP = 60.0
"""Seconds; the longest pause of a rebuild: a person who asked for it, or has mended what it needs, waits for it."""
HOLD_CAP = 60.0
"""Seconds; the longest hold that Google did not ask for. It is also the longest wait of an item for something that a
person must mend for the whole deployment: nothing tells us when it is mended, so we look once a minute."""
JITTER = 0.25
LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; what a server may make us wait. A mistake on its side (milliseconds, a date in 2099) costs a day at most."""


def backoff(failures: int, *, random: float, cap: float = ITEM_CAP, retry_after: float | None = None) -> float:
    """Return the seconds to wait after so many failures in a row.

    Args:
        failures: How many attempts failed, this one included; less than one is taken as one.
        random: From [0, 1); where in the jitter's range to land.
        cap: The longest pause in seconds before jitter.
        retry_after: Seconds that the other side asked for; wins where it is longer.
    """
    doublings = min(max(failures, 1) - 1, 64)  # beyond that every cap is reached, and a float would overflow at 1,024
    pause = min(math.ldexp(FIRST_PAUSE, doublings), cap) * (1 + JITTER * random)
    return max(pause, retry_after or 0.0)


class Pauses:
    """The growing pauses of one operation that is tried again and again.

    Args:
        first: Seconds; the first pause.
        cap: Seconds; the longest, before jitter.
    """

    def __init__(self, *, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap
        self._failures = 0

    def reset(self) -> None:
        """Start again with the first pause, after a success."""
        self._failures = 0

    def after_failure(self, random: float) -> float:
        """Count one more failure and return the seconds to wait.

        Args:
            random: From [0, 1); where in the jitter's range to land.
        """
        self._failures += 1
        return self._first * backoff(self._failures, random=random, cap=self._cap / self._first)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read Retry-After, https://www.rfc-editor.org/rfc/rfc9110#field.retry-after: whole seconds, or an HTTP date.

    Args:
        headers: The answer's, their names in lower case.
        now: The wall-clock time, with a time zone. A date is compared with the answer's own clock, because ours may be
            wrong; `now` counts where the answer has none. Without either, a date is not read.

    Returns:
        Seconds from 0 to `LONGEST_RETRY_AFTER`, None where there is no header or it cannot be read.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_RETRY_AFTER)
    until, wall = _date(text), _date(headers.get("date", "")) or now
    if until is None or wall is None:
        return None
    return min(max((until - wall).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _date(text: str) -> datetime | None:
    """Read an HTTP date; None where it is none, or has a field or a zone that cannot be."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000" parses as a time without a zone
