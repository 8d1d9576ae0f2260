"""Sample data: the release dates of CPython, as rows of an application.

The dates are those of the release schedules PEP 664, PEP 693, PEP 719 and PEP 745 (https://peps.python.org/pep-0664/
and so on), which are in the public domain. Only the dates of the releases are from there; the deadlines, gates and
reviews around them are invented.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
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
class ScenarioRow:
    """A row as the scenario remembers it."""

    table: str
    id: UUID
    values: dict[str, Any]

    @property
    def workspace(self) -> UUID:
        """The workspace's id."""
        id_: UUID = self.values["workspace_id"]
        return id_

    @property
    def title(self) -> str:
        """The title as people see it."""
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


_SCHEDULES = {
    ("3.11", 664): """
        alpha 1: 2021-10-05, alpha 2: 2021-11-02, alpha 3: 2021-12-08, alpha 4: 2022-01-14, alpha 5: 2022-02-03,
        alpha 6: 2022-03-07, alpha 7: 2022-04-05, beta 1: 2022-05-08, beta 2: 2022-05-31, beta 3: 2022-06-01,
        beta 4: 2022-07-11, beta 5: 2022-07-26, candidate 1: 2022-08-08, candidate 2: 2022-09-12, final: 2022-10-24""",
    ("3.12", 693): """
        alpha 1: 2022-10-24, alpha 2: 2022-11-14, alpha 3: 2022-12-06, alpha 4: 2023-01-10, alpha 5: 2023-02-07,
        alpha 6: 2023-03-07, alpha 7: 2023-04-04, beta 1: 2023-05-22, beta 2: 2023-06-06, beta 3: 2023-06-19,
        beta 4: 2023-07-11, candidate 1: 2023-08-06, candidate 2: 2023-09-06, candidate 3: 2023-09-19,
        final: 2023-10-02""",
    ("3.13", 719): """
        alpha 1: 2023-10-13, alpha 2: 2023-11-22, alpha 3: 2024-01-17, alpha 4: 2024-02-15, alpha 5: 2024-03-12,
        alpha 6: 2024-04-09, beta 1: 2024-05-08, beta 2: 2024-06-05, beta 3: 2024-06-27, beta 4: 2024-07-18,
        candidate 1: 2024-08-01, candidate 2: 2024-09-06, candidate 3: 2024-10-01, final: 2024-10-07""",
    ("3.14", 745): """
        alpha 1: 2024-10-15, alpha 2: 2024-11-19, alpha 3: 2024-12-17, alpha 4: 2025-01-14, alpha 5: 2025-02-11,
        alpha 6: 2025-03-14, alpha 7: 2025-04-08, beta 1: 2025-05-07, beta 2: 2025-05-26, beta 3: 2025-06-17,
        beta 4: 2025-07-08, candidate 1: 2025-07-22, candidate 2: 2025-08-14, candidate 3: 2025-09-18,
        final: 2025-10-07""",
}


@dataclass(frozen=True, slots=True)
class Release:
    """One release: `beta 1` of `3.13.0`, and its day."""

    name: str
    day: date


@dataclass(frozen=True, slots=True)
class Schedule:
    """The releases of one version, in their order.

    Attributes:
        version: Such as `3.13`.
        pep: The number of the document that the dates are from.
        releases: From the first alpha to the final release.
    """

    version: str
    pep: int
    releases: tuple[Release, ...]


def schedules() -> list[Schedule]:
    """The schedules of four versions."""
    return [Schedule(version, pep, tuple(_releases(text))) for (version, pep), text in _SCHEDULES.items()]


def _releases(text: str) -> list[Release]:
    pairs = (entry.split(":") for entry in text.split(","))
    return [Release(name.strip(), date.fromisoformat(day.strip())) for name, day in pairs]


NewId = Callable[[], UUID]

_GATES = {"beta 1": "feature freeze", "candidate 1": "release candidate", "final": "go or no-go"}
_REVIEWS = {"beta 1": "Review of the alphas", "candidate 1": "Review of the betas", "final": "Retrospective"}


def rows(schedule: Schedule, workspace: UUID, new_id: NewId) -> Iterator[ScenarioRow]:
    """All rows of one version, in the order of its releases."""

    def row(table: str, **values: Any) -> ScenarioRow:
        return ScenarioRow(table, new_id(), {"workspace_id": workspace, **values})

    for release in schedule.releases:
        title = f"Python {schedule.version}.0 {release.name}"
        yield row("milestones", title=title, description=f"PEP {schedule.pep}", reached_on=release.day, cancelled=False)
        yield task(row, f"blockers of {schedule.version}.0 {release.name}", release.day - timedelta(days=1))
        if release.name in _GATES:
            start, end = _meeting(release.day - timedelta(days=2))
            yield row(
                "gate_runs",
                title=f"{schedule.version} {_GATES[release.name]}",
                location="Video call",
                starts_at=start,
                ends_at=end,
                cancelled=False,
            )
            start, end = _meeting(release.day + timedelta(days=7))
            yield _review(row, f"{_REVIEWS[release.name]}, {schedule.version}", start, end)
    yield _weekly(row, schedule)


def task(row: Callable[..., ScenarioRow], title: str, due_on: date) -> ScenarioRow:
    """A task with a deadline."""
    return row("tasks", title=title, description="None open when the tag is made.", due_on=due_on, done=False)


def _weekly(row: Callable[..., ScenarioRow], schedule: Schedule) -> ScenarioRow:
    """The release team meets every week from the first beta to the final release, at the same time of day."""
    days = {release.name: release.day for release in schedule.releases}
    weeks = (days["final"] - days["beta 1"]).days // 7
    start, end = _meeting(days["beta 1"])
    return _review(row, f"Release team {schedule.version}", start, end, recurrence=[f"RRULE:FREQ=WEEKLY;COUNT={weeks}"])


def _review(row: Callable[..., ScenarioRow], title: str, start: datetime, end: datetime, **more: Any) -> ScenarioRow:
    return row(
        "project_reviews",
        title=title,
        starts_at=start,
        ends_at=end,
        time_zone="Europe/Amsterdam",
        cancelled=False,
        **more,
    )


def _meeting(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time(15), UTC)
    return start, start + timedelta(hours=1)
