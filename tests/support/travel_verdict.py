"""What the calendars must show after a history, and each way in which they may not, with the sentence that admits it.

Our fields are compared by the judge of `drift`, which shares no code with what writes them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from calendar_emulator.store.calendars import Calendar, Record, WriteKind, merge
from reactor.core.calendar.event import GIVEN
from reactor.core.calendar.ids import event_id
from reactor.drift import calendar_event
from reactor.drift.comparison import differences
from reactor.drift.wanted import WantedEvent, from_payload
from tests.core.test_other_hands import holds
from tests.support.history_model import Source, source_of
from tests.support.travel_history import ACCOUNTS, Want
from tests.support.travel_world import TravelWorld, is_marked, owner_of

DOCS = Path(__file__).parents[2] / "docs"
Json = dict[str, Any]
DEAD = """
select distinct on (workspace_id, 2) workspace_id, sync_source_key(payload, id), failure_code, last_error
  from sync_outbox where status = 'DEAD_LETTER' and operation <> 'REBUILD_ALL' order by workspace_id, 2, seq desc
"""
ROWS = """
select seq, operation::text, status::text, failure_code, last_error, parent_id is not null as is_child,
       payload ->> 'calendarId', payload -> 'event' ->> 'title'
  from sync_outbox where workspace_id = %s and sync_source_key(payload, id) = %s order by created_at, seq
"""
REMEMBERED = """
select s.workspace_id, s.source_key, s.google_event_id, b.event_title, b.google_event_id
  from sync_sources as s
  left join calendar_event_bindings as b
    on b.workspace_id = s.workspace_id and b.source_type || ':' || b.source_id = s.source_key
 where s.google_event_id is not null
