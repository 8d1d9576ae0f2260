"""What Google holds of an event, by its answer to one question."""

from dataclasses import dataclass
from enum import StrEnum, auto

from reactor.core.calendar.answers import REVOKED, UNEXPECTED, AnswerKind, classify
from reactor.core.calendar.messages import Method, RemoteEvent, Reply, Response, remote
from reactor.core.outcome import Dead, Retry


class EventPresence(StrEnum):
    """Whether Google has an event, by its answer."""

    ALIVE = auto()
    DELETED = auto()
    MISSING = auto()
    """No such event, or no such calendar for this account: Google does not say which."""
    FOREIGN = auto()
    """An event of another source."""
    REFUSED = auto()
    """It did not show the event, or could not be asked."""


@dataclass(frozen=True, slots=True)
class GoogleReading:
    """What Google's answer shows of one event.

    Attributes:
        presence: Whether the event is there.
        seq: The state of the source that the event shows, None where it carries no mark of ours.
        workspace_id: The workspace that it is marked with.
        source_key: The source that it is marked with.
        problem: What was answered where nothing was shown: a fixed phrase with Google's codes.
    """

    presence: EventPresence
    seq: int | None = None
    workspace_id: str | None = None
    source_key: str | None = None
    problem: str = ""


def see(reply: Reply | Retry | Dead, workspace_id: str | None = None, source_key: str | None = None) -> GoogleReading:
    """Read the answer to the question for one event.

    Args:
        reply: The answer, or why there was no token to ask with.
        workspace_id: The workspace that the event should be of; None where that is what is asked.
        source_key: The source that the event should be of.
    """
    means = reply if isinstance(reply, Retry | Dead) else classify(Method.GET, reply)
    match means:
        case AnswerKind.SUCCESS if isinstance(reply, Response) and (found := remote(reply)):
            return _shown(found, workspace_id, source_key)
        case AnswerKind.SUCCESS:
            return GoogleReading(EventPresence.REFUSED, problem="its answer cannot be read")
        case AnswerKind.MISSING:
            return GoogleReading(EventPresence.MISSING)
        case AnswerKind.GONE:
            return GoogleReading(EventPresence.DELETED)
        case AnswerKind.UNAUTHORIZED:
            return GoogleReading(EventPresence.REFUSED, problem=REVOKED.text)
        case Retry() | Dead():
            return GoogleReading(EventPresence.REFUSED, problem=means.text)
        case _:
            return GoogleReading(EventPresence.REFUSED, problem=UNEXPECTED.text)


def _shown(found: RemoteEvent, workspace_id: str | None, source_key: str | None) -> GoogleReading:
    """An event without marks is an older worker's, or a tombstone, of which Google keeps little: the name decides."""
    marks = (found.workspace_id, found.source_key)
    if found.cancelled:
        presence = EventPresence.DELETED
    elif marks in ((None, None), (workspace_id, source_key)) or workspace_id is None:
        presence = EventPresence.ALIVE
    else:
        presence = EventPresence.FOREIGN
    return GoogleReading(presence, found.seq, *marks)
