"""Extra events of ours in a calendar: how a rebuild finds them, and the items that remove them.

*Which events.* That is decided from what was listed and what is remembered. Each listed event names its source. One
event may be the source's: the one that is remembered, and where that is not alive, the one that a write would come
upon, the lowest of the ids that follow it. All others are duplicates: two attempts of which each believed the other
lost, a copy made by hand, an event of a calendar that the source has left. Where the source is neither in the current
state nor remembered, all of its events are to go. The first is left to a cancel of the source, so that a later write
for the source meets a tombstone that is known to be ours.

*Two names of a calendar.* A calendar may have two (`primary` and an address), and is then listed twice. Its events show
that: they name the calendar that they are in, and two with the same id and the same version are one event. An event
that is listed twice counts once, in the version that was seen last, and its calendar goes by either name. To take it
for another calendar's would remove an event that is alive.

*How they are removed.* By an item of its own for each, which only a rebuild makes: a CANCEL_EVENT whose payload names
the event and the version that was listed, and no source. So it waits for no other item, and no newer state of the
source supersedes it. It need not know the source's memory either, because the version is its fence: any write to the
event after the list was read (a source may have gone on to this very id) has made another version, and then the event
stays. There is no second try with a version that is read later; the next rebuild looks again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reactor.core.calendar import ids
from reactor.core.calendar.messages import RemoteEvent, is_etag
from reactor.core.payload import BadPayloadError, Cancel, Operation, parse, source_key

TARGET_FIELD = "stray"
"""The field of a payload that makes it a prune target's; only the reactor writes it."""


@dataclass(frozen=True, slots=True)
class PruneTarget:
    """Make the calendar not hold this version of an event.

    Attributes:
        workspace_id: The workspace.
        calendar_id: The calendar that holds the event.
        event_id: Google's id of the event.
        etag: The version that was listed.
        source: The key of the source that the event names; not part of the payload.
    """

    workspace_id: str
    calendar_id: str = field(repr=False)
    event_id: str
    etag: str
    source: str | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, Any]:
        """The payload of its item."""
        return {
            "operation": Operation.CANCEL_EVENT.value,
            "workspaceId": self.workspace_id,
            "calendarId": self.calendar_id,
            TARGET_FIELD: {"eventId": self.event_id, "etag": self.etag},
        }


def parse_prune_target(workspace_id: UUID, payload: Any) -> PruneTarget | None:
    """The event that a rebuild's child removes, None where the child is about a source, or its payload cannot be read.

    Args:
        workspace_id: The row's workspace.
        payload: The row's payload: JSON text in bytes, or decoded.

    Raises:
        BadPayloadError: The payload is not as a rebuild wrote it.
    """
    if isinstance(payload, bytes):
        payload = _decoded(payload)
    if not isinstance(payload, dict) or TARGET_FIELD not in payload:
        return None
    found = payload[TARGET_FIELD] if isinstance(payload[TARGET_FIELD], dict) else {}
    wanted = (payload.get("calendarId"), found.get("eventId"), found.get("etag"))
    match wanted:
        case (str(calendar_id), str(event_id), str(etag)) if calendar_id and event_id and is_etag(etag):
            return PruneTarget(str(workspace_id), calendar_id, event_id, etag)
    raise BadPayloadError([f"{TARGET_FIELD}: not as a rebuild made it"])


def _decoded(payload: bytes) -> Any:
    """The JSON of a payload that may be a prune target's; most children's are not, and are not read twice."""
    if TARGET_FIELD.encode() not in payload:
        return None
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):  # numbers of thousands of digits, no UTF-8; deep nesting
        return None


_GENERATIONS = 16  # as many as a write goes on to


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """An event, and the calendar in which it was seen.

    Attributes:
        calendar_id: The name under which the calendar was listed.
        event: The event as it was listed.
        names: All names that the calendar is known by.
    """

    calendar_id: str = field(repr=False)
    event: RemoteEvent
    names: frozenset[str] = field(default=frozenset(), repr=False)

    def is_in(self, name: str | None) -> bool:
        """Whether the calendar has this name."""
        return name == self.calendar_id or name in self.names


@dataclass(frozen=True, slots=True)
class SourceFacts:
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
        """Whether neither the application nor the database knows the source."""
        return self.wanted is None and self.event_id is None


def by_source(calendars: Iterable[tuple[str, Sequence[RemoteEvent]]]) -> dict[str, list[ListedEvent]]:
    """The listed events by the source that they name, each once."""
    calendars = list(calendars)
    named = _names(calendars)
    once: dict[tuple[frozenset[str], str], ListedEvent] = {}
    for calendar_id, events in calendars:
        names = next(each for each in named if calendar_id in each)
        for event in events:
            once[names, event.event_id] = ListedEvent(calendar_id, event, names)
    sources: dict[str, list[ListedEvent]] = {}
    for listed in once.values():
        sources.setdefault(listed.event.source_key or "", []).append(listed)
    return sources


def _names(calendars: Sequence[tuple[str, Sequence[RemoteEvent]]]) -> list[frozenset[str]]:
    """The names of each calendar that was listed."""
    groups: list[tuple[set[str], set[tuple[str, str | None]]]] = []
    for calendar_id, events in calendars:
        names = {calendar_id} | {event.calendar for event in events if event.calendar is not None}
        versions = {(event.event_id, event.etag) for event in events}
        others = []
        for each in groups:
            if each[0].isdisjoint(names) and each[1].isdisjoint(versions):
                others.append(each)
            else:  # a common name, or a common event: both lists are of one calendar
                names, versions = names | each[0], versions | each[1]
        groups = [*others, (names, versions)]
    return [frozenset(names) for names, _ in groups]


def plan_prune(
    workspace_id: str, key: str, events: Sequence[ListedEvent], known: SourceFacts
) -> list[Cancel | PruneTarget]:
    """The removals for the events of one source: a cancel of the source, or prune targets.

    Args:
        workspace_id: The workspace.
        key: The source that the events name.
        events: The events, at least one.
        known: What is known of the source.
    """
    if known.is_nothing and (cancelled := _cancel(workspace_id, key, events[0])) is not None:
        return [cancelled, *_targets(workspace_id, key, events[1:])]
    kept = _kept(workspace_id, key, events, known)
    source = None if _cancel(workspace_id, key, events[0]) is None else key
    return [*_targets(workspace_id, source, [each for each in events if each is not kept])]


def _kept(workspace_id: str, key: str, events: Sequence[ListedEvent], known: SourceFacts) -> ListedEvent | None:
    """The one event that may stay: the remembered one, else the one that a write of the source would meet first."""
    home = known.calendar_id or known.wanted
    if known.event_id is not None and home is not None:
        remembered = [each for each in events if each.event.event_id == known.event_id]
        at_home = next((each for each in remembered if each.is_in(home)), None)
        if at_home is not None or known.wanted is None:
            return at_home
        if len(remembered) == 1 and remembered[0].is_in(known.wanted):
            return remembered[0]  # a move that was not recorded
    wanted = {each.event.event_id: each for each in events if known.wanted is not None and each.is_in(known.wanted)}
    following = (ids.event_id(workspace_id, key, known.generation + n) for n in range(_GENERATIONS))
    return next((wanted[event_id] for event_id in following if event_id in wanted), None)


def _cancel(workspace_id: str, key: str, listed: ListedEvent) -> Cancel | None:
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


def _targets(workspace_id: str, source: str | None, events: Iterable[ListedEvent]) -> list[PruneTarget]:
    return [
        PruneTarget(workspace_id, each.calendar_id, each.event.event_id, each.event.etag, source)
        for each in events
        if each.event.etag is not None
    ]
