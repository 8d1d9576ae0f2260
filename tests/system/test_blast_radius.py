"""One workspace does everything bad at once; the single edits of another arrive as if nothing was.

Two replicas, real processes, in an adopted schema that hardly refuses anything; one of them is killed meanwhile.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from calendar_emulator import Fault
from reactor.postgres.setup.migrations import migrate
from tests.support import abuse
from tests.support.abuse import Floods, Huge, Poison, Rebuilds
from tests.support.databases import Database, deploy
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.process_world import World
from tests.support.repeating import Repeating
from tests.support.waiting import until

pytestmark = pytest.mark.alone

BAD = UUID("baaaaaad-0000-4000-8000-000000000001")
WORSE = UUID("baaaaaad-0000-4000-8000-000000000002")
GOOD = UUID("900d0000-0000-4000-8000-000000000001")
BOB = "bob@example.com"
EDITS = 100
EVERY = 0.15  # seconds; 400 a minute, so that it is not the workspace's own quota (600) that they wait for
P99 = 1.0  # seconds from the commit of a single edit until it is in the calendar

Abuses = Callable[[str], list[Repeating]]

ABUSES: dict[str, Abuses] = {
    "odd rows": lambda dsn: [Poison(dsn, BAD)],
    "locked rows": lambda dsn: [Floods(dsn, BAD), *abuse.locks(dsn, BAD)],
    "floods": lambda dsn: [Floods(dsn, BAD)],
    "huge payloads": lambda dsn: [Huge(dsn, BAD)],
    "rebuilds of a slow view": lambda dsn: [Floods(dsn, BAD), Rebuilds(dsn, BAD)],
    "an unreachable calendar": lambda dsn: [Floods(dsn, BAD)],
}


def everything(dsn: str) -> list[Repeating]:
    """All of it in one workspace, and in a second one all but the rebuilds, which hold up what else their own does."""
    return [
        *(kind(dsn, workspace) for workspace in (BAD, WORSE) for kind in (Poison, Floods, Huge)),
        *(lock for workspace in (BAD, WORSE) for lock in abuse.locks(dsn, workspace)),
        Rebuilds(dsn, BAD),
    ]


@pytest.fixture
def database(empty_database: str, reactor_login: dict[str, str]) -> Database:
    """An adopted database with two workspaces."""
    deploy(empty_database, items=0)
    migrate(empty_database, progress=lambda _: None)
    abuse.prepare(empty_database)
    with psycopg.connect(empty_database) as owner:
        owner.execute("delete from google_connections")  # their tokens are none
        owner.execute(
            "insert into workspaces (id, name) values (%s, 'bad'), (%s, 'worse'), (%s, 'good')", (BAD, WORSE, GOOD)
        )
    return Database(owner=empty_database, reactor=make_conninfo(empty_database, **reactor_login))


@pytest.fixture
def world(database: Database, google: GoogleServer, tmp_path: Path) -> Iterator[World]:
    world = World(database, google, tmp_path)
    world.connect(BAD)
    world.connect(WORSE)
    world.connect(GOOD, refresh_token=google.emulator.add_user(BOB))
    yield world
    world.close()


def break_calendar(world: World) -> None:
    """Nothing of the bad workspace's gets through to its calendar: no answer, an error, a late one."""
    for calendar in (USER, "primary"):
        world.google.emulator.fault(Fault(calendar=calendar, effect="drop", probability=0.4))
        world.google.emulator.fault(Fault(calendar=calendar, effect="error", status=503, probability=0.4))
        world.google.emulator.fault(Fault(calendar=calendar, effect="html", status=502, latency=1.0))


class Edits:
    """Single edits of the good workspace, and when they arrived."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._committed: dict[str, float] = {}

    async def write(self, number: int) -> None:
        self._world.insert(number, f"edit {number}", GOOD, {"calendarId": BOB})
        self._committed[f"edit {number}"] = time.time()

    async def all_arrive(self) -> None:
        """Wait until they are in the calendar, or a replica has ended."""
        emulator, processes = self._world.google.emulator, self._world.processes
        alive = [process for process in processes if process.popen.poll() is None]
        await until(
            lambda: (
                len(emulator.events(BOB)) >= len(self._committed)
                or any(process.popen.poll() is not None for process in alive)
            ),
            60,
        )

    def seconds(self) -> list[float]:
        """How long each took, the quickest first."""
        calendar = self._world.google.emulator.calendar(BOB)
        first = {str(record.writes[0].event["summary"]): record.writes[0].at for record in calendar.ordered}
        return sorted(first[title] - committed for title, committed in self._committed.items())


def is_done(world: World, workspace: UUID) -> bool:
    """Whether all of a workspace's items are completed."""
    [[left]] = world.execute(
        "select count(*) from sync_outbox where workspace_id = %s and status <> 'COMPLETED'", workspace
    )
    return not left


async def single_edits_arrive(world: World, abuses: Abuses, *, broken: bool) -> list[Repeating]:
    """Return what was done meanwhile."""
    replicas = [await world.start().ready() for _ in range(2)]
    edits = Edits(world)
    await edits.write(0)
    await edits.all_arrive()  # tokens are there
    if broken:
        break_calendar(world)
    with ExitStack() as stack:
        doing = [stack.enter_context(each) for each in abuses(world.database.owner)]
        began = trio.current_time()
        for number in range(1, EDITS + 1):
            await trio.sleep_until(began + number * EVERY)  # edits come at their pace
            await edits.write(number)
            if number == EDITS // 2:
                replicas.pop(0).signal(signal.SIGKILL)
                replicas.append(world.start())
        await edits.all_arrive()
        await until(lambda: is_done(world, GOOD))  # written too, while the others' locks are held
    took = edits.seconds()
    p99 = took[int(0.99 * len(took))]
    figures = f"{took[len(took) // 2]:.3f} s in the median, {p99:.3f} s at p99, {took[-1]:.3f} s at worst"
    print(f"{len(took)} edits arrived after {figures}")  # noqa: T201  (for `-s`)
    assert len(world.google.emulator.events(BOB)) == EDITS + 1
    assert p99 < P99
    for replica in replicas:
        await (await replica.ready()).is_(200)
        assert "Traceback" not in replica.output
    return doing


async def test_single_edits_arrive_whatever_another_workspace_does(world: World) -> None:
    doing = await single_edits_arrive(world, everything, broken=True)
    assert all(len(each.kinds) >= 30 for each in doing if isinstance(each, Poison))


@pytest.mark.soak
@pytest.mark.parametrize("name", ABUSES)
async def test_single_edits_arrive_whatever_one_abuse_is(world: World, name: str) -> None:
    await single_edits_arrive(world, ABUSES[name], broken=name == "an unreachable calendar")
