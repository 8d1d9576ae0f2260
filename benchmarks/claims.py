"""What claiming and settling cost beside a long queue and a long history.

CLAIMS_WAITING items wait (1,000,000), nine of ten in one workspace with 18 states of each source, the others in 1,000
workspaces; CLAIMS_FINISHED items are finished (10,000,000). Prints milliseconds, seen by the client, for claims of 32
and of 200 and for settling them, and the buffers that one claim touches: with every workspace, and with the big one
alone.
"""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import trio

from reactor.core.item import Item, Settlement
from reactor.embedded import embedded_postgres
from reactor.postgres.migrations import migrate
from reactor.postgres.outbox import Outbox
from reactor.postgres.session import open_session

WAITING = int(os.environ.get("CLAIMS_WAITING", "1000000"))
FINISHED = int(os.environ.get("CLAIMS_FINISHED", "10000000"))
ROUNDS = 40

CONNECT = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)
select md5(n::text)::uuid, 'v1:k1:' || repeat('x', 200), 'primary' from generate_series(0, 1000) as n
"""
FINISH = """
insert into sync_outbox (workspace_id, operation, payload, status, processed_at)
select md5((n %% 1001)::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object('sourceType', 'task', 'sourceId', md5('done' || n)::uuid), 'COMPLETED', now()
  from generate_series(1, %s) as n
"""
WAIT = """
insert into sync_outbox (workspace_id, operation, payload, next_attempt_at)
select md5((case when n %% 10 > 0 then 0 else 1 + n / 10 %% 1000 end)::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object(
         'operation', 'UPSERT_EVENT', 'workspaceId', md5((n %% 1001)::text)::uuid, 'calendarId', 'primary',
         'sourceType', 'task', 'sourceId', md5('source' || n %% (%s / 18))::uuid, 'eventType', 'MILESTONE',
         'event', jsonb_build_object('title', 'Something ' || n, 'start', now(), 'end', now())),
       now() - (1000000 - n) * interval '1 ms'
  from generate_series(1, %s) as n
"""
OTHERS = "select workspace_id from google_connections where workspace_id <> md5('0')::uuid"
BUFFERS = """
explain (analyze, buffers, timing off, summary off)
select * from sync_outbox_claim_next(
  %s::uuid[], null, null, 32, '{}', %s, %s, 512, 5, 1, false, 8000000, 262144)
"""


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Note how many milliseconds the block takes."""
    began = time.perf_counter()
    yield
    into.append((time.perf_counter() - began) * 1000)


def say(what: str, times: list[float], count: float) -> None:
    ordered = sorted(times)
    p95 = ordered[int(len(ordered) * 0.95)]
    print(f"{what:42} p50 {statistics.median(times):7.2f} ms   p95 {p95:7.2f} ms   {count:6.1f} items")


def buffers(dsn: str, slots: int, workspaces: list[str] | None) -> str:
    """Return the plan's line about buffers for one claim, taken back at once."""
    plan: list[object] = []
    with psycopg.connect(dsn) as connection:
        for _ in range(2):  # the first one also reads the catalogue
            plan = [line for (line,) in connection.execute(BUFFERS, (workspaces, slots, 2 * slots))]
            connection.rollback()
            connection.execute("select pg_advisory_unlock_all()")
    return next(str(line).strip() for line in plan if "Buffers" in str(line))


def done(item: Item) -> Settlement:
    return Settlement(item, "COMPLETED", 0, moves_floor=True, memory=item.memory, applied=item.payload)


async def measure(dsn: str, slots: int, what: str, *, alone: bool) -> None:
    claims: list[float] = []
    settles: list[float] = []
    counts = []
    async with open_session(dsn, name="claims") as session:
        excluded = frozenset(w for (w,) in await session.execute(OTHERS) if alone)
        outbox = Outbox(session)
        for _ in range(ROUNDS):
            with timed(claims):
                claimed = await outbox.claim(slots=slots, excluded=excluded)
            if not claimed.items:  # it put outdated ones away
                claims.pop()
                continue
            counts.append(len(claimed.items))
            with timed(settles):
                await outbox.settle([done(item) for item in claimed.items])
        say(f"claim of {slots}, {what}", claims, statistics.mean(counts))
        say("  settle", settles, statistics.mean(counts))
        nothing: list[float] = []
        everybody = [w for (w,) in await session.execute("select workspace_id from google_connections")]
        for _ in range(ROUNDS):
            with timed(nothing):
                await Outbox(session).claim(slots=slots, excluded=everybody)
        say("  a look that reads the ring, all excluded", nothing, 0)


def main() -> None:
    """Run it and print the figures."""
    with embedded_postgres() as server:
        dsn = server.url()
        migrate(dsn, progress=lambda _line: None)
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute("set statement_timeout = 0")
            owner.execute(CONNECT)
            owner.execute(FINISH, (FINISHED,))
            owner.execute(WAIT, (WAITING, WAITING))
            owner.execute("vacuum analyze")
        print(f"{WAITING:,} items wait, {FINISHED:,} are finished")
        for slots in (32, 200):
            trio.run(partial(measure, dsn, slots, "every workspace", alone=False))
            trio.run(partial(measure, dsn, slots, "the big one alone", alone=True))
            print(f"  {buffers(dsn, slots, None)} (with the ring)")
            print(f"  {buffers(dsn, slots, ['cfcd2084-95d5-65ef-66e7-dff9f98764da'])} (the big one alone)")


if __name__ == "__main__":
    main()
