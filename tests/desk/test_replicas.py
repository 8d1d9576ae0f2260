"""The replicas as their sessions and their pulses show them together."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from reactor.desk import replicas as desk
from reactor.desk.replicas import replica_status
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.pulses import write_pulse
from tests.desk.test_pulses import NOW, ONE, STATE, TWO, admin, lane, pool, pulse
from tests.support.databases import Database
from tests.support.outbox_world import World

__all__ = ["admin", "pool"]  # fixtures


async def test_a_session_that_claims_is_a_replica_with_its_last_pulse(
    database: Database, pool: Pool, admin: AdminSession
) -> None:
    async with (
        open_session(database.reactor, name="calendar-sync-reactor claims") as first,
        open_session(database.reactor, name="calendar-sync-reactor claims, refused: 42501") as second,
        open_session(database.reactor, name="calendar-sync-reactor listen"),
    ):
        lease = await _lease(first)
        await _lease(second)
        state = replace(STATE, lease=lease, lanes=(lane(5),))
        await write_pulse(pool, ONE, pulse(state=state))
        await write_pulse(pool, replace(TWO, replica=UUID(int=7)), pulse())
        found = replica_status(admin, NOW)
    told: dict[bool, Any] = {each["pulse"] is not None: each for each in found["replicas"]}
    assert len(found["replicas"]) == 2
    assert (told[True]["pulse"]["host"], told[True]["pulse"]["gate"]) == ("pod-1", "awake")
    assert (told[False]["refused"], told[True]["refused"]) == ("42501", None)
    assert len(found["sessions"]) == 3
    assert [each["host"] for each in found["gone"]] == ["pod-2"]
    assert found["versions"] == {"1.0": 1}
    assert found["settings"] == []
    assert [each["workspace"] for each in found["lanes"]] == [UUID(int=5)]
    assert (found["locks"], found["locks_capped"]) == ([], False)


async def _lease(session: Any) -> int | None:
    outbox = Outbox(session)
    await outbox.claim(slots=1)
    return outbox.lease


async def test_items_that_are_held_for_long_are_listed(
    database: Database, admin: AdminSession, monkeypatch: Any
) -> None:
    world = World(database)
    world.connect()
    for number in range(3):
        world.insert(f"s{number}")
    async with open_session(database.reactor, name="calendar-sync-reactor claims") as session:
        await Outbox(session).claim(slots=3)
        assert replica_status(admin, NOW)["locks"] == []
        world.connection.execute("set session_replication_role = replica")  # a trigger would touch it
        world.connection.execute("update sync_outbox set updated_at = now() - interval '11 s'")
        world.close()
        monkeypatch.setattr(desk, "LISTED", 2)
        found = replica_status(admin, NOW)
    assert ([row["holder"] for row in found["locks"]], found["locks_capped"]) == (["reactor", "reactor"], True)
