"""May a request leave now? Each workspace's lane has a guard, and so has the whole process.

Three things hold requests back, each for its own reason. The *limits* say how much may leave. The *breaker* opens when
the other side does not answer. The *hold* is a pause after an answer that the next request would get too: a rate limit,
a token that is refused, a calendar that is not shared any more, a client secret that is wrong. The first such answer
holds for a second, the next ones for 2, 4 ... 60 s or what Retry-After says.

After a hold, and while the breaker is not closed, a guard *needs a probe*: one item leaves, alone, and only its success
lets others follow. So a calendar that is gone costs a dead letter a minute, not the whole workspace, and what poisons a
batch is soon found alone.

Answers to requests that were sent before the current hold began are ignored: twenty requests in flight all report the
same shortage. So nothing waits for them either. A request that hangs until its time-out, because one workspace's
calendar does not answer, must not delay the one item that tries for all. To tell the requests apart, each carries a
`Ticket` with the guard's *era*, which ends with every hold and every opening of the breaker.

The item that tries for the whole process may itself meet a calendar that does not answer. So the next one tries
`PROBE_ANSWER_SECONDS` later, after a hold and with an open breaker alike, and the first success of any of them counts.
If Google itself does not answer, all of them hang: until the first time-out that is one request in two seconds.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from reactor.core.backoff import HOLD_CAP, backoff
from reactor.core.dispatch.breaker import Breaker, BreakerState, Permit
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.request_evidence import RequestEvidence

PROBE_ANSWER_SECONDS = 2.0
"""Seconds that an item which tries for all has for its answer before the next one tries. Google answers within one
second; a request that hangs lasts ten times as long."""


class Ticket(NamedTuple):
    """What a guard gives out with a request and takes back when the request ends.

    Attributes:
        permit: The breaker's permit.
        era: The guard's era when the request left.
        left_at: When the request left, in seconds.
    """

    permit: Permit
    era: int
    left_at: float


@dataclass(slots=True)
class Guard:
    """Limits, breaker and hold of a lane or of the process.

    Attributes:
        limits: How much may leave.
        breaker: Whether the other side answers; its `probe_seconds` are those of the one request after a hold, too.
        held_until: Nothing leaves before.
    """

    limits: Limits
    breaker: Breaker = field(default_factory=Breaker)
    held_until: float = -math.inf
    _failures: int = 0
    _held_at: float = -math.inf
    _era: int = 0
    _of_era: int = 0
    _left_at: float = -math.inf

    @property
    def needs_probe(self) -> bool:
        """Whether one item has to succeed first, before others may follow."""
        return self._failures > 0 or self.breaker.state is not BreakerState.CLOSED

    @property
    def in_flight(self) -> int:
        """Requests of this guard that are under way."""
        return self.limits.in_flight

    def opens_at(self, now: float) -> float:
        """When hold and breaker let something pass; `now` or before means at once."""
        return max(self.held_until, self.breaker.ready_at(now))

    def ready_at(self, now: float) -> float:
        """When the next request may leave; infinity where the end of another decides."""
        ready_at = max(self.opens_at(now), self.limits.ready_at(now))
        return max(ready_at, self._answered_by(self._left_at)) if self.needs_probe and self._of_era else ready_at

    def closed_until(self, now: float, patience: float) -> float:
        """Until when it makes no sense to claim items; `now` or before if it does now.

        A short wait for the rate is no reason against it, nor is the cap of requests in flight, because one of those
        may end at any moment.
        """
        ready_at = self.limits.ready_at(now)
        if ready_at == math.inf or ready_at <= now + patience:
            ready_at = now
        return max(self.opens_at(now), ready_at)

    def waits_for(self, ticket: Ticket, now: float) -> bool:
        """Whether the end of a request decides when the next one may leave, while the guard needs a probe."""
        return ticket.era == self._era and now < self._answered_by(ticket.left_at)

    def _answered_by(self, left_at: float) -> float:
        """Until when a request that left alone may be answered before the next one tries."""
        return left_at + self.breaker.probe_seconds

    def take(self, now: float, units: int) -> Ticket:
        """Let a request leave; only when `ready_at` says so, and no more units than are available."""
        permit = self.breaker.admit(now)
        granted = self.limits.take(now, units)
        assert permit is not None and granted == units, "asked when it was not ready"  # noqa: S101, PT018
        self._of_era += 1
        self._left_at = now
        return Ticket(permit, self._era, now)

    def abandon(self, ticket: Ticket, now: float) -> None:
        """Take back the ticket of a request that ended without an outcome."""
        self._release(ticket)
        self.breaker.abandon(ticket.permit, now)

    def finish(self, ticket: Ticket, evidence: RequestEvidence, now: float, *, random: float) -> None:
        """Take back the ticket of a request that ended, and report its outcome to the breaker."""
        self._release(ticket)
        was_open = self.breaker.state is BreakerState.OPEN
        if evidence.answered:
            self.breaker.succeeded(ticket.permit)
        elif evidence.outage:
            self.breaker.failed(ticket.permit, now, random=random, retry_after=evidence.outage_after)
        else:
            self.breaker.abandon(ticket.permit, now)
        if self.breaker.state is BreakerState.OPEN and not was_open:
            self._begin_era()

    def _release(self, ticket: Ticket) -> None:
        self.limits.release()
        self._of_era -= ticket.era == self._era

    def _begin_era(self) -> None:
        self._era += 1
        self._of_era = 0

    def hold(self, now: float, *, sent_at: float, random: float, after: float | None) -> None:
        """Let nothing leave for a while, after an answer that the next request would get too."""
        if sent_at <= self._held_at:
            return
        self._begin_era()
        self._held_at = now
        self._failures += 1
        self.held_until = now + backoff(self._failures, random=random, cap=HOLD_CAP, retry_after=after)

    def record_success(self, sent_at: float) -> None:
        """Note that a request succeeded; one that left before the last hold began says nothing."""
        if sent_at > self._held_at:
            self._failures = 0


@dataclass(slots=True)
class ProcessGuard(Guard):
    """The guard of the whole process.

    To its breaker a workspace is one witness, however often it fails: a single workspace whose requests never come back
    must not stop the others, five that fail in a row with no success in between are an outage of Google.
    """

    breaker: Breaker = field(default_factory=lambda: Breaker(probe_seconds=PROBE_ANSWER_SECONDS))
    _witnesses: set[UUID] = field(default_factory=set)

    def is_loaded(self, share: float) -> bool:
        """Whether so large a part of the requests that may be under way is under way, `share` from 0 to 1."""
        return self.limits.in_flight >= share * self.limits.in_flight_cap

    def finish_for(
        self, witness: UUID, ticket: Ticket, evidence: RequestEvidence, now: float, *, random: float
    ) -> None:
        """Take back the ticket of a workspace's request that ended, and report its outcome to the breaker."""
        if evidence.answered:
            if self.breaker.is_current(ticket.permit):
                self._witnesses.clear()
        elif evidence.outage and self.breaker.state is BreakerState.CLOSED:
            if witness in self._witnesses:
                self._release(ticket)
                return
            self._witnesses.add(witness)
        self.finish(ticket, evidence, now, random=random)
