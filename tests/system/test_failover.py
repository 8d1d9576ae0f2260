"""The primary dies with a backlog, its standby takes over, and every replica goes on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import trio

from calendar_emulator.store.calendars import WriteKind
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database
from tests.support.failover import WITHIN, Application, has_claimed, is_full, metric
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import World
from tests.support.standby import Pair, replicated
from tests.support.waiting import until
from tests.support.wire import Wire

pytestmark = pytest.mark.alone

FREE_LOSSES = 3  # times that an item may be in lost hands before it costs an attempt
UNLIMITED = {"CALENDAR_SYNC_REQUESTS_PER_MINUTE": "0", "CALENDAR_SYNC_LANE_REQUESTS_PER_MINUTE": "0"}


@pytest.fixture
def pair() -> Iterator[Pair]:
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("needs servers of its own to kill")
    with replicated() as pair:
        migrate(pair.primary.url(), progress=lambda _: None)
        yield pair


@pytest.fixture
def world(pair: Pair, google: GoogleServer, tmp_path: Path) -> Iterator[World]:
    world = World(database_of(pair), google, tmp_path)
    yield world
    world.close()


def database_of(pair: Pair) -> Database:
    return Database(owner=pair.primary.url(), reactor=pair.primary.url())


def both_hosts(pair: Pair) -> str:
    """A connection string that names both servers, and means the one that writes."""
    hosts = quote(f"{pair.primary.data},{pair.standby.data}", safe="")
    return f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"


@pytest.mark.parametrize("route", ["a proxy", pytest.param("two hosts", marks=pytest.mark.soak)])
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
async def test_all_replicas_go_on_after_a_failover(world: World, pair: Pair, route: str, rounds: int) -> None:
    application = Application(world)
    took: list[float] = []
    async with Wire(pair.primary.url()) as wire:
        url = wire.dsn if route == "a proxy" else both_hosts(pair)
        replicas = [await world.start(DATABASE_URL=url).ready() for _ in range(2)]
        for _ in range(rounds):
            application.fill_up()
            world.google.emulator.settings.latency = 2.0
            for replica in replicas:
                await is_full(replica)
            await trio.to_thread.run_sync(pair.kill)
            world.google.emulator.settings.latency = 0.0
            before = [await metric(replica, "items_claimed_total") for replica in replicas]
            await trio.to_thread.run_sync(pair.promote)
            began = trio.current_time()
            wire.lead_to(pair.primary.url())
            world.database = database_of(pair)
            world.reconnect()
            title = application.edit()
            await until(lambda title=title: title in world.titles())  # type: ignore[misc]
            for replica, claimed in zip(replicas, before, strict=True):
                await has_claimed(replica, claimed)
            took.append(trio.current_time() - began)
            await trio.to_thread.run_sync(pair.follow)
        for replica in replicas:
            await replica.is_(200)
            replica.signal(signal.SIGTERM)
            assert await replica.ended() == 0
        await world.start(DATABASE_URL=url, **UNLIMITED).ready()
        await world.all_done(application.written, 120)
    print(f"{rounds} failovers by {route}: {', '.join(f'{seconds:.2f}' for seconds in took)} s")  # noqa: T201
    assert max(took) < WITHIN
    if rounds <= FREE_LOSSES:  # after more of them an item may have been in hand at each
        assert world.attempts() == 0
    assert world.titles() == dict.fromkeys((f"event {n}" for n in range(application.written)), 1)
    writes = world.google.emulator.writes(world.google.user)
    assert all(kinds[WriteKind.INSERT] == 1 for kinds in writes.values())
