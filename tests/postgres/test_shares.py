"""Replicas share the quota by way of PostgreSQL: sessions, whole replicas, and processes that are killed."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import psycopg
import pytest
import structlog
import trio

from calendar_emulator.log import Exchange
from reactor.core.dispatch.limits import MINUTE, Limits
from reactor.core.dispatch.sharing import GOOD_FOR
from reactor.postgres.connection.session import Session, SessionLostError, open_session
from reactor.postgres.shares import Shares
from tests.support import process_world
from tests.support.databases import Database
from tests.support.many_rows import insert_edits
from tests.support.process_world import WORKSPACE, Process, World
from tests.support.replica import start
from tests.support.waiting import until

CLAIMS = "calendar-sync-reactor claims"

world = process_world.world  # and not that of this folder


class Member:
    """A claims session with its part."""

    session: Session
    shares: Shares

    def __init__(self) -> None:
        self.divisor = 0

    def use(self, divisor: int, good_until: float) -> None:
        assert good_until > trio.current_time()
        self.divisor = divisor


@asynccontextmanager
async def member(database: Database) -> AsyncIterator[Member]:
    member = Member()
    member.shares = Shares(member.use)
    async with (
        open_session(database.reactor, name=CLAIMS) as member.session,
        open_session(database.reactor, name="settles", on_notify=member.shares.called) as listening,
    ):
        await member.shares.join(member.session, listening)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.shares.run, member.session)
            yield member
            nursery.cancel_scope.cancel()


async def test_sessions_that_come_and_go(database: Database) -> None:
    async with member(database) as first:
        assert first.divisor == 1
        async with member(database) as second, member(database) as third:
            await until(lambda: [each.divisor for each in (first, second, third)] == [3, 3, 3])
            await third.shares.leave(third.session)
            await until(lambda: [each.divisor for each in (first, second)] == [2, 2])
        assert first.divisor == 2, "it does not know yet"
        first.shares.counted(trio.current_time(), [], 0)  # as a sweep does
        await until(lambda: first.divisor == 1)


async def test_what_a_sweep_has_counted_is_not_counted_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = 0

    async def count(*_: object) -> None:
        nonlocal counts
        counts += 1
        await trio.lowlevel.checkpoint()

    async with member(database) as only:
        monkeypatch.setattr(only.shares, "_adjust", count)
        only.shares.counted(trio.current_time() - GOOD_FOR / 2 + 0.1, [], 0)
        only.shares._woken.set()  # it waits anew from here on
        await until(lambda: counts == 1)
        only.shares.counted(trio.current_time(), [], 0)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert counts == 1


async def test_a_session_of_an_older_release_is_counted(database: Database) -> None:
    with psycopg.connect(database.reactor, application_name=f"{CLAIMS}, refused: CLAIM"):
        async with member(database) as newer:
            assert newer.divisor == 2
            async with member(database):
                await until(lambda: newer.divisor == 3)


async def test_a_session_that_ends_leaves_its_part(database: Database) -> None:
    async with member(database) as survivor:
        with suppress(BaseExceptionGroup, SessionLostError):
            async with member(database) as victim:
                await until(lambda: survivor.divisor == 2)
                with psycopg.connect(database.owner, autocommit=True) as owner:
                    [[pid]] = await victim.session.execute("select pg_backend_pid()")
                    owner.execute("select pg_terminate_backend(%s)", (pid,))
                with pytest.raises(SessionLostError):
                    await victim.session.execute("select pg_sleep(9)")
        survivor.shares.called(0)
        await until(lambda: survivor.divisor == 1)


async def test_what_the_server_refuses_is_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reactor.postgres.shares.REFUSED", 0.01)
    async with member(database) as first:
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute("select pg_advisory_lock(718303, 2)")  # somebody's, so that nobody can publish a half
            [[name]] = await first.session.execute("select set_config('lock_timeout', '5ms', false)")
            assert name == "5ms"
            first.shares.counted(trio.current_time(), [2**31 - 1], 0)
            await until(lambda: first.divisor == 2)
            await trio.sleep(0.05)
        await until(lambda: first.divisor == 1)


class Calls:
    """When Google was asked, for each call that counts."""

    def __init__(self, world: World) -> None:
        self.at: list[float] = []
        world.google.emulator.log.observers.append(self._take)

    def _take(self, exchange: Exchange) -> None:
        if exchange.operation not in ("batch", "token"):
            self.at.append(exchange.at)

    def most(self, seconds: float) -> int:
        """The most calls in any window."""
        most = first = 0
        for place, at in enumerate(self.at):
            while self.at[first] <= at - seconds:
                first += 1
            most = max(most, place - first + 1)
        return most

    def within(self, since: float, until: float) -> int:
        return sum(since < at <= until for at in self.at)


async def test_replicas_that_come_and_go_send_what_one_alone_would(world: World, nursery: trio.Nursery) -> None:
    """Never more than one bucket lets through, and much more than a share that was divided by hand."""
    quota = 3_000
    alone = Limits.per_minute(quota, in_flight_cap=9)
    world.connect()
    with psycopg.connect(world.database.owner, autocommit=True) as application:
        insert_edits(application, WORKSPACE, 2_000, calendar=world.google.user)
    calls = Calls(world)
    began = trio.current_time()
    first = await start(world, nursery, quota=quota)
    await until(lambda: len(calls.at) > 50)
    others = [await start(world, nursery, quota=quota) for _ in range(3)]
    await until(lambda: {each.service.state.lanes.divisor for each in (first, *others)} == {4})
    await until(lambda: len(calls.at) > 150)
    await first.kill()
    await until(lambda: len(calls.at) > 220)
    await others[0].stop()
    await until(lambda: {each.service.state.lanes.divisor for each in others[1:]} == {2})
    await until(lambda: len(calls.at) > 290)
    spent = trio.current_time() - began
    assert calls.most(spent) <= alone.burst + alone.ceiling * (spent + 1)
    for each in others[1:]:
        await each.kill()
    assert world.attempts() == 0


MINUTES = 65.0


@pytest.mark.soak
@pytest.mark.parametrize("whose", ["project", "workspace"])
async def test_one_two_and_four_processes_with_kills_keep_the_quota_and_use_it(world: World, whose: str) -> None:
    quota = 1_800
    settings = {
        "CALENDAR_SYNC_REQUESTS_PER_MINUTE": str(quota if whose == "project" else 0),
        "CALENDAR_SYNC_LANE_REQUESTS_PER_MINUTE": str(quota if whose == "workspace" else 0),
    }
    world.connect()
    with psycopg.connect(world.database.owner, autocommit=True) as application:
        insert_edits(application, WORKSPACE, 20 * quota, calendar=world.google.user)
    calls = Calls(world)
    living: list[Process] = []

    async def more(number: int) -> None:
        for _ in range(number):
            living.append(process := world.start(**settings))
            await until(partial(process.events, "ready"), 120)

    def kill(number: int) -> None:
        for _ in range(number):
            living.pop(0).signal(signal.SIGKILL)

    await more(1)
    clock: Callable[[], float] = world.google.emulator.clock
    began = clock() + 1
    for change in (1, 2, -2, 2, -3, 1):
        await trio.sleep(MINUTES)
        if change > 0:
            await more(change)
        else:
            kill(-change)
    await trio.sleep(MINUTES)
    ended = clock()
    part = [calls.within(at, at + MINUTE) / quota for at in range(int(began), int(ended - MINUTE))]
    found = f"{whose}: used from {min(part):.1%} to {max(part):.1%} in {len(part)} minutes, {len(calls.at)} calls"
    assert calls.most(MINUTE) <= quota, found
    assert min(part) >= 0.95, found
    structlog.get_logger(__name__).info(found)
