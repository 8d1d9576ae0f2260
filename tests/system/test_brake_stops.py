"""The brake, end to end: who is stopped, who is not, and what a release lets pass."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from typer.testing import CliRunner, Result

from reactor.cli import app
from reactor.core.health import HealthFacts
from reactor.housekeeping import Housekeeping
from reactor.postgres.connection.pool import Pool
from tests.support.process_world import WORKSPACE
from tests.support.rebuild_world import UNLIMITED, RebuildWorld, world
from tests.support.waiting import until

__all__ = ["world"]

OTHER = UUID(int=77)
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def brake(world: RebuildWorld, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["brake", *arguments], env={"DATABASE_URL": world.database.reactor})


def stopped(world: RebuildWorld) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(brake(world, "list", "--json").stdout)
    return found


def release(world: RebuildWorld) -> None:
    assert brake(world, "release", "--workspace", str(WORKSPACE)).exit_code == 0


def bulk(world: RebuildWorld, numbers: range, title: Callable[[int], str | None] = lambda _: None) -> None:
    """One transaction of the application."""
    with world.writer() as writer:
        for number in numbers:
            world.write(number, title(number), by=writer)


@pytest.fixture
async def running(world: RebuildWorld) -> RebuildWorld:
    """Sixty events of one workspace in the calendar, and a second workspace."""
    world.define_view()
    world.connect()
    world.connect(OTHER)
    bulk(world, range(60), lambda number: f"event {number}")
    await world.start(**UNLIMITED).ready()
    await world.quiet()
    return world


async def test_a_burst_that_would_delete_most_of_a_workspace_waits_for_a_release(running: RebuildWorld) -> None:
    world = running
    bulk(world, range(40))
    await until(lambda: stopped(world))
    [found] = stopped(world)
    assert (found["workspace_id"], found["cause"], found["events"]) == (str(WORKSPACE), "BURST", 60)
    assert found["deletes"] == 40
    [pulled] = world.processes[0].events("brake_pulled")
    assert pulled["workspace_id"] == str(WORKSPACE)
    world.write(50, "an edit waits too")
    elsewhere = world.insert(1_000, "other", workspace=OTHER)
    await until(lambda: world.status(elsewhere)[0] == "COMPLETED")
    assert sum(world.shown().values()) == 61
    assert world.attempts() == 0
    await until(lambda: world.locks() == 0)
    release(world)
    await world.quiet()
    assert world.shown() - world.wanted() == {"other": 1}
    assert stopped(world) == []


async def test_after_a_release_the_next_burst_is_stopped_again(running: RebuildWorld) -> None:
    world = running
    bulk(world, range(32))
    await until(lambda: stopped(world))
    release(world)
    await world.quiet()
    for number in range(32, 36):
        world.write(number, None)
        await world.quiet()
    assert stopped(world) == [], "what was released does not count"
    bulk(world, range(36, 60))
    await until(lambda: stopped(world))
    assert sum(world.shown().values()) == 24


async def test_a_burst_that_trickles_in_is_stopped_on_its_way(running: RebuildWorld) -> None:
    world = running
    for number in range(60):
        world.write(number, None)
        await until(lambda: world.open() == 0 or stopped(world))
        if stopped(world):
            break
    assert number == 30, "the 31st of 60 is more than half"
    assert sum(world.shown().values()) == 30


async def test_the_newest_row_of_a_source_says_whether_its_event_goes(running: RebuildWorld) -> None:
    """Cancelling everything and making it anew, in one transaction, deletes nothing."""
    world = running
    with world.writer() as writer:
        for number in range(60):
            world.write(number, None, by=writer)
            world.write(number, f"anew {number}", by=writer)
    await world.quiet()
    assert stopped(world) == []
    assert world.shown() == world.wanted()


async def test_few_deletes_never_meet_the_brake(world: RebuildWorld) -> None:
    world.define_view()
    world.connect()
    bulk(world, range(19), lambda number: f"event {number}")
    await world.start(**UNLIMITED).ready()
    await world.quiet()
    bulk(world, range(19))
    await world.quiet()
    world.rebuild()
    await world.quiet()
    assert world.shown() == {}
    assert world.execute("select count(*) from sync_brakes") == [(0,)]


async def test_a_rebuild_that_would_delete_most_of_a_workspace_writes_nothing(running: RebuildWorld) -> None:
    world = running
    world.execute("delete from app_events where title <> 'event 1'")
    rebuild = world.rebuild()
    await until(lambda: stopped(world))
    [found] = stopped(world)
    assert (found["cause"], found["rebuild_id"]) == ("REBUILD", str(rebuild))
    assert (found["deletes"], found["events"]) == (59, 60)
    await until(lambda: world.status(rebuild)[0] == "PENDING")
    assert "brake list" in world.status(rebuild)[3]
    assert world.execute("select count(*) from sync_outbox where parent_id is not null") == [(0,)]
    elsewhere = world.insert(1_000, "other", workspace=OTHER)
    await until(lambda: world.status(elsewhere)[0] == "COMPLETED")
    assert sum(world.shown().values()) == 61
    release(world)
    await world.quiet()
    assert world.shown() == {"event 1": 1, "other": 1}
    assert world.status(rebuild)[0] == "COMPLETED"


async def test_a_release_is_for_what_was_shown(running: RebuildWorld) -> None:
    world = running
    world.execute("delete from app_events where split_part(title, ' ', 2)::int < 35")
    rebuild = world.rebuild()
    await until(lambda: stopped(world))
    await until(lambda: world.status(rebuild)[0] == "PENDING")
    world.execute("delete from app_events")
    release(world)
    await until(lambda: [found["deletes"] for found in stopped(world)] == [60])
    assert sum(world.shown().values()) == 60


SMALL_PORTIONS = """
import trio
from reactor import service
from reactor.observability import logs
from reactor.postgres import rebuilds
from reactor.settings import Settings
rebuilds.PORTION = 10
logs.configure("json")
trio.run(service.run, Settings.from_environment())
"""
EMPTIED = """
create function empty() returns trigger language plpgsql security definer
as 'begin delete from app_events; return null; end';
create trigger empty after insert on sync_outbox for each row when (new.parent_id is not null) execute function empty()
"""


async def test_a_view_that_is_emptied_while_a_rebuild_reads_it_is_asked_about(world: RebuildWorld) -> None:
    """It was counted while it was full, and a portion of it was written."""
    world.define_view()
    world.connect()
    bulk(world, range(60), lambda number: f"event {number}")
    process = await world.start(program=SMALL_PORTIONS, **UNLIMITED).ready()
    await world.quiet()
    before = world.shown()
    world.execute(EMPTIED)
    world.rebuild()
    await until(lambda: stopped(world) or world.open() == 0)
    assert [(found["cause"], found["deletes"]) for found in stopped(world)] == [("REBUILD", 60)]
    assert process.events("brake_pulled")
    assert world.execute("select count(*) from sync_outbox where operation = 'CANCEL_EVENT'") == [(0,)]
    world.execute("drop trigger empty on sync_outbox")
    bulk(world, range(60), lambda number: f"event {number}")
    release(world)
    await world.quiet()
    assert world.shown() == before


async def test_unknown_events_count_for_a_rebuild(world: RebuildWorld) -> None:
    """The memory was lost, the view is empty: what people see in the calendar is what matters."""
    world.define_view()
    world.connect()
    for number in range(25):
        world.plant(number, f"event {number}")
    await world.start(**UNLIMITED).ready()
    world.rebuild()
    await until(lambda: stopped(world))
    assert len(world.shown()) == 25


async def test_a_share_of_one_turns_it_off(world: RebuildWorld) -> None:
    world.define_view()
    world.connect()
    bulk(world, range(30), lambda number: f"event {number}")
    await world.start(**UNLIMITED, CALENDAR_SYNC_BRAKE_SHARE="1").ready()
    await world.quiet()
    bulk(world, range(30))
    await world.quiet()
    assert world.shown() == {}


async def test_the_gauge_counts_the_workspaces_that_are_stopped(running: RebuildWorld) -> None:
    world = running
    bulk(world, range(40))
    await until(lambda: stopped(world))
    pool = Pool(world.database.reactor)
    housekeeping = Housekeeping(pool, HealthFacts({}), retention_days=30)
    await housekeeping.measure()
    assert housekeeping.brakes == 1
    await pool.aclose()


async def test_a_mistake_is_mended_as_the_documentation_says(running: RebuildWorld) -> None:
    world = running
    before = world.wanted()
    bulk(world, range(60))
    await until(lambda: stopped(world))
    await until(lambda: "PROCESSING" not in world.statuses())
    for number in range(60):
        world.write(number, f"event {number}", enqueue=False)
    [remedy] = re.findall(r"\n +(delete from sync_outbox\n.*?);\n", OPERATIONS.read_text(), re.DOTALL)
    world.execute(remedy.replace("<the workspace>", str(WORKSPACE)))
    world.rebuild()
    release(world)
    await world.quiet()
    assert world.shown() == world.wanted() == before


# The command

STOP = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 60, 80)"


async def test_the_list_is_for_people_and_for_programs(world: RebuildWorld) -> None:
    nothing = brake(world, "list")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No workspace is stopped." in nothing.stderr
    world.execute(STOP, WORKSPACE)
    world.write(1, "waiting")
    shown = brake(world, "list")
    assert shown.exit_code == 1
    assert [shown.stdout.splitlines()[1].split()[:5]] == [[str(WORKSPACE), "BURST", "60", "80", "1"]]
    [found] = stopped(world)
    assert found | {"since": ""} == {
        "workspace_id": str(WORKSPACE),
        "cause": "BURST",
        "rebuild_id": None,
        "deletes": 60,
        "events": 80,
        "since": "",
        "waiting": 1,
    }


async def test_a_release_can_be_tried_and_is_for_one_that_is_stopped(world: RebuildWorld) -> None:
    world.execute(STOP, WORKSPACE)
    tried = brake(world, "release", "--workspace", str(WORKSPACE), "--dry-run", "--json")
    assert (tried.exit_code, json.loads(tried.stdout)["released"]) == (0, False)
    assert stopped(world)
    other = brake(world, "release", "--workspace", str(OTHER))
    assert other.exit_code == 1
    assert "is not stopped" in other.stderr
    done = brake(world, "release", "--workspace", str(WORKSPACE), "--json")
    assert (done.exit_code, json.loads(done.stdout)["released"]) == (0, True)
    assert stopped(world) == []
    assert brake(world, "release", "--workspace", str(WORKSPACE)).exit_code == 1


@pytest.mark.parametrize("dsn", ["", "postgresql://nobody@127.0.0.1:1/none"])
def test_without_a_database_there_is_a_sentence(dsn: str) -> None:
    result = CliRunner().invoke(app, ["brake", "list"], env={"DATABASE_URL": dsn})
    assert result.exit_code == 2
    assert "database" in result.stderr.lower()
    assert "Traceback" not in result.stderr


def test_a_database_without_a_brake_is_to_be_migrated(empty_database: str) -> None:
    result = CliRunner().invoke(app, ["brake", "list"], env={"DATABASE_URL": empty_database})
    assert result.exit_code == 2
    assert "python -m reactor migrate" in result.stderr


async def test_a_release_wakes_whoever_sleeps(running: RebuildWorld) -> None:
    world = running
    world.execute(STOP, WORKSPACE)
    item = world.insert(100, "waits")
    elsewhere = world.insert(1_000, "other", workspace=OTHER)
    await until(lambda: world.status(elsewhere)[0] == "COMPLETED")
    assert world.status(item)[0] == "PENDING"
    release(world)
    with trio.fail_after(4):  # the poll comes after five
        await until(lambda: world.status(item)[0] == "COMPLETED")
