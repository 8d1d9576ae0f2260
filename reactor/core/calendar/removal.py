"""Makes sure that an event is not in its calendar.

A delete names the version that it means (`If-Match`). A version that is not known is read first: a blind delete that
was held up on the wire would remove the event that its successor has made meanwhile. An event that shows a newer state
of the source is left alone, and so is the event that was just written, whichever name of its calendar is used.

An id leads to its successors: a next generation is made only where an id is a tombstone, has been removed or belongs to
another source. So where an event that should exist does not, the next generation is looked for: an attempt that was
never settled may have made it.

An answer that an event is absent is believed after its calendar was seen
(`reactor.core.calendar.dialogue.SeenCalendars`). While a calendar is not shared its events cannot be seen, and a cancel
that took that for success would leave them there for ever. For an event that was there a moment ago it is believed only
if the calendar is seen after that answer, and the answer is the same once more: the calendar may have been shared again
in between.
"""

from dataclasses import dataclass
from enum import Enum, auto

from reactor.core.calendar import messages
from reactor.core.calendar.answers import CHANGING, LEFT_BEHIND, NO_CALENDAR, UNREADABLE, AnswerKind
from reactor.core.calendar.dialogue import Dialogue, Finished, SeenCalendars, ask, read, stop_if_superseded
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import EventRef, RemoteEvent
from reactor.core.calendar.naming import resolved
from reactor.core.calendar.prune import PruneTarget
from reactor.core.outcome import Done
from reactor.core.payload import Cancel

_ROUNDS = 4  # the first delete, and three more after it met another version
_REMOVED_BEFORE = 410  # as a status of a delete; 404 is also what an event has that cannot be seen
_GENERATIONS = 16  # far more than any source needs; a bound for answers that make no sense


class RemovalResult(Enum):
    """The result of removing one id."""

    REMOVED = auto()
    DEAD = auto()
    """A tombstone, or another source's event: there may be a next generation."""
    NOTHING = auto()
    """No event ever had the id, as far as Google knows."""
    SPARED = auto()
    """It is the event that was just written: the calendar has two names, `primary` and an address."""


@dataclass(frozen=True, slots=True)
class _Home:
    """What is known of the bound event before it is removed.

    Attributes:
        work: The item, in which one calendar has one name.
        etag: The event's version, None to read it first.
        found: What was read of it.
        over: Places where nothing is left to do.
        never: Whether it never was where it is remembered.
    """

    work: SyncIntent
    etag: str | None = None
    found: RemoteEvent | None = None
    over: frozenset[EventRef] = frozenset()
    never: bool = False


def cancel(work: SyncIntent, payload: Cancel) -> Dialogue[Done]:
    """Remove the source's event from wherever it may be.

    Where one of the calendars cannot be seen, the event is removed from the others, and then the cancel ends as
    CALENDAR_GONE. It ends in the same way where the event never was in the `primary` that it is remembered in, because
    that was another account's calendar.
    """
    seen = SeenCalendars()
    at_home = yield from _at_home(work, payload, seen)
    work = at_home.work
    home = work.bound or work.place(payload.calendar_id, work.generation)
    generation = work.generation
    for place in (home, *_elsewhere(work, payload, home)):
        if place in at_home.over or place.calendar_id in seen.unseen:
            continue
        try:
            if place == home:
                generation = yield from remove_all_generations(work, place, seen, at_home.etag, found=at_home.found)
            else:
                yield from remove_all_generations(work, place, seen)
        except Finished as end:
            if end.outcome != NO_CALENDAR:
                raise
    if seen.unseen:
        only = seen.unseen.get(payload.calendar_id) if len(seen.unseen) == 1 else None
        raise Finished(only or LEFT_BEHIND)
    if at_home.never and generation == work.generation:
        raise Finished(LEFT_BEHIND)
    return Done(home.event_id, home.calendar_id, generation)


def _at_home(work: SyncIntent, payload: Cancel, seen: SeenCalendars) -> Dialogue[_Home]:
    """Remove the bound event by its version, or find out where it is, if that is not certain."""
    bound, etag = work.bound, work.known_etag
    if bound is None or not (work.uncertain or work.of_unknown_account):
        return _Home(work, etag if bound else None)
    here = EventRef(payload.calendar_id, bound.event_id)
    if etag and (yield from _delete(here, etag, seen)) is AnswerKind.SUCCESS:
        return _Home(work, over=frozenset({here, bound}))  # a version is in one calendar only
    if work.uncertain:
        work, found = yield from resolved(work, seen)
        return _Home(work, found=found)
    event = yield from read(bound, seen)
    return _Home(work, found=event if isinstance(event, RemoteEvent) else None, never=event is AnswerKind.MISSING)


def _elsewhere(work: SyncIntent, payload: Cancel, home: EventRef) -> list[EventRef]:
    """The current id in every other calendar, and the id that the payload names if it is yet another one."""
    calendars = [payload.calendar_id, *work.possible_calendars]
    places = [work.place(calendar_id, work.generation) for calendar_id in calendars if calendar_id != home.calendar_id]
    if payload.google_event_id not in (None, home.event_id):
        places.append(EventRef(payload.calendar_id, str(payload.google_event_id)))
    return list(dict.fromkeys(places))


