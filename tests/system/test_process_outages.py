"""Whatever goes away comes back, and the process has neither ended nor blamed an item."""

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest
import trio

from calendar_emulator import Emulator, Fault, Service, application, serve
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database, in_memory
from tests.support.failover import WITHIN, Application, has_claimed, is_full, metric
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.process_world import World
from tests.support.waiting import until

OURS = "from pg_stat_activity where application_name like 'calendar-sync-reactor%%' and datname = current_database()"


async def test_terminated_sessions_are_replaced(world: World) -> None:
    world.connect()
    process = await world.start().ready()
    for round_ in range(3):
        [[before]] = world.execute(f"select array_agg(pid) {OURS}")
        world.execute(f"select pg_terminate_backend(pid, 5000) {OURS}")
        world.insert(round_)
        await world.all_done(round_ + 1)
        await process.is_(200)
        [[after]] = world.execute(f"select array_agg(pid) {OURS}")
        assert not set(before) & set(after)
    assert world.attempts() == 0
    assert process.popen.poll() is None
    assert len(process.events("session_lost")) == 3


async def test_sessions_lost_with_requests_under_way_send_nothing_twice(world: World) -> None:
    world.connect()
    process = await world.start().ready()
    world.google.emulator.settings.latency = 1.0
    for number in range(5):
        world.insert(number)
    await world.in_hand(5)
    world.execute(f"select pg_terminate_backend(pid, 5000) {OURS} and application_name like '%% claims'")
    await world.all_done(5)
    assert process.popen.poll() is None
    assert set(world.titles().values()) == {1}
    assert world.locks() == 0


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("needs a server of its own to restart")
    with embedded_postgres(below=in_memory()) as server:
        migrate(server.url(), progress=lambda _: None)
        yield server


@pytest.fixture
def restartable(server: EmbeddedPostgres, google: GoogleServer, tmp_path: Path) -> Iterator[World]:
    world = World(Database(owner=server.url(), reactor=server.url()), google, tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_database_that_restarts_is_waited_for(
    restartable: World, server: EmbeddedPostgres, mode: Literal["fast", "immediate"]
) -> None:
    world = restartable
    world.connect()
    process = await world.start().ready()
    world.insert(1)
    await world.all_done(1)
    await trio.to_thread.run_sync(partial(server.stop, mode))
    await process.is_(503)
    assert "is not up" in (await process.get("/readyz")).text
    assert (await process.get("/livez")).status_code == 200
    await until(lambda: len(process.events("session_lost")) >= 3)  # it has tried, and failed, and lives
    assert (await process.get("/livez")).status_code == 200
    await trio.to_thread.run_sync(server.start)
    world.reconnect()
    world.insert(2)
    await world.all_done(2)
    await process.is_(200)
    assert world.attempts() == 0
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


async def test_a_database_that_is_away_at_the_start_is_waited_for(restartable: World, server: EmbeddedPostgres) -> None:
    world = restartable
    world.connect()
    world.insert(1)
    await trio.to_thread.run_sync(server.stop)
    process = await world.start().started()
    await until(lambda: len(process.events("database_unreachable")) >= 2)
    assert (await process.get("/livez")).status_code == 200
    assert (await process.get("/readyz")).status_code == 503
    await trio.to_thread.run_sync(server.start)
    world.reconnect()
    await world.all_done(1)
    await process.is_(200)
    await trio.to_thread.run_sync(server.stop)
    await process.is_(503)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0, "it need not come back for the process to stop"


async def test_it_stops_while_it_waits_for_a_database(world: World) -> None:
    process = await world.start(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").started()
    await until(lambda: process.events("database_unreachable"))
    process.signal(signal.SIGTERM)
    assert await process.ended(5) == 0


async def test_a_token_that_is_revoked_parks_the_workspace_until_it_is_renewed(world: World) -> None:
    world.connect()
    emulator = world.google.emulator
    process = await world.start().ready()
    world.insert(1)
    await world.all_done(1)
    emulator.oauth.revoke(world.google.refresh_token)
    for number in range(2, 6):
        world.insert(number)
    await until(lambda: world.execute("select is_valid from google_connections") == [(False,)])
    await until(lambda: world.statuses().get("PENDING") == 3)
    assert world.statuses() == {"COMPLETED": 1, "DEAD_LETTER": 1, "PENDING": 3}
    assert world.execute("select failure_code from sync_outbox where status = 'DEAD_LETTER'") == [("AUTH",)]
    world.connect(refresh_token=emulator.oauth.grant(USER))
    await world.all_done(5)
    assert world.attempts() == 0
    assert process.popen.poll() is None


async def test_another_workspace_does_not_notice(world: World) -> None:
    """Its edits are each sent once while the other's token is refused; no row, no breaker and no hold knows of it."""
    own = world.connect()
    parked = world.connect(uuid4(), refresh_token="1//never-granted")
    process = await world.start().ready()
    for number in range(20):
        world.insert(number, workspace=parked)
        world.insert(100 + number)
    ended = "select status, attempts, last_error, count(*) from sync_outbox where workspace_id = %s group by 1, 2, 3"
    await until(lambda: world.execute(ended, own) == [("COMPLETED", 0, None, 20)])
    await until(lambda: world.statuses().get("DEAD_LETTER") == 1)
    inserts = [entry for entry in world.google.emulator.log.entries if entry.operation == "insert"]
    assert len(inserts) == 20
    assert process.events("everybody_held") == []
    assert {line["workspace_id"] for line in process.events("breaker_opened")} <= {str(parked)}


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.soak)])
async def test_google_that_cannot_be_reached_burns_no_attempts(
    database: Database, emulator: Emulator, nursery: trio.Nursery, tmp_path: Path, seconds: int
) -> None:
    """Down until several items have met it, and for a whole minute."""
    scope, url = await nursery.start(_serving, emulator, 0)
    google = GoogleServer(emulator, url, emulator.oauth.grant(USER))
    world = World(database, google, tmp_path)
    try:
        workspaces = [world.connect(uuid4()) for _ in range(8)]
        process = await world.start().ready()
        for workspace in workspaces:
            world.insert(0, workspace=workspace)
        await world.all_done(8)
        port = int(url.rpartition(":")[2])
        scope.cancel()
        await until(lambda: refuses(port))
        for workspace in workspaces:
            for number in range(1, 4):
                world.insert(number, workspace=workspace)
        await until(
            lambda: world.execute("select 1 from sync_outbox where last_error is not null having count(*) >= 5")
        )
        await trio.sleep(seconds)  # how long the outage lasts
        assert "DEAD_LETTER" not in world.statuses()
        assert (await process.get("/readyz")).status_code == 200, "an outage of Google is no reason to restart"
        await nursery.start(_serving, emulator, port)
        await world.all_done(32, seconds=120)
        assert world.attempts() == 0
        assert process.popen.poll() is None
    finally:
        world.close()


