"""People and their accounts, end to end: a process, a database, the emulator, Google's own client as other hands."""

from collections.abc import Sequence
from typing import Any

import trio

from calendar_emulator import WriteKind
from reactor.core.calendar.upsert import ANOTHER_ACCOUNT
from tests.emulator.test_emulator_python_client import calendar_api, user_credentials
from tests.support.google_fixtures import USER
from tests.support.rebuild_world import RebuildWorld, world

__all__ = ["world"]

BOB = "bob@example.com"


def requests(world: RebuildWorld, since: int) -> list[tuple[str, int]]:
    return [(entry.operation, entry.status) for entry in list(world.google.emulator.log.entries)[since:]]


def rows(world: RebuildWorld) -> Sequence[tuple[Any, ...]]:
    return world.execute("select status, failure_code, last_error from sync_outbox order by seq")


async def test_what_a_guest_is_told_survives_every_edit(world: RebuildWorld) -> None:
    """A person invites a guest, sets private and adds a reminder; the application edits title and time, twice."""
    world.connect()
    world.insert(1, "first")
    await world.start().ready()
    await world.quiet()
    [event] = world.google.emulator.events(USER)
    guest = {"email": "grace@example.com", "responseStatus": "accepted", "comment": "With pleasure"}
    reminders = {"useDefault": False, "overrides": [{"method": "popup", "minutes": 7}]}
    theirs = {"attendees": [guest], "visibility": "private", "reminders": reminders}

    def by_hand() -> None:
        with calendar_api(world.google, user_credentials(world.google)) as api:
            found = api.events().get(calendarId="primary", eventId=event["id"]).execute()
            api.events().update(
                calendarId="primary", eventId=event["id"], body=found | theirs, sendUpdates="all"
            ).execute()

    await trio.to_thread.run_sync(by_hand)
    log = world.google.emulator.log
    for number, expected in ((2, [("update", 412), ("get", 200), ("patch", 200)]), (3, [("get", 200), ("patch", 200)])):
        since = len(log.entries)
        times = {"start": f"2026-12-0{number}T09:00:00Z", "end": f"2026-12-0{number}T10:00:00Z"}
        world.insert(1, extra={"event": {"title": f"state {number}", **times}})
        await world.quiet()
        assert requests(world, since) == expected
        assert all(e.query["sendUpdates"] == ["none"] for e in list(log.entries)[since:] if e.operation != "get")
        [found] = world.google.emulator.events(USER)
        assert {name: found[name] for name in theirs} == theirs
        assert (found["summary"], found["start"]["dateTime"]) == (f"state {number}", times["start"])
    since = len(log.entries)
    world.cancel(1)
    await world.quiet()
    assert requests(world, since) == [("get", 200), ("delete", 204)]


async def test_another_account_behind_primary_is_found_out_and_said(world: RebuildWorld) -> None:
    world.connect()
    for number in (1, 2):
        world.write(number, f"event {number}", calendar="primary")
    process = await world.start().ready()
    await world.quiet()
    assert world.execute("select distinct calendar_id from sync_sources") == [(USER,)]
    assert world.execute("select distinct calendar_id from calendar_event_bindings") == [("primary",)]
    world.connect(refresh_token=world.google.emulator.add_user(BOB))
    world.write(1, "edited", calendar="primary")
    await world.quiet()
    world.write(2, None, calendar="primary")
    await world.quiet()
    assert rows(world)[2:] == [
        ("COMPLETED", None, ANOTHER_ACCOUNT),
        ("DEAD_LETTER", "CALENDAR_GONE", rows(world)[3][2]),
    ]
    assert [line["problem"] for line in process.events("event_left_behind")] == [ANOTHER_ACCOUNT]
    assert (world.shown(BOB), world.shown(USER)) == ({"edited": 1}, {"event 1": 1, "event 2": 1})
    assert BOB not in process.output
    since = len(world.google.emulator.log.entries)
    world.write(1, "edited again", calendar="primary")
    await world.quiet()
    assert requests(world, since) == [("update", 200)]


async def test_a_rebuild_under_another_name_of_the_calendar_removes_nothing(world: RebuildWorld) -> None:
    """The memory says `primary` too, as an older release wrote it."""
    world.define_view()
    world.connect()
    for number in range(6):
        world.write(number, f"event {number}", calendar=USER if number % 2 else "primary")
    await world.start().ready()
    await world.quiet()
    world.execute("update sync_sources set calendar_id = 'primary' where source_key like '%%0'")
    for name in ("primary", USER):
        world.rebuild(calendar=name)
        await world.quiet()
        assert world.shown() == {f"event {number}": 1 for number in range(6)}
    kinds = {kind for counts in world.google.emulator.writes(USER).values() for kind in counts}
    assert kinds == {WriteKind.INSERT, WriteKind.UPDATE}
    assert {status for status, *_ in rows(world)} == {"COMPLETED"}
