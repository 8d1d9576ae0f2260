"""Locks and items that disagree are seen, and said."""

from collections.abc import AsyncIterator

import pytest
import structlog
import trio

from reactor import lock_watch
from reactor.lock_watch import LockWatch
from reactor.postgres.outbox import Outbox
from reactor.postgres.reports import Invariants
from reactor.postgres.session import Session, open_session
from tests.databases import Database
from tests.outbox_world import World
from tests.waiting import until


@pytest.fixture
async def session(database: Database) -> AsyncIterator[Session]:
    async with open_session(database.reactor, name="claims") as session:
        yield session


async def test_all_is_well_with_an_item_in_hand(
    database: Database, session: Session, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_watch, "INTERVAL", 0.01)
    world, outbox, watch = World(database), Outbox(session), LockWatch()
    world.connect()
    world.insert()
    assert len((await outbox.claim(slots=10)).items) == 1
    nursery.start_soon(watch.run, outbox)
    await until(lambda: watch.seen == Invariants(1, 0, 0, 0, 0))
    world.close()


async def test_a_lock_that_went_astray_is_an_error_in_the_log(session: Session) -> None:
    outbox, watch = Outbox(session), LockWatch()
    await session.execute("select pg_advisory_lock(hashtext('nobody'))")
    with structlog.testing.capture_logs() as lines:
        await watch.look(outbox)
    assert (watch.seen.stray_locks, watch.seen.missing_locks) == (1, 0)
    assert [line["event"] for line in lines] == ["locks_disagree"]
