"""The causes that decide whether an event is in its calendar, and the explanation that a person gets."""

from dataclasses import dataclass
from enum import StrEnum, auto


class Cause(StrEnum):
    """What decides about an event; each has a sentence."""

    OUTDATED = auto()
    HANGS = auto()
    IN_HAND = auto()
    WORKER_GONE = auto()
    OLDER_WORKER = auto()
    EARLIER_IN_HAND = auto()
    UNCONNECTED = auto()
    DISCONNECTED = auto()
    BRAKED = auto()
    NO_REPLICA = auto()
    REFUSED = auto()
    CLAIMS_BLOCKED = auto()
    SET_ASIDE = auto()
    REBUILDING = auto()
    BEHIND_REBUILD = auto()
    NEVER_DUE = auto()
    BACKING_OFF = auto()
    HELD = auto()
    POSTPONED = auto()
    LOCKED = auto()
    DELAYED = auto()
    DUE = auto()
    AUTH = auto()
    BAD_PAYLOAD = auto()
    BAD_REQUEST = auto()
    EVENT_GONE = auto()
    CALENDAR_GONE = auto()
    FORBIDDEN = auto()
    EXHAUSTED = auto()
    WORKER_LOST = auto()
    DIED = auto()
    STRAY = auto()
    UNREMEMBERED = auto()
    REVERSED = auto()
    CANCELLED = auto()
    UNWANTED = auto()
    ELSEWHERE = auto()
    OTHER_CALENDAR = auto()
    DELETED = auto()
    MISSING = auto()
    FOREIGN = auto()
    UNSEEN = auto()
    STALE = auto()
    SHOWN = auto()
    APPLIED = auto()
    GIVEN_UP = auto()
    FORGOTTEN = auto()
    NEVER_CONNECTED = auto()
    NEVER_ASKED = auto()
    NOT_WANTED = auto()
    UNKNOWN = auto()


WELL = frozenset({Cause.STRAY, Cause.CANCELLED, Cause.SHOWN, Cause.APPLIED, Cause.NOT_WANTED})
"""The calendar is as the application wants it, as far as is known."""

BY_ITSELF = frozenset(
    {
        Cause.IN_HAND,
        Cause.EARLIER_IN_HAND,
        Cause.WORKER_GONE,
        Cause.REBUILDING,
        Cause.BEHIND_REBUILD,
        Cause.BACKING_OFF,
        Cause.HELD,
        Cause.DUE,
    }
)
"""The calendar is not yet so, and the reactor goes on with it by itself."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to a person who asks about an event.

    Attributes:
        cause: The cause that decides.
        verdict: A sentence that says so; never an event's text.
        remedy: A sentence that says what to do.
    """

    cause: Cause
    verdict: str
    remedy: str

    @property
    def is_well(self) -> bool:
        """Whether the calendar is as the application wants it, as far as is known."""
        return self.cause in WELL