"""


class Divergence(Enum):
    """A difference that may remain: the page that says so, and its words."""

    DELETED_BY_HAND = "google.md", "What a person deleted stays deleted"
    NOT_SHARED = (
        "operations.md",
        "the calendar does not exist, or is not shared with the account any more; or it is another account's",
    )
    STAYS_UNTIL_IT_IS_SHARED = "google.md", "Until then the event stays as it was"
    OLD_ACCOUNT = "google.md", "the event in the old account stays there, out of our reach"
    LIKE_ANOTHER_ACCOUNT = (
        "google.md",
        "a move from a colleague's own calendar, that is not shared any more, to `primary` looks the same",
    )
    AFTER_THE_BACKUP = "operations.md", "events that were made after the backup stay in the calendars"
    REMOVED_AFTER_THE_BACKUP = "operations.md", "looks as if a person had deleted it: its edits are EVENT_GONE"
    UNMARKED = "google.md", "an event that has lost them, and that is not remembered any more, is left alone"
    MOVED_BY_HAND = "google.md", "An event that a person moves to another calendar counts as deleted"
    COPY = "google.md", "A copy that a person makes of our event has our properties too"


class Verdict:
    """Compares; `verdict` fails for a difference that has no name.

    Attributes:
        found: The differences that have one.
    """

    def __init__(self, world: TravelWorld) -> None:
        self.world = world
        self.found: Counter[Divergence] = Counter()
        self._rebuilt = "rebuild" in world.history.ending
        self._there: dict[Source, list[tuple[str, Json]]] = defaultdict(list)
        for calendar_id in world.emulator.api.calendars:
            for event in world.emulator.events(calendar_id):
                if source := owner_of(event):
                    self._there[source].append((calendar_id, event))
        self._dead = {(w, key): (code, error) for w, key, code, error in world.owner.execute(DEAD)}
        self._remembered = {(w, key): rest for w, key, *rest in world.owner.execute(REMEMBERED)}

    def verdict(self) -> None:
        wanted = self.world.wanted()
        for source in sorted({*wanted, *self._there}):
            self._judge(source, *wanted.get(source, ("", None)))
        for calendar in self.world.calendars():
            for record in calendar.ordered:
                if record.event["id"] not in self.world.deeds.copies:
                    _Trail(self.world, calendar, record).follow()
            self._check_twins(calendar)
        self.world.judge.verdict()

    def _reach(self, workspace: UUID) -> set[str]:
        """The calendars that a workspace's account may write."""
        account = self.world.account[workspace]
        return {name for name, each in self.world.emulator.api.calendars.items() if account in each.roles}

    def _judge(self, source: Source, title: str, want: Want | None) -> None:
        """What is there of a source beside what is wanted."""
        there = self._there[source]
        right, home = None, ""
        if want is not None and want.shows:
            home = self.world.account[source[0]] if want.calendar == "primary" else want.calendar
            right = next((each for each in there if each[0] == home and self._is_right(each[1], source, title)), None)
            if right is None:
                self._missing(source, home, title)
            else:
                expected = [right[1]["id"], title, right[1]["id"]]
                assert self._remembered[source[0], f"task:{source[1]}"] == expected, f"memory; {self._story(source)}"
        for calendar_id, event in there:
            if right is None or (calendar_id, event["id"]) != (right[0], right[1]["id"]):
                self._extra(source, home, calendar_id, event)

    def _is_right(self, event: Json, source: Source, title: str) -> bool:
        return event["id"] not in self.world.deeds.copies and not _differences(self.world, source, title, event)

    def _missing(self, source: Source, home: str, title: str) -> None:
        code, error = self._dead.get((source[0], f"task:{source[1]}"), (None, None))
        if home not in self._reach(source[0]):
            assert code == "CALENDAR_GONE", (source, home, code, error)
            self.found[Divergence.NOT_SHARED] += 1
        elif code == "EVENT_GONE" and not self._rebuilt and self._is_deleted_by_hand(source, home):
            self.found[Divergence.DELETED_BY_HAND] += 1
        elif code == "EVENT_GONE" and not self._rebuilt and self._is_forgotten(source, home):
            self.found[Divergence.REMOVED_AFTER_THE_BACKUP] += 1
        else:
            raise AssertionError(f"{title!r} is not in {home} ({code}: {error}); {self._story(source)}")

    def _extra(self, source: Source, home: str, calendar_id: str, event: Json) -> None:
        reach, deeds = self._reach(source[0]), self.world.deeds
        record = self.world.emulator.calendar(calendar_id).get(event["id"])
        last = max((write.at for write in record.writes if write.order not in deeds.hands), default=math.inf)
        remembered = self._remembered.get((source[0], f"task:{source[1]}"), [""])
        if home and home not in reach and event["id"] == remembered[0]:
            self.found[Divergence.STAYS_UNTIL_IT_IS_SHARED] += 1
        elif calendar_id not in reach:
            self.found[Divergence.OLD_ACCOUNT] += 1
        elif not is_marked(event) and deeds.is_forgotten(last):
            self.found[Divergence.UNMARKED] += 1
        elif self._rebuilt:
            raise AssertionError(f"{event['summary']!r} in {calendar_id} after a rebuild; {self._story(source)}")
        elif event["id"] in deeds.copies:
            self.found[Divergence.COPY] += 1
        elif event["id"] in deeds.moved:
            self.found[Divergence.MOVED_BY_HAND] += 1
        elif deeds.is_forgotten(last):
            self.found[Divergence.AFTER_THE_BACKUP] += 1
        elif calendar_id in ACCOUNTS and last <= deeds.left_at[source[0]]:
            self.found[Divergence.LIKE_ANOTHER_ACCOUNT] += 1
        else:
            raise AssertionError(f"{event['summary']!r} in {calendar_id} is too many; {self._story(source)}")

    def _story(self, source: Source) -> str:
        """All that is known of a source: its rows, its memory, and what was written to its events."""
        key = f"task:{source[1]}"
        rows = self.world.owner.execute(ROWS, (source[0], key)).fetchall()
        writes = [
            (each.order, calendar.id, each.kind.value, each.event.get("summary"), each.order in self.world.deeds.hands)
            for calendar in self.world.calendars()
            for record in calendar.ordered
            for each in record.writes
            if owner_of(each.event) == source
        ]
        ids = {event_id(str(source[0]), key, n) for n in range(4)}
        asked = [e for e in self.world.emulator.log.entries if any(each in e.path for each in ids)]
        told = [f"{e.number} {e.method} {e.path.split('calendars/')[-1]} {e.status} {e.effect}" for e in asked]
        return "\n".join(
            [key, *map(str, rows), str(self._remembered.get((source[0], key))), *map(str, sorted(writes)), *told]
        )

    def _records(self, source: Source, calendar_id: str) -> list[Record]:
        return [each for each in self.world.emulator.calendar(calendar_id).ordered if owner_of(each.event) == source]

    def _is_deleted_by_hand(self, source: Source, home: str) -> bool:
        """Whether a person has deleted an event of the source there, or all events."""
        records = self._records(source, home)
        if not records:
            return home in self.world.deeds.emptied
        return any(each.cancelled and each.writes[-1].order in self.world.deeds.hands for each in records)

    def _is_forgotten(self, source: Source, home: str) -> bool:
        """Whether the database has forgotten what was done last to an event of the source there."""
        return any(self.world.deeds.is_forgotten(each.writes[-1].at) for each in self._records(source, home))

    def _check_twins(self, calendar: Calendar) -> None:
        """At no moment has a calendar held an event of a source twice, but for copies and what was forgotten."""
        deeds = self.world.deeds
        alive: dict[Source, dict[str, float]] = defaultdict(dict)
        writes = [write for record in calendar.ordered for write in record.writes]
        for write in sorted(writes, key=lambda each: each.order):
            source, event_id = owner_of(write.event), write.event["id"]
            if source and event_id not in deeds.copies | deeds.moved:
                of_source = alive[source]
                if write.kind is WriteKind.DELETE or not is_marked(write.event):
                    of_source.pop(event_id, None)
                elif write.order not in deeds.hands:
                    twins = [at for each, at in of_source.items() if each != event_id]
                    of_source[event_id] = write.at
                    known = [at for at in twins if not deeds.is_forgotten(at, by=write.at)]
                    assert not known, f"twice in {calendar.id}; {self._story(source)}"


