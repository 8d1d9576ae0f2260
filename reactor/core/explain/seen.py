"""What Google holds of an event, by its answer to one question."""

from dataclasses import dataclass
from enum import StrEnum, auto

from reactor.core.calendar.answers import REVOKED, UNEXPECTED, Means, meaning
from reactor.core.calendar.messages import Answer, Remote, Reply, Step, remote
from reactor.core.outcome import Dead, Retry


class Sight(StrEnum):
    """What Google answered when it was asked for the event."""

    ALIVE = auto()
    DELETED = auto()
    MISSING = auto()
    """No such event, or no such calendar for this account: Google does not say which."""
    FOREIGN = auto()
    """An event of another source."""
    REFUSED = auto()
    """It did not show the event, or could not be asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Google answered.

    Attributes:
        sight: What it is.
        seq: The state of the source that the event shows, None where it carries no mark of ours.
        workspace_id: The workspace that it is marked with.
        source_key: The source that it is marked with.
        problem: What was answered where nothing was shown: a fixed phrase with Google's codes.
    """

    sight: Sight
    seq: int | None = None
    workspace_id: str | None = None
    source_key: str | None = None
    problem: str = ""


def see(reply: Reply | Retry | Dead, workspace_id: str | None = None, source_key: str | None = None) -> Seen:
    """Read the answer to the question for one event.

    Args:
        reply: The answer, or why there was no token to ask with.
        workspace_id: The workspace that the event should be of; None where that is what is asked.
        source_key: Its source.
    """
    means = reply if isinstance(reply, Retry | Dead) else meaning(Step.GET, reply)
    match means:
        case Means.SUCCESS if isinstance(reply, Answer) and (found := remote(reply)):
            return _shown(found, workspace_id, source_key)
        case Means.SUCCESS:
            return Seen(Sight.REFUSED, problem="its answer cannot be read")
        case Means.MISSING:
            return Seen(Sight.MISSING)
        case Means.GONE:
            return Seen(Sight.DELETED)
        case Means.UNAUTHORIZED:
            return Seen(Sight.REFUSED, problem=REVOKED.text)
        case Retry() | Dead():
            return Seen(Sight.REFUSED, problem=means.text)
        case _:
            return Seen(Sight.REFUSED, problem=UNEXPECTED.text)


def _shown(found: Remote, workspace_id: str | None, source_key: str | None) -> Seen:
    """An event without marks is an older worker's, or a tombstone, of which Google keeps little: the name decides."""
    marks = (found.workspace_id, found.source_key)
    if found.cancelled:
        sight = Sight.DELETED
    elif marks in ((None, None), (workspace_id, source_key)) or workspace_id is None:
        sight = Sight.ALIVE
    else:
        sight = Sight.FOREIGN
    return Seen(sight, found.seq, *marks)
