"""How long to wait before trying again.

Doubling from the first pause up to a cap, then jitter on top: at most a quarter, so that the pauses of the first
attempts stay what an operator expects (1 s, 2 s, 4 s ...) while items that failed together come back apart. The jitter
is added after the cap; added before it, everything that has waited long would come back at the same instant.
"""

import math
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


def parse_retry_after(header: str | None, wall: datetime) -> float | None:
    """Read a Retry-After header, https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.

    Args:
        header: The header's value: whole seconds or an HTTP date; None where the answer has none.
        wall: The wall-clock time, with a time zone; a date is compared with it.

    Returns:
        Seconds from 0 to `LONGEST_RETRY_AFTER`, None where there is no header or it cannot be read.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000" parses as a time without a zone
        seconds = (date - wall).total_seconds()
    except (ValueError, OverflowError):  # no date, or one whose fields or zone cannot be
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
