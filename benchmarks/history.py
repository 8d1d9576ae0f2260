"""Claims and settles beside a long queue and a long history, and the same beside a short one.

HISTORY_WAITING items wait (1,000,000) beside HISTORY_FINISHED that are finished (10,000,000), and in a second database
HISTORY_FEW (10,000) beside none. Nine of ten wait in one workspace, with 18 states of each source, the others in 1,000
workspaces. The service's own claims and settles go by turns to the one and to the other. What they take is put in
anew each time and is due first, so that both do the same: into the big workspace, or into 32 that have nothing else.
Beside them their floor, a bare UPDATE of as many rows by their ids: what one more page in each index costs.

Printed are medians of calls: CPU of the server process (Linux only), milliseconds as the client sees them, and buffers.
On a machine that others use too only CPU and buffers can be compared.
"""

import hashlib
import os
import statistics
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import trio

from benchmarks.claims import CONNECT, TOP_UP, WAIT, done
from reactor.postgres.connection.session import Session, open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from reactor.postgres.statements import statements

T = TypeVar("T")

WAITING = int(os.environ.get("HISTORY_WAITING", "1000000"))
FINISHED = int(os.environ.get("HISTORY_FINISHED", "10000000"))
FEW = int(os.environ.get("HISTORY_FEW", "10000"))
ROUNDS = 40
WARM = 8  # rounds that make plans, and do not count

FINISH = """
insert into sync_outbox (workspace_id, operation, payload, status, processed_at)
select md5((n %% 1001)::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object('sourceType', 'task', 'sourceId', md5('done' || n)::uuid), 'COMPLETED', now()
  from generate_series(1, %s) as n
"""
CONNECT_SMALL = CONNECT.replace("generate_series(0, 1000)", "generate_series(1001, 1032)")
WORKSPACES = "select workspace_id from google_connections"
BIG = [UUID(hashlib.md5(b"0").hexdigest())]
SMALL = [UUID(hashlib.md5(b"%d" % n).hexdigest()) for n in range(1001, 1033)]
RING = statements("outbox")["ring"]
UPDATE = "update sync_outbox set status = %(to)s::outbox_status, lease_no = 1 where id = any (%(ids)s::uuid[])"
LONG_AGO = 100_000_000  # seconds
BUFFERS = "select sum(hits + coalesce(reads, 0))::float8 from pg_stat_get_backend_io(%s) where object = 'relation'"


class Call:
    """What one kind of call takes in one database.

    Args:
        owner: Reads the statistics.
        session: Which makes the calls.
        pid: Of the process that serves it.
    """

    def __init__(self, owner: psycopg.Connection[Any], session: Session, pid: int) -> None:
        self._owner = owner
        self._session = session
        self._pid = pid
        self._taken: list[tuple[float, float, float]] = []

    async def measure(self, work: Awaitable[T]) -> T:
        """Await it, and note what it took."""
        buffers = await self._buffers()
        cpu, began = self._cpu(), time.perf_counter()
        result = await work
        milliseconds, cpu = (time.perf_counter() - began) * 1000, self._cpu() - cpu
        self._taken.append((cpu, milliseconds, await self._buffers() - buffers))
        return result

    def _cpu(self) -> float:
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]) / 1000

    async def _buffers(self) -> float:
        await self._session.execute("select pg_stat_force_next_flush()")
        self._owner.execute("select pg_stat_clear_snapshot()")
        [[count]] = self._owner.execute(BUFFERS, (self._pid,)).fetchall()
        return float(count)

    def medians(self) -> list[float]:
        """Microseconds of CPU, milliseconds, buffers. The first calls make plans."""
        return [statistics.median(each) for each in zip(*self._taken[WARM:], strict=True)]


