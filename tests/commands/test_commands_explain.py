"""`explain`: each cause is made as it comes about, and is told with what to do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from calendar_emulator import Fault
from reactor.core.explain import explanation
from reactor.core.explain.causes import WELL, Cause
from tests.support.commands import call, call_beside
from tests.support.dialogues import upsert_json
from tests.support.google_fixtures import USER
from tests.support.process_world import WORKSPACE
from tests.support.rebuild_world import TEAM, RebuildWorld, key, source, world
from tests.support.replica import start
from tests.support.waiting import until

__all__ = ["world"]

OTHER = UUID(int=77)
OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
LOCK = "select from sync_outbox where id = %s for update"


@pytest.fixture(autouse=True)
def _replicas_log_beside() -> Iterator[None]:
    """A replica in this process would write into what a command prints."""
    with capture_logs():
        yield


def told(world: RebuildWorld, which: object, *arguments: str) -> dict[str, Any]:
    result = call(world.database.reactor, "explain", str(which), *arguments, "--json")
    assert result.exit_code in (0, 1), result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code == 0) is (Cause(document["cause"]) in WELL)
    assert not re.search(r"event \d", result.output), "no title is shown"
    return document


def cause(world: RebuildWorld, number: int, workspace: UUID = WORKSPACE) -> str:
    return str(told(world, key(number), "--workspace", str(workspace))["cause"])


def item(world: RebuildWorld, number: int, **columns: object) -> UUID:
    """Insert a row as the application may, with any column."""
    payload = upsert_json(f"event {number}", USER) | {"sourceId": source(number)}
    row = {"id": uuid4(), "workspace_id": WORKSPACE, "operation": "UPSERT_EVENT", "payload": Jsonb(payload)} | columns
    names = ", ".join(row)
    marks = ", ".join(["%s"] * len(row))
    world.execute(f"insert into sync_outbox ({names}) values ({marks})", *row.values())
    return UUID(str(row["id"]))


async def test_what_waits_where_no_replica_runs(world: RebuildWorld) -> None:
    world.write(1, "event 1")
    assert cause(world, 1) == Cause.UNCONNECTED
    world.connect()
    assert cause(world, 1) == Cause.NO_REPLICA
    call(world.database.reactor, "connections", "disable", "--workspace", str(WORKSPACE))
    found = told(world, key(1))
    assert found["cause"] == Cause.DISCONNECTED
    assert f"connect --workspace {WORKSPACE}" in found["remedy"]
    call(world.database.reactor, "connections", "enable", "--workspace", str(WORKSPACE))
    item(world, 4, status="PROCESSING")
    assert cause(world, 4) == Cause.OLDER_WORKER
    item(world, 5, status="DEAD_LETTER", last_error="an older worker's")
    assert cause(world, 5) == Cause.DIED
    item(world, 6, status="COMPLETED")  # as an older worker leaves it that did not write its binding
    assert cause(world, 6) == Cause.FORGOTTEN
    assert cause(world, 9) == Cause.UNKNOWN
    world.define_view()
    assert cause(world, 9) == Cause.NOT_WANTED
    world.write(9, "event 9", workspace=OTHER, enqueue=False)
    assert told(world, UUID(int=9))["cause"] == Cause.NEVER_CONNECTED, "found in the application's view alone"
    [statement] = re.findall(r"```sql\n(select workspace_id, source_type.*?)```", OPERATIONS.read_text(), re.DOTALL)
    [[_, source_key, *_]] = world.execute(statement.replace("quarterly review", "EVENT 9").replace("%", "%%"))
    assert source_key == key(9), "from a title to its id, as docs/operations.md says"
    world.write(10, "event 10", enqueue=False)
    assert cause(world, 10) == Cause.NEVER_ASKED


async def test_what_a_replica_meets(
    world: RebuildWorld, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.define_view()
    world.connect()
    emulator = world.google.emulator
    world.write(1, "event 1")
    with world.writer() as other:
        other.execute(LOCK.encode(), world.execute("select id from sync_outbox")[0])
        replica = await start(world, nursery)
        found = told(world, key(1))
        assert found["cause"] == Cause.LOCKED
        [[pid]] = other.execute("select pg_backend_pid()").fetchall()
        assert f"pg_terminate_backend({pid})" in found["remedy"]
    world.execute("select pg_notify('sync_outbox', '')")
    await world.quiet()
    assert cause(world, 1) == Cause.APPLIED
    with world.writer() as other:
        other.execute("select pg_advisory_xact_lock(718300, 0)")
        world.write(1, "event 1, blocked")
        assert cause(world, 1) == Cause.CLAIMS_BLOCKED
    await world.quiet()

    slow = emulator.fault(Fault(operation="update", latency=60.0))
    world.write(1, "event 1, edited")
    await until(lambda: slow.fired)
    found = told(world, key(1))
    assert found["cause"] == Cause.IN_HAND
    assert "calendar-sync-reactor claims" in found["verdict"]
    with monkeypatch.context() as patch:
        patch.setattr(explanation, "HANGS", 0.0)
        found = told(world, key(1))
    assert (found["cause"], "pg_terminate_backend(" in found["remedy"]) == (Cause.HANGS, True)
    world.write(1, "event 1, edited again")
    assert cause(world, 1) == Cause.EARLIER_IN_HAND
    never = item(world, 2, next_attempt_at="infinity")
    assert told(world, never)["cause"] == Cause.NEVER_DUE
    item(world, 3, next_attempt_at="2100-01-01")
    assert cause(world, 3) == Cause.POSTPONED
    rebuild = world.rebuild()
    world.write(4, "event 4")
    found = told(world, key(4))
    assert (found["cause"], str(rebuild) in found["verdict"]) == (Cause.BEHIND_REBUILD, True)
    await replica.kill()
    emulator.faults.clear()
    world.execute("delete from sync_outbox where status = 'PENDING'")
    await until(lambda: cause(world, 1) == Cause.WORKER_GONE)
    item(world, 1, seq=1)
    world.execute("delete from sync_outbox where status = 'PROCESSING'")
    world.execute("update sync_sources set floor_seq = floor_seq + 1")  # as after a restored backup
    assert cause(world, 1) == Cause.OUTDATED
    await start(world, nursery)
    await world.quiet()

    emulator.fault(Fault(operation="insert", effect="garbage", times=1))
    world.write(2, "event 2")
    await until(lambda: cause(world, 2) == Cause.BACKING_OFF)
    emulator.fault(Fault(operation="insert", effect="garbage", times=1))
    once = item(world, 3, max_attempts=1)
    await until(lambda: cause(world, 3) == Cause.EXHAUSTED)
    assert "requeue --id " + str(once) in told(world, once)["remedy"]
    world.execute("delete from sync_outbox where id = %s", once)  # as retention does
    assert cause(world, 3) == Cause.GIVEN_UP

    world.insert(4, extra={"eventType": "PARTY"})
    world.insert(5, extra={"event": upsert_json("event 5", USER, colorId="99")["event"]})
    await until(lambda: len(world.execute("select 1 from sync_outbox where failure_code like 'BAD%%'")) == 2)
    assert cause(world, 4) == Cause.BAD_PAYLOAD
    assert "eventType" in told(world, key(4))["verdict"]
    assert cause(world, 5) == Cause.BAD_REQUEST

    world.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;"
        "create trigger refuse before update on sync_outbox for each row"
        f" when (new.payload ->> 'sourceId' = '{source(6)}') execute function refuse()"
    )
    world.write(6, "event 6")
    await until(lambda: cause(world, 6) == Cause.SET_ASIDE)
    found = told(world, key(6))
    assert "P0001" in found["verdict"]
    assert "a trigger or a function of the application's raises an error" in found["remedy"]
    world.execute("drop trigger refuse on sync_outbox")
    world.execute("delete from sync_outbox where payload ->> 'sourceId' = %s", source(6))

    twin = {"reactorWorkspace": str(WORKSPACE), "reactorSource": key(1), "reactorSeq": "1", "reactorGeneration": "0"}
    world.put("event 1", private=twin)
    listing = emulator.fault(Fault(operation="list", latency=0.5))
    world.rebuild()
    await until(lambda: listing.fired)
    world.write(7, "event 7")
    assert cause(world, 7) == Cause.REBUILDING
    await world.quiet()
    emulator.faults.clear()
    assert cause(world, 7) == Cause.APPLIED
    removal = "select id from sync_outbox where parent_id is not null and sync_source_key(payload, id) = id::text"
    assert told(world, *world.execute(removal)[0])["cause"] == Cause.STRAY
    world.connect(OTHER)
    emulator.fault(Fault(operation="insert", effect="error", status=403, reason="rateLimitExceeded"))
    world.insert(8, workspace=OTHER)
    await until(lambda: cause(world, 8, OTHER) == Cause.HELD)
    assert "rate limited" in told(world, key(8), "--workspace", str(OTHER))["verdict"]
    world.insert(9, workspace=OTHER)
    found = told(world, key(9), "--workspace", str(OTHER))
    assert found["cause"] == Cause.DUE
    assert "items met: rate limited" in found["verdict"], "also where others met it, and the lane is held back"
    monkeypatch.setattr(explanation, "HANGS", 0.0)
    assert cause(world, 9, OTHER) == Cause.DELAYED


async def test_what_is_remembered_against_what_is_wanted_and_what_google_holds(
    world: RebuildWorld, nursery: trio.Nursery
) -> None:
    world.define_view()
    emulator = world.google.emulator
    workspaces = {name: UUID(int=100 + place) for place, name in enumerate(("gone", "read only", "revoked", "braked"))}
    for workspace in (WORKSPACE, *workspaces.values()):
        world.connect(workspace)
    world.connect(workspaces["revoked"], "1//revoked")
    emulator.share("reader@group.calendar.google.com", USER, "reader")
    await start(world, nursery)
    for number in range(1, 8):
        world.write(number, f"event {number}")
    world.write(11, "event 11", workspace=workspaces["gone"], calendar="nobody@example.com")
    world.write(12, "event 12", workspace=workspaces["read only"], calendar="reader@group.calendar.google.com")
    world.write(13, "event 13", workspace=workspaces["revoked"])
    for number in range(200, 225):
        world.write(number, f"event {number}", workspace=workspaces["braked"])
    await world.quiet()
    assert cause(world, 11, workspaces["gone"]) == Cause.CALENDAR_GONE
    assert cause(world, 12, workspaces["read only"]) == Cause.FORBIDDEN
    assert cause(world, 13, workspaces["revoked"]) == Cause.AUTH
    with world.writer() as writer:
        for number in range(200, 225):
            world.write(number, None, workspace=workspaces["braked"], by=writer)
    await until(lambda: cause(world, 201, workspaces["braked"]) == Cause.BRAKED)
    found = told(world, key(201))
    assert found["verdict"].startswith(
        "The event is not removed yet: the brake has stopped the workspace, because 25 of"
    )

    events = {event["summary"]: event["id"] for event in emulator.events(USER)}
    world.write(2, None)
    world.write(3, None)
    emulator.delete_by_hand(USER, events["event 4"])
    world.write(4, "event 4, edited")
    await until(lambda: world.execute("select 1 from sync_outbox where failure_code = 'EVENT_GONE'"))
    await until(lambda: len(world.execute("select 1 from sync_sources where cancelled")) == 2)
    assert cause(world, 2) == Cause.CANCELLED
    world.write(3, "event 3", enqueue=False)
    assert cause(world, 3) == Cause.REVERSED
    assert cause(world, 4) == Cause.EVENT_GONE
    world.execute("delete from app_events where title = 'event 5'")
    assert cause(world, 5) == Cause.UNWANTED
    world.execute("update app_events set calendar_id = %s where title = 'event 6'", TEAM)
    assert cause(world, 6) == Cause.ELSEWHERE

    async def asked(which: str, *arguments: str) -> dict[str, Any]:
        dsn, more = world.database.reactor, ("--google", "--json", *arguments)
        result = await call_beside(world.google, dsn, "explain", which, *more)
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    found = await asked(key(1))
    assert (found["cause"], found["google"]["shows"]) == (Cause.SHOWN, "the event is there")
    link = f"https://www.google.com/calendar/event?eid={events['event 1']}"
    assert (await asked(link))["source"] == key(1)
    for mark, value, expected in (("Seq", "0", Cause.STALE), ("Source", key(77), Cause.FOREIGN)):  # by other hands
        emulator.edit_by_hand(USER, events["event 1"], {"extendedProperties": {"private": {f"reactor{mark}": value}}})
        assert (await asked(key(1)))["cause"] == expected
    for table, about in (("sync_sources", "source_key"), ("calendar_event_bindings", "'task:' || source_id")):
        world.execute(f"delete from {table} where {about} = %s", key(6))  # as in a restored backup
    world.execute("update app_events set calendar_id = %s where title = 'event 6'", USER)
    assert (await asked(key(6)))["cause"] == Cause.UNREMEMBERED
    emulator.delete_by_hand(USER, events["event 7"])
    assert (await asked(events["event 7"]))["cause"] == Cause.DELETED
    emulator.share(USER, USER, None)
    emulator.share(USER, "else@example.com", "owner")
    assert (await asked(key(1)))["cause"] == Cause.MISSING
    emulator.oauth.revoke(world.google.refresh_token)
    assert (await asked(key(1)))["cause"] == Cause.UNSEEN
    world.execute("drop view calendar_source_events")
    world.execute("update google_connections set calendar_id = %s", TEAM)
    assert cause(world, 1) == Cause.OTHER_CALENDAR
