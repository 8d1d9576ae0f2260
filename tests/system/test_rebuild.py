"""Rebuilds, end to end: the process, a database with the application's view, and the emulator."""

import signal
from collections.abc import Callable

import pytest

from calendar_emulator import Fault
from reactor.core.calendar import ids
from tests.support.commands import document
from tests.support.google_fixtures import USER
from tests.support.process_world import WORKSPACE, Process
from tests.support.rebuild_world import TEAM, UNLIMITED, RebuildWorld, key, source, world
from tests.support.waiting import until

__all__ = ["world"]


@pytest.fixture
async def running(world: RebuildWorld) -> RebuildWorld:
    """A view, five events, and a process that has sent them."""
    world.define_view()
    world.connect()
    for number in range(5):
        world.write(number, f"event {number}")
    await world.start().ready()
    await world.quiet()
    return world


def event_ids(world: RebuildWorld, calendar: str = USER) -> set[str]:
    return {event["id"] for event in world.google.emulator.events(calendar)}


async def test_a_calendar_becomes_what_the_application_says(running: RebuildWorld) -> None:
    world = running
    for number in (0, 1):
        world.write(number, None, enqueue=False)
    world.write(2, "changed", enqueue=False)
    world.write(9, "new", enqueue=False)
    [deleted] = [event for event in world.google.emulator.events(USER) if event["summary"] == "event 3"]
    world.google.emulator.delete_by_hand(USER, deleted["id"])
    rebuild = world.rebuild()
    await world.quiet()
    assert world.status(rebuild) == ("COMPLETED", 0, None, None)
    assert world.shown() == world.wanted() == {"changed": 1, "event 3": 1, "event 4": 1, "new": 1}
    found = document(world.database, "status", "--rebuild", str(rebuild))
    assert (found["over"], found["children"]["by_status"], found["children"]["dead"]) == (True, {"COMPLETED": 6}, {})


async def test_what_the_application_shows_reaches_the_calendar_whole(running: RebuildWorld) -> None:
    world = running
    world.execute(
        "update app_events set all_day = true, starts = '2026-03-29 00:00+00', hours = 48 where title = 'event 0'"
    )
    world.execute(
        "update app_events set all_day = true, starts = '2026-03-29 00:00+00', hours = 34 where title = 'event 2'"
    )
    world.execute("update app_events set recurrence = '{RRULE:FREQ=WEEKLY;COUNT=3}' where title = 'event 1'")
    world.rebuild()
    await world.quiet()
    shown = {event["summary"]: event for event in world.google.emulator.events(USER)}
    assert shown["event 0"]["start"] == {"date": "2026-03-29"}
    assert shown["event 0"]["end"] == {"date": "2026-03-31"}
    assert shown["event 2"]["end"] == {"date": "2026-03-31"}, "a day that has begun counts: it ends there at 10:00"
    recurring = shown["event 1"]
    assert recurring["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=3"]
    assert recurring["start"]["timeZone"] == "Europe/Berlin"
    assert (recurring["colorId"], recurring["location"]) == ("5", "Here")


async def test_a_row_that_makes_no_event_is_a_dead_letter_of_its_own(running: RebuildWorld) -> None:
    world = running
    world.execute("update app_events set title = '' where title = 'event 0'")
    world.execute("update app_events set hours = -1 where title = 'event 1'")
    world.write(2, "changed", enqueue=False)
    rebuild = world.rebuild()
    await world.quiet()
    found = document(world.database, "status", "--rebuild", str(rebuild))
    assert found["rebuild"]["status"] == "COMPLETED"
    assert found["children"]["by_status"] == {"COMPLETED": 3, "DEAD_LETTER": 2}
    assert found["children"]["dead"] == {"BAD_PAYLOAD": 2}
    assert world.shown() == {"event 0": 1, "event 1": 1, "changed": 1, "event 3": 1, "event 4": 1}


