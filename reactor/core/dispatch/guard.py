"""May something leave now? One guard for each workspace's lane and one for the whole process.

Three things hold back, each for its own reason. The *limits* say how much may leave. The *breaker* opens when the other
side does not answer. The *hold* is for answers that whatever comes next would meet: a rate limit, a token that cannot
be had, a calendar that is not shared any more, a client secret that is wrong. The first such answer holds for a second,
the next ones for 2, 4 ... 60 s or what Retry-After says.

After a hold, and while the breaker is not closed, a guard is *suspect*: one item leaves, alone, and only its success
lets others follow. So a calendar that is gone costs a dead letter a minute, not the whole workspace, and what poisons a
batch is soon found alone.

Answers to requests that were sent before the current hold began are ignored: twenty requests in flight all report the
same shortage.
"""

import math
from dataclasses import dataclass, field
from uuid import UUID

from reactor.core.backoff import HOLD_CAP, backoff
from reactor.core.dispatch.breaker import Breaker, Permit, State
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.verdict import Verdict


@dataclass(slots=True)
class Guard:
    """Limits, breaker and hold of a lane or of the process.

    Attributes:
        limits: How much may leave.
        breaker: Whether the other side answers.
        held_until: Nothing leaves before.
    """

    limits: Limits
    breaker: Breaker = field(default_factory=Breaker)
    held_until: float = -math.inf
    _failures: int = 0
    _held_at: float = -math.inf

    @property
    def suspect(self) -> bool:
        """Whether one item has to show first that it works again."""
        return self._failures > 0 or self.breaker.state is not State.CLOSED

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self.limits.in_flight

    def opens_at(self, now: float) -> float:
        """When hold and breaker let something pass; `now` or before means at once."""
        return max(self.held_until, self.breaker.ready_at(now))

    def ready_at(self, now: float) -> float:
        """When the next request may leave; infinity where the end of another decides."""
        if self.suspect and self.limits.in_flight:
            return math.inf
        return max(self.opens_at(now), self.limits.ready_at(now))

    def closed_until(self, now: float, patience: float) -> float:
        """Until when there is no point in having anything ready; `now` or before: there is.

        A short wait for the rate is no reason, nor is the cap of requests in flight: they end any moment.
        """
        ready_at = self.limits.ready_at(now)
        if ready_at == math.inf or ready_at <= now + patience:
            ready_at = now
        return max(self.opens_at(now), ready_at)

    def take(self, now: float, units: int) -> Permit:
        """Let a request pass; only when `ready_at` says so, and no more units than are available."""
        permit = self.breaker.admit(now)
        granted = self.limits.take(now, units)
        assert permit is not None and granted == units, "asked when it was not ready"  # noqa: S101, PT018
        return permit

    def give(self, permit: Permit, now: float) -> None:
        """Take back a request that ended without anything being learnt."""
        self.limits.release()
        self.breaker.abandon(permit, now)

    def judge(self, permit: Permit, verdict: Verdict, now: float, *, random: float) -> None:
        """Report to the breaker."""
        if verdict.life:
            self.breaker.succeeded(permit)
        elif verdict.outage:
            self.breaker.failed(permit, now, random=random, retry_after=verdict.outage_after)
        else:
            self.breaker.abandon(permit, now)

    def hold(self, now: float, *, sent_at: float, random: float, after: float | None) -> None:
        """Hold everything after an answer that everything would meet."""
        if sent_at <= self._held_at:
            return
        self._held_at = now
        self._failures += 1
        self.held_until = now + backoff(self._failures, random=random, cap=HOLD_CAP, retry_after=after)

    def works(self, sent_at: float) -> None:
        """Take in that a request went well; one that left before the last hold began says nothing."""
        if sent_at > self._held_at:
            self._failures = 0


@dataclass(slots=True)
class Whole(Guard):
    """The guard of the whole process.

    To its breaker a workspace is one witness, however often it fails: a single workspace whose requests never come back
    must not stop the others, five that fail in a row with no success in between are an outage of Google.
    """

    _witnesses: set[UUID] = field(default_factory=set)

    def has_out(self, part: int) -> bool:
        """Whether this part of the requests that may be under way is."""
        return part * self.limits.in_flight >= self.limits.in_flight_cap

    def judge_of(self, witness: UUID, permit: Permit, verdict: Verdict, now: float, *, random: float) -> None:
        """Report to the breaker what a request of a workspace came to."""
        if verdict.life:
            self._witnesses.clear()
        elif verdict.outage and self.breaker.state is State.CLOSED:
            if witness in self._witnesses:
                return
            self._witnesses.add(witness)
        self.judge(permit, verdict, now, random=random)