async def test_google_that_answers_503_burns_few_attempts(world: World) -> None:
    workspaces = [world.connect(uuid4()) for _ in range(8)]
    await world.start().ready()
    fault = Fault(operation=None, effect="error", status=503, reason="backendError")
    world.google.emulator.fault(fault)
    for workspace in workspaces:
        for number in range(5):
            world.insert(number, workspace=workspace)
    log = world.google.emulator.log
    await until(lambda: len(log.entries) >= 8)  # five open the breaker, the rest are its probes
    assert "DEAD_LETTER" not in world.statuses()
    assert world.attempts() <= 8
    world.google.emulator.faults.clear()
    await world.all_done(40, seconds=60)


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


async def _serving(
    emulator: Emulator, port: int, *, task_status: trio.TaskStatus[tuple[trio.CancelScope, str]]
) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, application(Service(emulator)), port=port))
        task_status.started((nursery.cancel_scope, url))


@pytest.mark.soak
async def test_a_database_that_freezes_is_noticed_and_waited_for(restartable: World, server: EmbeddedPostgres) -> None:
    world = restartable
    world.connect()
    process = await world.start().ready()
    frozen = _family(int((server.data / "postmaster.pid").read_text().split()[0]))
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        await process.is_(503)
        await until(lambda: len(process.events("session_lost")) >= 2, seconds=60)
        assert (await process.get("/livez")).status_code == 200
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    world.insert(1)
    await world.all_done(1)
    await process.is_(200)
    assert world.attempts() <= 1, "a claim that was on its way into the frozen server is carried out for nobody"


def _family(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [parent, *map(int, children)]


@pytest.mark.alone
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
async def test_all_replicas_go_on_after_a_restart_beside_a_backlog(
    restartable: World, server: EmbeddedPostgres, rounds: int
) -> None:
    """Their lanes were full when the claims were lost; within two seconds each claims of the backlog again."""
    world = restartable
    application = Application(world)
    replicas = [await world.start().ready() for _ in range(2)]
    took: list[float] = []
    for _ in range(rounds):
        application.fill_up()
        world.google.emulator.settings.latency = 2.0
        for replica in replicas:
            await is_full(replica)
        await trio.to_thread.run_sync(partial(server.stop, "fast"))
        world.google.emulator.settings.latency = 0.0
        before = [await metric(replica, "items_claimed_total") for replica in replicas]
        await trio.to_thread.run_sync(server.start)
        began = trio.current_time()
        world.reconnect()
        title = application.edit()
        await until(lambda title=title: title in world.titles())  # type: ignore[misc]
        for replica, claimed in zip(replicas, before, strict=True):
            await has_claimed(replica, claimed)
        took.append(trio.current_time() - began)
    print(f"{rounds} restarts: {', '.join(f'{seconds:.2f}' for seconds in took)} s")  # noqa: T201
    assert max(took) < WITHIN
    for replica in replicas:
        await replica.is_(200)
