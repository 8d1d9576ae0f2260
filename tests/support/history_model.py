"""What an application wants of its calendars, and what they must show in the end."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from tests.support.dialogues import cancel_json, upsert_json
from tests.support.google_fixtures import USER

TEAM = "team@group.calendar.google.com"
CALENDARS = (USER, TEAM)

Source = tuple[UUID, UUID]

"""A workspace, and the id of a thing in it."""
WORKSPACES = (UUID(int=1), UUID(int=2))
SOURCES: tuple[Source, ...] = tuple((workspace, UUID(int=100 + s)) for workspace in WORKSPACES for s in range(3))


@dataclass(frozen=True)
class Edit:
    """What the application wants of a source: an event in a calendar, or none; bad content cannot be shown."""

    calendar: str = USER
    kind: Literal["upsert", "cancel", "bad for us", "bad for Google"] = "upsert"

    def payload(self, source: Source, title: str) -> dict[str, Any]:
        bad = {"bad for us": {"start": "tomorrow"}, "bad for Google": {"colorId": "99"}}.get(self.kind, {})
        shape = cancel_json(self.calendar) if self.kind == "cancel" else upsert_json(title, self.calendar, **bad)
        return {**shape, "workspaceId": str(source[0]), "sourceId": str(source[1])}


@dataclass
class Model:
    """What the calendars must show in the end: of each source the newest committed state that can be shown."""

    states: dict[Source, dict[int, tuple[Edit, str]]] = field(default_factory=lambda: defaultdict(dict))

    def commit(self, source: Source, seq: int, edit: Edit, title: str) -> None:
        if not edit.kind.startswith("bad"):
            self.states[source][seq] = edit, title

    def calendars(self) -> Counter[tuple[str, Source, str]]:
        newest = {source: states[max(states)] for source, states in self.states.items()}
        return Counter(
            (edit.calendar, source, title) for source, (edit, title) in newest.items() if edit.kind == "upsert"
        )


def source_of(event: dict[str, Any]) -> Source:
    """Whose event it is, by what we wrote into it."""
    private = event["extendedProperties"]["private"]
    return UUID(private["reactorWorkspace"]), UUID(private["reactorSource"].removeprefix("task:"))
