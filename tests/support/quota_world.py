"""Replicas that share a quota, in virtual time: a server with sessions and locks, statements that take a while.

Processes come, are killed, frozen, cut off, and drained. Each sends whatever it may, at once.
"""

import heapq
import random
from collections.abc import Callable
from fractions import Fraction
from itertools import count

from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.sharing import NOTHING, Census, Sharing, SharingAction, SharingStep, Steps

SWEEP = 1.4
TICK = 0.05
AGAIN = 0.05
LINGER = 15.5
"""Seconds for which the server keeps the session of a machine that vanished."""


class Replica:
    """A process; a new one has a new object."""

    def __init__(self, world: "World", name: int) -> None:
        self.world, self.name = world, name
        self.lanes = Lanes(
            process=Limits.per_minute(world.quota, in_flight_cap=10**9),
            limits=lambda: Limits.per_minute(world.quota, in_flight_cap=10**9),
            claim_size=200,
            parts=50,
        )
        self.alive = True
        self.frozen_until = 0.0
        self.session = -1
        self.sharing = Sharing()
        self._steps: Steps | None = None
        self._again = False

    def start(self) -> None:
        self._connect()
        self.world.after(self.world.rng.uniform(0, TICK), self._tick, self)

    def _connect(self) -> None:
        self.lanes.unshare()
        self.sharing, self._steps = Sharing(), None
        self.session = self.world.connect(self)
        self.adjust()
        self.world.after(SWEEP, self._sweep, self, self.session)

    def lost(self, session: int) -> None:
        """Notice that a session has ended; it stops at once, and gets another."""
        if session == self.session >= 0:
            self.lanes.unshare()
            self.session = -1
            self.world.after(0.05, self._connect, self)

    def adjust(self) -> None:
        if self._steps is not None:
            self._again = True
        elif self.session >= 0:
            self._again, self._steps = False, self.sharing.adjust()
            self._step(self.session, None)

    def _step(self, session: int, answer: Census | None) -> None:
        if session != self.session or self._steps is None:
            return
        try:
            step = self._steps.send(answer)
        except StopIteration:
            self._steps = None
            self._tell()
            if self._again or self.sharing.divisor == NOTHING:
                self.world.after(AGAIN, self.adjust, self)
            return
        self._tell()
        self.world.ask(self, step, lambda census: self._step(session, census))

    def _sweep(self, session: int) -> None:
        if session != self.session:
            return

        def counted(census: Census | None) -> None:
            if session == self.session and census is not None:
                if self.sharing.take_in(census):
                    self.adjust()
                self._tell()

        self.world.ask(self, SharingStep(SharingAction.COUNT), counted)
        self.world.after(SWEEP * self.world.rng.uniform(0.95, 1.05), self._sweep, self, session)

    def _tell(self) -> None:
        if self.sharing.divisor != NOTHING:
            self.lanes.share(self.world.now, self.sharing.divisor, self.sharing.good_until)

    def _tick(self) -> None:
        now, limits = self.world.now, self.lanes.process.limits
        if self.lanes.may_use(now) and (units := limits.take(now, 10**6)):
            limits.release()
            self.world.sent.append((now, units))
        self.world.look()
        self.world.after(TICK, self._tick, self)


class World:
    """The server, the clock, and what has been sent: when, and how many calls."""

    def __init__(self, quota: int, seed: int, *, slow: float = 0.0) -> None:
        self.quota = quota
        self.rng = random.Random(seed)
        self.slow = slow
        self.now = 1000.0
        self.sent: list[tuple[float, int]] = []
        self.replicas: list[Replica] = []
        self.older = 0
        self.changed_at: list[float] = []
        self._locks: dict[int, list[int]] = {}
        self._owners: dict[int, Replica] = {}
        self._events: list[tuple[float, int, Replica | None, Callable[[], object]]] = []
        self._numbers = count()

    # The clock

    def after(self, seconds: float, do: Callable[..., object], replica: Replica | None = None, *args: object) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), replica, lambda: do(*args)))

    def run(self, seconds: float) -> None:
        """Let time pass; what happens to a frozen process happens when it thaws."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, number, replica, do = heapq.heappop(self._events)
            if replica is None or (replica.alive and self.now >= replica.frozen_until):
                do()
            elif replica.alive:
                heapq.heappush(self._events, (replica.frozen_until, number, replica, do))
        self.now = end

    # The server

    def connect(self, replica: Replica) -> int:
        session = next(self._numbers)
        self._locks[session], self._owners[session] = [], replica
        return session

    def end(self, session: int) -> None:
        self._locks.pop(session, None)

    def ask(self, replica: Replica, step: SharingStep, answer: Callable[[Census | None], object]) -> None:
        """A statement: on its way, done, and its answer on the way back."""
        began, session = self.now, replica.session

        def done() -> None:
            if session in self._locks:
                census = self._do(session, step, began)
                self.after(self._latency(), answer, replica, census)

        self.after(self._latency(), done)

    def _do(self, session: int, step: SharingStep, began: float) -> Census | None:
        match step.do:
            case SharingAction.COUNT:
                others = [min(held) for each, held in self._locks.items() if held and each != session]
                return Census(began, tuple(others), self.older)
            case SharingAction.PUBLISH:
                self._locks[session].append(step.divisor)
            case SharingAction.RETRACT:
                self._locks[session].remove(step.divisor)
            case SharingAction.CALL:
                for each in self._locks:
                    if each != session:
                        owner = self._owners[each]
                        self.after(self._latency(), owner.adjust, owner)
        return None

    def _latency(self) -> float:
        return self.rng.uniform(0.0005, 0.02) if self.rng.random() >= self.slow else self.rng.uniform(0.02, 3.0)

    # What happens

    @property
    def alive(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.alive]

    def _changed(self) -> None:
        self.changed_at.append(self.now)

    def join(self) -> None:
        """A process starts."""
        self._changed()
        replica = Replica(self, len(self.replicas))
        self.replicas.append(replica)
        replica.start()

    def kill(self, replica: Replica, linger: float = 0.0) -> None:
        """A process ends; the server notices after a while."""
        self._changed()
        replica.alive = False
        self.after(linger, self.end, None, replica.session)

    def drain(self, replica: Replica) -> None:
        """A process ends, and says so."""
        self._changed()
        replica.alive = False
        self.end(replica.session)
        for other in self.alive:
            self.after(self._latency(), other.adjust, other)

    def freeze(self, replica: Replica, seconds: float) -> None:
        self._changed()
        replica.frozen_until = self.now + seconds

    def terminate(self, replica: Replica) -> None:
        """The server ends a session; its process hears of it."""
        self._changed()
        session = replica.session
        self.end(session)
        self.after(0.001, replica.lost, replica, session)

    # What came of it

    def look(self) -> None:
        """Add up the parts that may be used now; a session that has just ended is heard of within a millisecond."""
        parts = [
            Fraction(1, replica.lanes.divisor)
            for replica in self.alive
            if replica.session in self._locks and replica.lanes.may_use(self.now)
        ]
        assert sum(parts, Fraction(0)) <= 1, parts

    def most(self, seconds: float = 60.0) -> int:
        """The most calls in any window."""
        most = total = first = 0
        for at, units in self.sent:
            total += units
            while self.sent[first][0] <= at - seconds:
                total -= self.sent[first][1]
                first += 1
            most = max(most, total)
        return most

    def used(self, since: float, until: float) -> float:
        """The part of the quota that was used."""
        return sum(units for at, units in self.sent if since < at <= until) / (self.quota * (until - since) / 60)