async def test_strays_go_and_what_is_not_ours_stays(running: RebuildWorld) -> None:
    world = running
    world.plant(0, "duplicate", generation=5)
    world.plant(3, "elsewhere", calendar=TEAM)
    world.execute("update calendar_event_bindings set calendar_id = calendar_id")
    world.plant(70, "unknown")
    world.plant(71, "unknown twice")
    world.plant(71, "unknown twice", generation=1)
    ours = {"reactorWorkspace": str(WORKSPACE)}
    world.put("no source", id="nosource1", private=ours)
    world.put("odd source", id="oddsource1", private={**ours, "reactorSource": "what:7"})
    world.put("a person's", id="person1")
    world.put("another workspace's", id="another1", private={"reactorWorkspace": source(1), "reactorSource": key(0)})
    world.execute("insert into app_events values (%s, %s, %s, 'memory lost')", WORKSPACE, USER, source(60))
    world.plant(60, "old state", generation=0)
    before = event_ids(world)
    world.rebuild()
    world.rebuild(calendar=TEAM)  # no event of ours is wanted there, and nobody remembers one
    await world.quiet()
    expected = {f"event {number}": 1 for number in range(5)}
    assert world.shown() == expected | {"a person's": 1, "another workspace's": 1, "memory lost": 1}
    assert world.shown(TEAM) == {}
    assert event_ids(world) <= before, "nothing was made anew"


async def test_a_change_of_calendar_moves_the_events(running: RebuildWorld) -> None:
    world = running
    world.execute("update app_events set calendar_id = %s", TEAM)
    world.execute("update google_connections set calendar_id = %s", TEAM)
    world.rebuild(calendar=TEAM)
    await world.quiet()
    assert world.shown() == {}
    assert world.shown(TEAM) == world.wanted(TEAM) == {f"event {number}": 1 for number in range(5)}
    assert world.execute("select distinct calendar_id from calendar_event_bindings") == [(TEAM,)]


async def test_a_calendar_that_gets_its_other_name_keeps_its_events(world: RebuildWorld) -> None:
    """`primary` and the address are one calendar; listed twice, each event is still one."""
    world.define_view()
    world.connect()
    for number in range(3):
        world.write(number, f"event {number}", calendar="primary")
    await world.start().ready()
    await world.quiet()
    before = event_ids(world)
    world.execute("update app_events set calendar_id = %s", USER)
    world.rebuild()
    await world.quiet()
    assert world.shown() == world.wanted()
    assert event_ids(world) == before
    assert world.execute("select distinct calendar_id from calendar_event_bindings") == [(USER,)]


async def test_recreate_makes_every_event_anew(running: RebuildWorld) -> None:
    world = running
    before = event_ids(world)
    world.rebuild(recreate=True)
    await world.quiet()
    assert world.shown() == world.wanted()
    assert event_ids(world) == {ids.event_id(str(WORKSPACE), key(number), 1) for number in range(5)}
    world.rebuild()
    await world.quiet()
    assert not before & event_ids(world)
    assert event_ids(world) == {ids.event_id(str(WORKSPACE), key(number), 1) for number in range(5)}


async def test_without_a_view_what_was_applied_last_is_the_state(world: RebuildWorld) -> None:
    world.connect()
    for number in range(4):
        world.write(number, f"event {number}")
    await world.start().ready()
    await world.quiet()
    world.write(3, None)
    await world.quiet()
    for event in world.google.emulator.events(USER):
        if event["summary"] == "event 0":
            world.google.emulator.delete_by_hand(USER, event["id"])
    world.plant(1, "duplicate", generation=4)
    world.execute(
        "insert into calendar_event_bindings"
        " (workspace_id, google_event_id, calendar_id, source_type, source_id, event_type)"
        " select %s, 'older', %s, 'task', gen_random_uuid(), 'MILESTONE' from generate_series(1, 2)",
        WORKSPACE,
        USER,
    )
    world.put("an older worker's", id="0lder")
    rebuild = world.rebuild(calendar=TEAM)
    await world.quiet()
    assert world.shown(TEAM) == {"event 0": 1, "event 1": 1, "event 2": 1}
    assert world.shown() == {"an older worker's": 1}
    assert world.status(rebuild)[0] == "COMPLETED"
    assert world.status(rebuild)[3] == "left alone: 2 events of which it is not known what they should be"


async def test_without_a_view_what_a_dead_cancel_was_for_goes(world: RebuildWorld) -> None:
    world.connect()
    world.write(0, "event 0")
    await world.start().ready()
    await world.quiet()
    world.google.emulator.fault(Fault(operation="delete", effect="error", reason="forbidden", times=1))
    world.write(0, None)
    await world.quiet()
    assert world.shown() == {"event 0": 1}
    world.rebuild()
    await world.quiet()
    assert world.shown() == {}


