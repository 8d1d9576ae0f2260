"""`drift` from end to end: an application, its calendar at the emulator, and differences that are planted there."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from tests.support.commands import call, call_beside
from tests.support.databases import Database
from tests.support.dialogues import upsert_json
from tests.support.example_database import make_example
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.odd_rows import KINDS, insert
from tests.support.process_world import WORKSPACE, World
from tests.support.waiting import until

Json = dict[str, Any]

TEAM = "team@group.calendar.google.com"
GONE = "gone@example.com"
MOST_LOOKS = 30
SECRET = "the secret plan"


@pytest.fixture(autouse=True)
def _leave_logging_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command sets it up for a process of its own."""
    monkeypatch.setattr("reactor.observability.logs.configure", lambda *_, **__: None)
    with capture_logs():
        yield


@pytest.fixture
def example(
    empty_database: str, reactor_login: dict[str, str], google: GoogleServer, tmp_path: Path
) -> Iterator[World]:
    """The example application, with a workspace that is connected."""
    make_example(empty_database)
    database = Database(owner=empty_database, reactor=make_conninfo(empty_database, **reactor_login))
    world = World(database, google, tmp_path)
    world.execute("insert into workspaces (id, name) values (%s, 'one')", WORKSPACE)
    world.connect()
    yield world
    world.close()


async def drift(world: World, *more: str, code: int) -> Json:
    """Compare the workspace; what was printed."""
    arguments = ("drift", "--rate", "100", "--json", *(more or ("--workspace", str(WORKSPACE))))
    result = await call_beside(world.google, world.database.reactor, *arguments)
    assert result.exit_code == code, result.output
    assert SECRET not in result.output
    found: Json = json.loads(result.stdout)
    return found


def told(report: Json) -> dict[str, tuple[str, list[str]]]:
    """What was found: kind and fields, by source."""
    return {
        each["source"]: (each["kind"], [field["field"] for field in each["fields"]])
        for each in report["findings"]
        if not each["on_its_way"]
    }


class Example:
    """The example application's tasks, by number, and the events that show them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.emulator = world.google.emulator
        self.ids = [UUID(int=number) for number in range(1, 14)]

    def key(self, number: int) -> str:
        return f"task:{self.ids[number]}"

    def write(self) -> None:
        for number, each in enumerate(self.ids):
            self.world.execute(
                "insert into tasks (id, workspace_id, title, description, due_on)"
                " values (%s, %s, %s, %s, '2026-12-03')",
                each,
                WORKSPACE,
                f"{SECRET} {number}",
                "a < b & c",
            )
        self.world.execute(
            "insert into project_reviews (workspace_id, title, starts_at, ends_at, recurrence, time_zone)"
            " values (%s, 'look', '2026-12-05 09:00+01', '2026-12-05 10:00+01', '{RRULE:FREQ=WEEKLY;COUNT=3}',"
            " 'Europe/Berlin')",
            WORKSPACE,
        )

    def event(self, number: int) -> Json:
        [found] = [
            each
            for each in self.emulator.events(USER)
            if each.get("extendedProperties", {}).get("private", {}).get("reactorSource") == self.key(number)
        ]
        return found

    def edit(self, number: int, **changes: Any) -> None:
        self.emulator.edit_by_hand(USER, self.event(number)["id"], changes)

    async def are_edited(self) -> None:
        """Change one task after the other, as long as it goes on."""
        for number in cycle(range(len(self.ids))):
            change = "done = not done" if number % 3 else "title = title || '!'"
            edit = partial(self.world.execute, f"update tasks set {change} where id = %s", self.ids[number])
            await trio.to_thread.run_sync(edit)
            await trio.sleep(0.03)

    def quietly(self, statement: str, number: int) -> None:
        """Change the application's data without a trigger: a restore, a bulk load."""
        self.world.execute("set session_replication_role = replica")
        self.world.execute(statement, self.ids[number])
        self.world.execute("reset session_replication_role")


