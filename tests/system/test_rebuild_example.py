"""A rebuild reads the example application's own view, with the rights that the example gives."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.databases import Database
from tests.support.example_database import make_example
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.process_world import WORKSPACE, World
from tests.support.waiting import until


@pytest.fixture
def example(
    empty_database: str, reactor_login: dict[str, str], google: GoogleServer, tmp_path: Path
) -> Iterator[World]:
    make_example(empty_database)
    database = Database(owner=empty_database, reactor=make_conninfo(empty_database, **reactor_login))
    world = World(database, google, tmp_path)
    yield world
    world.close()


async def test_what_the_triggers_missed_is_made_good(example: World) -> None:
    world = example
    world.execute("insert into workspaces (id, name) values (%s, 'one')", WORKSPACE)
    world.connect()
    world.execute("set session_replication_role = replica")  # no trigger fires: a restore, a bulk load
    world.execute("insert into tasks (workspace_id, title, due_on) values (%s, 'write', '2026-12-03')", WORKSPACE)
    world.execute(
        "insert into milestones (workspace_id, title, reached_on) values (%s, 'beta', '2026-12-04')", WORKSPACE
    )
    times = "'2026-12-05 09:00+01', '2026-12-05 10:00+01'"
    world.execute(
        f"insert into gate_runs (workspace_id, title, starts_at, ends_at) values (%s, 'go', {times})", WORKSPACE
    )
    world.execute(
        "insert into project_reviews (workspace_id, title, starts_at, ends_at, recurrence, time_zone)"
        f" values (%s, 'look', {times}, array['RRULE:FREQ=WEEKLY;COUNT=3'], 'Europe/Berlin')",
        WORKSPACE,
    )
    world.execute("reset session_replication_role")
    await world.start().ready()
    world.execute(
        "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL',"
        " jsonb_build_object('operation', 'REBUILD_ALL', 'workspaceId', %s::uuid, 'calendarId', %s::text))",
        WORKSPACE,
        WORKSPACE,
        USER,
    )
    await world.all_done(5)
    assert world.titles() == {"Due: write": 1, "beta": 1, "Gate: go": 1, "look": 1}
    shown = {event["summary"]: event for event in world.google.emulator.events(USER)}
    assert shown["Due: write"]["start"] == {"date": "2026-12-03"}
    assert shown["look"]["start"]["timeZone"] == "Europe/Berlin"
    before = {event["id"] for event in world.google.emulator.events(USER)}
    world.execute("update tasks set title = 'rewrite'")  # the triggers' payload and the view's are of one kind
    world.execute("update milestones set cancelled = true")
    await until(lambda: world.titles() == Counter(["Due: rewrite", "Gate: go", "look"]))
    assert {event["id"] for event in world.google.emulator.events(USER)} < before
