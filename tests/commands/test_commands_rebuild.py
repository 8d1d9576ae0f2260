"""`rebuild`: what it comes to is said and is so, and nothing is begun twice."""

from typing import Any
from uuid import UUID

import pytest
import trio

from tests.support.commands import call, document
from tests.support.process_world import WORKSPACE
from tests.support.rebuild_world import TEAM, RebuildWorld, world
from tests.support.replica import start

__all__ = ["world"]


def asked(world: RebuildWorld, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = document(world.database, "rebuild", "--workspace", str(WORKSPACE), *more)
    return found


def refused(world: RebuildWorld, workspace: UUID = WORKSPACE) -> str:
    result = call(world.database.reactor, "rebuild", "--workspace", str(workspace))
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


async def test_it_says_what_it_comes_to_and_does_that(world: RebuildWorld, nursery: trio.Nursery) -> None:
    world.define_view()
    world.connect()
    for number in range(4):
        world.write(number, f"event {number}")
    world.write(5, "event 5", calendar=TEAM)
    await start(world, nursery)
    await world.quiet()
    emulator = world.google.emulator
    [gone] = [event["id"] for event in emulator.events(world.google.user) if event["summary"] == "event 1"]
    emulator.delete_by_hand(world.google.user, gone)
    world.execute("delete from app_events where title = 'event 2'")
    before = world.execute("select count(*) from sync_outbox")
    forecast = asked(world, "--dry-run")
    assert (forecast["writes"], forecast["deletes"], forecast["left_alone"], forecast["state"]) == (4, 1, 0, "view")
    assert forecast["calendars"] == [world.google.user, TEAM]
    assert forecast["calls"] == 2 + 4 + 1
    assert (forecast["rebuild"], forecast["waits_for"], forecast["brake_would_stop"]) == (None, [], False)
    assert asked(world, "--dry-run", "--recreate")["calls"] == 2 + 8 + 1
    assert world.execute("select count(*) from sync_outbox") == before, "a dry run changes nothing"
    said = call(world.database.reactor, "rebuild", "--workspace", str(WORKSPACE), "--dry-run")
    assert "4 events, each compared first" in said.stdout
    assert said.stderr.endswith("Nothing was done. Without --dry-run it is started.\n")
    started = asked(world)
    await world.quiet()
    assert world.shown() == {"event 0": 1, "event 1": 1, "event 3": 1}
    progress = document(world.database, "status", "--rebuild", started["rebuild"])
    assert (progress["over"], progress["children"]["total"]) == (True, 5)
    before_ids = {event["id"] for event in emulator.events(world.google.user)}
    asked(world, "--recreate")
    await world.quiet()
    after_ids = {event["id"] for event in emulator.events(world.google.user)}
    assert (len(after_ids), after_ids & before_ids) == (3, set())


async def test_what_it_waits_for_is_said_and_what_makes_no_sense_is_refused(world: RebuildWorld) -> None:
    assert refused(world).startswith(f"Nothing is known of workspace {WORKSPACE}")
    world.insert(1)
    assert refused(world).startswith(f"Workspace {WORKSPACE} has no connection")
    world.connect()
    world.execute("update google_connections set calendar_id = calendar_id || chr(10)")
    assert f"The calendar of workspace {WORKSPACE}'s connection, '{world.google.user}\\n', is none" in refused(world)
    world.execute("update google_connections set calendar_id = trim(calendar_id, chr(10))")
    world.define_view()
    world.execute("revoke all on calendar_source_events from calendar_sync_reactor")
    assert "Run: GRANT SELECT ON public.calendar_source_events" in refused(world)
    world.execute("drop view calendar_source_events")
    world.execute("update google_connections set is_valid = false")
    world.execute(
        "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 40, 50)", WORKSPACE
    )
    world.execute(
        "insert into sync_sources (workspace_id, source_key, google_event_id, calendar_id)"
        " select %s, 'task:' || md5(n::text)::uuid, 'e' || n, 'primary' from generate_series(1, 30) as n",
        WORKSPACE,
    )
    world.define_view()
    result = call(world.database.reactor, "rebuild", "--workspace", str(WORKSPACE))
    assert result.exit_code == 0
    assert "That is most of its events: the brake stops it" in result.stderr
    assert "It waits for a valid connection: `python -m reactor connect`." in result.stderr
    assert (
        f"It waits for a release of the brake: `python -m reactor brake release --workspace {WORKSPACE}`"
        in result.stderr
    )
    [[rebuild, payload]] = world.execute("select id::text, payload from sync_outbox where operation = 'REBUILD_ALL'")
    assert payload == {"operation": "REBUILD_ALL", "workspaceId": str(WORKSPACE), "calendarId": world.google.user}
    assert f"status --rebuild {rebuild}`" in result.stderr
    assert refused(world).startswith(f"Workspace {WORKSPACE} has a rebuild that is not done, {rebuild} (PENDING")


async def test_of_two_at_one_moment_one_is_begun(world: RebuildWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.connect()
    monkeypatch.setattr("reactor.desk.rebuilds._ready", lambda *_: {"calendar": "primary", "valid": True})
    world.rebuild()
    assert "Another rebuild of the workspace was started at this moment" in refused(world)
