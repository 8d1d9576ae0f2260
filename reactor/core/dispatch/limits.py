"""How much may be sent now: a token bucket with an adaptive rate, a pause, and a cap on requests in flight.

The same class serves a workspace's lane and the whole process; only the numbers differ.

*The bound.* A bucket that holds at most `burst` units and gains `rate` units per second admits at most
`burst + rate * T` units in any window of T seconds: what was in it at the window's start, plus what came in. Google
counts requests over a sliding minute (https://developers.google.com/workspace/calendar/api/guides/quota: 600 per
minute, user and project; 10,000 per minute and project), so `Limits.per_minute(600)` sets the burst to a fiftieth, 12,
and the highest rate to (600 - 12) / 60.5 = 9.72/s: no window of 60 seconds contains more than 600, wherever it starts,
and 97 % of the quota are used. The bound is on departures. Requests that spend different times on the way arrive
closer together; half a second of that is what the 0.5 is for.

*A part of it.* Where several replicas share the quota each has an equal part of burst and rate
(core/dispatch/sharing.py), and the bound holds for all of them together: at any moment their buckets hold no more than
`burst`, and gain no more than `rate`. So a replica that begins has an empty bucket, one whose part becomes smaller lets
go of what is too much, and one whose part grows waits for it to come in. A part of the burst is at least one unit, or
nothing could leave; `LEAST_BURST` is enough for eight replicas.

*The rate adapts*, because we cannot know the true limit: quotas differ between projects, other programs spend the same
user's, and successive writes to one calendar have a limit that is not published. A rate-limit answer halves the rate,
down to a floor, and empties the bucket; from then on the rate climbs in a straight line and reaches the ceiling after
`RECOVERY_SECONDS`. Ten minutes is ten windows of the quota: a limit that is really half of the ceiling is then met
again every two and a half minutes, and three quarters of it are used on average.

*One reduction per round trip.* Fifty parts of a batch, or twenty requests in flight together, report the same
shortage fifty or twenty times. Only a request that left after the last reduction is news about the reduced rate;
the others are dropped (`sent_at`), as TCP halves its window once per round trip.

*Time* is a float in seconds, from any clock. One that steps back is treated as standing still until it catches up.
"""

import math
from dataclasses import dataclass, field

MINUTE = 60.0
ON_THE_WAY = 0.5
"""Seconds by which requests may differ in the time that they spend on the way."""
BURST = 50
"""One part in so many of a minute's quota may leave at once."""
LEAST_BURST = 8
RECOVERY_SECONDS = 600.0
"""Seconds that the rate needs from nothing to the ceiling; half of it after one halving."""
ROUNDING = 1e-3
"""Units; what may be missing from a whole one, because 49.9999 must count as 50 when `ready_at` promised 50. It is a
loan: the bucket goes below zero by as much, so the bound above grows by a thousandth of a unit once, not per request.
Floats of the size of Unix time are 2.4e-7 s apart, at 160 units per second 4e-5 units."""