def remove_all_generations(
    work: SyncIntent,
    place: EventRef,
    seen: SeenCalendars,
    etag: str | None = None,
    *,
    found: RemoteEvent | None = None,
    spare: RemoteEvent | None = None,
) -> Dialogue[int]:
    """Remove an event, and what an attempt that was never settled may have put in its stead; never the event `spare`.

    Args:
        work: The item.
        place: The event.
        seen: The calendars that were seen.
        etag: Its version, None to read it first.
        found: What was read of it, None to read it.
        spare: The event that was just written.

    Returns:
        The highest generation that Google knows.
    """
    expected = place == work.bound or place.calendar_id in work.possible_calendars
    highest = generation = work.generation
    for _ in range(_GENERATIONS):
        named = work.names(place, generation)
        result = yield from remove(work, place, seen, etag, named=named, found=found, spare=spare)
        if result is not RemovalResult.NOTHING:
            highest = generation
        if result in (RemovalResult.REMOVED, RemovalResult.SPARED) or (
            result is RemovalResult.NOTHING and not expected
        ):
            return highest
        generation = work.after(place, generation)
        place, etag, found, expected = work.place(place.calendar_id, generation), None, None, False
    raise Finished(CHANGING)


def remove(
    work: SyncIntent,
    place: EventRef,
    seen: SeenCalendars,
    etag: str | None,
    *,
    named: bool = False,
    found: RemoteEvent | None = None,
    spare: RemoteEvent | None = None,
) -> Dialogue[RemovalResult]:
    """Remove one event, if it is this source's and shows no newer state.

    Args:
        work: The item.
        place: The event.
        seen: The calendars that were seen.
        etag: Its version, None to read it first.
        named: Whether a binding or a payload names the event, and not only we ourselves.
        found: What was read of it, None to read it.
        spare: The event that was just written, and stays.
    """
    if spare is not None and etag == spare.etag:
        return RemovalResult.SPARED  # an update that changes nothing keeps the version
    expected, was_there = etag is not None or place == work.bound, False
    for _ in range(_ROUNDS):
        if etag is None:
            event = found or (yield from _look(place, seen, expected=expected, twice=expected and not was_there))
            if not isinstance(event, RemoteEvent):
                return RemovalResult.DEAD if event is AnswerKind.GONE or was_there else RemovalResult.NOTHING
            if event.cancelled or event.etag is None or not work.owns(event, named=named):
                return RemovalResult.DEAD
            if _is_same(event, spare):
                return RemovalResult.SPARED
            stop_if_superseded(work, event)
            etag = event.etag
        means = yield from _delete(place, etag, seen)
        if means is AnswerKind.SUCCESS:
            return RemovalResult.REMOVED
        was_there = means is not AnswerKind.STALE
        if was_there:
            yield from seen.confirm(place.calendar_id, anew=True)
        if means is AnswerKind.GONE:
            return RemovalResult.DEAD
        etag, found, expected = None, None, True
    raise Finished(CHANGING)


def _look(place: EventRef, seen: SeenCalendars, *, expected: bool, twice: bool) -> Dialogue[RemoteEvent | AnswerKind]:
    """Read an event; that it is not there is believed, if it was expected, after it was said twice."""
    event = yield from read(place, seen)
    if not isinstance(event, RemoteEvent):
        yield from seen.confirm(place.calendar_id, anew=expected)
        if twice and event is AnswerKind.MISSING:
            return (yield from _look(place, seen, expected=True, twice=False))
    return event


def _is_same(event: RemoteEvent, spare: RemoteEvent | None) -> bool:
    """Whether both are one event: versions tell, and where a person has edited it in between, the calendar's own id."""
    if spare is None or event.event_id != spare.event_id:
        return False
    return event.etag == spare.etag or (event.calendar is not None and event.calendar == spare.calendar)


def _delete(place: EventRef, etag: str, seen: SeenCalendars) -> Dialogue[AnswerKind]:
    """Remove a version of an event: SUCCESS, STALE, GONE where it was removed before, or ABSENT."""
    means, answer = yield from ask(messages.delete(place, etag=etag))
    if means is AnswerKind.SUCCESS and answer.body.strip():
        raise Finished(UNREADABLE)  # Google answers a delete with nothing at all
    if means is not AnswerKind.ABSENT:
        seen.saw(place)
    return AnswerKind.GONE if answer.status == _REMOVED_BEFORE else means


def remove_target(target: PruneTarget) -> Dialogue[Done]:
    """Remove an event if it still is the version that was listed; if it is not, it stays."""
    seen = SeenCalendars()
    means = yield from _delete(EventRef(target.calendar_id, target.event_id), target.etag, seen)
    if means in (AnswerKind.ABSENT, AnswerKind.GONE):
        yield from seen.confirm(target.calendar_id)
    if means is AnswerKind.ABSENT:
        yield from _delete(EventRef(target.calendar_id, target.event_id), target.etag, seen)
    return Done(target.event_id, target.calendar_id, 0)
