"""The edits of the people at the application: they enter their plans, and then they change their minds.

Pure: the same seed at the same times gives the same scenario. The scenario keeps its own copy of the rows, and knows
how many rows of the outbox each step makes, so that a demo of N rows ends after exactly N.

The people never take out so much at once that the brake (`reactor.core.brake`) would stop their workspace: a demo that
is left alone goes on. What is taken out by other means, such as the console's page *Break it*, comes on top.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from reactor.core import brake
from reactor.demo import sample
from reactor.demo.sample import HIDING, UNSHOWN, Change, ScenarioRow, Schedule

_IMPORT = 8  # rows entered in one transaction
_MOVED = {"tasks": ("due_on",), "milestones": ("reached_on",)}
_FEW, _MANY = 12, 80  # tasks: enough that deleting does not empty the plans, and as many as people can see
_GONE = (
    brake.Limit().least - 5
)  # events of a workspace that may be gone at one time: the brake counts from its least on
_LATE = 60.0  # seconds within which a calendar shows what was written, whatever goes wrong


@dataclass(frozen=True, slots=True)
class ScenarioStep:
    """One edit by a person, in one or several transactions, one right after the other.

    Attributes:
        says: What it is, for people.
        transactions: The changes of each.
        rows: How many rows of the outbox they make.
    """

    says: str
    transactions: Sequence[Sequence[Change]]
    rows: int


class Scenario:
    """A never-ending stream of steps."""

    def __init__(self, schedules: Sequence[Schedule], seed: int) -> None:
        self._random = random.Random(seed)
        self.workspaces = {self._new_id(): schedule for schedule in schedules}
        plans = [list(sample.rows(schedule, id_, self._new_id)) for id_, schedule in self.workspaces.items()]
        longest = max(map(len, plans))
        # All versions are entered at the same time, so that each calendar shows something after a few steps.
        self._waiting = [rows[n] for n in range(longest) for rows in plans if n < len(rows)]
        self._rows: list[ScenarioRow] = []
        self._gone: dict[UUID, dict[UUID, float]] = {workspace: {} for workspace in self.workspaces}
        self._now = 0.0
        self._revision = 1

    def step(self, most: int, now: float) -> ScenarioStep:
        """The next step.

        Args:
            most: How many rows of the outbox it may make at most; at least 1.
            now: Seconds, of a clock that never goes back.
        """
        self._now = now
        nothing_shown = not any(row.shown for row in self._rows)
        if self._waiting and (nothing_shown or self._random.random() < 0.5):
            return self._enter(most)
        if nothing_shown:
            return self._add_task(most)
        actions: list[tuple[int, Callable[[int], ScenarioStep]]] = [
            (34, self._move),
            (14, self._rename),
            (12, self._dither),
            (16, self._hide_or_show),
            (8, self._note),
            (6, self._slip),
            (5, self._add_task),
            (5, self._delete_task),
        ]
        [action] = self._random.choices([act for _, act in actions], [weight for weight, _ in actions])
        return action(most)

    def _enter(self, most: int) -> ScenarioStep:
        rows = [self._waiting.pop(0) for _ in range(min(_IMPORT, most, len(self._waiting)))]
        self._rows += rows
        return ScenarioStep(
            f"{len(rows)} rows of the release schedules entered", [[row.inserted() for row in rows]], len(rows)
        )

    def _move(self, most: int) -> ScenarioStep:
        del most
        row = self._shown()
        days = self._random.choice([-14, -7, -3, -2, -1, 1, 2, 3, 7, 14])
        change = _moved(row, days)
        return ScenarioStep(f"{row.title}: {abs(days)} d {'later' if days > 0 else 'earlier'}", [[change]], 1)

    def _rename(self, most: int) -> ScenarioStep:
        del most
        row = self._shown()
        old = row.title
        return ScenarioStep(f"{old}: renamed", [[self._retitled(row)]], 1)

    def _dither(self, most: int) -> ScenarioStep:
        """A person cannot decide: one row is edited several times at once, and only the last edit matters."""
        row = self._shown()
        times = min(most, self._random.randint(3, 8))
        edits = [[_moved(row, self._random.choice([-1, 1]))] for _ in range(times)]
        return ScenarioStep(f"{row.title}: edited {times} times at once", edits, times)

    def _hide_or_show(self, most: int) -> ScenarioStep:
        hidden = [row for row in self._rows if not row.shown]
        reopen = bool(hidden) and self._random.random() < 0.5
        row = self._random.choice(hidden) if reopen else self._shown()
        if reopen:
            self._comes_back(row)
        elif not self._may_go(row):
            return self._move(most)
        column = HIDING[row.table]
        says = "reopened" if reopen else column
        return ScenarioStep(f"{row.title}: {says}", [[row.updated(**{column: not reopen})]], 1)

    def _note(self, most: int) -> ScenarioStep:
        """An edit that no calendar shows."""
        del most
        rows = [row for row in self._rows if row.table in UNSHOWN]
        if not rows:
            return self._move(1)
        row = self._random.choice(rows)
        column = UNSHOWN[row.table]
        note = f"{self._random.randrange(1000)}"
        return ScenarioStep(f"{row.title}: {column} noted, no calendar shows it", [[row.updated(**{column: note})]], 0)

    def _slip(self, most: int) -> ScenarioStep:
        """A release slips, or comes early: some dates of one version move by a week, in one transaction.

        Both are as likely, so that the dates stay near the documents', however long it goes on.
        """
        row = self._shown()
        rows = [r for r in self._rows if r.shown and r.workspace == row.workspace]
        slipping = self._random.sample(rows, min(most, len(rows), 6))
        later = self._random.random() < 0.5
        changes = [_moved(r, 7 if later else -7) for r in slipping]
        what, when = ("slips", "later") if later else ("comes early", "earlier")
        version = self.workspaces[row.workspace].version
        return ScenarioStep(f"Python {version} {what}: {len(changes)} dates a week {when}", [changes], len(changes))

    def _add_task(self, most: int) -> ScenarioStep:
        if sum(row.table == "tasks" for row in self._rows) >= _MANY:
            return self._move(most)
        workspace = self._random.choice(list(self.workspaces))
        release = self._random.choice(self.workspaces[workspace].releases)
        number = self._random.randint(90_000, 140_000)
        row = ScenarioRow(
            "tasks",
            self._new_id(),
            {"workspace_id": workspace, "title": f"fix gh-{number}", "due_on": _before(release.day), "done": False},
        )
        self._rows.append(row)
        return ScenarioStep(f"{row.title}: new", [[row.inserted()]], 1)

    def _delete_task(self, most: int) -> ScenarioStep:
        tasks = [row for row in self._rows if row.table == "tasks" and row.shown]
        if len(tasks) < _FEW:
            return self._add_task(most)
        row = self._random.choice(tasks)
        if not self._may_go(row):
            return self._move(most)
        self._rows.remove(row)
        return ScenarioStep(f"{row.title}: deleted", [[row.deleted()]], 1)

    def _may_go(self, row: ScenarioRow) -> bool:
        """Whether a row's event may go now; if it may, it counts as gone."""
        gone = self._gone[row.workspace]
        for id_, at in list(gone.items()):
            if at < self._now - brake.WINDOW - _LATE:
                del gone[id_]
        if len(gone) >= _GONE:
            return False
        gone[row.id] = self._now
        return True

    def _comes_back(self, row: ScenarioRow) -> None:
        """Note that a row has an event again: soon, so until then it counts as gone."""
        gone = self._gone[row.workspace]
        if row.id in gone:
            gone[row.id] = min(gone[row.id], self._now - brake.WINDOW)

    def _shown(self) -> ScenarioRow:
        return self._random.choice([row for row in self._rows if row.shown])

    def _retitled(self, row: ScenarioRow) -> Change:
        self._revision += 1  # never the same title again: that would be no change
        base = row.title.partition(" (")[0]
        return row.updated(title=f"{base} (rev {self._revision})")

    def _new_id(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


def _moved(row: ScenarioRow, days: int) -> Change:
    columns = _MOVED.get(row.table, ("starts_at", "ends_at"))
    return row.updated(**{column: row.values[column] + timedelta(days=days) for column in columns})


def _before(day: date) -> date:
    return day - timedelta(days=3)
