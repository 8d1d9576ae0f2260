"""The judgement of one workspace: all sources that are wanted, all events that are there, and what differs.

1. Each event of ours is *seen*, a page at a time, beside what is wanted of its source at that moment. Of an event that
   is as it should be nothing is kept but its name; so memory is bounded by a page, and some 600 bytes for each event.
2. When all calendars were read, each wanted source is *judged* by what was seen of it.
3. What was seen and never judged is not wanted: the *rest*.

A calendar may have two names and is then read twice: an event is one event however often it is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from reactor.drift.calendar_event import CalendarEvent
from reactor.drift.comparison import FieldDifference, differences
from reactor.drift.wanted import Field, Unusable, WantedEvent

_TOO_LATE = "it was not wanted yet when its calendar was read"


class DriftKind(StrEnum):
    """In which way calendar and application differ."""

    MISSING = "missing"
    """Wanted, and there is no such event."""
    UNEXPECTED = "unexpected"
    """An event of ours that is not wanted."""
    TWICE = "twice"
    """Wanted once, and there more than once."""
    DIFFERENT = "different"
    """There, and not as it is wanted."""
    DELETED_BY_HAND = "deleted_by_hand"
    """Wanted, and a person has deleted it in the calendar."""
    CALENDAR_GONE = "calendar_gone"
    """Wanted in a calendar that the account cannot see."""
    UNUSABLE = "unusable"
    """What the application says of it makes no event."""


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One difference between a calendar and the application.

    Attributes:
        kind: In which way they differ.
        source: The source's key.
        calendar_id: The calendar, empty where none is known.
        events: The ids of the events.
        fields: What differs.
        problem: What else there is to say.
        on_its_way: Whether it is being mended: then it is no fault yet.
        item: The item of the outbox that has to do with it.
        waits: For how many seconds that item has waited.
        code: What that item died of.
    """

    kind: DriftKind
    source: str
    calendar_id: str = field(repr=False)
    events: tuple[str, ...] = ()
    fields: tuple[FieldDifference, ...] = field(default=(), repr=False)
    problem: str = ""
    on_its_way: bool = False
    item: str = ""
    waits: float | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What the database remembers of a source.

    Attributes:
        event_id: The event that it believes to exist, if any.
        calendar_id: The calendar of that event.
        removed: Whether it was removed by us, or may have been.
        marked: Whether the event was written with our mark; an older worker's was not.
    """

    event_id: str | None = None
    calendar_id: str | None = field(default=None, repr=False)
    removed: bool = False
    marked: bool = True


@dataclass(slots=True)
class _Observed:
    event_id: str
    calendars: tuple[str, ...]
    fields: tuple[FieldDifference, ...] | None


class Judge:
    """The judge of one workspace.

    Args:
        workspace: Its id, as the mark has it.
        words: Whether texts are shown, and not their lengths.

    Attributes:
        events: How many events were seen, each once.
        occurrences: How many occurrences of series a person changed or removed: they are not compared.
    """

    def __init__(self, workspace: str, *, words: bool = False) -> None:
        self.events = 0
        self.occurrences = 0
        self._workspace = workspace
        self._words = words
        self._alive: dict[str, dict[tuple[str, str], _Observed]] = {}
        self._dead: set[tuple[str | None, str | None]] = set()  # calendar and event
        self._gone: dict[str, str] = {}

    def gone(self, calendar_id: str, reason: str) -> None:
        """Take note that a calendar cannot be read."""
        self._gone[calendar_id] = reason

    def is_ours(self, actual: CalendarEvent) -> bool:
        """Whether an event is alive, a whole event, and marked as this workspace's."""
        return not actual.is_deleted and not actual.is_instance and actual.workspace == self._workspace

    def see(self, calendar_id: str, actual: CalendarEvent, wanted: WantedEvent | Unusable | None) -> None:
        """See an event in a calendar, beside what is wanted of its source."""
        if actual.is_instance:
            self.occurrences += 1
        elif actual.is_deleted:
            self._dead.add((calendar_id, actual.event_id))
        elif self.is_ours(actual):
            sights = self._alive.setdefault(actual.source, {})
            if known := sights.get(actual.identity):
                known.calendars = (*known.calendars, calendar_id)
                return
            self.events += 1
            found = differences(wanted, actual, words=self._words) if isinstance(wanted, WantedEvent) else None
            sights[actual.identity] = _Observed(actual.event_id, (calendar_id,), found)

    def judge(self, source: str, wanted: WantedEvent | Unusable, memory: SourceRecord) -> DriftFinding | None:
        """Judge a source that is wanted; None where all is well. Each source once, when all calendars were read."""
        sights = list(self._alive.pop(source, {}).values())
        seen = tuple(each.event_id for each in sights)
        if isinstance(wanted, Unusable):
            return DriftFinding(
                DriftKind.UNUSABLE, source, "", seen, problem=f"the application's {wanted.problem} cannot be used"
            )
        if len(sights) > 1:
            return DriftFinding(DriftKind.TWICE, source, wanted.calendar_id, seen, problem=_known(seen, memory))
        if sights:
            return _one(source, wanted, sights[0], memory)
        if (reason := self._gone.get(wanted.calendar_id)) is not None:
            return DriftFinding(DriftKind.CALENDAR_GONE, source, wanted.calendar_id, problem=reason)
        if memory.event_id and (memory.calendar_id, memory.event_id) in self._dead and not memory.removed:
            return DriftFinding(DriftKind.DELETED_BY_HAND, source, wanted.calendar_id, (memory.event_id,))
        return DriftFinding(DriftKind.MISSING, source, wanted.calendar_id)

    def rest(self) -> Iterator[DriftFinding]:
        """What was seen and is not wanted."""
        while self._alive:
            source, sights = self._alive.popitem()
            for each in sights.values():
                yield DriftFinding(DriftKind.UNEXPECTED, source, each.calendars[0], (each.event_id,))


