"""What replicas told of themselves, as an operator sees it: over time, by replica and by lane."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from reactor.core.dispatch.lane import LaneStatus
from reactor.core.pulse import LanePulse, Pulse, PulseCounts, ReplicaState
from reactor.desk import pulses as desk
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.pulses import ReplicaIdentity, write_pulse
from tests.support.databases import Database
from tests.support.outbox_world import World, workspace

SETTINGS = {"calendar_sync_batch_size": 200, "calendar_sync_lane_requests_per_minute": 600}
ONE = ReplicaIdentity("1.0", SETTINGS, host="pod-1", replica=UUID(int=1))
TWO = ReplicaIdentity("1.1", {**SETTINGS, "calendar_sync_batch_size": 100}, host="pod-2", replica=UUID(int=2))
NOW = datetime.now(UTC)
STATE = ReplicaState(None, "awake", "closed", 3, 1, 80.0, 0.01, {"busy": 1}, ())


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = Pool(database.reactor)
    yield pool
    await pool.aclose()


@pytest.fixture
def admin(database: Database) -> Iterator[AdminSession]:
    with open_admin_session(database.reactor, name="test") as admin:
        yield admin


@pytest.fixture
async def leases(database: Database) -> AsyncIterator[list[int]]:
    """The leases of two replicas that live; they claim nothing more."""
    async with open_session(database.reactor, name="a") as first, open_session(database.reactor, name="b") as second:
        outboxes = Outbox(first), Outbox(second)
        for each in outboxes:
            await each.claim(slots=1)
        yield [each.lease or 0 for each in outboxes]


def pulse(
    minutes_ago: int = 0, done: dict[str, int] | None = None, *, state: ReplicaState = STATE, **counts: int
) -> Pulse:
    minute = int((NOW - timedelta(minutes=minutes_ago)).timestamp()) // 60 * 60
    return Pulse(minute, PulseCounts(Counter(counts), Counter(), Counter(done or {}), Counter({"200": 1})), state)


def lane(number: int | UUID, standing: LaneStatus = LaneStatus.BUSY, **more: Any) -> LanePulse:
    whose = number if isinstance(number, UUID) else UUID(int=number)
    return replace(LanePulse(whose, standing, "closed", 0.0, 5.0, 1), **more)


async def test_the_last_hour_is_the_sum_of_all_replicas(pool: Pool, admin: AdminSession) -> None:
    for identity in (ONE, TWO):
        await write_pulse(pool, identity, pulse(5, {"0.5": 1}, claimed=2, applied=1, retried=1))
    await write_pulse(pool, ONE, pulse(7, {"10": 8}, applied=8, dead=1))
    await write_pulse(pool, ONE, pulse(100, {"3600": 50}, applied=50))
    found = desk.activity(admin, now=NOW)
    assert len(found["points"]) == 60
    assert (found["step"], found["until"] - found["since"]) == (timedelta(minutes=1), timedelta(hours=1))
    assert timedelta(seconds=30) <= NOW - found["until"] <= timedelta(seconds=90)
    told = {(NOW - point["at"]) // timedelta(minutes=1): point for point in found["points"] if point["answers"]}
    assert {ago: (point["done"], point["failed"], point["dead"]) for ago, point in told.items()} == {
        5: (2, 2, 0),
        7: (8, 0, 1),
    }
    assert (found["whole"]["done"], found["whole"]["answers"]) == (10, {"200": 3})
    assert found["whole"]["p50"] == pytest.approx(5 + 5 * 3 / 8), "two took half a second, eight up to ten"


async def test_a_day_has_points_of_ten_minutes(pool: Pool, admin: AdminSession) -> None:
    for ago in (100, 101, 1_380):
        await write_pulse(pool, ONE, pulse(ago, applied=5))
    found = desk.activity(admin, hours=desk.DAY, now=NOW)
    assert len(found["points"]) == 144
    assert all(point["at"].minute % 10 == 0 for point in found["points"])
    assert (found["whole"]["done"], found["capped"]) == (15, False)


async def test_too_many_rows_are_cut_at_the_early_end(
    pool: Pool, admin: AdminSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "CAP", 2)
    for ago in (5, 6, 7, 8):
        await write_pulse(pool, ONE, pulse(ago, applied=1))
    found = desk.activity(admin, now=NOW)
    assert (found["whole"]["done"], found["capped"]) == (3, True)


async def test_replicas_that_live_and_those_of_the_last_hour_are_told(
    database: Database, leases: list[int], pool: Pool, admin: AdminSession
) -> None:
    gone = replace(ONE, replica=UUID(int=3), host="pod-0")
    first, _ = leases
    await write_pulse(pool, gone, pulse(3))
    await write_pulse(pool, ONE, pulse(9, state=replace(STATE, gate="awake", lease=first)))
    await write_pulse(pool, ONE, pulse(2, state=replace(STATE, gate="armed", lease=first)))
    with open_admin_session(database.owner, name="test") as owner:
        owner.rows("update sync_pulses set pulsed_at = pulsed_at - interval '2 days'")
    await write_pulse(pool, replace(TWO, replica=UUID(int=4), host="pod-3"), pulse(1))
    found = desk.replicas(admin)
    assert [(each["host"], each["lives"], each["gate"], each["version"]) for each in found] == [
        ("pod-1", True, "armed", "1.0"),
        ("pod-3", False, "awake", "1.1"),
    ]
    assert found[0]["pid"] is not None
    assert (found[0]["in_flight_items"], found[0]["rate"]) == (3, 80.0)


async def test_settings_that_differ_between_replicas_that_live_are_named(
    database: Database, leases: list[int], pool: Pool, admin: AdminSession
) -> None:
    await write_pulse(pool, replace(ONE, replica=UUID(int=3), settings={**SETTINGS, "log_level": "debug"}), pulse())
    for identity, lease in zip((ONE, TWO), leases, strict=True):
        await write_pulse(pool, identity, pulse(state=replace(STATE, lease=lease)))
    assert desk.differing(desk.replicas(admin)) == [
        {
            "name": "CALENDAR_SYNC_BATCH_SIZE",
            "values": [{"value": 100, "hosts": ["pod-2"]}, {"value": 200, "hosts": ["pod-1"]}],
        }
    ]


async def test_lanes_of_all_replicas_are_told_with_what_is_due_and_until_when(
    database: Database, leases: list[int], pool: Pool, admin: AdminSession
) -> None:
    world = World(database)
    behind = world.connect("behind")
    for number in range(20):
        world.insert(f"s{number}", of="behind")
    world.close()
    held = lane(9, LaneStatus.HELD, opens_in=30.0, in_flight=0)
    first, second = leases
    one = replace(STATE, lease=first, lanes=(lane(behind, in_flight=7), held))
    before = datetime.now(UTC)
    await write_pulse(pool, ONE, pulse(state=one))
    await write_pulse(pool, TWO, pulse(state=replace(STATE, lease=second, lanes=(lane(behind),))))
    found = desk.lanes(admin, desk.replicas(admin), NOW)
    alone = desk.lane_of(admin, behind, NOW)
    assert [(each["workspace"], each["due"]) for each in found] == [(UUID(int=9), 0), (behind, 20)]
    assert found[1] == alone
    assert [(each["host"], each["in_flight"]) for each in alone["replicas"]] == [("pod-1", 7), ("pod-2", 1)]
    assert alone["rate"] == 10.0
    assert alone["forecast"].startswith("20 items at 10 a second: through by ")
    [told] = found[0]["replicas"]
    assert before - timedelta(seconds=1) < told["opens_at"] - timedelta(seconds=30) < datetime.now(UTC)
    assert (found[0]["opens_at"], alone["opens_at"]) == (told["opens_at"], None)
    assert (found[0]["forecast"], found[0]["rate"]) == (None, None)


async def test_a_lane_of_which_nothing_is_told_has_the_rate_of_the_settings(
    database: Database, leases: list[int], pool: Pool, admin: AdminSession
) -> None:
    assert desk.lane_of(admin, workspace(), NOW)["forecast"] is None, "nothing is due"
    world = World(database)
    mine = world.connect()
    world.insert()
    world.close()
    first, second = leases
    await write_pulse(pool, ONE, pulse(state=replace(STATE, lease=first)))
    await write_pulse(pool, TWO, pulse(state=replace(STATE, lease=second)))
    found = desk.lane_of(admin, mine, NOW)
    assert (found["due"], found["replicas"], found["rate"]) == (1, [], pytest.approx(9.72, abs=0.01))


async def test_a_count_that_was_not_followed_is_said(
    database: Database, leases: list[int], pool: Pool, admin: AdminSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "CAP", 3)
    world = World(database)
    mine = world.connect()
    for number in range(9):
        world.insert(f"s{number}")
    world.close()
    first, _ = leases
    await write_pulse(pool, ONE, pulse(state=replace(STATE, lease=first, lanes=(lane(mine),))))
    found = desk.lane_of(admin, mine, NOW)
    assert (found["due"], found["capped"]) == (3, True)
    assert found["forecast"].startswith("over 3 items at 5 a second: not before ")
