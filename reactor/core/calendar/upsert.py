"""Makes the calendar hold an event, once, in the state that is wanted.

Why it is written as it is. A request can be lost, carried out with its answer lost, or carried out much later than its
sender believes, after its successor's. So every write carries its own fence: an insert carries our id, which Google
accepts once, for ever; an update and a delete carry the version that they mean (`If-Match`). There is no blind write: a
version that is not known is read first, and what is read also shows, as a private property, which state of the source
the event is in. A higher one than ours means that we are late, and nothing is written.

The normal case is one request: an insert for an event that we have not made yet, an update for one that we have. The
methods of `_Writing` are the states; to go to another state is to `yield from` it:

    insert ──TAKEN──▶ look ──alive──▶ update ──STALE──▶ look
      ▲                │ └─tombstone─▶ revive ──STALE──▶ look
      └─next generation┴──────────────────┘ refused

A tombstone is revived only where we made it or were asked to (`SyncIntent.may_revive`): what a person deleted stays
deleted. Before that the next generation is looked for, because an attempt that was never settled may have gone on to
it: reviving the older one beside it would make the event exist twice. The same holds where an event that we remember is
not there at all (its calendar was emptied) and would be inserted again.

A move writes the event in the new calendar and then removes it from the old one. If it breaks off in between, the next
attempt meets its own insert and goes on. Recreating removes first and then writes, which is its meaning.

Whether another name is another calendar is found out first (`reactor.core.calendar.naming`), and at the cheapest by an
update: a version is in one calendar only.

An event that was read may hold what people and other applications put into it. Then we change only our fields
(`reactor.core.calendar.foreign_fields`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

from reactor.core.calendar import event, foreign_fields, messages
from reactor.core.calendar.answers import (
    BAD_REQUEST,
    CHANGING,
    EVENT_GONE,
    LEFT_BEHIND,
    NO_CALENDAR,
    UNREADABLE,
    AnswerKind,
    quoting,
)
from reactor.core.calendar.dialogue import Dialogue, Finished, SeenCalendars, ask, read, stop_if_superseded
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import PRIMARY, EventRef, RemoteEvent, Response, may_be_primary
from reactor.core.calendar.naming import own_name, renamed, resolved
from reactor.core.calendar.removal import remove, remove_all_generations
from reactor.core.outcome import Done, Superseded
from reactor.core.payload import Upsert

ANOTHER_ACCOUNT = "made anew: `primary` is another account's now, and the event in the old account stays there"
"""What is said where a workspace was connected again with another account."""
UNSEEN = "written; an earlier attempt may have left an event in a calendar that cannot be seen"

_STALE = 3  # times that another version is met before the exchange gives up for now
_READS = 16  # a bound for answers that make no sense
_REPLICATION = 1.0  # seconds; a 404 may be a replica that does not know the event yet


def upsert(work: SyncIntent, payload: Upsert) -> Dialogue[Done]:
    """Write the source's event, and remove it from where it should not be any more."""
    seen = SeenCalendars()
    unknown = work.of_unknown_account
    written: _Writing | None = None
    found: RemoteEvent | None = None
    if work.uncertain:
        if work.known_etag and not work.recreate:
            written = yield from _Writing(work, payload, seen).under_another_name(work.known_etag)
        if written is not None:
            work = renamed(work)
        else:
            work, found = yield from resolved(work, seen)
    if work.bound and work.remakes:
        yield from remove_all_generations(work, work.bound, seen, work.known_etag)
    if written is None:
        written = yield from _Writing(work, payload, seen, unknown=unknown).start(found)
    unseen: list[str] = []
    if leftovers := _leftovers(work, payload):
        try:
            unseen = yield from _clear(leftovers, work, written, seen)
        except Finished as end:
            if isinstance(end.outcome, Superseded):  # a newer state wants the event where it was: take our copy back
                yield from remove(work, written.place, seen, written.event.etag)
            raise
    return _done(work, payload, written, unseen)


def _clear(
    leftovers: Mapping[EventRef, str | None], work: SyncIntent, written: "_Writing", seen: SeenCalendars
) -> Dialogue[list[str]]:
    """Remove the event from other calendars; return those that cannot be seen."""
    unseen: list[str] = []
    for place, etag in leftovers.items():
        try:
            if place.calendar_id not in seen.unseen:
                yield from remove_all_generations(work, place, seen, etag, spare=written.event)
        except Finished as end:
            if end.outcome != NO_CALENDAR:
                raise
        if place.calendar_id in seen.unseen:
            unseen.append(place.calendar_id)
    return unseen


