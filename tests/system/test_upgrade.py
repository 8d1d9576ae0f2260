"""An upgrade as it happens: the schema goes forward while the application writes and a replica of the release before
works; then a replica of today joins, both work, and the old one is stopped."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import trio
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from calendar_emulator.store.calendars import WriteKind
from tests.support import release_0_1
from tests.support.databases import Database, deploy
from tests.support.dialogues import upsert_json
from tests.support.editor import Editor, title_of
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import UNLIMITED, Process, World
from tests.support.repeating import Connection, Repeating
from tests.support.waiting import until

WAITING = 1_000
WORKSPACES = [UUID(int=0xA000 + number) for number in range(6)]
LONGEST_WAIT = 3.0  # seconds for a writer's statement: the migration asks for a lock for 2 s at most
ENOUGH = 60  # items, to say that a replica works

ROWS = """
insert into sync_outbox (workspace_id, operation, payload, status, processed_at)
select w.id, 'UPSERT_EVENT',
       jsonb_set(%(payload)s::jsonb, '{event,title}', to_jsonb('source ' || n || ' state 0'))
         || jsonb_build_object('workspaceId', w.id, 'sourceId', lpad(to_hex(n), 32, '0')::uuid),
       (case when n < %(waiting)s then 'PENDING' else 'COMPLETED' end)::outbox_status,
       case when n < %(waiting)s then null else now() end
  from generate_series(0, %(rows)s - 1) as n
  join unnest(%(workspaces)s::uuid[]) with ordinality as w (id, place) on w.place = n %% %(count)s + 1
"""


class Hands(Repeating):
    """Looks at what is in hand, in one snapshot at a time.

    Attributes:
        looks: How many times something was.
        twice: The sources that were in hand twice.
    """

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.looks = 0
        self.twice: list[tuple[object, ...]] = []

    def step(self, connection: Connection) -> None:
        found = connection.execute(
            "select workspace_id, sync_source_key(payload, id), count(*) from sync_outbox"
            " where status = 'PROCESSING' group by 1, 2"
        ).fetchall()
        self.looks += bool(found)
        self.twice += [row for row in found if row[2] > 1]


@pytest.fixture
def old_release(tmp_path: Path) -> dict[str, str]:
    """The environment in which `python -m reactor` is release 0.1."""
    return release_0_1.environment_of(tmp_path / "release 0.1")


@pytest.fixture(params=[4_000, pytest.param(19_000, marks=pytest.mark.soak)])
def history(request: pytest.FixtureRequest) -> int:
    """How many items are done."""
    return int(request.param)


@pytest.fixture
def world(
    history: int,
    empty_database: str,
    reactor_login: dict[str, str],
    google: GoogleServer,
    old_release: dict[str, str],
    tmp_path: Path,
) -> Iterator[World]:
    """A deployment that adopted release 0.1, with items that are done and items that wait."""
    deploy(empty_database, items=0)
    world = World(Database(empty_database, make_conninfo(empty_database, **reactor_login)), google, tmp_path)
    command(world, "migrate", **old_release)
    world.execute("delete from google_connections")  # their tokens are none
    for workspace in WORKSPACES:
        world.execute("insert into workspaces (id, name) values (%s, 'upgraded')", workspace)
        world.connect(workspace)
    world._owner.execute(
        ROWS,
        {
            "payload": Jsonb(upsert_json(calendar_id=google.user)),
            "workspaces": WORKSPACES,
            "count": len(WORKSPACES),
            "rows": history + WAITING,
            "waiting": WAITING,
        },
    )
    world.execute("analyze")
    yield world
    world.close()


def command(world: World, *arguments: str, **environment: str) -> str:
    """Run a command as the owner of the tables; return what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "reactor", *arguments],
        env=world.environment(DATABASE_URL=world.database.owner, **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def done_by(replica: Process) -> float:
    """How many ends this replica has written."""
    lines = (await replica.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("reactor_items_settled_total{"))


async def works(replica: Process, seconds: float = 60) -> None:
    """Wait until a replica has written some more ends."""
    before = await done_by(replica)
    with trio.fail_after(seconds):
        while await done_by(replica) < before + ENOUGH:  # noqa: ASYNC110  (what happens elsewhere sets no event)
            await trio.sleep(0.05)


def complaints(replica: Process) -> list[str]:
    """The lines of its log that tell of anything but the daily course."""
    lines = replica.output.splitlines()
    return [line for line in lines if not line.startswith("{") or json.loads(line)["level"] not in ("info", "debug")]


def nothing_is_open(world: World) -> bool:
    [[is_open]] = world.execute(
        "select exists (select from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING'))"
    )
    return not is_open


async def test_a_replica_of_release_0_1_works_through_the_upgrade(world: World, old_release: dict[str, str]) -> None:
    world.google.emulator.settings.latency = 0.02
    mine = [[(WORKSPACES[n % len(WORKSPACES)], n) for n in range(first, WAITING, 8)] for first in range(3)]
    with ExitStack() as stack:
        old = await world.start(**UNLIMITED, **old_release).ready()
        hands = stack.enter_context(Hands(world.database.owner))
        editors = [
            stack.enter_context(Editor(world.database.owner, sources, calendar=world.google.user, pause=0.05))
            for sources in mine
        ]
        await works(old)
        before = await done_by(old)
        await trio.to_thread.run_sync(partial(command, world, "migrate"))
        assert await done_by(old) > before, "it stood still while the schema changed"
        await works(old)
        is_ready = partial(command, world, "migrate", "--check", **old_release)  # it looks at that every 30 s
        await trio.to_thread.run_sync(is_ready)

        new = await world.start(**UNLIMITED).ready()
        await works(new)
        await works(old)
        assert (await old.get("/readyz")).status_code == 200
        old.signal(signal.SIGTERM)
        assert await old.ended() == 0
        await works(new)
        for editor in editors:
            editor.stop()
        await until(lambda: nothing_is_open(world), 120)
    assert max(editor.slowest for editor in editors) < LONGEST_WAIT
    assert hands.looks > 0
    assert hands.twice == []
    assert world.google.emulator.log.overlaps == [], "two requests about one event at the same time"
    assert world.execute("select status, count(*) from sync_outbox where status <> 'COMPLETED' group by 1") == []
    assert world.attempts() == 0
    states = dict.fromkeys(range(WAITING), 0) | {n: k for editor in editors for n, k in editor.states.items()}
    assert world.titles() == dict.fromkeys((title_of(n, k) for n, k in states.items()), 1)
    assert_in_order(world)
    assert (complaints(old), complaints(new)) == ([], [])


def assert_in_order(world: World) -> None:
    """Each event was made once, and its states came in their order."""
    for event_id in world.google.emulator.writes(world.google.user):
        writes = world.google.emulator.history(world.google.user, event_id)
        assert [write.kind for write in writes].count(WriteKind.INSERT) == 1
        states = [int(write.event["summary"].rpartition(" ")[2]) for write in writes]
        assert states == sorted(states)
