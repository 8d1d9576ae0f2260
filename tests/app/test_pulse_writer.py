"""Pulses reach the table, replace each other within a minute, and go after two days; a database that refuses costs none
of the work."""

import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
import trio
from psycopg.conninfo import make_conninfo

from reactor.core.dispatch.lane import LaneStatus
from reactor.core.health import HealthFacts
from reactor.core.pulse import LanePulse, Pulse, PulseCounts, ReplicaState
from reactor.core.refusals import RefusedWork
from reactor.housekeeping import Housekeeping
from reactor.observability import pulse_writer
from reactor.observability.endpoint import RuntimeState
from reactor.observability.pulse_writer import PulseWriter
from reactor.observability.refusal_watch import RefusalWatch
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.pulses import ReplicaIdentity, write_pulse
from reactor.settings import Settings
from reactor.wiring import lanes
from tests.support.databases import Database
from tests.support.process_world import KEYS, World
from tests.support.waiting import until

REPLICA = UUID(int=1)
SETTINGS = Settings(
    database_url="postgresql://user:hidden-1@host/app",
    google_client_id="client",
    google_client_secret="hidden-2",
    token_encryption_keys=KEYS,
)
IDENTITY = ReplicaIdentity("1.0", SETTINGS.without_secrets, host="pod-1", started_at=0.0, replica=REPLICA)
STATE = ReplicaState(
    None,
    "awake",
    "closed",
    3,
    1,
    160.0,
    0.01,
    {"held": 1},
    (LanePulse(UUID(int=2), LaneStatus.HELD, "closed", 4.5, 10.0, 3),),
)
HOUR = 3_600


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = Pool(database.reactor)
    yield pool
    await pool.aclose()


def pulse(minute: int, claimed: int = 1, **state: Any) -> Pulse:
    counts = PulseCounts(Counter(claimed=claimed), Counter({"0.5": 1}), Counter({"inf": 1}), Counter({"200": 1}))
    return Pulse(minute, counts, replace(STATE, **state))


def rows(database: Database, what: str) -> list[Any]:
    with psycopg.connect(database.owner) as owner:
        return [row if len(row) > 1 else row[0] for row in owner.execute(f"select {what} from sync_pulses".encode())]


def now(database: Database) -> int:
    with psycopg.connect(database.owner) as owner:
        [seconds] = owner.execute("select extract(epoch from date_trunc('minute', now()))::bigint").fetchone() or [0]
    return int(seconds)


async def test_a_pulse_is_a_row_and_the_next_of_its_minute_takes_its_place(database: Database, pool: Pool) -> None:
    minute = now(database)
    await write_pulse(pool, IDENTITY, pulse(minute, 1))
    await write_pulse(pool, IDENTITY, pulse(minute, 2, gate="armed"))
    await write_pulse(pool, replace(IDENTITY, replica=UUID(int=9)), pulse(minute, 3))
    await write_pulse(pool, IDENTITY, pulse(minute - 60, 4))
    found = rows(database, "replica, host, gate, (counts->>'claimed')::int, extract(epoch from minute)::bigint")
    assert sorted(found, key=lambda row: row[3]) == [
        (REPLICA, "pod-1", "armed", 2, minute),
        (UUID(int=9), "pod-1", "awake", 3, minute),
        (REPLICA, "pod-1", "awake", 4, minute - 60),
    ]
    assert rows(database, "lanes")[0] == [
        {
            "workspace": str(UUID(int=2)),
            "standing": "held",
            "breaker": "closed",
            "opens_in": 4.5,
            "rate": 10.0,
            "in_flight": 3,
        }
    ]


async def test_no_secret_is_in_it(database: Database, pool: Pool) -> None:
    await write_pulse(pool, IDENTITY, pulse(now(database)))
    [text] = rows(database, "sync_pulses::text")
    assert "hidden" not in text
    assert KEYS.partition(":")[2] not in text
    [settings] = rows(database, "settings")
    assert settings.keys() == Settings.model_fields.keys() - {"database_url", "google_client_secret"}
    assert (settings["token_encryption_keys"], settings["calendar_sync_batch_size"]) == ("k1", 200)