async def test_a_function_will_do(world: RebuildWorld) -> None:
    world.execute(
        "create function calendar_source_events(workspace uuid) returns table (workspace_id uuid, calendar_id text,"
        " source_type text, source_id uuid, event_type text, title text, start_at timestamptz, end_at timestamptz)"
        " language sql as $$ select workspace, 'ada@example.com', 'task', workspace, 'MILESTONE', 'made', now(),"
        " now() + interval '1 h' $$"
    )
    world.connect()
    await world.start().ready()
    world.rebuild()
    await world.quiet()
    assert world.shown() == {"made": 1}


async def test_a_missing_right_is_named_and_waited_for(world: RebuildWorld) -> None:
    world.define_view()
    world.execute("revoke all on calendar_source_events from calendar_sync_reactor")
    world.connect()
    world.write(1, "event 1", enqueue=False)
    await world.start().ready()
    rebuild = world.rebuild()
    await until(lambda: world.status(rebuild)[3] is not None)
    status, attempts, _, error = world.status(rebuild)
    assert (status, attempts) == ("PENDING", 0)
    grant = error.partition("run: ")[2]
    assert grant == "GRANT SELECT ON public.calendar_source_events TO calendar_sync_reactor"
    world.execute(grant)
    world.execute("update sync_outbox set next_attempt_at = now() where id = %s", rebuild)
    await world.quiet()
    assert world.shown() == {"event 1": 1}


async def test_a_right_that_is_missing_inside_is_told_apart(world: RebuildWorld) -> None:
    world.define_view()
    world.execute("alter view calendar_source_events set (security_invoker = true)")
    world.connect()
    await world.start().ready()
    rebuild = world.rebuild()
    await until(lambda: world.status(rebuild)[3] is not None)
    assert world.status(rebuild)[:2] == ("PENDING", 0)
    assert "let it run with its owner's rights" in world.status(rebuild)[3]


async def test_a_view_that_fails_is_tried_again_and_does_not_hold_the_workspace(world: RebuildWorld) -> None:
    world.execute(
        "create view calendar_source_events as select *, 'task' as source_type, 1 / 0 as event_type from app_events;"
        " grant select on calendar_source_events to calendar_sync_reactor"
    )
    world.connect()
    world.write(1, "event 1", enqueue=False)
    await world.start().ready()
    rebuild = world.rebuild()
    await until(lambda: world.status(rebuild)[0] == "FAILED")
    assert world.status(rebuild)[1:] == (1, None, "calendar_source_events cannot be read: SQLSTATE 22012")
    world.write(2, "meanwhile")
    await until(lambda: world.shown() == {"meanwhile": 1})


async def test_a_calendar_that_is_gone_is_one_dead_letter(running: RebuildWorld) -> None:
    world = running
    rebuild = world.rebuild(calendar="nobody@example.com")
    await world.quiet()
    assert world.status(rebuild)[:3] == ("DEAD_LETTER", 0, "CALENDAR_GONE")
    assert world.execute("select count(*) from sync_outbox where parent_id is not null") == [(0,)]


async def test_two_rebuilds_at_once_come_to_one(running: RebuildWorld) -> None:
    world = running
    world.write(0, "changed", enqueue=False)
    listing = world.google.emulator.fault(Fault(operation="list", latency=1.0))
    older = world.rebuild()
    await until(lambda: listing.fired)
    newer = [world.rebuild() for _ in range(3)]
    await world.quiet()
    assert world.shown() == world.wanted()
    assert world.status(older)[0] == "COMPLETED"
    assert [world.status(each)[2] for each in newer] == ["SUPERSEDED", "SUPERSEDED", None]
    writes = world.google.emulator.writes(USER)
    assert all(counter.total() <= 3 for counter in writes.values()), "older children were put away"
    children = world.execute("select failure_code, count(*) from sync_outbox where parent_id = %s group by 1", older)
    assert children == [("SUPERSEDED", 5)]


async def test_a_rebuild_is_given_back_when_the_process_is_told_to_stop(world: RebuildWorld) -> None:
    world.define_view()
    world.connect()
    world.write(1, "event 1", enqueue=False)
    process = await world.start(CALENDAR_SYNC_DRAIN_TIMEOUT_MS="100").ready()
    listing = world.google.emulator.fault(Fault(operation="list", latency=20.0, times=1))
    rebuild = world.rebuild()
    await until(lambda: listing.fired)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert world.status(rebuild) == ("PENDING", 0, None, None)
    await world.start().ready()
    await world.quiet()
    assert world.shown() == {"event 1": 1}