class Side:
    """A database, and the service's outbox on it.

    Args:
        owner: The application's session.
        claims: The claims session.
        settles: Writes.
    """

    def __init__(self, owner: psycopg.Connection[Any], claims: Session, settles: Session) -> None:
        self._owner = owner
        self._claims = claims
        self._settles = settles
        self._sessions = {"claim": claims, "settle": settles, "update": settles, "ring": claims}
        self._outbox = Outbox(claims, settles)
        self._workspaces = frozenset(w for (w,) in owner.execute(WORKSPACES))
        self.calls: dict[str, Call] = {}

    async def begin(self) -> None:
        """Forget what calls took."""
        for name, session in self._sessions.items():
            [[pid]] = await session.execute("select pg_backend_pid()")
            self.calls[name] = Call(self._owner, session, pid)

    def put_in(self, items: int, chosen: list[UUID], ago: int) -> list[UUID]:
        """Insert items, due for so many seconds; return their ids."""
        rows = self._owner.execute(TOP_UP + "returning id", {"workspaces": chosen, "slots": items, "ago": ago})
        return [item_id for (item_id,) in rows]

    async def turn(self, slots: int, chosen: list[UUID]) -> None:
        """Put items in and update them; put as many in again, read the ring, claim and settle them."""
        ids = self.put_in(slots, chosen, LONG_AGO)
        await self.calls["update"].measure(self._settles.execute(UPDATE, {"to": "PROCESSING", "ids": ids}))
        self._owner.execute(UPDATE, {"to": "COMPLETED", "ids": ids})
        self.put_in(slots, chosen, LONG_AGO)
        await self.calls["ring"].measure(self._claims.execute(RING))
        await self._outbox.claim(slots=0)  # so that the next one need not read the ring
        excluded = self._workspaces.difference(chosen)
        claimed = await self.calls["claim"].measure(self._outbox.claim(slots=slots, excluded=excluded))
        await self.calls["settle"].measure(self._outbox.settle([done(item) for item in claimed.items]))


async def compare(sides: dict[str, Side]) -> None:
    """Claim and settle by turns, and print what it takes."""
    for side in sides.values():
        side.put_in(3 * len(SMALL), SMALL, 1)  # so that they stay in the ring
    for slots in (1, 32, 200):
        for where, chosen in {"the big one": BIG, "32 small ones": SMALL}.items():
            for side in sides.values():
                await side.begin()
            for _ in range(WARM + ROUNDS):
                for side in sides.values():
                    await side.turn(slots, chosen)
            for call in ("update", "claim", "settle"):
                say(f"{call} {slots} of {where}", *(side.calls[call] for side in sides.values()))
    say("read the ring", *(side.calls["ring"] for side in sides.values()))


def say(what: str, few: Call, many: Call) -> None:
    """Print a line: beside the few, beside the many, and how they compare."""
    (cpu, milliseconds, buffers), (cpu_of_many, milliseconds_of_many, buffers_of_many) = few.medians(), many.medians()
    print(
        f"{what:27} {cpu:7,.0f} -> {cpu_of_many:7,.0f} us of CPU ({cpu_of_many / cpu:4.2f}),"
        f" {buffers:6,.0f} -> {buffers_of_many:6,.0f} buffers ({buffers_of_many / buffers:4.2f}),"
        f" {milliseconds:6.2f} -> {milliseconds_of_many:6.2f} ms",
        flush=True,
    )


def filled(server: EmbeddedPostgres, name: str, *, waiting: int, finished: int) -> psycopg.Connection[Any]:
    """Make a database with so many items in it; returns its owner's session."""
    with psycopg.connect(server.url(), autocommit=True) as creator:
        creator.execute(f"create database {name}".encode())
    migrate(server.url(name), progress=lambda _line: None)
    owner = psycopg.connect(server.url(name), autocommit=True)
    owner.execute("set statement_timeout = 0")
    owner.execute(CONNECT)
    owner.execute(CONNECT_SMALL)
    owner.execute(FINISH, (finished,))
    owner.execute(WAIT, (waiting, waiting))
    owner.execute("vacuum analyze")
    return owner


async def measure(server: EmbeddedPostgres) -> None:
    """Fill both, and compare."""
    async with AsyncExitStack() as stack:
        sides = {}
        for name, waiting, finished in (("few", FEW, 0), ("many", WAITING, FINISHED)):
            owner = stack.enter_context(filled(server, name, waiting=waiting, finished=finished))
            claims, settles = [await stack.enter_async_context(open_session(server.url(name), name=n)) for n in "cs"]
            sides[name] = Side(owner, claims, settles)
        print(f"beside {FEW:,} that wait -> beside {WAITING:,} that wait and {FINISHED:,} that are finished")
        await compare(sides)


def main() -> None:
    """Run it and print the figures."""
    with embedded_postgres({"shared_buffers": "1GB", "max_wal_size": "8GB"}) as server:
        trio.run(measure, server)


if __name__ == "__main__":
    main()
