"""What a replica reports about itself once a minute, and whether there is anything to report.

*While it works* a replica writes one pulse a minute: what it has counted since the pulse before, and how it stands now.
*While it is idle* it writes none, so an idle database stays idle: an item counted, an item or a request in flight, or a
change in how it stands is worth a pulse, and nothing else is. The last thing that happens changes how it stands, so the
last pulse before a rest shows the rest.

*A pulse that is not written is lost*, with what it counted: nothing depends on it. A second one for the same minute,
written when the process ends, takes the first one's place and counts from where the first one did. So whether the
first one arrived or not, no item is counted twice.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

from reactor.core.calendar.messages import Method
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.gate import GateState
from reactor.core.dispatch.guard import Guard
from reactor.core.dispatch.lane import Lane, LaneStatus
from reactor.core.dispatch.lanes import Lanes
from reactor.core.stats import Calls, Histogram, Stats

MINUTE = 60
"""Seconds."""
WORST = 20
"""Lanes that a pulse names at most."""
UNLIMITED = 10_000.0
"""Calls a second from which on a rate is that of no quota; Google gives a user 10, and a project 166."""
SEVERITY = (LaneStatus.CONDEMNED, LaneStatus.BROKEN, LaneStatus.HELD, LaneStatus.LIMITED, LaneStatus.BUSY)
"""What holds a lane back, the worst first; no pulse names a lane that is idle."""


class PulseCounts(NamedTuple):
    """What a process has counted; each mapping is one column of `sync_pulses`.

    Attributes:
        counts: Items claimed, and items whose end was written, by what they came to.
        waited: Items by the seconds from insert to departure: the upper bound of each bucket, and how many fell under
            it and above the one before.
        done: Completed items by the seconds from insert to completion, likewise.
        answers: Google's answers by code. A batch that was answered is its parts; one that failed is one answer.
    """

    counts: Counter[str]
    waited: Counter[str]
    done: Counter[str]
    answers: Counter[str]

    @classmethod
    def of(cls, stats: Stats, calls: Calls) -> "PulseCounts":
        """Take the counters of this moment."""
        counts, answers = Counter(claimed=stats.claimed), Counter[str]()
        for (_, outcome), number in stats.processed.items():
            counts[outcome] += number
        for (method, code), number in calls.counts.items():
            if method != Method.BATCH or code != "200":
                answers[code] += number
        return cls(+counts, _buckets(stats.waits), _buckets(stats.seconds), answers)

    @classmethod
    def none(cls) -> "PulseCounts":
        """What a process has counted when it begins."""
        return cls(Counter(), Counter(), Counter(), Counter())

    def since(self, base: "PulseCounts") -> "PulseCounts":
        """What was counted after `base`."""
        return PulseCounts(*(mine - theirs for mine, theirs in zip(self, base, strict=True)))


def _buckets(histogram: Histogram) -> Counter[str]:
    bounds = (*(f"{bound:g}" for bound in histogram.bounds), "inf")
    return +Counter(dict(zip(bounds, histogram.counts, strict=True)))


@dataclass(frozen=True, slots=True)
class LanePulse:
    """How a lane stands.

    Attributes:
        workspace: The workspace.
        standing: What holds it back.
        breaker: The state of its breaker.
        opens_in: Seconds until something may leave; None where that is not known: only the end of a request says it.
        rate: Calls a second by this replica's part of the quota; None where there is no quota.
        in_flight: Items in flight.
    """

    workspace: UUID
    standing: LaneStatus
    breaker: str
    opens_in: float | None
    rate: float | None
    in_flight: int


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """How a replica stands.

    Attributes:
        lease: The number of the lease of its claims session; None without one.
        gate: The state of the gate.
        breaker: The state of the process's breaker.
        items: Items in flight.
        requests: Requests to Google under way.
        rate: Calls a second that it may make by its part of the project's quota; None where there is no quota.
        lag: How late the event loop woke a task in the last minute, at worst; in seconds.
        standings: Lanes by what holds them back.
        lanes: The worst of them.
    """

    lease: int | None
    gate: str
    breaker: str
    items: int
    requests: int
    rate: float | None
    lag: float
    standings: Mapping[str, int]
    lanes: tuple[LanePulse, ...]

    @classmethod
    def of(cls, lanes: Lanes, gate: GateState, lease: int | None, lag: float, now: float) -> "ReplicaState":
        """Take the state of this moment."""
        standings = [(lane, lane.standing(now)) for lane in lanes]
        return cls(
            lease,
            _name(gate),
            _name(lanes.process.breaker.state),
            lanes.in_flight_items,
            lanes.in_flight_requests,
            _rate(lanes.process),
            round(lag, 4),
            Counter(str(standing) for _, standing in standings),
            worst(standings, now),
        )

    @property
    def is_at_work(self) -> bool:
        """Whether anything is in flight."""
        return self.items > 0 or self.requests > 0

    @property
    def steady(self) -> "ReplicaState":
        """The state without what moves while nothing happens: rates, times, how late tasks are, idle lanes."""
        lanes = tuple(replace(lane, opens_in=None, rate=None) for lane in self.lanes)
        return replace(self, rate=None, lag=0.0, standings={}, lanes=lanes)


def worst(lanes: Iterable[tuple[Lane, LaneStatus]], now: float) -> tuple[LanePulse, ...]:
    """The lanes that are held back most, then those with most in flight; none that is idle."""
    found = [(lane, standing) for lane, standing in lanes if standing is not LaneStatus.IDLE]
    found.sort(key=lambda each: (SEVERITY.index(each[1]), -each[0].in_flight_items, each[0].workspace_id))
    return tuple(_lane_pulse(lane, standing, now) for lane, standing in found[:WORST])


def _lane_pulse(lane: Lane, standing: LaneStatus, now: float) -> LanePulse:
    ready_at = lane.guard.ready_at(now)  # this also brings the rate up to date
    is_known = standing is not LaneStatus.CONDEMNED and ready_at < math.inf
    return LanePulse(
        lane.workspace_id,
        standing,
        _name(lane.guard.breaker.state),
        round(ready_at - now, 3) if is_known else None,
        _rate(lane.guard),
        lane.in_flight_items,
    )


def _rate(guard: Guard) -> float | None:
    return round(guard.limits.rate, 3) if guard.limits.ceiling < UNLIMITED else None


def _name(state: GateState | BreakerState) -> str:
    return state.name.lower()


@dataclass(frozen=True, slots=True)
class Pulse:
    """What is written for a minute.

    Attributes:
        minute: The minute's beginning, in seconds of Unix time.
        counts: What was counted in it.
        state: How the replica stands at its end.
    """

    minute: int
    counts: PulseCounts
    state: ReplicaState


@dataclass(frozen=True, slots=True)
class PulseMemory:
    """What a replica remembers of its last pulse.

    Attributes:
        minute: The minute of that pulse.
        base: What had been counted before that minute.
        counted: What had been counted at that pulse.
        written: The state that was written; None where it was not, so that the next pulse reports it.
    """

    minute: int = -1
    base: PulseCounts = field(default_factory=PulseCounts.none)
    counted: PulseCounts = field(default_factory=PulseCounts.none)
    written: ReplicaState | None = None

    def next(
        self, now: float, counted: PulseCounts, state: ReplicaState, *, last: bool = False
    ) -> "tuple[Pulse, PulseMemory] | None":
        """Return the pulse to write now, and what to remember once it is written; None where there is none.

        Args:
            now: Unix time, some seconds after a minute's end.
            counted: What the process has counted so far.
            state: How it stands.
            last: Whether the process ends, so that a minute may have a second pulse.
        """
        minute = minute_of(now)
        again = minute == self.minute
        if again and not last:
            return None
        is_news = self.written is None or state.is_at_work or state.steady != self.written.steady
        if not is_news and counted == self.counted:
            return None
        base = self.base if again else self.counted
        return Pulse(minute, counted.since(base), state), PulseMemory(minute, base, counted, state)


def minute_of(now: float) -> int:
    """The minute that most of the last sixty seconds lie in: soon after a minute's end, that minute."""
    return math.floor((now - MINUTE / 2) / MINUTE) * MINUTE
