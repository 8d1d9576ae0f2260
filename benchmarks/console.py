"""What the console asks of a database with 1,000,000 waiting, 1,000,000 dead and 10,000,000 finished rows.

*Pages.* Every page, by the routes of the application itself, with the login of a viewer: as db/console.sql makes it,
with views and row level security. Cold is after a restart of the server, in a new session, with nothing in memory but
what the system keeps of files; warm is the median of five. The time is what the console says at the foot of a page:
how long its statements took together. CPU is that of the server's processes; on a machine that others use too only it
can be compared. `over` marks what takes more than 200 ms of it, with the statement that takes most.

*Viewers.* Fifty look at the first page and reload it every second. The server's log says how often it was asked.

*Wakes.* From a writer's commit to the arrival of the request, as in `benchmarks.wake`, by turns: beside a console with
these fifty, without one, and beside the console of an empty database on the same server, which takes as much of the
processors: what is more than that is the database's. In brackets is the ratio to no console.

CONSOLE_ROWS (1,000,000) says how large, CONSOLE_PARTS which of these ("pages viewers wakes"), BENCH_ROUNDS and
BENCH_WAKES as for `wake`. At its full size it takes ten minutes and 12 GB in the directory for temporary files.
"""

import itertools
import logging
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psycopg
import structlog
import trio

from benchmarks.console_rows import BIG, LEASES, ROWS, WORKSPACES, fill, rest, workspace
from benchmarks.service import reactor
from benchmarks.stub import running, serve_stub
from benchmarks.viewers import VIEWERS, console, viewers
from benchmarks.wake import WAKES, WARM, wakes
from benchmarks.world import ROUNDS, World, world
from reactor.console.app import PAGES, ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase, PageCost
from reactor.console.snapshot import FRESH
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import VisitorKeys
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.setup.migrations import migrate

T = TypeVar("T")

PARTS = os.environ.get("CONSOLE_PARTS", "pages viewers wakes").split()
BOUND = 0.2
"""Seconds of the database's time that a page may take."""
WARM_LOOKS = 5
GAPS = {400: WAKES, 40: 4 * WAKES}
"""How many rows, by the milliseconds between two."""
SECONDS = 30
"""For which the viewers look."""
LOGIN = "bench_viewer"
SETTINGS = {"autovacuum": "off"}
CONSOLE_SQL = Path(__file__).resolve().parents[1] / "db" / "console.sql"
ASKED = "::integer as pending"
"""In the statement that each look at the outbox begins with, and in no other."""
HOME = "http://127.0.0.1:8400"
BUFFERS = "select coalesce(sum(hits + coalesce(reads, 0)), 0)::bigint from pg_stat_get_backend_io(%s)"
FIRST = {
    "item": f"status = 'DEAD_LETTER' and workspace_id = {BIG}",
    "rebuild": "id = md5('r0')::uuid",
    "source": f"status in ('PENDING', 'FAILED') and workspace_id = {BIG}",
}


