"""Workspaces, the worst first; what is known of one; what a brake would let go; rebuilds and when they will be over."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from reactor.core.dispatch.lane import LaneStatus
from reactor.desk import brakes, connections, rebuild_progress, workspaces
from reactor.desk.workspaces import WorkspaceState
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.connection.pool import Pool
from reactor.postgres.pulses import write_pulse
from tests.desk.test_pulses import ONE, STATE, lane, leases, pool, pulse
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace
from tests.support.rebuild_world import APPLICATION, VIEW

__all__ = ["leases", "pool"]

NOW = datetime.now(UTC)
STOP = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, %s, 40, 50)"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
def admin(database: Database) -> Iterator[AdminSession]:
    with open_admin_session(database.reactor, name="test") as admin:
        yield admin


def named(*names: str) -> dict[UUID, str]:
    return {workspace(name): name for name in names}


NAMES = named("stopped", "parked", "stranger", "held", "behind", "later", "broken", "dead", "well", "idle", "released")


def seen(found: workspaces.WorkspaceList) -> list[tuple[str, list[str]]]:
    return [(NAMES[row["workspace"]], [str(each) for each in row["states"]]) for row in found.rows]


@pytest.fixture
async def fleet(world: World, pool: Pool, leases: list[int]) -> World:
    """A workspace of each kind, and what replicas tell of two lanes."""
    for name in NAMES.values():
        if name != "stranger":
            world.connect(name, valid=name != "parked")
        if name not in ("idle", "dead"):
            world.insert(of=name)
    for hours, name in ((1, "behind"), (2, "stopped"), (3, "broken")):
        world.connection.execute(
            "update sync_outbox set next_attempt_at = now() - %s * interval '1 h' where workspace_id = %s",
            (hours, workspace(name)),
        )
    world.connection.execute(
        "update sync_outbox set next_attempt_at = 'infinity' where workspace_id = %s", (workspace("later"),)
    )
    world.connection.execute(STOP, (workspace("stopped"), "BURST"))
    world.connection.execute(STOP, (workspace("released"), "BURST"))
    world.connection.execute(
        "update sync_brakes set released_at = now() where workspace_id = %s", (workspace("released"),)
    )
    world.insert(of="dead", status="DEAD_LETTER", failure_code="BAD_REQUEST")
    world.insert("x", of="broken", status="DEAD_LETTER", failure_code="BAD_REQUEST")
    told = (
        lane(workspace("held"), LaneStatus.HELD, opens_in=30.0),
        lane(workspace("broken"), LaneStatus.BROKEN, breaker="open"),
        lane(workspace("well"), LaneStatus.BUSY),
    )
    await write_pulse(pool, ONE, pulse(state=replace(STATE, lease=leases[0], lanes=told)))
    return world


async def test_the_worst_come_first(fleet: World, admin: AdminSession) -> None:
    found = workspaces.listed(admin)
    assert seen(found) == [
        ("stopped", ["stopped"]),
        ("parked", ["parked"]),
        ("stranger", ["parked"]),
        ("held", ["held"]),
        ("broken", ["behind", "broken", "dead"]),
        ("behind", ["behind"]),
        ("dead", ["dead"]),
        ("well", ["well"]),
        ("released", ["well"]),
        ("later", ["well"]),
    ]
    assert (found.after, found.is_cut) == (None, False)
    by_name = {NAMES[row["workspace"]]: row for row in found.rows}
    assert 3_600 <= by_name["behind"]["waited"] < 3_700
    assert [by_name[name]["valid"] for name in ("behind", "parked", "stranger")] == [True, False, None]
    assert [by_name["broken"][name] for name in ("waiting", "dead")] == [1, 1]
    assert by_name["later"]["waited"] is by_name["dead"]["waited"] is None
    assert 0 <= by_name["stopped"]["stopped_for"] < 60
    assert "since" not in by_name["stopped"]


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (WorkspaceState.STOPPED, {"stopped"}),
        (WorkspaceState.PARKED, {"parked", "stranger"}),
        (WorkspaceState.HELD, {"held"}),
        (WorkspaceState.BEHIND, {"broken", "behind"}),
        (WorkspaceState.BROKEN, {"broken"}),
        (WorkspaceState.DEAD, {"broken", "dead"}),
        (WorkspaceState.WELL, {"released", "well", "later"}),
    ],
)
async def test_a_filter_shows_all_of_a_state(
    fleet: World, admin: AdminSession, state: WorkspaceState, names: set[str]
) -> None:
    assert {name for name, _ in seen(workspaces.listed(admin, state=state))} == names


async def test_pages_follow_one_another(fleet: World, admin: AdminSession) -> None:
    whole = seen(workspaces.listed(admin))
    for size in (1, 2, 3, 7, len(whole)):
        found = workspaces.listed(admin, rows=size)
        pages = seen(found)
        while found.after and len(pages) <= len(whole):
            found = workspaces.listed(admin, after=found.after, rows=size)
            pages += seen(found)
        assert pages == whole


async def test_no_more_than_the_cap_are_walked_through(
    fleet: World, admin: AdminSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspaces, "WALKED", 3)
    found = workspaces.listed(admin)
    assert found.is_cut
    assert len(found.rows) < len(NAMES)
    assert not workspaces.listed(admin, workspace=workspace("behind")).is_cut


async def test_all_that_is_known_of_one(fleet: World, admin: AdminSession) -> None:
    of = workspace("broken")
    fleet.insert("y", of="broken", status="FAILED", next_attempt_at=NOW + timedelta(hours=1))
    fleet.insert("z", of="broken", next_attempt_at="2100-01-01")
    fleet.insert("v", of="broken", status="PROCESSING")
    rebuild = fleet.insert(of="broken", operation="REBUILD_ALL", status="COMPLETED")
    found = workspaces.workspace_status(admin, of, NOW)
    counts = {name: found["waiting"][name] for name in ("open", "due", "back_off", "later", "in_flight")}
    assert counts == {"open": 3, "due": 1, "back_off": 1, "later": 1, "in_flight": 1}
    assert 10_800 <= found["waiting"]["oldest_due_seconds"] < 10_900
    assert found["waiting"]["next_due_at"] == NOW + timedelta(hours=1)
    assert found["states"] == ["behind", "broken", "dead"]
    assert (found["connection"]["calendar"], found["connection"]["valid"], found["brake"]) == ("primary", True, None)
    assert "stored" not in found["connection"]
    assert [(each["code"], each["items"]) for each in found["dead_letters"]["causes"]] == [("BAD_REQUEST", 1)]
    assert [each["id"] for each in found["rebuilds"]] == [rebuild]
    assert [each["standing"] for each in found["lane"]["replicas"]] == ["broken"]

    stopped = workspaces.workspace_status(admin, workspace("stopped"), NOW)
    assert (stopped["brake"]["deletes"], stopped["brake"]["cause"]) == (40, "BURST")
    stranger = workspaces.workspace_status(admin, workspace("stranger"), NOW)
    assert (stranger["connection"], stranger["states"]) == (None, ["parked"])
    idle = workspaces.workspace_status(admin, workspace("idle"), NOW)
    assert (idle["states"], idle["waiting"]["open"], idle["waiting"]["oldest_due_seconds"]) == ([], 0, None)
    with pytest.raises(ConfigurationError, match="Nothing is known"):
        workspaces.workspace_status(admin, workspace("no such"), NOW)
    for number in range(workspaces.CAUSES):
        fleet.insert(of="dead", status="DEAD_LETTER", failure_code="BAD_REQUEST", last_error=f"reason {number}")
    letters = workspaces.workspace_status(admin, workspace("dead"), NOW)["dead_letters"]
    assert (len(letters["causes"]), letters["different"]) == (workspaces.CAUSES, workspaces.CAUSES + 1)


def remember(world: World, about: str, *, of: str = "w", kind: str = "task") -> None:
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key, google_event_id, calendar_id, floor_seq)"
        " values (%s, %s, %s, 'primary', 0)",
        (workspace(of), f"{kind}:{source(about)}", f"event{about}"),
    )


def test_a_sample_of_a_burst_is_what_would_go(world: World, admin: AdminSession) -> None:
    world.connect()
    for number in range(30):
        remember(world, str(number))
        world.insert(str(number), operation="CANCEL_EVENT")
    remember(world, "trip", kind="trip")
    world.insert("trip", operation="CANCEL_EVENT", payload={"sourceType": "trip"})
    world.insert("without an event", operation="CANCEL_EVENT")
    remember(world, "wanted again")
    world.insert("wanted again", operation="CANCEL_EVENT")
    world.insert("wanted again")
    world.connection.execute(
        "insert into calendar_event_bindings (workspace_id, source_type, source_id, calendar_id, google_event_id,"
        " event_type) values (%s, 'old', %s, 'primary', 'bound', 'MILESTONE')",
        (workspace(), source("bound")),
    )
    world.insert("bound", operation="CANCEL_EVENT", payload={"sourceType": "old"})
    world.connection.execute(STOP, (workspace(), "BURST"))
    [stopped] = brakes.stopped(admin)
    found = brakes.sample(admin, stopped)
    assert (found["types"], found["missing"]) == ({"task": 30, "trip": 1, "old": 1}, None)
    assert len(found["sources"]) == brakes.SAMPLE
    by_type = Counter(each["type"] for each in found["sources"])
    assert by_type == {"task": 18, "trip": 1, "old": 1}
    keys = {each["source"] for each in found["sources"]}
    assert f"trip:{source('trip')}" in keys
    assert not keys & {f"task:{source(name)}" for name in ("without an event", "wanted again")}
    [bound] = [each for each in found["sources"] if each["type"] == "old"]
    assert bound["asked_at"] is not None
    assert bound["applied_at"] is None


def test_a_sample_of_a_rebuild_is_what_the_application_does_not_want(
    world: World, admin: AdminSession, database: Database
) -> None:
    world.connect()
    for name in ("kept", "gone", "gone too"):
        remember(world, name)
    world.connection.execute(APPLICATION.encode())
    world.connection.execute(VIEW.encode())
    world.connection.execute(
        "insert into app_events (workspace_id, calendar_id, source_id, title) values (%s, 'primary', %s, 'words')",
        (workspace(), source("kept")),
    )
    world.connection.execute(STOP, (workspace(), "REBUILD"))
    [stopped] = brakes.stopped(admin)
    found = brakes.sample(admin, stopped)
    assert {each["source"] for each in found["sources"]} == {f"task:{source(name)}" for name in ("gone", "gone too")}
    assert found["types"] == {"task": 2}
    assert "words" not in str(found)

    world.connection.execute("revoke select on calendar_source_events from calendar_sync_reactor")
    assert "may not read" in brakes.sample(admin, stopped)["missing"]
    world.connection.execute("drop view calendar_source_events")
    assert "nothing that waits" in brakes.sample(admin, stopped)["missing"], "memory says that all is wanted"
    admin.connection.execute("set statement_timeout = '1ms'")
    world.connection.execute(
        "create view calendar_source_events as select workspace_id, calendar_id, 'task' as source_type, source_id, "
        "pg_sleep(1)::text as title from app_events"
    )
    world.connection.execute("grant select on calendar_source_events to calendar_sync_reactor")
    assert "in time" in brakes.sample(admin, stopped)["missing"]


def test_stopped_workspaces_and_connections_come_in_pages(world: World, admin: AdminSession) -> None:
    for number in range(5):
        world.connect(str(number), valid=number % 2 == 0)
        world.connection.execute(STOP, (workspace(str(number)), "BURST"))
    first = brakes.page(admin, rows=3)
    second = brakes.page(admin, first.after, rows=3)
    assert (len(first.rows), len(second.rows), second.after) == (3, 2, None)
    assert [each.workspace_id for each in (*first.rows, *second.rows)] == [workspace(str(n)) for n in range(5)]

    whole = [(row["valid"], row["workspace"]) for row in connections.listed(admin).rows]
    begin = connections.listed(admin, rows=2)
    rest = connections.listed(admin, behind=(begin.rows[-1]["valid"], begin.rows[-1]["workspace"]), rows=10)
    assert [(row["valid"], row["workspace"]) for row in (*begin.rows, *rest.rows)] == whole
    assert (begin.is_cut, rest.is_cut) == (True, False)


def test_rebuilds_are_found_whether_open_or_done_with_items_or_without(world: World, admin: AdminSession) -> None:
    made = [
        world.insert(of=f"r{number}", operation="REBUILD_ALL", status=status, created_at=NOW - timedelta(hours=number))
        for number, status in enumerate(("PENDING", "COMPLETED", "PROCESSING", "DEAD_LETTER", "COMPLETED"))
    ]
    world.insert("child", of="r4", parent_id=made[4])
    world.insert("settled", status="COMPLETED")
    assert [each["id"] for each in rebuild_progress.listed(admin).rows] == made
    first = rebuild_progress.listed(admin, rows=2)
    second = rebuild_progress.listed(admin, before=first.before, rows=5)
    assert [each["id"] for each in (*first.rows, *second.rows)] == made
    assert second.before is None
    assert [each["id"] for each in rebuild_progress.listed(admin, workspace=workspace("r2")).rows] == [made[2]]


def test_when_a_rebuild_will_be_over(world: World, admin: AdminSession) -> None:
    rebuild = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    for number, status in enumerate(("COMPLETED", "PENDING", "PENDING", "DEAD_LETTER")):
        world.insert(str(number), status=status, parent_id=rebuild)
    progress = rebuild_progress.rebuild_progress(admin, rebuild)
    noon = datetime(2026, 11, 29, 12, tzinfo=UTC)
    lane: dict[str, Any] = {"rate": 0.1, "replicas": []}
    assert rebuild_progress.prospect(progress, lane, noon) == "2 items at 6 a minute: through by 12:01"
    held = {**lane, "replicas": [{"opens_at": noon + timedelta(minutes=10)}, {"opens_at": None}]}
    assert rebuild_progress.prospect(progress, held, noon) == "2 items at 6 a minute: through by 12:11"
    assert rebuild_progress.prospect(progress, {**lane, "rate": None}, noon) is None
    assert rebuild_progress.prospect({**progress, "expanded": False}, lane, noon) is None
