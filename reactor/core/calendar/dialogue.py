"""The building blocks of a dialogue with Google, without any I/O.

A dialogue is a generator: it yields `Send`s, is sent `Reply`s, and returns its outcome. The driver
(`reactor.core.calendar.rounds`) decides how requests travel, alone or many in a batch; it answers every Send with one
Reply. Every dialogue ends after a bounded number of Sends, whatever the Replies are.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

from reactor.core.calendar import messages
from reactor.core.calendar.answers import CONFLICTING, NO_CALENDAR, REVOKED, UNREADABLE, AnswerKind, classify, quoting
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import ApiRequest, EventRef, RemoteEvent, Reply, Response
from reactor.core.outcome import Dead, Retry, Superseded
from reactor.core.value import value

T = TypeVar("T")


@value(frozen=True, slots=True)
class Send:
    """A request and how to send it.

    Attributes:
        request: What is sent.
        alone: It must not travel in a batch.
        renew: The access token that it was last sent with was refused; it needs another.
        pause: Seconds to wait before it is sent.
    """

    request: ApiRequest
    alone: bool = False
    renew: bool = False
    pause: float = 0.0


Dialogue: TypeAlias = Generator[Send, Reply, T]


class Finished(Exception):  # noqa: N818 - control flow inside a dialogue, never seen outside
    """The dialogue is over, from whatever depth."""

    def __init__(self, outcome: Superseded | Retry | Dead) -> None:
        super().__init__(outcome.__class__.__name__)
        self.outcome = outcome


def ask(request: ApiRequest, *, pause: float = 0.0) -> Dialogue[tuple[AnswerKind, Response]]:
    """Send a request until its answer is one that the dialogue goes on from; anything else ends the dialogue.

    Two answers are not final: the first 401 asks for a fresh token, the first conflict for the request to be alone.
    """
    alone = renewed = False
    sending = Send(request, pause=pause)
    while True:
        reply = yield sending
        means = classify(request.api_method, reply)
        if isinstance(means, Retry | Dead):
            raise Finished(means)
        assert isinstance(reply, Response)  # noqa: S101 - for the type checker: only a Response means anything else
        if means is AnswerKind.UNAUTHORIZED:
            if renewed:
                raise Finished(quoting(REVOKED, reply))
            renewed, sending = True, Send(request, alone=alone, renew=True)
        elif means is AnswerKind.CONFLICT:
            if alone:
                raise Finished(quoting(CONFLICTING, reply))
            alone, sending = True, Send(request, alone=True)
        else:
            return means, reply


class SeenCalendars:
    """The calendars that were seen in a dialogue, with the credentials of that dialogue.

    Google answers "no such event" for an event that does not exist and for every event of a calendar that the account
    cannot see (any more). So an answer that an event is absent is believed only after its calendar was seen. Where the
    event should be there, the calendar has to be seen after that answer, because a person may have stopped sharing it
    in between; and then the answer has to be the same once more, because the person may just have begun again.

    Attributes:
        unseen: The calendars that could not be seen, with the outcome of looking at each.
    """

    def __init__(self) -> None:
        self.unseen: dict[str, Superseded | Retry | Dead] = {}
        self._seen: set[str] = set()

    def saw(self, place: EventRef) -> None:
        """Note that Google has shown something of an event there."""
        self._seen.add(place.calendar_id)

    def sees(self, calendar_id: str, *, anew: bool = False) -> Dialogue[bool]:
        """Whether the calendar was seen, or is now: one request at most. With `anew`, whether it is now."""
        if calendar_id in self._seen and not anew:
            return True
        try:
            yield from ask(messages.probe_calendar(calendar_id))
        except Finished as end:
            if end.outcome != NO_CALENDAR:
                raise
            self.unseen[calendar_id] = end.outcome
            return False
        self._seen.add(calendar_id)
        return True

    def confirm(self, calendar_id: str, *, anew: bool = False) -> Dialogue[None]:
        """Go on if the calendar was seen, or is now; else the dialogue ends with `NO_CALENDAR`."""
        if not (yield from self.sees(calendar_id, anew=anew)):
            raise Finished(self.unseen[calendar_id])


def read(
    place: EventRef, seen: SeenCalendars, *, pause: float = 0.0, whole: bool = False
) -> Dialogue[RemoteEvent | AnswerKind]:
    """The event at a place; MISSING or GONE where there is none, or where the calendar cannot be seen.

    Args:
        place: The event.
        seen: Notes that the calendar was seen.
        pause: Seconds to wait before.
        whole: Whether all that the event holds is wanted.
    """
    means, answer = yield from ask(messages.get(place, whole=whole), pause=pause)
    if means is not AnswerKind.SUCCESS:
        return means
    seen.saw(place)
    found = messages.remote(answer)
    if found is None or found.event_id != place.event_id:
        raise Finished(UNREADABLE)
    return found


LAST_PLACE = 2**53
"""No state of ours has a higher place (db/migrations/0026_order.sql); an event with a higher one was not written by
us."""


def stop_if_superseded(work: SyncIntent, found: RemoteEvent) -> None:
    """End the dialogue if Google already shows a newer state of the source: we are late.

    Or the place comes from another time (a restored backup). The settlement finds that out, because the database knows
    every state that was written later than this one.
    """
    if found.seq is not None and work.seq < found.seq <= LAST_PLACE and not work.repairs:
        raise Finished(Superseded(found.seq))