def addresses(owner: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """What is looked at, by the path of each page."""
    big, parked, stopped, usual = (workspace(owner, k) for k in (0, 1, 4, 17))
    ids = {}
    for name, where in FIRST.items():
        found = owner.execute(
            f"select id, sync_source_key(payload, id) from sync_outbox where {where} limit 1".encode()
        ).fetchall()
        ids[name] = found[0]
    item, rebuild, (_, source) = ids["item"][0], ids["rebuild"][0], ids["source"]
    event = "v" * 26  # of no event
    asked = (str(item), str(usual), source, source.partition(":")[2], event, "team-17@example.com", "Milestone 77")
    return {
        "/": ["/"],
        "/w": ["/w", *(f"/w?state={each}" for each in ("stopped", "parked", "held", "behind", "dead", "well"))],
        "/w/{workspace:uuid}": [f"/w/{each}" for each in (big, parked, usual)],
        "/connections": ["/connections", "/connections?state=invalid"],
        "/connections/{workspace:uuid}": [f"/connections/{big}"],
        "/brakes": ["/brakes"],
        "/brakes/{workspace:uuid}": [f"/brakes/{each}" for each in (big, stopped)],
        "/rebuilds": ["/rebuilds"],
        "/rebuilds/{rebuild:uuid}": [f"/rebuilds/{rebuild}"],
        "/rebuilds/new": ["/rebuilds/new", *(f"/rebuilds/new?workspace={each}" for each in (usual, big))],
        "/find": [*(f"/find?q={quote(each)}" for each in asked), f"/find?q=Milestone&workspace={big}"],
        "/w/{workspace:uuid}/s/{source:path}": [f"/w/{big}/s/{source}"],
        "/i/{item:uuid}": [f"/i/{item}"],
        "/i/{item:uuid}/words": [f"/i/{item}/words"],
        "/dead": ["/dead", "/dead?code=EXHAUSTED", "/dead?age=7d", f"/dead?workspace={big}"],
        "/dead/requeue": ["/dead/requeue", "/dead/requeue?code=BAD_PAYLOAD", f"/dead/requeue?workspace={big}"],
        "/acts": ["/acts", f"/acts?workspace={big}"],
        "/acts/{number:int}": ["/acts/17"],
        "/replicas": ["/replicas", "/replicas?hours=24"],
        "/lint": ["/lint"],
        "/check": ["/check"],
        "/connections/{workspace:uuid}/invite": [f"/connections/{big}/invite"],
        "/connect/done": ["/connect/done"],
        "/connect/{invitation}": ["/connect/" + "A" * 43],
        "/drift/{workspace:uuid}": [f"/drift/{big}"],
    }


@dataclass(slots=True)
class Look:
    """What a look at a page has cost the database.

    Attributes:
        seconds: That its statements took, as the console has waited for them.
        cpu: Seconds of CPU of the server's process.
        statements: How many.
        rows: That they have returned.
        buffers: Pages of tables and indexes that were touched.
        taken: The seconds of each statement, by its beginning.
        status: The status code of the answer.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    statements: int = 0
    rows: int = 0
    buffers: int = 0
    taken: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    status: int = 0


class MeasuredDatabase(ConsoleDatabase):
    """The console's way to the database, which notes what each look costs.

    Args:
        dsn: Its login's.
        owner: Reads the statistics of the sessions.
    """

    def __init__(self, dsn: str, owner: psycopg.Connection[Any]) -> None:
        super().__init__(dsn)
        self._owner = owner
        self.look = Look()

    async def read(self, work: Callable[[AdminSession], T], cost: PageCost) -> T:
        """Do it, and add what it has cost."""
        return await super().read(partial(self._measured, work), cost)

    def _measured(self, work: Callable[[AdminSession], T], admin: AdminSession) -> T:
        look, plain = self.look, admin.connection.cursor_factory

        class Cursor(plain):  # type: ignore[misc, valid-type]
            def execute(self, query: Any, *args: Any, **more: Any) -> Any:
                began = time.perf_counter()
                try:
                    return super().execute(query, *args, **more)
                finally:
                    seconds = time.perf_counter() - began
                    look.seconds += seconds
                    look.statements += 1
                    look.rows += max(0, self.rowcount)
                    look.taken[" ".join(str(query).split())[:70]] += seconds

        pid = admin.connection.info.backend_pid
        buffers, cpu = self._buffers(admin, pid), _cpu(pid)
        admin.connection.cursor_factory = Cursor
        try:
            return work(admin)
        finally:
            admin.connection.cursor_factory = plain
            look.cpu += _cpu(pid) - cpu
            look.buffers += self._buffers(admin, pid) - buffers

    def _buffers(self, admin: AdminSession, pid: int) -> int:
        admin.connection.execute("select pg_stat_force_next_flush()")
        self._owner.execute("select pg_stat_clear_snapshot()")
        [[count]] = self._owner.execute(BUFFERS, (pid,)).fetchall()
        return int(count)


def _cpu(pid: int) -> float:
    """Seconds of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@asynccontextmanager
async def visit(dsn: str, owner: psycopg.Connection[Any]) -> AsyncIterator[Callable[[str], Awaitable[Look]]]:
    """Open a console, and come by its link; yields what looks at an address."""
    database = MeasuredDatabase(dsn, owner)
    links: list[str] = []
    keys = VisitorKeys(links.append)
    keys.renew()
    app = ConsoleApp(Console(database), VisitorRules(local_user="bench"), keys)
    transport = httpx.ASGITransport(app.door, client=("127.0.0.1", 1234))
    async with trio.open_nursery() as nursery, httpx.AsyncClient(transport=transport, base_url=HOME) as client:

        async def look(address: str) -> Look:
            database.look = Look()
            answer = await client.get(address, headers={"accept": "text/html"})
            database.look.status = answer.status_code
            return database.look

        nursery.start_soon(database.keep)
        await look(f"/?key={links[0]}")
        await look("/lint")  # asks what the login may do; then that is known for a minute
        yield look
        nursery.cancel_scope.cancel()


async def cold_and_warm(it: World, address: str) -> tuple[Look, list[Look]]:
    """Look at a page, after a restart and then several times."""
    restart(it)
    with replicas(it.server.url()):
        async with visit(it.server.url(user=LOGIN), it.owner) as look:
            cold, warm = await look(address), []
            for _ in range(WARM_LOOKS):
                await trio.sleep(FRESH if address == "/" else 0)
                warm.append(await look(address))
    return cold, warm


@contextmanager
def replicas(dsn: str) -> Iterator[None]:
    """Hold the leases of two replicas, so that those of whom the pulses tell live."""
    with ExitStack() as stack:
        for lease in LEASES:
            name = "calendar-sync-reactor claims"
            session = stack.enter_context(psycopg.connect(dsn, autocommit=True, application_name=name))
            session.execute("select pg_advisory_lock(718302, %s)", (lease,))
        yield


def restart(it: World) -> None:
    """Empty the server's memory."""
    it.owner.close()
    it.server.stop()
    it.server.start()
    it.owner = psycopg.connect(it.server.url(), autocommit=True)


def measure_pages(it: World) -> None:
    """Print what each page costs."""
    examples = addresses(it.owner)
    assert examples.keys() == {page.path for page in PAGES}, "every page has an example"
    print(f"pages, milliseconds of the database's time; each may take {BOUND * 1000:.0f}")
    print(f"{'':44} {'cold':>6} {'CPU':>6} {'warm':>6} {'CPU':>6} {'statements':>10} {'rows':>7} {'buffers':>8}")
    for address in (each for several in examples.values() for each in several):
        cold, warm = trio.run(cold_and_warm, it, address)
        seconds, cpu = (statistics.median(getattr(each, name) for each in warm) for name in ("seconds", "cpu"))
        told = " ".join(f"{each * 1000:6.0f}" for each in (cold.seconds, cold.cpu, seconds, cpu))
        last = warm[-1]
        marked = f"  over: {max(last.taken, key=lambda each: last.taken[each])}" if cpu > BOUND else ""
        marked += "  over when cold" if cpu <= BOUND < cold.cpu else ""
        failed = "" if cold.status in (200, 303) else f"  {cold.status}"
        short = address if len(address) <= 44 else f"{address[:20]}…{address[-23:]}"
        print(f"{short:44} {told} {last.statements:10} {last.rows:7,} {last.buffers:8,}{marked}{failed}", flush=True)


def log_of(it: World) -> str:
    """What the server has logged."""
    return (it.server.data / "log").read_text(errors="replace")


def measure_viewers(it: World) -> None:
    """Print how often the database is asked for so many."""
    it.owner.execute(f"alter role {LOGIN} set log_statement = 'all'".encode())
    with console(it.server.url(user=LOGIN)) as page:
        before, cpu, began = log_of(it).count(ASKED), page.cpu, time.monotonic()
        with viewers(page) as seconds:
            time.sleep(SECONDS)
            asked, passed = log_of(it).count(ASKED) - before, time.monotonic() - began
        used = (page.cpu - cpu) / passed
    it.owner.execute(f"alter role {LOGIN} reset log_statement".encode())
    print(
        f"{VIEWERS} viewers: {len(seconds)} pages in {passed:.0f} s, {asked} looks at the outbox, one in"
        f" {passed / asked:.1f} s; a page in {statistics.median(seconds) * 1000:.0f} ms in the median; the console took"
        f" {used:.0%} of a core"
    )


def measure_wakes(it: World) -> None:
    """Print how long a wake takes beside a console, beside one of an empty database, and without one."""
    rest(it.owner)
    consoles = {"no console": None, "an empty one's": empty(it), "a console": it.server.url(user=LOGIN)}
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    used: dict[str, list[float]] = defaultdict(list)
    numbers = itertools.count()

    def write(_: int) -> int:
        return it.write(1, [it.workspaces[next(numbers) % len(it.workspaces)]])

    def turn(name: str) -> None:
        for gap, count in GAPS.items():
            times[name, gap] += wakes(write, google, count, gap)

    with running(serve_stub, 0.0) as (google, _), reactor(it.dsn, google):
        wakes(write, google, WARM, 40)
        for _ in range(ROUNDS):
            for name, dsn in random.sample(list(consoles.items()), len(consoles)):
                if dsn is None:
                    turn(name)
                    continue
                with console(dsn) as page, viewers(page):
                    time.sleep(2.0)
                    cpu, began = page.cpu, time.monotonic()
                    turn(name)
                    used[name].append((page.cpu - cpu) / (time.monotonic() - began))
    for gap in GAPS:
        (p50, p99), *_ = found = [list(percentiles(times[name, gap])) for name in consoles]
        for name, (half, most) in zip(consoles, found, strict=True):
            core = f"   {statistics.median(used[name]):4.0%} of a core" if used[name] else ""
            ratios = f"({half / p50:.2f})   p99 {most:6.2f} ms ({most / p99:.2f})"
            print(f"wake, a row each {gap:3} ms, {name:14} p50 {half:6.2f} ms {ratios}{core}")


def empty(it: World) -> str:
    """Make an empty database beside it, for a console that takes as much of the machine, and nothing of the outbox."""
    it.owner.execute("drop database if exists nothing")
    it.owner.execute("create database nothing")
    migrate(it.server.url("nothing"), progress=lambda _line: None)
    with psycopg.connect(it.server.url("nothing"), autocommit=True) as owner:
        owner.execute(CONSOLE_SQL.read_bytes())
    return it.server.url("nothing", user=LOGIN)


def percentiles(times: list[float]) -> Iterator[float]:
    """The median, and what 99 of 100 stay under."""
    ordered = sorted(times)
    return (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))


def main() -> None:
    """Run it and print the figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with world(SETTINGS) as it:
        for said in fill(it.owner):
            print(f"... {said}", flush=True)
        it.owner.execute(CONSOLE_SQL.read_bytes())
        it.owner.execute(f"create role {LOGIN} login connection limit 5 in role calendar_sync_viewer".encode())
        print(f"{ROWS:,} waiting, {ROWS:,} dead, {10 * ROWS:,} finished; {WORKSPACES:,} workspaces", flush=True)
        for part in PARTS:
            {"pages": measure_pages, "viewers": measure_viewers, "wakes": measure_wakes}[part](it)