def needs_lookup(finding: DriftFinding, memory: SourceRecord) -> bool:
    """Whether a question for the event that is remembered could change a finding: lists leave much out.

    Google promises no more of a tombstone than its id, and an older worker's event has no mark to be found by.
    """
    return finding.kind is DriftKind.MISSING and memory.event_id is not None


def judge_again(
    finding: DriftFinding,
    wanted: WantedEvent,
    memory: SourceRecord,
    actual: CalendarEvent | None,
    *,
    words: bool = False,
) -> DriftFinding | None:
    """Judge a source that was missing again, with the event that is remembered, if Google knows it."""
    if actual is None or (actual.is_deleted and memory.removed):
        return finding
    found = replace(finding, events=(actual.event_id,))
    if actual.is_deleted:
        return replace(found, kind=DriftKind.DELETED_BY_HAND)
    fields = differences(wanted, actual, words=words)
    if wanted.calendar_id not in ("primary", memory.calendar_id, actual.identity[1]):
        fields = (FieldDifference(Field.CALENDAR, wanted.calendar_id, memory.calendar_id or ""), *fields)
    if memory.marked and not actual.fields[Field.MARKER]:
        fields = (FieldDifference(Field.MARKER, "yes", "no"), *fields)
    return replace(found, kind=DriftKind.DIFFERENT, fields=fields) if fields else None


def _one(source: str, wanted: WantedEvent, sight: _Observed, memory: SourceRecord) -> DriftFinding | None:
    if sight.fields is None:
        return DriftFinding(
            DriftKind.DIFFERENT, source, wanted.calendar_id, (sight.event_id,), problem=_TOO_LATE, on_its_way=True
        )
    fields = sight.fields
    if wanted.calendar_id not in sight.calendars:
        fields = (FieldDifference(Field.CALENDAR, wanted.calendar_id, sight.calendars[0]), *fields)
    if memory.event_id not in (None, sight.event_id):
        fields = (FieldDifference(Field.EVENT, memory.event_id or "", sight.event_id), *fields)
    if not fields:
        return None
    return DriftFinding(DriftKind.DIFFERENT, source, sight.calendars[0], (sight.event_id,), fields)


def _known(seen: tuple[str, ...], memory: SourceRecord) -> str:
    return f"{memory.event_id} is the one that is remembered" if memory.event_id in seen else "none is remembered"
