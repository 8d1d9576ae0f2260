"""The rows that a release schedule is told as: milestones, deadlines, gates and reviews."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from reactor.demo.row import StoryRow
from reactor.demo.schedule import Schedule

NewId = Callable[[], UUID]

_GATES = {"beta 1": "feature freeze", "candidate 1": "release candidate", "final": "go or no-go"}
_REVIEWS = {"beta 1": "Review of the alphas", "candidate 1": "Review of the betas", "final": "Retrospective"}


def rows(schedule: Schedule, workspace: UUID, new_id: NewId) -> Iterator[StoryRow]:
    """All rows of one version, in the order of its releases."""

    def row(table: str, **values: Any) -> StoryRow:
        return StoryRow(table, new_id(), {"workspace_id": workspace, **values})

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


def task(row: Callable[..., StoryRow], title: str, due_on: date) -> StoryRow:
    """A task with a deadline."""
    return row("tasks", title=title, description="None open when the tag is made.", due_on=due_on, done=False)


def _weekly(row: Callable[..., StoryRow], schedule: Schedule) -> StoryRow:
    """The release team meets every week from the first beta to the final release, at the same time of day."""
    days = {release.name: release.day for release in schedule.releases}
    weeks = (days["final"] - days["beta 1"]).days // 7
    start, end = _meeting(days["beta 1"])
    return _review(row, f"Release team {schedule.version}", start, end, recurrence=[f"RRULE:FREQ=WEEKLY;COUNT={weeks}"])


def _review(row: Callable[..., StoryRow], title: str, start: datetime, end: datetime, **more: Any) -> StoryRow:
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