def _leftovers(work: SyncIntent, payload: Upsert) -> dict[EventRef, str | None]:
    """Where the event may be besides the calendar that it belongs in, with its version where that is known."""
    places: dict[EventRef, str | None] = {}
    if work.moves and (bound := work.bound):
        places[bound] = work.known_etag
    for calendar_id in work.possible_calendars:
        if calendar_id != payload.calendar_id:
            places.setdefault(work.place(calendar_id, work.generation), None)
    return places


def _done(work: SyncIntent, payload: Upsert, written: "_Writing", unseen: list[str]) -> Done:
    """The outcome after the event was written.

    An event that could not be removed from the calendar that it leaves is a dead letter, to be requeued when the
    calendar is shared again. Only where `primary` became another account's there is nothing to wait for; a note says
    so, once. And an attempt that was never settled has, most likely, left nothing: the next state looks for it again.
    It looks from the generation on that the attempt had, so the generation stays; another id is looked for only while
    it is the remembered one.
    """
    place, bound = written.place, work.bound_calendar_id
    left = bound in unseen and work.moves
    another = left and payload.calendar_id == PRIMARY and may_be_primary(str(bound))
    possible = tuple([name for name in unseen if not (another and name == bound)])
    done = Done(
        place.event_id,
        own_name(place.calendar_id, written.event.calendar),
        work.generation if possible else written.generation,
        None if written.shared else written.event.etag,
        possible_calendars=possible,
        note=ANOTHER_ACCOUNT if another or written.anew else UNSEEN if possible else "",
    )
    if not left or another:
        return done
    if work.bound != work.place(str(bound), work.generation):
        raise Finished(LEFT_BEHIND)
    raise Finished(replace(LEFT_BEHIND, written=done))


