"""`drift` from end to end: an application, its calendar at the emulator, and differences that are planted there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import Result

from tests.commands import call_beside
from tests.databases import Database
from tests.example_database import make_example
from tests.google_fixtures import USER, GoogleServer
from tests.process_world import WORKSPACE, World


@pytest.fixture(autouse=True)
def _leave_logging_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reactor.logs.configure", lambda *_, **__: None)


@pytest.fixture
def example(
    empty_database: str, reactor_login: dict[str, str], google: GoogleServer, tmp_path: Path
) -> Iterator[World]:
    make_example(empty_database)
    database = Database(owner=empty_database, reactor=make_conninfo(empty_database, **reactor_login))
    world = World(database, google, tmp_path)
    world.execute("insert into workspaces (id, name) values (%s, 'one')", WORKSPACE)
    world.connect()
    yield world
    world.close()


async def drift(world: World, *more: str) -> tuple[Result, Any]:
    result = await call_beside(
        world.google, world.database.reactor, "drift", "--workspace", str(WORKSPACE), "--rate", "100", "--json", *more
    )
    assert result.exit_code in (0, 1), result.output
    return result, json.loads(result.stdout)


async def test_try(example: World) -> None:
    world = example
    world.execute(
        "insert into tasks (workspace_id, title, due_on) select %s, 'task ' || n, '2026-12-03' from generate_series(1, 12) n",
        WORKSPACE,
    )
    world.execute(
        "insert into project_reviews (workspace_id, title, description, starts_at, ends_at, recurrence, time_zone)"
        " values (%s, 'look', 'a < b & c', '2026-12-05 09:00+01', '2026-12-05 10:00+01', array['RRULE:FREQ=WEEKLY;COUNT=3'], 'Europe/Berlin')",
        WORKSPACE,
    )
    result, found = await drift(world)
    print(result.stderr, json.dumps(found, indent=1))
    process = await world.start().ready()
    await world.all_done(13)
    result, found = await drift(world)
    print(result.stderr, json.dumps(found, indent=1))
    assert 0