async def test_what_is_planted_is_found_and_after_a_rebuild_nothing(
    example: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, tasks = example, Example(example)
    tasks.write()
    before = await drift(world, code=0)
    assert (before["on_its_way"], before["counts"]["missing"]) == (14, 0), "all of it waits in the outbox"
    late = await drift(world, "--workspace", str(WORKSPACE), "--patience", "0", code=1)
    assert (late["on_its_way"], late["counts"]["missing"]) == (0, 14), "what waits too long counts"

    await world.start().ready()
    await world.all_done(14)
    quiet = await drift(world, code=0)
    assert (quiet["wanted"], quiet["workspaces"][0]["events"], quiet["on_its_way"]) == (14, 14, 0)
    assert quiet["calls"] == 1
    world.execute("update google_connections set is_valid = false")  # what is inserted now waits

    tasks.emulator.delete_by_hand(USER, tasks.event(0)["id"])
    calendar = tasks.emulator.calendar(USER)
    calendar.remove(calendar.get(tasks.event(1)["id"]), 0.0)  # nothing but the id is left of it
    del calendar.records[(gone := tasks.event(2))["id"]]
    calendar.ordered[:] = [each for each in calendar.ordered if each.event["id"] != gone["id"]]
    tasks.edit(3, summary="another title")
    tasks.edit(4, start={"date": "2026-12-04"}, end={"date": "2026-12-06"}, description="c")
    copy = {name: value for name, value in tasks.event(5).items() if name in ("summary", "start", "end")}
    twin = {"extendedProperties": tasks.event(5)["extendedProperties"]}
    calendar.insert(copy | twin, who=USER, new_id="twin1", now=0.0)
    tasks.quietly("delete from tasks where id = %s", 6)
    tasks.quietly("update tasks set due_on = 'infinity' where id = %s", 7)
    tasks.edit(8, extendedProperties={"private": {"reactorWorkspace": None}})
    tasks.edit(9, colorId="3", attendees=[{"email": "bob@example.com"}], visibility="private")
    world.execute("update tasks set title = 'new' where id = %s", tasks.ids[10])
    calendar.insert(copy, who=USER, new_id="foreign1", now=0.0)

    found = await drift(world, code=1)
    [report] = found["workspaces"]
    assert told(report) == {
        tasks.key(0): ("deleted_by_hand", []),
        tasks.key(1): ("deleted_by_hand", []),
        tasks.key(2): ("missing", []),
        tasks.key(3): ("different", ["title"]),
        tasks.key(4): ("different", ["start", "end", "description"]),
        tasks.key(5): ("twice", []),
        tasks.key(6): ("unexpected", []),
        tasks.key(7): ("unusable", []),
        tasks.key(8): ("different", ["marker"]),
        tasks.key(9): ("different", ["color"]),
    }
    [waits] = [each for each in report["findings"] if each["on_its_way"]]
    assert (waits["source"], [field["field"] for field in waits["fields"]]) == (tasks.key(10), ["title"])
    assert found["calls"] == 4, "a page, and the three events that are in no list"

    arguments = ("drift", "--workspace", str(WORKSPACE), "--rate", "100")
    said = await call_beside(world.google, world.database.reactor, *arguments, "--lookups", "0")
    assert said.exit_code == 1
    assert "title: wanted (22 characters), there (13 characters)" in said.output
    assert "not asked for on its own: --lookups is used up" in said.output
    assert "3 missing, 1 unexpected, 1 twice, 3 different, 1 deleted by hand, 1 unusable; 1 on its way" in said.output
    assert SECRET not in said.output
    said = await call_beside(world.google, world.database.reactor, *arguments, "--words")
    assert f"title: wanted Due: {SECRET} 3, there another title" in said.output

    tasks.quietly("update tasks set due_on = '2026-12-03' where id = %s", 7)
    world.execute("update google_connections set is_valid = true")
    world.execute(
        "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', %s)",
        WORKSPACE,
        Jsonb({"operation": "REBUILD_ALL", "workspaceId": str(WORKSPACE), "calendarId": USER}),
    )
    await until(lambda: world.statuses().keys() == {"COMPLETED"})
    mended = await drift(world, code=0)
    assert (mended["wanted"], mended["on_its_way"]) == (13, 0)

    for place in ("reactor.google.reader.PAGE", "reactor.desk.compare.comparing.ROWS"):
        monkeypatch.setattr(place, 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tasks.are_edited)
        moving = [await drift(world, code=0) for _ in range(2)]
        while not any(each["on_its_way"] for each in moving) and len(moving) < MOST_LOOKS:
            moving.append(await drift(world, code=0))  # what was on its way may have arrived before we looked
        nursery.cancel_scope.cancel()
    assert any(each["on_its_way"] for each in moving), "what changes meanwhile is no difference"

    world.execute("revoke select on calendar_source_events from calendar_sync_reactor")
    said = await call_beside(world.google, world.database.reactor, *arguments)
    assert said.exit_code == 2
    assert "run: GRANT SELECT ON public.calendar_source_events TO calendar_sync_reactor" in said.stderr


class Remembered:
    """A database without a view: what was applied last is what is wanted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calendars = world.google.emulator

    def write(self, number: int, calendar: str, *, workspace: UUID = WORKSPACE, place: str = "") -> str:
        """Remember an event that was written, and write it into a calendar (`place`, if that is its other name)."""
        source = str(UUID(int=number))
        times = {"start": "2026-12-01T09:00:00", "end": "2026-12-01T10:00:00", "timeZone": "Europe/Berlin"}
        payload = upsert_json(f"event {number}", calendar, **times) | {"sourceId": source}
        self.world.execute(
            "insert into sync_sources (workspace_id, source_key, google_event_id, calendar_id, payload)"
            " values (%s, %s, %s, %s, %s)",
            workspace,
            f"task:{source}",
            f"event{number}",
            place or calendar,
            Jsonb(payload),
        )
        private = {"reactorWorkspace": str(workspace), "reactorSource": f"task:{source}"}
        self.insert(place or calendar, f"event{number}", f"event {number}", private)
        return f"task:{source}"

    def insert(self, calendar: str, event_id: str, title: str, private: Json) -> None:
        if calendar in self.calendars.api.calendars:
            body = {
                "summary": title,
                "start": {"dateTime": "2026-12-01T08:00:00Z"},
                "end": {"dateTime": "2026-12-01T09:00:00Z"},
                "extendedProperties": {"private": private},
            }
            self.calendars.calendar(calendar).insert(body, who=USER, new_id=event_id, now=0.0)

    def bind(self, number: int, title: str) -> str:
        """An older worker's event, without our mark."""
        source = UUID(int=number)
        self.world.execute(
            "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id,"
            " event_type, event_title) values (%s, %s, %s, 'task', %s, 'MILESTONE', 'as it was')",
            WORKSPACE,
            f"older{number}",
            USER,
            source,
        )
        self.insert(USER, f"older{number}", title, {})
        return f"task:{source}"


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch, google: GoogleServer) -> None:
    """Pages and portions of two, and an empty page now and then, as Google allows itself."""
    for place in (
        "reactor.google.reader.PAGE",
        "reactor.desk.compare.comparing.PAGE",
        "reactor.desk.compare.comparing.ROWS",
    ):
        monkeypatch.setattr(place, 2)
    google.emulator.settings.empty_pages = True