class _Writing:
    """One write of an event: the requests that it takes, and what their answers have shown so far.

    Args:
        work: The item.
        payload: The event that is wanted.
        seen: The calendars that were seen.
        unknown: Whether the event that is remembered may be in another account's `primary`.

    Attributes:
        place: The event, by the payload's name of the calendar; set with the first request.
        generation: The generation of its id.
        shared: Whether it holds what people or other applications put into it.
        event: The event as Google answered the write; set when it is written, and then it has an etag.
        anew: Whether it was made where it should have been, and never was: the account is another one.
    """

    place: EventRef
    event: RemoteEvent
    anew: bool

    def __init__(self, work: SyncIntent, payload: Upsert, seen: SeenCalendars, *, unknown: bool = False) -> None:
        self._work = work
        self._payload = payload
        self._seen = seen
        self._unknown = unknown
        self.generation = work.generation
        self._bound = False
        self._taken = False
        self._resequenced = False
        self.shared = False
        self._misses = self._stale = self._reads = 0

    def under_another_name(self, etag: str) -> Dialogue[Self | None]:
        """Update the bound event under the payload's name of its calendar; None where it is not there so.

        A version is in one calendar only: where it can be updated the two names are one calendar's.
        """
        bound = self._work.bound
        assert bound is not None, "there is no other name"  # noqa: S101  (for the type checker)
        self.place = EventRef(self._payload.calendar_id, bound.event_id)
        means, answer = yield from ask(messages.update(self.place, self._body(), etag=etag))
        return self._written(answer) if means is AnswerKind.SUCCESS else None

    def start(self, found: RemoteEvent | None = None) -> Dialogue[Self]:
        """The first request, by what we remember, and by what was read of the bound event, if it was."""
        work = self._work
        if work.remakes:
            return self._insert(work.generation + 1)
        if work.bound and not work.moves:
            self._bound, self.place = True, work.bound
            if found is not None:
                return self._meet(found)
            if work.known_etag:
                return self._update(work.known_etag)
            return self._look()
        if work.cancelled:
            self.place = work.place(self._payload.calendar_id, work.generation)
            return self._look()
        return self._insert(work.generation)

    def _insert(self, generation: int) -> Dialogue[Self]:
        anew = self._bound and self._unknown
        self.generation = generation
        self.place = self._work.place(self._payload.calendar_id, generation)
        self._bound = self._taken = self.shared = False
        self._misses = 0
        means, answer = yield from ask(messages.insert(self.place, self._body()))
        if means is AnswerKind.SUCCESS:
            return self._written(answer, anew=anew)
        self._taken = True
        self._seen.saw(self.place)
        return (yield from self._look())

    def _look(self, pause: float = 0.0) -> Dialogue[Self]:
        found = yield from self._read(self.place, pause)
        if isinstance(found, RemoteEvent):
            return (yield from self._meet(found))
        if found is AnswerKind.GONE:
            return (yield from self._lost())
        return (yield from self._miss())

    def _miss(self) -> Dialogue[Self]:
        """Google says that there is no such event. Where there must have been one we ask again, a little later.

        If the event may be in another account's calendar, an insert shows it: what was deleted keeps its id taken.
        """
        must_be_there = self._bound or self._taken
        inserts = not self._taken and (self._work.may_revive or self._unknown)
        if self._misses == 0 and must_be_there:
            self._misses += 1
            return (yield from self._look(_REPLICATION))
        if must_be_there:
            yield from self._seen.confirm(self.place.calendar_id, anew=True)
        if self._misses == 1 and not inserts:  # the calendar may have been shared again since that answer
            self._misses += 1
            return (yield from self._look())
        if self._taken:  # the id is taken and cannot be read: a tombstone that was purged
            return (yield from self._lost())
        if self._bound:
            if not inserts:
                raise Finished(EVENT_GONE)
            if (found := (yield from self._successor())) is not None:
                return (yield from self._meet(found))
        return (yield from self._insert(self.generation))

    def _meet(self, found: RemoteEvent) -> Dialogue[Self]:
        """Go on from the event that Google holds."""
        named = self._work.names(self.place, self.generation)
        if not self._work.owns(found, named=named):
            return (yield from self._insert(self._following()))
        stop_if_superseded(self._work, found)
        if found.etag is not None and not found.cancelled:
            return (yield from self._update(found.etag, found))
        if not self._work.may_revive:
            raise Finished(EVENT_GONE)
        return (yield from self._revive(found))

    def _update(self, etag: str, found: RemoteEvent | None = None) -> Dialogue[Self]:
        """Replace the event: a version of ours holds what we wrote. One that was read may hold more, and that stays."""
        body = self._body(found.sequence if found else 0)
        self.shared = found is not None and foreign_fields.put_more_into(found.resource, body)
        if self.shared and found is not None:
            request = messages.patch(self.place, foreign_fields.changes(found.resource, body), etag=etag)
        else:
            request = messages.update(self.place, body, etag=etag)
        means, answer = yield from ask(request)
        if means is AnswerKind.SUCCESS:
            return self._written(answer)
        if means is AnswerKind.MISSING:
            return (yield from self._miss())
        return (yield from self._overtaken(means, answer))

    def _revive(self, found: RemoteEvent) -> Dialogue[Self]:
        if (successor := (yield from self._successor())) is not None:
            return (yield from self._meet(successor))
        if found.etag is None:
            return (yield from self._lost())
        self.shared = False
        means, answer = yield from ask(messages.revive(self.place, self._body(found.sequence), etag=found.etag))
        if means is AnswerKind.SUCCESS:
            return self._written(answer)
        if means is AnswerKind.UNUSABLE:
            return (yield from self._lost())
        return (yield from self._overtaken(means, answer))

    def _overtaken(self, means: AnswerKind, answer: Response) -> Dialogue[Self]:
        """The event has changed since we read it: another version, deleted, or another sequence number."""
        if means is AnswerKind.BAD_SEQUENCE:
            if self._resequenced:
                raise Finished(quoting(BAD_REQUEST, answer))
            self._resequenced = True
        elif means is AnswerKind.STALE:
            self._stale += 1
            if self._stale > _STALE:
                raise Finished(CHANGING)
        return (yield from self._look())

    def _lost(self) -> Dialogue[Self]:
        """Go on to the next id, because this one cannot be used any more."""
        yield from self._seen.confirm(self.place.calendar_id)
        if not self._work.may_revive:
            raise Finished(EVENT_GONE)
        return (yield from self._insert(self._following()))

    def _successor(self) -> Dialogue[RemoteEvent | None]:
        """Go on to the next generation, if an attempt that was never settled has made it, and return its event."""
        ahead = self._work.place(self.place.calendar_id, self._following())
        found = yield from self._read(ahead)
        if not isinstance(found, RemoteEvent):
            return None
        self.generation, self.place = self._following(), ahead
        return found

    def _following(self) -> int:
        return self._work.after(self.place, self.generation)

    def _read(self, place: EventRef, pause: float = 0.0) -> Dialogue[RemoteEvent | AnswerKind]:
        self._reads += 1
        if self._reads > _READS:
            raise Finished(CHANGING)
        return (yield from read(place, self._seen, pause=pause, whole=True))

    def _body(self, sequence: int = 0) -> dict[str, object]:
        """The event's body; `sequence` is left to Google until it insists on the one that it has."""
        body = event.body(self._payload.event, self._work.properties(self.generation))
        return {**body, "sequence": sequence} if self._resequenced else body

    def _written(self, answer: Response, *, anew: bool = False) -> Self:
        found = messages.remote(answer)
        if found is None or found.event_id != self.place.event_id or found.etag is None:
            raise Finished(UNREADABLE)
        self.event, self.anew = found, anew
        return self