async def test_a_rebuild_whose_session_is_lost_begins_again(world: RebuildWorld) -> None:
    world.define_view()
    world.connect()
    world.write(1, "event 1", enqueue=False)
    process = await world.start().ready()
    listing = world.google.emulator.fault(Fault(operation="list", latency=2.0, times=1))
    rebuild = world.rebuild()
    await until(lambda: listing.fired)
    world.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and application_name like '%% claims'"
    )
    await world.quiet()
    assert process.popen.poll() is None
    assert len(process.events("session_lost")) == 1
    assert (world.status(rebuild)[0], world.shown()) == ("COMPLETED", {"event 1": 1})
    assert world.execute("select count(*) from sync_outbox where parent_id = %s", rebuild) == [(1,)]
    assert len(process.events("rebuild_expanded")) == 1


async def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    await process.ended()


async def test_a_rebuild_that_is_killed_ends_well(world: RebuildWorld) -> None:
    """Once while it lists, once between portions, once while its children are sent."""
    await kill_a_rebuild(world, listings=1, portions=1, parts=1)


@pytest.mark.soak
async def test_a_rebuild_that_is_killed_ten_times_ends_well(world: RebuildWorld) -> None:
    """Twice while it lists, three times between portions, five times while its children are sent."""
    await kill_a_rebuild(world, listings=2, portions=3, parts=5)


async def kill_a_rebuild(world: RebuildWorld, *, listings: int, portions: int, parts: int) -> None:
    world.define_view()
    world.connect()
    events = 3_000
    world.execute(
        "insert into app_events select %s, %s, ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid,"
        " 'event ' || n from generate_series(1, %s) as n",
        WORKSPACE,
        USER,
        events,
    )
    limits = {**UNLIMITED, "CALENDAR_SYNC_MAX_RETRIES": "50"}
    emulator = world.google.emulator
    rebuild = world.rebuild(attempts=50)

    def children(status: str = "") -> int:
        [[count]] = world.execute(
            "select count(*) from sync_outbox where parent_id = %s and status::text like %s", rebuild, f"{status}%"
        )
        return int(count)

    kills = 0

    async def kill_when(condition: Callable[[], bool]) -> None:
        nonlocal kills
        process = await world.start(**limits).started()
        await until(condition)
        await kill(process)
        kills += 1

    listing = emulator.fault(Fault(operation="list", latency=5.0))
    for listed in range(1, listings + 1):
        await kill_when(lambda: listing.fired == listed)  # noqa: B023
    emulator.faults.remove(listing)
    for portion in range(1, portions + 1):
        await kill_when(lambda: children() >= 1_000 * portion)  # noqa: B023
    emulator.settings.latency = 0.05
    for part in range(1, parts + 1):
        await kill_when(lambda: children("COMPLETED") >= 400 * part)  # noqa: B023
    emulator.settings.latency = 0.0
    assert kills == listings + portions + parts
    await world.start(**limits).ready()
    await world.quiet(120)
    assert world.status(rebuild)[0] == "COMPLETED"
    assert (children(), children("COMPLETED")) == (events, events)
    assert world.shown() == world.wanted()
    assert set(world.shown().values()) == {1}
    assert world.execute("select count(*) from calendar_event_bindings") == [(events,)]


@pytest.mark.soak
async def test_a_rebuild_with_a_third_of_googles_answers_failing_ends_well(running: RebuildWorld) -> None:
    world = running
    await kill(world.processes[0])
    for number in range(5, 60):
        world.write(number, f"event {number}", enqueue=False)
    world.write(0, None, enqueue=False)
    world.plant(80, "unknown")
    world.plant(1, "duplicate", generation=3)
    emulator = world.google.emulator
    emulator.fault(Fault(effect="error", status=503, reason="backendError", probability=0.15, commit=0.5))
    emulator.fault(Fault(effect="drop", probability=0.15, commit=0.5))
    await world.start(CALENDAR_SYNC_MAX_RETRIES="100").ready()
    rebuild = world.rebuild(attempts=100)
    await until(lambda: world.status(rebuild)[0] == "COMPLETED", 120)
    await until(lambda: world.hurry() == 0, 120)
    assert world.shown() == world.wanted()
    assert set(world.shown().values()) == {1}
