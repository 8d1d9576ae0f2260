"""The outcome of an attempt, as a value: what the code that talks to Google returns to the code that settles items."""

from dataclasses import field
from enum import StrEnum, auto

from reactor.core.value import value


class FailureCode(StrEnum):
    """Why an item ended without being applied; the values of `sync_outbox.failure_code`."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:  # noqa: ARG004
        return name

    SUPERSEDED = auto()
    """A newer state of the same source was applied; nothing was sent, nothing is lost."""
    AUTH = auto()
    """The workspace's consent does not work any more; a person must connect again."""
    BAD_PAYLOAD = auto()
    """The row contradicts itself or its payload is not what the contract says."""
    BAD_REQUEST = auto()
    """Google refused the event's content."""
    EVENT_GONE = auto()
    """A person deleted the event in the calendar; a rebuild brings it back."""
    CALENDAR_GONE = auto()
    """The calendar does not exist or is not shared with the account any more."""
    FORBIDDEN = auto()
    """The account may not write this calendar."""
    EXHAUSTED = auto()
    """All allowed attempts failed."""
    WORKER_LOST = auto()
    """The worker died with the item in flight, as often as attempts are allowed."""


class Scope(StrEnum):
    """Which items a failure holds back."""

    ITEM = auto()
    LANE = auto()
    """Everything of this workspace: its quota, its consent, its calendar."""
    ALL = auto()
    """Everything: Google is not reachable, or the deployment is configured wrongly."""


class RetryKind(StrEnum):
    """The kinds of retries that decisions depend on."""

    RATE = auto()
    """The other side limits the rate: the limits lower theirs."""
    QUOTA = auto()
    """A quota is used up: the attempt counts once the item is older than every daily quota."""
    QUESTION = auto()
    """A request without content was refused: its address names nothing."""
    OTHER = auto()


@value(frozen=True, slots=True)
class Done:
    """The calendar agrees with the item.

    Attributes:
        event_id: Google's id of the event that was written or removed.
        calendar_id: The calendar that it is (or was) in.
        generation: The generation of the id that was used; it may have risen on the way.
        etag: The event's etag after the write, None where nothing is left, and where the event holds what people or
            other applications put into it: then the next write reads it first.
        possible_calendars: Calendars in which an event of the source may be left: they could not be seen.
        note: What a person should know of it, one of a few fixed phrases; empty for nothing.
    """

    event_id: str
    calendar_id: str = field(repr=False)  # may be a person's e-mail address
    generation: int
    etag: str | None = None
    possible_calendars: tuple[str, ...] = field(default=(), repr=False)
    note: str = ""


@value(frozen=True, slots=True)
class Superseded:
    """Google already holds a newer state of the source; nothing was written.

    Attributes:
        seq: The `seq` that the remote event carries.
    """

    seq: int


def _text(reason: str, said: str) -> str:
    return f"{reason} ({said})" if said else reason


@value(frozen=True, slots=True)
class Retry:
    """The attempt failed, and a later one may succeed.

    Attributes:
        reason: One of a few fixed phrases; a label of metrics.
        counts: Whether the attempt counts towards the maximum; one that met an outage does only with evidence.
        scope: Whom it holds back.
        after: Seconds to wait at least, None to use the backoff.
        outage: Whether it is evidence that the other side is down (what a circuit breaker counts).
        asked: Whether the other side was asked at all; what failed before says nothing of it, good or bad.
        kind: The kind of retry, for decisions that the other attributes leave open.
        said: The codes of the refusal, for the row and the log. They decide nothing more, so they compare equal.
    """

    reason: str
    counts: bool
    scope: Scope = Scope.ITEM
    after: float | None = None
    outage: bool = False
    asked: bool = True
    kind: RetryKind = RetryKind.OTHER
    said: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """What logs and `last_error` say; never anything from a payload or a secret."""
        return _text(self.reason, self.said)


@value(frozen=True, slots=True)
class Dead:
    """The attempt failed, and every later one would fail too, until a person corrects the reason.

    Attributes:
        code: The failure code that is written to the row.
        reason: A short fixed phrase.
        scope: Whom it holds back: LANE where the workspace's other items would meet the same.
        connection_invalid: Whether the stored token is dead, so that the connection must be marked invalid.
        asked: Whether the other side was asked at all; what died before says nothing of it.
        said: The codes of the refusal, for the row and the log. They decide nothing more, so they compare equal.
        written: The event that was written all the same, None for none.
    """

    code: FailureCode
    reason: str
    scope: Scope = Scope.ITEM
    connection_invalid: bool = False
    asked: bool = True
    said: str = field(default="", compare=False)
    written: Done | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """What logs and `last_error` say; never anything from a payload or a secret."""
        return _text(self.reason, self.said)


@value(frozen=True, slots=True)
class Expanded:
    """A rebuild has become items.

    Attributes:
        children: How many it made this time.
        left_alone: Events that it left alone, because it is not known what they should be.
    """

    children: int
    left_alone: int = 0


Outcome = Done | Superseded | Expanded | Retry | Dead
