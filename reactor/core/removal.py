"""Make sure that an event is not there.

A delete names the version that it means (`If-Match`). A version that is not known is read first: a blind delete that
was held up on the wire would remove the event that its successor has made meanwhile. An event that shows a newer state
of the source is left alone.

An id leads to its successors: a next generation is only ever made where an id is a tombstone, has been removed or is
somebody else's. So where an event that should exist does not, the next generation is looked for: an attempt that was
never settled may have made it.
"""

from enum import Enum, auto

from reactor.core import messages
from reactor.core.answers import CHANGING, UNREADABLE, Means
from reactor.core.dialogue import Dialogue, End, ask, defer, read
from reactor.core.messages import Place, Remote
from reactor.core.outcome import Done
from reactor.core.payload import Cancel
from reactor.core.stray import Stray
from reactor.core.work import Work

_ROUNDS = 4  # the first delete, and three more after it met another version
_GENERATIONS = 16  # nobody needs so many; a bound for answers that make no sense


class Fate(Enum):
    """What became of one id."""

    REMOVED = auto()
    DEAD = auto()
    """A tombstone, or somebody else's event: there may be a next generation."""
    NOTHING = auto()
    """Never there, as far as Google knows."""
    SPARED = auto()
    """It is the event that was just written: the calendar has two names, `primary` and an address."""


def cancel(work: Work, payload: Cancel) -> Dialogue[Done]:
    """Remove the source's event from wherever it may be."""
    home = work.bound or work.place(payload.calendar_id, work.generation)
    generation = yield from clear(work, home, work.known_etag if work.bound else None)
    for place in _elsewhere(work, payload, home):
        yield from clear(work, place)
    return Done(home.event_id, home.calendar_id, generation)


def _elsewhere(work: Work, payload: Cancel, home: Place) -> list[Place]:
    """The current id in every other calendar, and the id that the payload names if it is yet another one."""
    calendars = [payload.calendar_id, *work.strays]
    places = [work.place(calendar_id, work.generation) for calendar_id in calendars if calendar_id != home.calendar_id]
    if payload.google_event_id not in (None, home.event_id):
        places.append(Place(payload.calendar_id, str(payload.google_event_id)))
    return list(dict.fromkeys(places))


def clear(work: Work, place: Place, etag: str | None = None, *, spare: str | None = None) -> Dialogue[int]:
    """Remove an event, and what an attempt that was never settled may have put in its stead; not the version `spare`.

    Returns:
        The highest generation that Google knows.
    """
    expected = place == work.bound
    highest = generation = work.generation
    for _ in range(_GENERATIONS):
        named = place != work.place(place.calendar_id, generation)
        fate = yield from remove(work, place, etag, named=named, spare=spare)
        if fate is not Fate.NOTHING:
            highest = generation
        if fate in (Fate.REMOVED, Fate.SPARED) or (fate is Fate.NOTHING and not expected):
            return highest
        generation = work.after(place, generation)
        place, etag, expected = work.place(place.calendar_id, generation), None, False
    raise End(CHANGING)


def remove(
    work: Work, place: Place, etag: str | None, *, named: bool = False, spare: str | None = None
) -> Dialogue[Fate]:
    """Remove one event, if it is this source's and shows no newer state.

    Args:
        work: For whom.
        place: Where.
        etag: Its version, None to read it first.
        named: Whether a binding or a payload names the event, and not only we ourselves.
        spare: The version that stays.
    """
    for _ in range(_ROUNDS):
        if etag is None:
            found = yield from read(place)
            if not isinstance(found, Remote):
                return Fate.DEAD if found is Means.GONE else Fate.NOTHING
            if found.cancelled or found.etag is None or not work.owns(found, named=named):
                return Fate.DEAD
            if found.etag == spare:
                return Fate.SPARED
            defer(work, found)
            etag = found.etag
        means, answer = yield from ask(messages.delete(place, etag=etag))
        if means is Means.ABSENT:
            return Fate.DEAD
        if means is Means.SUCCESS:
            if answer.body.strip():
                raise End(UNREADABLE)  # Google answers a delete with nothing at all
            return Fate.REMOVED
        etag = None
    raise End(CHANGING)


def remove_stray(stray: Stray) -> Dialogue[Done]:
    """Remove an event if it still is the version that was listed; if it is not, it stays."""
    means, answer = yield from ask(messages.delete(Place(stray.calendar_id, stray.event_id), etag=stray.etag))
    if means is Means.SUCCESS and answer.body.strip():
        raise End(UNREADABLE)  # Google answers a delete with nothing at all
    return Done(stray.event_id, stray.calendar_id, 0)
