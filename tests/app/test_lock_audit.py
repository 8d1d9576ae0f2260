"""Locks and items that disagree are seen, and said."""

from collections.abc import AsyncIterator

import psycopg
import pytest
import structlog
import trio

from reactor.observability import lock_audit
from reactor.observability.lock_audit import LockAudit
from reactor.postgres.claim import Invariants
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import Session, open_session
from reactor.postgres.outbox import Outbox
from tests.support.commands import call, document
from tests.support.databases import Database
from tests.support.outbox_world import World
from tests.support.waiting import until


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = Pool(database.reactor)
    yield pool
    await pool.aclose()


@pytest.fixture
async def session(database: Database) -> AsyncIterator[Session]:
    async with open_session(database.reactor, name="claims") as session:
        yield session


async def test_all_is_well_with_an_item_in_hand(
    database: Database, session: Session, pool: Pool, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_audit, "INTERVAL", 0.01)
    world, outbox, audit = World(database), Outbox(session), LockAudit()
    world.connect()
    world.insert()
    assert len((await outbox.claim(slots=10)).items) == 1
    nursery.start_soon(audit.run, outbox, pool)
    await until(lambda: audit.last == Invariants(1, 0, 0, 0, 0))
    world.close()


async def test_a_row_that_went_astray_is_an_error_in_the_log(database: Database, session: Session) -> None:
    """It is under our lease and not in hand."""
    world, outbox, audit = World(database), Outbox(session), LockAudit()
    world.connect()
    world.insert()
    await outbox.claim(slots=10)
    outbox._in_flight.end([item.id.int for item in outbox.in_flight])
    world.close()
    with structlog.testing.capture_logs() as lines:
        await audit.check(outbox)
    assert (audit.last.unexpected_locks, audit.last.missing_locks) == (1, 0)
    assert [line["event"] for line in lines] == ["locks_disagree"]


HELD = {
    "claim": "select pg_advisory_lock(718300, 0)",
    "gate": "select pg_advisory_lock(718300, 1)",
    "gate, shared": "select pg_advisory_xact_lock_shared(718300, 1)",
}


@pytest.mark.parametrize("held", HELD)
async def test_who_holds_a_lock_of_ours_is_said_by_name(
    database: Database, session: Session, pool: Pool, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    lock, shared = held.partition(",")[0], "shared" in held
    audit = LockAudit()
    with psycopg.connect(database.owner, application_name="forgotten psql", autocommit=not shared) as other:
        other.execute(HELD[held].encode())
        pid = other.info.backend_pid
        monkeypatch.setattr("reactor.core.holders.REPORT_AFTER", 0.0)
        with structlog.testing.capture_logs() as lines:
            await audit.check_holders(pool)
        [line] = lines
        assert (line["event"], line["lock"], line["pid"], line["application"]) == (
            *("lock_held_for_long", lock, pid),
            "forgotten psql",
        )
        assert audit.held_by_others == {"claim": 0, "gate": 0, "item": 0} | {lock: 1}
        if not shared:
            said = call(database.reactor, "locks").stdout
            assert "forgotten psql" in said
            assert f"the {lock}'s lock" in said
            [of_status] = document(database, "status")["held"]
            assert (of_status["lock"], of_status["pid"]) == (lock, pid)
            assert "forgotten psql" in call(database.reactor, "status").stdout
    gone = "select not exists (select from pg_stat_activity where application_name = 'forgotten psql')"
    while await pool.execute(gone) != [(True,)]:  # noqa: ASYNC110
        await trio.sleep(0.01)
    await audit.check_holders(pool)
    assert audit.held_by_others == {"claim": 0, "gate": 0, "item": 0}