class _Trail:
    """One event through all its versions: each of our writes shows what is ours, and leaves what is theirs."""

    def __init__(self, world: TravelWorld, calendar: Calendar, record: Record) -> None:
        self._world, self._calendar, self._record = world, calendar, record
        self._theirs: Json = {}
        self._given: set[str] = set()

    def follow(self) -> None:
        for write in self._record.writes:
            hand = self._world.deeds.hands.get(write.order)
            if write.kind is not WriteKind.UPDATE:  # what a person moved here says what we gave it there
                given = write.event.get("extendedProperties", {}).get("private", {}).get(GIVEN, "")
                self._theirs, self._given = {}, set(given.split(",")) if hand is not None else set()
            if hand is not None:
                self._theirs = merge(self._theirs, hand)
            elif write.kind is not WriteKind.DELETE:
                self._ours(write.event)

    def _ours(self, event: Json) -> None:
        source, title = source_of(event), event["summary"]
        found = _differences(self._world, source, title, event)
        assert not found, (self._calendar.id, title, found)
        want = self._world.wants[title][1]
        for name, value in (("colorId", want.colour), ("reminders", want.reminder)):
            if value or name in self._given:
                self._theirs.pop(name, None)
            (self._given.add if value else self._given.discard)(name)
        assert holds(event, self._theirs), (self._calendar.id, title, self._theirs, event)


def _differences(world: TravelWorld, source: Source, title: str, event: Mapping[str, Any]) -> list[str]:
    """In which of our fields an event is not what a state of its source wants."""
    of, want = world.wants[title]
    wanted, found = from_payload(want.payload(source, title)), calendar_event.read(event)
    assert isinstance(wanted, WantedEvent)
    assert found is not None
    assert of == source
    marks = (
        [] if (found.workspace, found.source) == (str(source[0]), f"task:{source[1]}") else ["not marked as its own"]
    )
    return marks + [str(each) for each in differences(wanted, found, words=True)]
