"""The demo's scenario: always the same for a seed, real dates, and exactly as many rows as it says."""

import math
from collections import Counter, deque
from datetime import date
from itertools import islice, pairwise
from statistics import fmean
from uuid import UUID

import psycopg
import pytest

from reactor.core.brake import WINDOW, Limit
from reactor.core.payload import parse
from reactor.demo.application import Application
from reactor.demo.options import DEFAULT_RATE
from reactor.demo.sample import Verb, schedules
from reactor.demo.scenario import Scenario, ScenarioStep
from reactor.postgres.connection.session import open_session
from tests.support.example_database import make_example

MOST = 50


def told(seed: int, steps: int) -> list[ScenarioStep]:
    scenario = Scenario(schedules(), seed)
    return [scenario.step(MOST, float(number)) for number in range(steps)]


def test_the_schedules_are_those_of_the_documents() -> None:
    found = {schedule.version: schedule for schedule in schedules()}
    assert {version: schedule.pep for version, schedule in found.items()} == {
        "3.11": 664,
        "3.12": 693,
        "3.13": 719,
        "3.14": 745,
    }
    assert {version: schedule.releases[-1].day for version, schedule in found.items()} == {
        "3.11": date(2022, 10, 24),
        "3.12": date(2023, 10, 2),
        "3.13": date(2024, 10, 7),
        "3.14": date(2025, 10, 7),
    }
    for schedule in found.values():
        assert all(one.day < other.day for one, other in pairwise(schedule.releases)), schedule.version


def test_a_seed_always_tells_the_same_story() -> None:
    assert told(7, 200) == told(7, 200)
    assert told(7, 200) != told(8, 200)


@pytest.mark.parametrize("seed", range(5))
def test_it_never_makes_more_rows_than_it_may(seed: int) -> None:
    scenario = Scenario(schedules(), seed)
    for most in (1, 2, 3) * 200:
        assert scenario.step(most, 0.0).rows <= most


def test_everything_happens() -> None:
    steps = told(0, 600)
    changes = [change for step in steps for transaction in step.transactions for change in transaction]
    assert {change.table for change in changes} == {"tasks", "milestones", "gate_runs", "project_reviews"}
    assert {change.verb for change in changes} == set(Verb)
    flags = Counter((name, v) for change in changes for name, v in change.values.items() if isinstance(v, bool))
    for flag in (("done", True), ("cancelled", True), ("done", False), ("cancelled", False)):
        assert flags[flag] > 0
    assert any(step.rows == 0 for step in steps), "some edits concern no calendar"
    assert any(len(step.transactions) > 2 for step in steps), "some rows are edited several times at once"


class Late:
    """Calendars that show what was written some seconds later, and the brake's count of what is gone or about to go."""

    def __init__(self, scenario: Scenario, lag: float) -> None:
        self._lag = lag
        self._wanted: dict[UUID, dict[UUID, bool]] = {workspace: {} for workspace in scenario.workspaces}
        self._shown: dict[UUID, set[UUID]] = {workspace: set() for workspace in scenario.workspaces}
        self._removed: dict[UUID, dict[UUID, float]] = {workspace: {} for workspace in scenario.workspaces}
        self._coming: deque[tuple[float, UUID, UUID, bool]] = deque()

    def writes(self, workspace: UUID, source: UUID, *, shown: bool, now: float) -> None:
        self._wanted[workspace][source] = shown
        self._coming.append((now + self._lag, workspace, source, shown))

    def count(self, workspace: UUID, now: float) -> tuple[int, int]:
        """How many events are gone or about to go, and out of how many."""
        while self._coming and self._coming[0][0] <= now:
            _, whose, source, shown = self._coming.popleft()
            if shown:
                self._shown[whose].add(source)
                self._removed[whose].pop(source, None)
            elif source in self._shown[whose]:
                self._shown[whose].remove(source)
                self._removed[whose][source] = now
        shown_now, wanted = self._shown[workspace], self._wanted[workspace]
        gone = {source for source, at in self._removed[workspace].items() if at > now - WINDOW}
        return len(gone) + sum(not wanted[source] for source in shown_now), len(shown_now) + len(gone)


@pytest.mark.parametrize(("rate", "lag"), [(8.0, 0.0), (DEFAULT_RATE, 30.0), (math.inf, 2.0)])
@pytest.mark.parametrize("seed", [0, 6, 22])
def test_the_brake_never_stops_it(seed: int, rate: float, lag: float) -> None:
    """What the people take out within a window is less than the brake asks about, also where the calendars lag."""
    scenario, limit, now = Scenario(schedules(), seed), Limit(), 0.0
    late = Late(scenario, lag)
    whose: dict[UUID, UUID] = {}
    taken = 0
    for _ in range(5_000):
        step = scenario.step(MOST, now)
        for change in (change for transaction in step.transactions for change in transaction):
            workspace = whose.setdefault(change.id, change.values.get("workspace_id", UUID(int=0)))
            hides = any(change.values.get(column) for column in ("done", "cancelled"))
            gone = change.verb is Verb.DELETE or hides
            taken += gone
            if gone or change.verb is Verb.INSERT or any(column in change.values for column in ("done", "cancelled")):
                late.writes(workspace, change.id, shown=not gone, now=now)
                assert not limit.stops(*late.count(workspace, now)), step.says
        now += max(step.rows / rate, 0.002)
    assert taken > 10, "events do go"
    assert all(late.count(workspace, now + lag)[1] > 20 for workspace in scenario.workspaces), "the plans stay"


def test_the_dates_stay_near_those_of_the_documents() -> None:
    """However long it goes on: what slips comes early at another time."""
    first: dict[UUID, date] = {}
    last: dict[UUID, date] = {}
    for step in told(0, 10_000):
        for change in (change for transaction in step.transactions for change in transaction):
            if day := change.values.get("reached_on"):
                first.setdefault(change.id, day)
                last[change.id] = day
    assert abs(fmean((last[id_] - day).days for id_, day in first.items())) < 60


async def test_the_outbox_gets_as_many_rows_as_the_story_says(empty_database: str) -> None:
    make_example(empty_database)
    scenario = Scenario(schedules(), seed=3)
    with psycopg.connect(empty_database) as owner:
        for id_ in scenario.workspaces:
            owner.execute("insert into workspaces (id, name) values (%s, 'x')", (id_,))
            owner.execute(
                "insert into google_connections (workspace_id, calendar_id, refresh_token_encrypted) "
                "values (%s, 'a@example.com', '')",
                (id_,),
            )
    committed: list[range] = []
    expected = 0
    async with open_session(empty_database, name="test") as session:
        application = Application(session, lambda seqs, _: committed.append(seqs))
        for step in islice(iter(lambda: scenario.step(MOST, 0.0), None), 300):
            await application.carry_out(step)
            expected += step.rows
            assert sum(map(len, committed)) == expected, step.says
    with psycopg.connect(empty_database) as owner:
        rows = owner.execute("select seq, operation, workspace_id, payload from sync_outbox order by seq").fetchall()
    assert [seq for seq, *_ in rows] == [seq for seqs in committed for seq in seqs]
    assert {parse(operation, workspace, payload).operation for _, operation, workspace, payload in rows} == {
        "UPSERT_EVENT",
        "CANCEL_EVENT",
    }
    assert {UUID(str(workspace)) for _, _, workspace, _ in rows} == set(scenario.workspaces)