async def test_several_calendars_and_workspaces_without_a_view(
    world: World, small_portions: None, tmp_path: Path
) -> None:
    world.connect()
    world.google.emulator.share(TEAM, USER, "owner")
    memory = Remembered(world)
    memory.write(1, USER)
    memory.write(2, "primary", place=USER)
    memory.write(3, TEAM)
    gone = memory.write(4, GONE)
    dead = memory.write(5, TEAM)
    world.execute("update sync_sources set google_event_id = null where source_key = %s", dead)
    world.google.emulator.calendar(TEAM).records.pop("event5")
    world.google.emulator.calendar(TEAM).ordered.pop()
    payload = upsert_json(calendar_id=TEAM) | {"sourceId": dead.removeprefix("task:")}
    world.execute(
        "insert into sync_outbox (id, workspace_id, operation, payload, status, failure_code)"
        " values (%s, %s, 'UPSERT_EVENT', %s, 'DEAD_LETTER', 'BAD_REQUEST')",
        uuid4(),
        WORKSPACE,
        Jsonb(payload),
    )
    memory.bind(6, "as it was")
    renamed = memory.bind(7, "renamed")
    parked, revoked, well = uuid4(), uuid4(), uuid4()
    for workspace in (parked, well):
        world.connect(workspace)
    world.connect(revoked, "1//revoked")
    world.execute("update google_connections set is_valid = false where workspace_id = %s", parked)
    memory.write(8, USER, workspace=well)

    found = await drift(world, "--all", "--metrics", str(tmp_path / "drift.prom"), code=1)
    reports = {each["workspace"]: each for each in found["workspaces"]}
    assert reports.keys() == {str(WORKSPACE), str(revoked)}, "of the one that is well there is nothing to say"
    assert told(reports[str(WORKSPACE)]) == {
        gone: ("calendar_gone", []),
        dead: ("missing", []),
        renamed: ("different", ["title"]),
    }
    assert [each["code"] for each in reports[str(WORKSPACE)]["findings"] if each["source"] == dead] == ["BAD_REQUEST"]
    calendars = {each["calendar"]: each["problem"] for each in reports[str(WORKSPACE)]["calendars"]}
    assert calendars == {"primary": None, USER: None, TEAM: None, GONE: "404 notFound"}
    assert "400 invalid_grant" in reports[str(revoked)]["failed"]
    assert (found["compared"], found["failed"], found["invalid"], found["different"]) == (2, 1, 1, 1)
    assert not any(world.google.emulator.log.count(each) for each in ("insert", "update", "patch", "delete"))
    measured = (tmp_path / "drift.prom").read_text()
    for line in (
        'reactor_drift_events{kind="calendar_gone"} 1.0',
        'reactor_drift_events{kind="missing"} 1.0',
        'reactor_drift_events{kind="on_its_way"} 0.0',
        'reactor_drift_workspaces{state="different"} 1.0',
        'reactor_drift_workspaces{state="failed"} 1.0',
        'reactor_drift_workspaces{state="same"} 1.0',
    ):
        assert line in measured
    said = await call_beside(world.google, world.database.reactor, "drift", "--all", "--rate", "100")
    assert "2 workspaces compared, 1 failed, 1 differ: 1 missing, 1 different, 1 calendar gone" in said.output
    assert "1 workspace left out: the connection is invalid" in said.output

    wrong = {"GOOGLE_CLIENT_SECRET": "wrong"}
    said = await call_beside(world.google, world.database.reactor, "drift", "--all", **wrong)
    assert said.exit_code == 1
    assert "The other workspaces were not looked at. Google gives no access tokens: " in said.output
    said = await call_beside(world.google, world.database.reactor, "drift", "--workspace", str(well), **wrong)
    assert said.exit_code == 2
    assert "Google gives no access tokens: " in said.stderr

    world.google.emulator.log.clear()
    cost = await drift(world, "--workspace", str(WORKSPACE), "--dry-run", code=0)
    assert (cost["calendars"], cost["events"], cost["calls"]) == (4, 8, 7)
    assert not Counter(world.google.emulator.log.counts), "nothing is asked"


