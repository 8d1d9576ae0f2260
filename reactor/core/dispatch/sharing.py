"""Which part of Google's quota a replica may use. Values and `now` in, the next step out.

The replicas of a database share one quota, and each uses an equal part of it: an n-th, n being its *divisor*. Each
replica publishes what it may use, by a shared lock of its claims session: (718303, n) says "I use an n-th at most". So
every replica can count the others and what they use, and the server frees the lock at the moment when the session ends,
as it does with the lease.

    a replica comes      it publishes that it is there and uses nothing, and calls the others; each of them counts, uses
                         less, and publishes that; when what they have published leaves room, the newcomer begins
    a replica goes       its lock goes with it; the others count fewer replicas, and take more
    the same divisor     nothing is written or asked: the count comes with a statement that is sent anyway

*Why they never use more than the whole.* Two rules. A replica that takes less uses less first and publishes it then. A
replica that takes more publishes it first, *counts after that*, and begins only if the parts of all others and its own
make no more than one; otherwise it retracts. So no replica ever uses more than the largest part that it has published.
If two take more at the same time, both publish before they count, so the one that counts last sees the other: they
cannot both overlook each other. (The gate rests on the same order, core/dispatch/gate.py: write, then look.) No step
waits for a lock, so a replica that stops half-way delays no other.

*A replica that does not answer.* A process may be frozen, and its session may live on. So a part is good for `GOOD_FOR`
seconds after a count and no longer: a replica that cannot count does not send. A newcomer that has been there for
`NEWCOMER_SECONDS` can be sure that every replica that sends has counted it meanwhile, whatever their locks say, and
begins.

*What this becomes at Google.* A part is a part of the bucket and of the rate (core/dispatch/limits.py). A bucket holds
no more than its part of the burst. A replica that takes more keeps what its bucket has; a new replica begins with an
empty one. So at any moment all buckets together hold no more than the burst, and all rates together are no more than
the rate, and the bound of one bucket is the bound of all of them: no minute has more than the quota, whatever comes and
goes in it.

*Why equal parts are enough.* A replica claims no more than it can send soon (core/dispatch/lanes.py), so what waits is
in the database, for any replica that has room.

Replicas of older releases publish nothing. They are counted, as if each used an equal part.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from typing import NamedTuple

NOTHING = 2**31 - 1
"""The divisor of a replica that sends nothing: the largest number that a key has room for."""
GOOD_FOR = 20.0
"""Seconds after a count for which a part may be used; an idle replica counts with each of its sweeps, every 9.5 s."""
NEWCOMER_SECONDS = GOOD_FOR + 1.0
"""Seconds after which a newcomer does not wait any more for what others publish. The one is for clocks' rates."""


@dataclass(frozen=True, slots=True)
class Census:
    """The other living replicas, and the parts that they use.

    Attributes:
        at: When the count began.
        divisors: The smallest divisor that each of the others has published.
        older: Others that publish nothing.
    """

    at: float
    divisors: tuple[int, ...] = ()
    older: int = 0

    @property
    def living(self) -> int:
        """How many replicas live, the one that counts included."""
        return 1 + len(self.divisors) + self.older


class SharingAction(Enum):
    """What the caller has to do next."""

    COUNT = auto()
    """Count, and send the census."""
    PUBLISH = auto()
    """Publish a divisor, if it is not published."""
    RETRACT = auto()
    CALL = auto()
    """Notify the other replicas, so that they count."""


class SharingStep(NamedTuple):
    """The next thing to do, and with which divisor."""

    do: SharingAction
    divisor: int = 0


Steps = Generator[SharingStep, Census | None, None]


class Sharing:
    """One replica's part, for the time of a claims session.

    Attributes:
        divisor: It may use one part in so many; `NOTHING` until it has begun.
        good_until: Until when it may use that part, in seconds of the loop's clock.
    """

    def __init__(self) -> None:
        self.divisor = NOTHING
        self.good_until = float("-inf")
        self._published: set[int] = set()  # all that may be
        self._is_unsure = False  # whether a publication has failed, or may have
        self._there_since: float | None = None

    def take_in(self, census: Census) -> bool:
        """Note a count: where more replicas live than the part is for, use less from now on.

        Returns:
            Whether there is something to be adjusted.
        """
        if self._there_since is None:
            self._there_since = census.at
        if self.divisor != NOTHING:
            self.divisor = max(self.divisor, census.living)
            self.good_until = census.at + GOOD_FOR
        return self.divisor != census.living or self._published != {self.divisor} or self._is_unsure

    def adjust(self) -> Steps:
        """Adapt what we use and publish to the number of living replicas, as far as that is possible now.

        Yields what is to be done; where a step fails, leave it and begin anew later. `divisor` and `good_until` may
        have changed at each step, and hold from then on.
        """
        if not self._published:
            yield from self._publish(NOTHING)
            yield SharingStep(SharingAction.CALL)
        census = yield from self._count()
        yield from self._tidy()
        wanted = census.living
        if self._may_use(wanted, census):
            yield from self._publish(wanted)
            census = yield from self._count()
            if self._may_use(wanted, census):
                self.divisor, self.good_until = wanted, census.at + GOOD_FOR
            yield from self._tidy()

    def _may_use(self, divisor: int, census: Census) -> bool:
        """Whether a larger part is free."""
        if not census.living <= divisor < self.divisor:
            return False
        patient = self._there_since is not None and census.at - self._there_since >= NEWCOMER_SECONDS
        used = [max(each, divisor) if patient else each for each in census.divisors if each != NOTHING]
        used += [divisor] * census.older
        return sum((Fraction(1, each) for each in used), Fraction(1, divisor)) <= 1

    def _count(self) -> Generator[SharingStep, Census | None, Census]:
        census = yield SharingStep(SharingAction.COUNT)
        assert census is not None, "a count brings a census"  # noqa: S101  (a caller's bug)
        self.take_in(census)
        return census

    def _tidy(self) -> Steps:
        """Publish what is used, if it has become less, and retract all else."""
        is_news = self.divisor not in self._published or self._is_unsure
        if is_news:
            yield from self._publish(self.divisor)
        for divisor in sorted(self._published - {self.divisor}):
            yield SharingStep(SharingAction.RETRACT, divisor)
            self._published.discard(divisor)
        if is_news:
            yield SharingStep(SharingAction.CALL)

    def _publish(self, divisor: int) -> Steps:
        self._published.add(divisor)
        self._is_unsure = True  # if we are left here
        yield SharingStep(SharingAction.PUBLISH, divisor)
        self._is_unsure = False
