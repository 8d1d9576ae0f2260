"""A row of the demo's application, and a change of one."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

HIDING = {"tasks": "done", "milestones": "cancelled", "gate_runs": "cancelled", "project_reviews": "cancelled"}
"""The column of each table that takes a row's event out of the calendar."""
UNSHOWN = {"tasks": "assignee", "gate_runs": "decision"}
"""Columns that no calendar shows."""


class Verb(Enum):
    """What happens to a row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One statement.

    Attributes:
        values: The columns that it writes, with their values.
    """

    verb: Verb
    table: str
    id: UUID
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class StoryRow:
    """A row as the story remembers it."""

    table: str
    id: UUID
    values: dict[str, Any]

    @property
    def title(self) -> str:
        """What people call it."""
        return str(self.values["title"])

    @property
    def shown(self) -> bool:
        """Whether it has an event."""
        return not self.values[HIDING[self.table]]

    def inserted(self) -> Change:
        """The change that makes it."""
        return Change(Verb.INSERT, self.table, self.id, dict(self.values))

    def updated(self, **values: Any) -> Change:
        """The change that gives it other values; it has them from now on."""
        self.values |= values
        return Change(Verb.UPDATE, self.table, self.id, values)

    def deleted(self) -> Change:
        """The change that removes it."""
        return Change(Verb.DELETE, self.table, self.id)
