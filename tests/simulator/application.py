"""The application: what it wants of its calendars, what it has written, and what the calendars must show in the end."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

WORKSPACES = tuple(UUID(int=n + 1) for n in range(4))

Source = tuple[int, int]
"""A workspace's number and a thing's number in it."""

TIMES = {"start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"}
BAD_FOR_US = {"start": "tomorrow"}
BAD_FOR_GOOGLE = {"colorId": "99"}


def calendars_of(workspace: int) -> tuple[str, str]:
    """The two calendars of a workspace's account."""
    return f"w{workspace}@example.com", f"team{workspace}@group.calendar.google.com"


def user_of(workspace: int) -> str:
    """The account of a workspace."""
    return calendars_of(workspace)[0]


def source_id(source: Source) -> str:
    """A thing's id."""
    return str(UUID(int=1000 * (source[0] + 1) + source[1]))


def key_of(source: Source) -> str:
    """What the reactor calls it."""
    return f"task:{source_id(source)}"


@dataclass(frozen=True, slots=True)
class Edit:
    """What the application wants of a source.

    Attributes:
        kind: upsert, cancel, or content that cannot be shown: "bad for us", "bad for Google".
        calendar: 0 or 1: in which of the workspace's calendars.
    """

    kind: str = "upsert"
    calendar: int = 0

    @property
    def operation(self) -> str:
        return "CANCEL_EVENT" if self.kind == "cancel" else "UPSERT_EVENT"

    def payload(self, source: Source, title: str) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "operation": self.operation,
            "workspaceId": str(WORKSPACES[source[0]]),
            "calendarId": calendars_of(source[0])[self.calendar],
            "sourceType": "task",
            "sourceId": source_id(source),
        }
        if self.kind == "cancel":
            return shape
        bad = {"bad for us": BAD_FOR_US, "bad for Google": BAD_FOR_GOOGLE}.get(self.kind, {})
        return {**shape, "eventType": "MILESTONE", "event": {"title": title, **TIMES, **bad}}


@dataclass(frozen=True, slots=True)
class State:
    """A committed state of a source."""

    edit: Edit
    title: str

    @property
    def shows(self) -> bool:
        """Whether it can be shown, or is an event that is not to be there."""
        return not self.edit.kind.startswith("bad")


class Application:
    """What is committed."""

    def __init__(self) -> None:
        self.states: dict[Source, dict[int, State]] = defaultdict(dict)

    def commit(self, source: Source, seq: int, state: State) -> None:
        self.states[source][seq] = state

    def current(self, workspace: UUID) -> list[tuple[str, str, dict[str, Any]]]:
        """What its view shows of a workspace: key, calendar, payload of each event that is to be there."""
        found = []
        for source, states in self.states.items():
            state = states[max(states)]
            if WORKSPACES[source[0]] == workspace and state.edit.kind != "cancel":
                payload = state.edit.payload(source, state.title)
                found.append((key_of(source), payload["calendarId"], payload))
        return found

    def wanted(self) -> Counter[tuple[str, Source, str]]:
        """What the calendars must show: of each source the newest state that can be shown."""
        wanted: Counter[tuple[str, Source, str]] = Counter()
        for source, states in self.states.items():
            showable = {seq: state for seq, state in states.items() if state.shows}
            if showable and (state := showable[max(showable)]).edit.kind != "cancel":
                wanted[calendars_of(source[0])[state.edit.calendar], source, state.title] += 1
        return wanted


def title_of(kind: str, seq: int) -> str:
    """The title of a state, which tells its place."""
    return f"{kind} {seq}"


def as_text(payload: Any) -> bytes:
    """JSON as PostgreSQL would store it, near enough."""
    return json.dumps(payload, ensure_ascii=False).encode()
