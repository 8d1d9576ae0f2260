"""When to stop asking a side that does not answer, and how to notice that it answers again.

    CLOSED --`threshold` outages in a row--> OPEN --pause over--> HALF_OPEN (probes) --one answered--> CLOSED
                                              ^--------------------- one met an outage ----/

Two things go wrong in breakers, and both are settled here by *permits*. Every call carries the permit it was admitted
with, a number that is never used twice for different purposes:

- *Late news.* A call that was admitted before the breaker opened may report afterwards, in either direction. Its
  permit is not the current one, so what it says is dropped: an old success must not close a breaker whose probe is
  still out, and the twenty other calls of the burst that opened it must not lengthen the pause twenty times.
- *Probes without a report.* The task that holds a probe may be cancelled, or its request may hang because of what it is
  about: one calendar that does not answer must not decide for all. So `probe_seconds` after a probe was admitted the
  next caller gets another one, and a task that knows that it will not report says so (`abandon`), which frees the place
  at once. All probes of one HALF_OPEN have the same permit, and the first report of any of them counts.

What is an outage is the caller's business: an answer that refuses a request proves that the other side is up, and is
reported as a success.
"""

import math
from dataclasses import dataclass, field
from enum import Enum, auto

from reactor.core.backoff import backoff

Permit = int
"""What `admit` returned; to be handed back with the result."""


class BreakerState(Enum):
    """The state of a circuit breaker; the module's head draws the transitions."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


@dataclass(slots=True)
class Breaker:
    """A circuit breaker without a clock: every method takes `now`, in seconds of any clock that does not go back.

    A `now` before one seen earlier is harmless: at worst the pause lasts longer by the step back.

    Attributes:
        threshold: Outages in a row that open it. Five: one bad answer in a burst is common, five without a single good
            one in between are not.
        cap: Seconds; the longest pause before jitter.
        probe_seconds: Seconds that a probe has for its report before the next one is admitted.
    """

    threshold: int = 5
    cap: float = 60.0
    probe_seconds: float = 60.0
    _permit: Permit = field(default=0, init=False)
    _outages: int = field(default=0, init=False)
    _openings: int = field(default=0, init=False)
    _open_until: float = field(default=-math.inf, init=False)
    _probe_until: float = field(default=-math.inf, init=False)
    _state: BreakerState = field(default=BreakerState.CLOSED, init=False)

    @property
    def state(self) -> BreakerState:
        """The state. It is OPEN until a caller takes the probe, even when the pause is over."""
        return self._state

    def ready_at(self, now: float) -> float:
        """Return the earliest time at which `admit` will let something through; `now` or before means at once.

        While a probe is out that is when the next one may leave; its report usually comes sooner, so ask again then.
        """
        if self._state is BreakerState.CLOSED:
            return now
        return self._probe_until if self._state is BreakerState.HALF_OPEN else self._open_until

    def admit(self, now: float) -> Permit | None:
        """Let one call through, or none.

        Returns:
            The permit to report with, None when nothing may be sent now.
        """
        if self.ready_at(now) > now:
            return None
        if self._state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN)
        if self._state is BreakerState.HALF_OPEN:
            self._probe_until = now + self.probe_seconds
        return self._permit

    def is_current(self, permit: Permit) -> bool:
        """Whether a report with this permit counts; otherwise it is late news."""
        return permit == self._permit

    def succeeded(self, permit: Permit) -> None:
        """Report that the other side answered, whatever it said."""
        if not self.is_current(permit):
            return
        self._outages = 0
        if self._state is BreakerState.HALF_OPEN:
            self._openings = 0
            self._enter(BreakerState.CLOSED)

    def failed(self, permit: Permit, now: float, *, random: float, retry_after: float | None = None) -> None:
        """Report an outage.

        Args:
            permit: What `admit` returned for the call.
            now: The time of the report.
            random: From [0, 1); the jitter of the pause, should the breaker open.
            retry_after: Seconds that the other side asked for; wins where it is longer than the pause.
        """
        if not self.is_current(permit):
            return
        self._outages += 1
        if self._state is BreakerState.HALF_OPEN or self._outages >= self.threshold:
            self._openings += 1
            self._outages = 0
            self._open_until = now + backoff(self._openings, random=random, cap=self.cap, retry_after=retry_after)
            self._enter(BreakerState.OPEN)

    def abandon(self, permit: Permit, now: float) -> None:
        """Report that the call will never have a result: cancelled, or not sent after all."""
        if self.is_current(permit) and self._state is BreakerState.HALF_OPEN:
            self._probe_until = min(self._probe_until, now)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._permit += 1
