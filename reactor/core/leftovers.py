"""What a calendar holds under our name and nobody needs: decided from what was listed and what is remembered.

Each listed event names its source. One event may be the source's: the one that is remembered, and where that is not
alive, the one that a write would come upon, the lowest of the ids that follow it. All others are duplicates: two
attempts of which each believed the other lost, a copy made by hand, an event of a calendar that the source has left.

Where the source is neither in the current state nor remembered, all of its events are to go. The first is left to a
cancel of the source, so that whoever makes an event for it again meets a tombstone that is known to be ours.

A calendar may have two names (`primary` and an address), and is then listed twice. Versions tell: an event with the
same id and the same version is the same event, and counts once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reactor.core import ids
from reactor.core.messages import Place, Remote
from reactor.core.payload import BadPayloadError, Cancel, Operation, parse, source_key
from reactor.core.stray import Stray

_GENERATIONS = 16  # as many as a write goes on to


@dataclass(frozen=True, slots=True)
class Listed:
    """An event, and the calendar in which it was seen."""

    calendar_id: str = field(repr=False)
    event: Remote


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a source that an event names.

    Attributes:
        wanted: The calendar in which the current state wants its event, None where it wants none.
        event_id: The event that is remembered.
        calendar_id: The calendar that it is in.
        generation: The generation of the source's id.
    """

    wanted: str | None = field(default=None, repr=False)
    event_id: str | None = None
    calendar_id: str | None = field(default=None, repr=False)
    generation: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether nobody knows the source."""
        return self.wanted is None and self.event_id is None


def by_source(calendars: Iterable[tuple[str, Sequence[Remote]]]) -> dict[str, list[Listed]]:
    """The listed events by the source that they name, each once."""
    seen: set[tuple[str, str | None]] = set()
    sources: dict[str, list[Listed]] = {}
    for calendar_id, events in calendars:
        for event in events:
            if (event.event_id, event.etag) not in seen:
                seen.add((event.event_id, event.etag))
                sources.setdefault(event.source_key or "", []).append(Listed(calendar_id, event))
    return sources


def leftovers(workspace_id: str, key: str, events: Sequence[Listed], known: Known) -> list[Cancel | Stray]:
    """What of the events of one source is to be removed."""
    if known.is_nothing and (whole := _cancel(workspace_id, key, events[0])) is not None:
        return [whole, *_strays(workspace_id, events[1:])]
    kept = _kept(workspace_id, key, events, known)
    return [*_strays(workspace_id, [each for each in events if Place(each.calendar_id, each.event.event_id) != kept])]


def _kept(workspace_id: str, key: str, events: Sequence[Listed], known: Known) -> Place | None:
    alive = {Place(each.calendar_id, each.event.event_id) for each in events}
    home = known.calendar_id or known.wanted
    if known.event_id is not None and home is not None:
        place = Place(home, known.event_id)
        aliases = [each for each in alive if each.event_id == known.event_id]
        if place in alive or known.wanted is None:
            return place
        if len(aliases) == 1 and aliases[0].calendar_id == known.wanted:
            return aliases[0]  # the calendar's other name, or a move that was not recorded
    following = (
        Place(known.wanted or "", ids.event_id(workspace_id, key, known.generation + n)) for n in range(_GENERATIONS)
    )
    return next((place for place in following if place in alive), None)


def _cancel(workspace_id: str, key: str, listed: Listed) -> Cancel | None:
    """A cancel of the source that an event names, None where that is not the name of one."""
    source_type, _, source_id = key.partition(":")
    payload = {
        "operation": Operation.CANCEL_EVENT.value,
        "workspaceId": workspace_id,
        "calendarId": listed.calendar_id,
        "sourceType": source_type,
        "sourceId": source_id,
        "googleEventId": listed.event.event_id,
    }
    try:
        cancel = parse(Operation.CANCEL_EVENT, workspace_id, payload)
    except BadPayloadError:
        return None
    return cancel if isinstance(cancel, Cancel) and source_key(source_type, source_id) == key else None


def _strays(workspace_id: str, events: Iterable[Listed]) -> list[Stray]:
    return [
        Stray(workspace_id, each.calendar_id, each.event.event_id, each.event.etag)
        for each in events
        if each.event.etag is not None
    ]
