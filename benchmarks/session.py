"""What a statement costs: psycopg alone, under Trio (postgres/connection/driver.py), and in a worker thread under Trio.

`select 1`, prepared, in turns in one run, in a process that does nothing else. CPU is the process's own.
"""

import statistics
import time
from collections.abc import Awaitable, Callable

import psycopg
import trio

from reactor.postgres.connection.session import open_session
from reactor.postgres.setup.embedded import embedded_postgres

ROUNDS = 5
STATEMENTS = 2_000


async def microseconds(statement: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Of wall clock and CPU for each."""
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(STATEMENTS):
        await statement()
    return (time.perf_counter() - began) / STATEMENTS * 1e6, (time.process_time() - cpu) / STATEMENTS * 1e6


async def measure(dsn: str) -> None:
    limiter = trio.CapacityLimiter(1)
    with psycopg.connect(dsn, autocommit=True) as alone, psycopg.connect(dsn, autocommit=True) as threaded:
        async with open_session(dsn, name="bench") as session:

            async def blocking() -> None:
                alone.execute("select 1").fetchall()

            async def in_a_thread() -> None:
                await trio.to_thread.run_sync(lambda: threaded.execute("select 1").fetchall(), limiter=limiter)

            async def under_trio() -> None:
                await session.execute("select 1")

            ways = {"psycopg alone": blocking, "under Trio": under_trio, "in a thread": in_a_thread}
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, statement in ways.items():
                    times[name].append(await microseconds(statement))
            for name, measured in times.items():
                wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
                print(f"{name:14} {wall:5.0f} us a statement, {cpu:4.0f} us of CPU")


def main() -> None:
    with embedded_postgres() as server:
        trio.run(measure, server.url())