async def test_what_is_older_than_two_days_goes_but_the_last_of_a_replica_that_lives(
    database: Database, pool: Pool
) -> None:
    minute = now(database)
    other = replace(IDENTITY, replica=UUID(int=3))
    async with open_session(database.reactor, name="claims") as session:
        outbox = Outbox(session)
        assert outbox.lease is None
        await outbox.claim(slots=1)
        for hours in (50, 49):
            await write_pulse(pool, IDENTITY, pulse(minute - hours * HOUR, hours, lease=outbox.lease))
        await write_pulse(pool, other, pulse(minute - 49 * HOUR, lease=None))
        await write_pulse(pool, other, pulse(minute - 47 * HOUR, lease=None))
        assert sorted(rows(database, "(counts->>'claimed')::int")) == [1, 49]
    await until(lambda: not _leases(database))
    await write_pulse(pool, other, pulse(minute - 47 * HOUR))
    assert rows(database, "replica") == [UUID(int=3)]


def _leases(database: Database) -> list[Any]:
    with psycopg.connect(database.owner) as owner:
        return owner.execute("select * from sync_lease_holders()").fetchall()


def _writer(pool: Pool) -> tuple[PulseWriter, RuntimeState]:
    watch = RefusalWatch()
    facts = HealthFacts({})
    rounds = Housekeeping(pool, facts, retention_days=30)
    state = RuntimeState(trio.Event(), facts, lanes(SETTINGS), rounds, 5.0, 32, watch=watch)
    return PulseWriter(pool, IDENTITY, state, watch), state


async def test_a_replica_at_rest_writes_once(database: Database, pool: Pool) -> None:
    writer, state = _writer(pool)
    await writer.write(last=True)
    await writer.write(last=True)
    assert rows(database, "counts, (xmax <> 0)") == [({}, False)], "not even over itself"
    state.stats.claimed += 2
    await writer.end()
    assert rows(database, "sum((counts->>'claimed')::int)::int") == [2]


async def test_a_database_that_refuses_costs_the_pulse_and_is_told(database: Database, pool: Pool) -> None:
    writer, state = _writer(pool)
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("revoke insert on sync_pulses from calendar_sync_reactor")
        with structlog.testing.capture_logs() as lines:
            await writer.write()
        owner.execute("grant insert on sync_pulses to calendar_sync_reactor")
    assert [line["event"] for line in lines] == ["database_refuses", "pulse_lost"]
    assert [each.kind for each in state.watch.refusals.standing(trio.current_time())] == [RefusedWork.PULSE]
    await writer.write(last=True)
    assert state.watch.refusals.standing(trio.current_time()) == []
    assert len(rows(database, "replica")) == 1, "how it stands is told though nothing has happened since"


async def test_a_database_that_is_away_costs_the_pulse_and_a_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse_writer, "LAST", 0.2)
    gone = Pool(make_conninfo(database.reactor, dbname="is_not_there"))
    writer, state = _writer(gone)
    await writer.end()
    assert state.watch.refusals.standing(trio.current_time()) == []
    await gone.aclose()


async def test_a_process_tells_what_it_did_before_it_ends(world: World) -> None:
    world.connect()
    process = await world.start().ready()
    world.insert(1)
    world.insert(2)
    await world.all_done(2)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    [[counts, waited, done, answers, lease, host, version, settings]] = world.execute(
        "select counts, waited, done, answers, lease_no, host, version, settings from sync_pulses"
        " order by minute desc limit 1"
    )
    assert counts["applied"] == counts["claimed"] == sum(done.values()) == 2
    assert sum(waited.values()) >= 2
    assert answers["200"] >= 2
    assert lease is None
    assert host
    assert version
    assert settings["google_token_uri"] == world.google.token_uri


async def test_pulses_come_by_the_clock(
    database: Database, pool: Pool, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, _ = _writer(pool)
    monkeypatch.setattr(pulse_writer, "MINUTE", 0.05)
    nursery.start_soon(writer.run)
    await until(lambda: rows(database, "replica"))
