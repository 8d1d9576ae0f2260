"""What the database refuses is told at once, taken for lasting after a while, and over with the first success."""

import signal
from typing import Any

import psycopg
import pytest
import structlog
import trio
from trio.testing import MockClock

from reactor.core.refusals import RefusedWork
from reactor.observability.refusal_watch import RefusalWatch
from tests.support.commands import call, call_beside
from tests.support.process_world import World
from tests.support.waiting import until


async def test_the_log_tells_the_beginning_and_the_end(autojump_clock: MockClock) -> None:
    watch = RefusalWatch()
    with structlog.testing.capture_logs() as lines:
        watch.accepted(RefusedWork.CLAIM)
        for _ in range(10):
            watch.refused(RefusedWork.CLAIM, "25006")
            await trio.sleep(1)
        watch.accepted(RefusedWork.CLAIM)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("database_refuses", "warning"),
        ("database_accepts", "info"),
    ]
    assert lines[1]["seconds"] == 10.0


async def test_a_sessions_mark_follows(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    watch = RefusalWatch()
    shown: list[str] = []

    async def show(mark: str) -> None:
        shown.append(mark)

    nursery.start_soon(watch.run, "", show)
    watch.refused(RefusedWork.CLAIM, "40P01")
    await trio.sleep(2)
    watch.accepted(RefusedWork.CLAIM)
    await trio.sleep(100)
    assert shown == [], "it was over soon"
    for _ in range(10):
        watch.refused(RefusedWork.CLAIM, "42501")
        watch.refused(RefusedWork.SETTLE, "25006")
        await trio.sleep(1)
    assert shown == [", refused: 25006 42501"]
    watch.accepted(RefusedWork.CLAIM)
    watch.accepted(RefusedWork.SETTLE)
    await trio.sleep(2)
    assert shown[1:] == [""]


# What somebody may do to a database while replicas run, and how it is undone.
CAUSES = {
    "42501": (
        "revoke select on sync_brakes from calendar_sync_reactor",
        "grant select on sync_brakes to calendar_sync_reactor",
    ),
    "42883": (
        "alter function sync_outbox_ring_of_due() rename to was_ring",
        "alter function was_ring() rename to sync_outbox_ring_of_due",
    ),
    "42P01": ("alter table sync_brakes rename to was_brakes", "alter table was_brakes rename to sync_brakes"),
}


@pytest.mark.parametrize(
    "sqlstate", [pytest.param(each, marks=[] if each == "42501" else [pytest.mark.soak]) for each in CAUSES]
)
async def test_a_lasting_refusal_is_told_everywhere_and_is_over_by_itself(world: World, sqlstate: str) -> None:
    cause, cure = CAUSES[sqlstate]
    world.connect()
    process = await world.start().ready()
    world.execute(cause)
    world.insert(1)
    await until(lambda: process.events("database_refuses"))
    [line, *_] = process.events("database_refuses")
    assert (line["sqlstate"], line["level"]) == (sqlstate, "warning")
    await process.is_(503)
    said = (await process.get("/readyz")).text
    assert f"SQLSTATE {sqlstate}" in said
    assert (await process.get("/livez")).status_code == 200
    metrics = (await process.get("/metrics")).text
    assert f'reactor_database_refusing_seconds{{work="{line["work"]}"}} 0.0' not in metrics
    await until(lambda: sqlstate in str(_replicas(world)))
    found = await call_beside(world.google, world.database.reactor, "check")
    assert found.exit_code == 1
    assert f"SQLSTATE {sqlstate}" in found.stdout
    if sqlstate != "42P01":  # the command needs that table too
        item = str(world.execute("select id from sync_outbox")[0][0])
        why = f"the database refuses a replica's statements (SQLSTATE {sqlstate}). About the database:"
        await until(lambda: why in call(world.database.owner, "explain", item).stdout)
    world.execute(cure)
    await process.is_(200)
    await world.all_done(1)
    await until(lambda: process.events("database_accepts"))
    await until(lambda: not any(each["refused"] for each in _replicas(world)))
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


def _replicas(world: World) -> list[dict[str, Any]]:
    with psycopg.connect(world.database.owner) as owner:
        rows = owner.execute(
            "select application_name from pg_stat_activity where datname = current_database()"
            " and application_name like 'calendar-sync-reactor claims%'"
        )
        return [{"refused": name.partition("refused: ")[2]} for (name,) in rows]


async def test_a_database_that_stops_its_writers_stops_no_session_of_ours(world: World) -> None:
    """The setting is taken when a session begins, and would outlive the reason for it by weeks."""
    world.connect()
    process = await world.start().ready()
    name = world.execute("select current_database()")[0][0]
    world.execute(f'alter database "{name}" set default_transaction_read_only = on')
    world.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name like 'calendar-sync%%'"
    )
    await until(lambda: process.events("session_lost"))
    world.insert(1)
    await world.all_done(1)
    await process.is_(200)
