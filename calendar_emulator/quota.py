"""Quotas: sliding windows of one minute, per project, per user and per calendar.

Pure: callers pass `now`. A refused call costs nothing. Off by default, because most tests and every benchmark want
Google's rules without its limits; `Quota.documented()` is what new projects get since May 2026
(https://developers.google.com/workspace/calendar/api/guides/quota).
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field

from calendar_emulator.errors import ApiError


class SlidingWindow:
    """At most `limit` units in any `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def used(self, now: float) -> int:
        """Units spent in the window that ends now."""
        while self._spent and self._spent[0][0] <= now - self._seconds:
            self._sum -= self._spent.popleft()[1]
        return self._sum

    def spend(self, now: float, cost: int) -> None:
        """Count units as spent; the caller has checked that they are there."""
        self._spent.append((now, cost))
        self._sum += cost


@dataclass(slots=True)
class Quota:
    """The limits and what is left of them.

    Attributes:
        project: Units per window for all users together, None for no limit.
        user: Units per window and user (or `quotaUser`), None for no limit.
        calendar_writes: Writes per window and calendar, None for no limit; the real figure is not published.
        seconds: Length of the window.
        status: What answers a call over the user's or the project's limit: 403 or 429.
        reason: And why: rateLimitExceeded or userRateLimitExceeded.
        retry_after: The Retry-After header to add, None for none, as is documented.
    """

    project: int | None = None
    user: int | None = None
    calendar_writes: int | None = None
    seconds: float = 60.0
    status: int = 403
    reason: str = "rateLimitExceeded"
    retry_after: str | None = None
    _windows: dict[tuple[str, str], SlidingWindow] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._windows = defaultdict(lambda: SlidingWindow(self.seconds))

    @classmethod
    def documented(cls) -> "Quota":
        """The published limits of a new project."""
        return cls(project=10_000, user=600)

    def spend(self, now: float, *, user: str, calendar: str, cost: int, write: bool) -> None:
        """Count one call.

        Args:
            now: Seconds of the emulator's clock.
            user: Whose quota it is.
            calendar: The calendar it goes to.
            cost: Units: 3 for a patch, 1 for the rest.
            write: Whether it changes the calendar.

        Raises:
            ApiError: A limit is reached; nothing was counted.
        """
        due = [
            (self._windows[name], limit)
            for name, limit in (
                (("project", ""), self.project),
                (("user", user), self.user),
                (("calendar", calendar), self.calendar_writes if write else None),
            )
            if limit is not None
        ]
        for window, limit in due:
            if window.used(now) + cost > limit:
                raise ApiError(self.reason, status=self.status, retry_after=self.retry_after)
        for window, _ in due:
            window.spend(now, cost)
