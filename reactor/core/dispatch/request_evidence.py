"""What the outcomes of one request say about the side that answered, apart from the items they are for.

The parts of a batch are answered each for itself, so one request may bring several reasons to wait, each with a time of
its own. A time holds for what its reason holds back, and for nothing else: the hour of a quota that is used up is no
pause for the breaker that counts the 503 beside it. A deployment that is corrected tells us nothing, so we ask again
within a minute (`reactor.core.backoff.HOLD_CAP`), whatever time came with the refusal.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from reactor.core.outcome import Dead, Outcome, Retry, RetryKind, Scope


def is_condemned(outcome: Outcome) -> bool:
    """Whether a dead token ended the item: its connection is marked invalid, so nothing is claimed for it any more."""
    return isinstance(outcome, Dead) and outcome.connection_invalid


@dataclass(slots=True)
class RequestEvidence:
    """What one request showed about the other side, however many items were in it.

    Attributes:
        answered: The other side answered for at least one item.
        outage: The other side did not answer for at least one item.
        throttled: The other side limits the rate.
        holds_lane: The next request of the same workspace would get the same answer.
        holds_all: The next request of any workspace would get the same answer.
        lane_after: Seconds that the lane is to wait, None where nothing says so.
        outage_after: Seconds that a side which did not answer asked to wait, None if it did not say.
    """

    answered: bool = False
    outage: bool = False
    throttled: bool = False
    holds_lane: bool = False
    holds_all: bool = False
    lane_after: float | None = None
    outage_after: float | None = None

    def take_in(self, outcome: Outcome) -> None:
        """Add the outcome of one item.

        A retry for the whole lane that is no outage is no sign of life either: it may repeat what a token source
        remembers, and then nothing was sent.
        """
        if isinstance(outcome, Retry):
            self.outage |= outcome.outage
            self.answered |= outcome.asked and not outcome.outage and outcome.scope is Scope.ITEM
            self.throttled |= outcome.kind is RetryKind.RATE
            if outcome.scope is Scope.LANE:
                self.lane_after = _longer(self.lane_after, outcome.after)
            if outcome.outage:
                self.outage_after = _longer(self.outage_after, outcome.after)
        elif isinstance(outcome, Dead):
            self.answered |= outcome.asked
        else:
            self.answered = True
            return
        self.holds_lane |= outcome.scope is Scope.LANE and not is_condemned(outcome)
        self.holds_all |= outcome.scope is Scope.ALL

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> "RequestEvidence":
        """The evidence of a request whose items had these outcomes."""
        evidence = cls()
        for outcome in outcomes:
            evidence.take_in(outcome)
        return evidence


def _longer(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)