async def test_what_rows_may_hold_ends_no_comparison(world: World) -> None:
    world.connect()
    Remembered(world).write(1, USER)
    with psycopg.connect(world.database.owner, autocommit=True) as owner:
        for kind, poison in KINDS.items():
            if not poison.heavy:
                insert(owner, kind, WORKSPACE, uuid4())
    world.execute(
        "insert into sync_sources (workspace_id, source_key, payload, google_event_id, calendar_id, strays)"
        " select workspace_id, 'odd:' || id, payload, id::text, payload ->> 'calendarId', '{.., x}' from sync_outbox"
    )
    world.execute("delete from sync_outbox where operation = 'REBUILD_ALL'")
    found = await drift(world, code=1)
    [report] = found["workspaces"]
    assert report["failed"] is None
    assert report["counts"]["unusable"] > 10
    assert report["wanted"] == sum(found["counts"].values()) + found["on_its_way"] + 1, "nothing is left out"
    assert report["events"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Say which: --workspace ID, or --all."),
        (("--all", "--workspace", str(WORKSPACE)), "Say which: --workspace ID, or --all."),
        (("--all", "--metrics", "/nowhere/drift.prom"), "--metrics names a file in a directory that we cannot write"),
        (("--all",), "DATABASE_URL is not set"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], sentence: str) -> None:
    result = call(None, "drift", *arguments, GOOGLE_CLIENT_ID="x", GOOGLE_CLIENT_SECRET="y")
    assert result.exit_code == 2
    assert sentence in result.stderr
