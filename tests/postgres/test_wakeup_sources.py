"""Why somebody looked: each source by itself, on a real database."""

from dataclasses import replace

import trio
from trio.testing import MockClock

from reactor.core.dispatch.gate import GateState, Look, LookResult, Timings
from reactor.postgres.connection.session import open_session
from reactor.postgres.wakeups import Wakeups
from tests.postgres.test_wakeups import INSERT
from tests.support.databases import Database
from tests.support.waiting import until

PATIENT = Timings(poll=30.0)


async def nothing() -> Look:
    await trio.lowlevel.checkpoint()
    return Look(LookResult.NOTHING)


async def test_a_writers_call(database: Database, nursery: trio.Nursery) -> None:
    wakeups = Wakeups(database.reactor, timings=PATIENT)
    nursery.start_soon(wakeups.run, nothing)
    await until(lambda: wakeups.state is GateState.ARMED)
    assert set(wakeups.sources) <= {"connected"}
    before = wakeups.called_at
    async with open_session(database.owner, name="writer") as writer:
        await writer.execute(INSERT, (1,))
    await until(lambda: wakeups.sources["notify"] == 1)
    assert wakeups.called_at > before


def test_without_a_session_anybody_may_have_called() -> None:
    async def ask() -> None:
        assert Wakeups("").called_at == trio.current_time()

    trio.run(ask, clock=MockClock())


async def test_room_again(database: Database, nursery: trio.Nursery) -> None:
    async def full() -> Look:
        await trio.lowlevel.checkpoint()
        return Look(LookResult.FULL)

    wakeups = Wakeups(database.reactor, timings=PATIENT)
    nursery.start_soon(wakeups.run, full)
    await until(lambda: wakeups.state is GateState.FULL)
    wakeups.freed()
    await until(lambda: wakeups.sources["freed"] == 1)


async def test_an_items_time(database: Database, nursery: trio.Nursery) -> None:
    looks = 0

    async def due_soon() -> Look:
        nonlocal looks
        looks += 1
        await trio.lowlevel.checkpoint()
        return Look(LookResult.NOTHING, due_in=0.2 if looks < 4 else 1_000.0)

    wakeups = Wakeups(database.reactor, timings=PATIENT)
    nursery.start_soon(wakeups.run, due_soon)
    await until(lambda: wakeups.sources["due"] >= 1)
    assert wakeups.sources["poll"] == 0


async def test_nobody(database: Database, nursery: trio.Nursery) -> None:
    wakeups = Wakeups(database.reactor, timings=replace(PATIENT, poll=0.1))
    nursery.start_soon(wakeups.run, nothing)
    await until(lambda: wakeups.sources["poll"] >= 3)
    assert wakeups.sources["due"] == wakeups.sources["notify"] == 0


async def test_who_hears_is_told_of_it_and_of_its_loss(database: Database, nursery: trio.Nursery) -> None:
    heard: list[bool] = []
    wakeups = Wakeups(database.reactor, timings=PATIENT)
    wakeups.heard = heard.append
    nursery.start_soon(wakeups.run, nothing)
    await until(lambda: heard == [True])
    async with open_session(database.owner, name="operator") as operator:
        await operator.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like '%% listen'"
        )
    await until(lambda: heard[:1] == [True] and heard[-1:] == [True] and False in heard)