@dataclass(slots=True)
class Limits:
    """What one user, or the whole process, may send. Starts with a full bucket at the highest rate.

    Attributes:
        burst: Units that may leave at once; at least 1. A call is a unit, also inside a batch.
        ceiling: Units per second; the highest rate.
        floor: Units per second; the rate never falls below it. More than 0.
        in_flight_cap: Requests that may be under way at once; a batch is one request.
        divisor: We use one part in so many of burst, ceiling and floor.
        capacity: Units that may leave at once by our part.
    """

    burst: int
    ceiling: float
    floor: float
    in_flight_cap: int
    divisor: int = field(default=1, init=False)
    capacity: float = field(init=False)
    _units: float = field(init=False)
    _rate: float = field(init=False)
    _now: float = field(default=-math.inf, init=False)
    _reduced_at: float = field(default=-math.inf, init=False)
    _paused_until: float = field(default=-math.inf, init=False)
    _in_flight: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.burst < 1 or self.in_flight_cap < 1 or not 0 < self.floor <= self.ceiling:
            raise ValueError("burst and in_flight_cap must be at least 1, and 0 < floor <= ceiling")
        self._units = self.capacity = float(self.burst)
        self._rate = self.ceiling

    @classmethod
    def per_minute(cls, quota: int, *, in_flight_cap: int) -> "Limits":
        """Return limits that never exceed `quota` units in any window of a minute.

        Args:
            quota: Units per sliding minute; more than twice `LEAST_BURST`.
            in_flight_cap: Requests under way at once.
        """
        burst = max(quota // BURST, LEAST_BURST)
        ceiling = (quota - burst) / (MINUTE + ON_THE_WAY)
        return cls(burst=burst, ceiling=ceiling, floor=min(0.1, ceiling), in_flight_cap=in_flight_cap)

    @property
    def rate(self) -> float:
        """Units per second at present."""
        return self._rate

    @property
    def in_flight(self) -> int:
        """Requests taken and not released."""
        return self._in_flight

    def share(self, now: float, divisor: int, *, anew: bool = False) -> None:
        """Use another part of the quota.

        Args:
            now: The present, in seconds.
            divisor: Use one part in so many.
            anew: Begin with an empty bucket: what was ours before may have been used by others.
        """
        self._advance(now)
        self._rate *= self.divisor / divisor
        self.divisor = divisor
        self.capacity = max(1.0, self.burst / divisor)
        self._units = 0.0 if anew else min(self._units, self.capacity)

    def within(self, seconds: float) -> int:
        """Return how many units may leave in so many seconds at the present rate, from a full bucket; at least 1."""
        return math.floor(self.capacity + self._rate * seconds)

    def is_full(self, now: float) -> bool:
        """Whether the bucket is full, so that new limits would allow no more than these."""
        self._advance(now)
        return self._units >= self.capacity

    def available(self, now: float) -> int:
        """Return how many units may leave in one request now; 0 while paused, or with the cap reached."""
        now = self._advance(now)
        if now < self._paused_until or self._in_flight >= self.in_flight_cap:
            return 0
        return math.floor(self._units + ROUNDING)

    def ready_at(self, now: float, units: int = 1) -> float:
        """Return when so many units may leave in one request.

        Args:
            now: The present.
            units: How many; more than the burst can never leave at once and is taken as the burst.

        Returns:
            `now` or later; infinity while the cap is reached, because only a release changes that.
        """
        now = self._advance(now)
        if self._in_flight >= self.in_flight_cap:
            return math.inf
        missing = min(units, self.capacity) - self._units
        return max(now, self._paused_until, now + missing / self._rate if missing > ROUNDING else now)

    def take(self, now: float, units: int = 1) -> int:
        """Take up to so many units for one request.

        Returns:
            How many were granted. Where it is not 0 the request is in flight and must be released once.
        """
        granted = min(units, self.available(now))
        if granted <= 0:
            return 0
        self._units -= granted
        self._in_flight += 1
        return granted

    def release(self) -> None:
        """Report that a request is no longer in flight, whatever its outcome.

        Raises:
            ValueError: Nothing is in flight: a request was released twice.
        """
        if self._in_flight == 0:
            raise ValueError("more requests released than taken")
        self._in_flight -= 1

    def throttled(self, now: float, *, sent_at: float, retry_after: float | None = None) -> None:
        """Report a rate-limit answer: the rate halves, once per round trip, and the bucket is empty.

        Args:
            now: The present.
            sent_at: When the refused request was taken.
            retry_after: Seconds that the answer asked for; nothing leaves before.
        """
        now = self._advance(now)
        if retry_after is not None:
            self.pause(now + retry_after)
        if sent_at <= self._reduced_at:
            return
        self._reduced_at = now
        self._rate = max(self.floor / self.divisor, self._rate / 2)
        self._units = 0.0

    def pause(self, until: float) -> None:
        """Let nothing leave before `until`. A pause is never shortened."""
        self._paused_until = max(self._paused_until, until)

    def _advance(self, now: float) -> float:
        """Fill the bucket up to `now` and let the rate climb; return the time that holds."""
        if now > self._now:
            # The first call only starts the clock: the bucket is full already, and the past is infinitely long.
            elapsed = now - self._now if self._now > -math.inf else 0.0
            ceiling = self.ceiling / self.divisor
            self._units = min(self.capacity, self._units + elapsed * self._rate)
            self._rate = min(ceiling, self._rate + elapsed * ceiling / RECOVERY_SECONDS)
            self._now = now
        return self._now
