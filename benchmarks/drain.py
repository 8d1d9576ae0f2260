"""A backlog: 10,000 items over fifty workspaces, committed at once while the reactor sleeps, until the last is settled.

Quotas are lifted; Google, a stub, answers at once or after 100 ms. In turns with the best peer, where Node is at hand.
*Cold* is a process that has just started and finds the backlog; *warm* one that has an access token for each workspace.

BENCH_ROUNDS and BENCH_ITEMS set the sizes.
"""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from benchmarks.costs import Costs, measured
from benchmarks.peer import packages, peer
from benchmarks.service import reactor
from benchmarks.stub import events, running, seen, serve_stub
from benchmarks.wake import WARM, wakes
from benchmarks.world import ROUNDS, World, wait_until, world

ITEMS = int(os.environ.get("BENCH_ITEMS", "10000"))


def drained(write: Callable[[], int], is_done: Callable[[], bool], google: str) -> float:
    """Items a second, from the commit to the end."""
    wanted = events(google) + ITEMS
    write()
    began = time.monotonic()
    wait_until(lambda: events(google) >= wanted, 0.05)
    wait_until(is_done, 0.005)
    return ITEMS / (time.monotonic() - began)


def bench(it: World, latency: float) -> None:
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, Costs] = {}
    calls, peak = 0, 0.0
    directory = packages()
    for _ in range(ROUNDS):
        it.clean()
        with running(serve_stub, latency) as (google, _):
            it.write(ITEMS, it.workspaces)
            began = time.monotonic()
            with reactor(it.dsn, google):
                wait_until(it.is_done, 0.02)
                rates["reactor, cold"].append(ITEMS / (time.monotonic() - began))
        it.clean()
        with running(serve_stub, latency) as (google, _), reactor(it.dsn, google) as process:
            wakes(lambda number: it.write(1, [it.workspaces[number % len(it.workspaces)]]), google, WARM, 20)
            wait_until(it.is_done)
            before = seen(google)
            with measured(it, process.pid) as costs["reactor"]:
                rates["reactor"].append(drained(partial(it.write, ITEMS, it.workspaces), it.is_done, google))
            calls, peak = seen(google).calls - before.calls, max(peak, process.memory("VmHWM"))
        if directory:
            with running(serve_stub, latency) as (google, _), peer(it, directory, google) as other:
                wakes(other.write_one, google, WARM, 20)
                with measured(it, other.pid) as costs["graphile-worker"]:
                    rates["graphile-worker"].append(drained(partial(other.write, ITEMS), other.is_done, google))
    report(f"drain, {latency * 1000:3.0f} ms", rates, costs)
    print(
        f"drain, {latency * 1000:3.0f} ms, reactor: {calls / ITEMS * 1000:.0f} requests per 1,000 items, {peak:.0f} MB"
    )


def report(what: str, rates: dict[str, list[float]], costs: dict[str, Costs]) -> None:
    base = statistics.median(rates["reactor"])
    for name, found in rates.items():
        middle = statistics.median(found)
        print(
            f"{what}, {name:16} {middle:7,.0f} items/s (from {min(found):,.0f} to {max(found):,.0f}); "
            f"the reactor makes {base / middle:.2f} of it"
        )
    for name, cost in costs.items():
        print(f"{what}, {name:16} an item: {cost.per_item(ITEMS)}")


def main() -> None:
    with world() as it:
        for latency in (0.0, 0.1):
            bench(it, latency)
