"""Compares the calendars with what the application has: no more events and no fewer.

It is written against what Google shows, and without any code of the reactor: a mistake in how the reactor makes events
must not be repeated by its judge. Differences name calendars, sources and fields, and never repeat a text.
"""

import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

Json = dict[str, Any]

QUERY: LiteralString = """
select workspace_id, calendar_id, source_type, source_id, title, description, location, start_at, end_at, is_all_day,
       recurrence, color_id, time_zone
  from calendar_source_events
"""


@dataclass(frozen=True, slots=True)
class ViewRow:
    """A row of `calendar_source_events`, with the columns of `QUERY` in their order."""

    workspace_id: object
    calendar_id: str
    source_type: str
    source_id: object
    title: str
    description: str | None
    location: str | None
    start_at: datetime
    end_at: datetime
    is_all_day: bool
    recurrence: list[str] | None
    color_id: str | None
    time_zone: str | None

    @property
    def name(self) -> tuple[str, str, str]:
        """Calendar, workspace and source: by these its event is known."""
        return self.calendar_id, str(self.workspace_id), f"{self.source_type}:{self.source_id}"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One disagreement.

    Attributes:
        calendar_id: Where it is.
        what: The source, or the event's id where it has none.
        problem: `missing`, `unexpected`, `held twice`, `changed by us`, or the name of a field.
    """

    calendar_id: str
    what: str
    problem: str

    def __str__(self) -> str:
        return f"{self.calendar_id}: {self.what}: {self.problem}"


def differences(
    wanted: Iterable[ViewRow], held: Mapping[str, Sequence[Json]], foreign: Mapping[str, Sequence[Json]]
) -> list[Disagreement]:
    """Compare the application's state with what the calendars hold.

    Args:
        wanted: All rows of `calendar_source_events`.
        held: The live events of every calendar.
        foreign: The events that are not ours, by calendar, as they must still be.
    """
    found: list[Disagreement] = []
    ours: dict[tuple[str, str, str], list[Json]] = defaultdict(list)
    for calendar_id, events in held.items():
        others = [event for event in events if _name(calendar_id, event) is None]
        found += _foreign(calendar_id, others, foreign.get(calendar_id, ()))
        for event in events:
            if name := _name(calendar_id, event):
                ours[name].append(event)
    for row in wanted:
        events = ours.pop(row.name, [])
        problems = ["missing"] if not events else ["held twice"] if len(events) > 1 else _fields(row, events[0])
        found += [Disagreement(row.calendar_id, row.name[2], problem) for problem in problems]
    found += [Disagreement(calendar, source, "unexpected") for calendar, _, source in ours]
    return found


def _name(calendar_id: str, event: Json) -> tuple[str, str, str] | None:
    """What an event stands for, None where it is not ours."""
    private = event.get("extendedProperties", {}).get("private", {})
    if "reactorWorkspace" not in private:
        return None
    return calendar_id, private["reactorWorkspace"], private.get("reactorSource", "")


def _foreign(calendar_id: str, held: Sequence[Json], before: Sequence[Json]) -> list[Disagreement]:
    old = {event["id"]: event for event in before}
    new = {event["id"]: event for event in held}
    found = [Disagreement(calendar_id, id_, "unexpected") for id_ in new.keys() - old.keys()]
    found += [Disagreement(calendar_id, id_, "missing") for id_ in old.keys() - new.keys()]
    found += [
        Disagreement(calendar_id, id_, "changed by us") for id_ in old.keys() & new.keys() if old[id_] != new[id_]
    ]
    return found


def _fields(row: ViewRow, event: Json) -> list[str]:
    """The names of the fields in which an event is not what its row says."""
    wanted = {
        "title": row.title,
        "description": row.description,
        "location": row.location,
        "start": _wanted_moment(row.start_at, is_all_day=row.is_all_day),
        "end": _wanted_moment(row.end_at, is_all_day=row.is_all_day),
        "recurrence": row.recurrence or None,
        "color": row.color_id,
        "time zone": row.time_zone if row.recurrence else None,
    }
    # Google shows a description as HTML.
    held = {
        "title": event.get("summary"),
        "description": html.unescape(event["description"]) if "description" in event else None,
        "location": event.get("location"),
        "start": _held_moment(event["start"]),
        "end": _held_moment(event["end"]),
        "recurrence": event.get("recurrence"),
        "color": event.get("colorId"),
        "time zone": event["start"].get("timeZone") if row.recurrence else None,
    }
    return [field for field, value in wanted.items() if held[field] != value]


def _wanted_moment(at: datetime, *, is_all_day: bool) -> datetime | str:
    return at.astimezone(UTC).date().isoformat() if is_all_day else at


def _held_moment(point: Json) -> datetime | str:
    return str(point["date"]) if "date" in point else datetime.fromisoformat(point["dateTime"])
