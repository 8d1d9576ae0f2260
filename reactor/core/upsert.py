"""Make the calendar hold an event, once, in the state that is wanted.

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

A tombstone is revived only where we made it or were asked to (`Work.may_revive`): what a person deleted stays deleted.
Before that the next generation is looked for, since an attempt that was never settled may have gone on to it: reviving
the older one beside it would make the event exist twice.

A move writes the event in the new calendar and then removes it from the old one. If it breaks off in between, the next
attempt meets its own insert and goes on. Recreating removes first and then writes, which is its meaning.
"""

from dataclasses import dataclass

from reactor.core import event, messages
from reactor.core.answers import BAD_REQUEST, CHANGING, EVENT_GONE, UNREADABLE, Means, quoting
from reactor.core.dialogue import Dialogue, End, ask, defer, read
from reactor.core.messages import Answer, Place, Remote
from reactor.core.outcome import Done, Superseded
from reactor.core.payload import Upsert
from reactor.core.removal import clear, remove
from reactor.core.work import Work

_STALE = 3  # times that another version is met before the exchange gives up for now
_READS = 16  # a bound for answers that make no sense
_REPLICATION = 1.0  # seconds; a 404 may be a replica that does not know the event yet


@dataclass(frozen=True, slots=True)
class Written:
    """The event after it was written."""

    place: Place
    generation: int
    etag: str


def upsert(work: Work, payload: Upsert) -> Dialogue[Done]:
    """Write the source's event, and remove it from where it should not be any more."""
    if work.bound and work.remakes:
        yield from clear(work, work.bound, work.known_etag)
    written = yield from _Writing(work, payload).start()
    try:
        for place, etag in _leftovers(work, payload):
            yield from clear(work, place, etag, spare=written.etag)
    except End as end:
        if isinstance(end.outcome, Superseded):  # a newer state wants the event where it was: take our copy back
            yield from remove(work, written.place, written.etag)
        raise
    return Done(written.place.event_id, written.place.calendar_id, written.generation, written.etag)


def _leftovers(work: Work, payload: Upsert) -> list[tuple[Place, str | None]]:
    """Where the event may be besides the calendar that it belongs in."""
    places: dict[Place, str | None] = {}
    if work.bound and work.moves:
        places[work.bound] = work.known_etag
    for calendar_id in work.strays:
        if calendar_id != payload.calendar_id:
            places.setdefault(work.place(calendar_id, work.generation), None)
    return list(places.items())


class _Writing:
    """One write of an event, and what was learnt on the way."""

    def __init__(self, work: Work, payload: Upsert) -> None:
        self._work = work
        self._payload = payload
        self._generation = work.generation
        self._place = work.place(payload.calendar_id, work.generation)
        self._bound = False
        self._taken = False
        self._resequenced = False
        self._misses = self._stale = self._reads = 0

    def start(self) -> Dialogue[Written]:
        """The first request, by what we remember."""
        work = self._work
        if work.remakes:
            return (yield from self._insert(work.generation + 1))
        if work.bound and not work.moves:
            self._bound, self._place = True, work.bound
            if work.known_etag:
                return (yield from self._update(work.known_etag))
            return (yield from self._look())
        if work.cancelled:
            return (yield from self._look())
        return (yield from self._insert(work.generation))

    def _insert(self, generation: int) -> Dialogue[Written]:
        self._generation = generation
        self._place = self._work.place(self._payload.calendar_id, generation)
        self._bound = self._taken = False
        self._misses = 0
        means, answer = yield from ask(messages.insert(self._place, self._body()))
        if means is Means.SUCCESS:
            return self._written(answer)
        self._taken = True
        return (yield from self._look())

    def _look(self, pause: float = 0.0) -> Dialogue[Written]:
        found = yield from self._read(self._place, pause)
        if isinstance(found, Remote):
            return (yield from self._meet(found))
        if found is Means.GONE:
            return (yield from self._lost())
        return (yield from self._miss())

    def _miss(self) -> Dialogue[Written]:
        """No such event, says Google. Where there must have been one it is asked again, a little later."""
        if self._misses == 0 and (self._bound or self._taken):
            self._misses += 1
            return (yield from self._look(_REPLICATION))
        if self._taken:  # the id is taken and cannot be read: a tombstone that was purged
            return (yield from self._lost())
        if self._bound:
            yield from ask(messages.glance(self._payload.calendar_id))  # ends here if the calendar is missing
            if not self._work.may_revive:
                raise End(EVENT_GONE)
        return (yield from self._insert(self._generation))

    def _meet(self, found: Remote) -> Dialogue[Written]:
        """Decide by what Google holds."""
        named = self._place != self._work.place(self._place.calendar_id, self._generation)
        if not self._work.owns(found, named=named):
            return (yield from self._insert(self._following()))
        defer(self._work, found)
        if found.etag is not None and not found.cancelled:
            return (yield from self._update(found.etag, found.sequence))
        if not self._work.may_revive:
            raise End(EVENT_GONE)
        return (yield from self._revive(found))

    def _update(self, etag: str, sequence: int = 0) -> Dialogue[Written]:
        means, answer = yield from ask(messages.update(self._place, self._body(sequence), etag=etag))
        if means is Means.SUCCESS:
            return self._written(answer)
        if means is Means.MISSING:
            return (yield from self._miss())
        return (yield from self._overtaken(means, answer))

    def _revive(self, found: Remote) -> Dialogue[Written]:
        ahead = self._work.place(self._place.calendar_id, self._following())
        successor = yield from self._read(ahead)
        if isinstance(successor, Remote):
            self._generation, self._place = self._following(), ahead
            return (yield from self._meet(successor))
        if found.etag is None:
            return (yield from self._lost())
        means, answer = yield from ask(messages.revive(self._place, self._body(found.sequence), etag=found.etag))
        if means is Means.SUCCESS:
            return self._written(answer)
        if means is Means.UNUSABLE:
            return (yield from self._lost())
        return (yield from self._overtaken(means, answer))

    def _overtaken(self, means: Means, answer: Answer) -> Dialogue[Written]:
        """The event is not what we took it for: another version, deleted, or further on in its sequence."""
        if means is Means.BAD_SEQUENCE:
            if self._resequenced:
                raise End(quoting(BAD_REQUEST, answer))
            self._resequenced = True
        elif means is Means.STALE:
            self._stale += 1
            if self._stale > _STALE:
                raise End(CHANGING)
        return (yield from self._look())

    def _lost(self) -> Dialogue[Written]:
        """The id is of no use any more."""
        if not self._work.may_revive:
            raise End(EVENT_GONE)
        return (yield from self._insert(self._following()))

    def _following(self) -> int:
        return self._work.after(self._place, self._generation)

    def _read(self, place: Place, pause: float = 0.0) -> Dialogue[Remote | Means]:
        self._reads += 1
        if self._reads > _READS:
            raise End(CHANGING)
        return (yield from read(place, pause=pause))

    def _body(self, sequence: int = 0) -> dict[str, object]:
        """The event's body; `sequence` is left to Google until it insists on the one that it has."""
        body = event.body(self._payload.event, self._work.properties(self._generation))
        return {**body, "sequence": sequence} if self._resequenced else body

    def _written(self, answer: Answer) -> Written:
        found = messages.remote(answer)
        if found is None or found.event_id != self._place.event_id or found.etag is None:
            raise End(UNREADABLE)
        return Written(self._place, self._generation, found.etag)
