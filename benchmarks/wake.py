"""From a writer's commit to the arrival of the request, one row at a time.

The clock starts when COMMIT has returned. Rows come every 400, 40 and 5 ms, half as soon or half as late again, from
one workspace or from fifty. *Cold* is the first row that a new process gets, for a workspace whose access token it
does not have yet.

Beside the reactor, in turns: the floors (benchmarks/floors.py), programs with nothing in them but LISTEN, a claim and
one request; and the best peer, where Node is at hand. Ratios are of medians in one run.

BENCH_ROUNDS says how many turns, BENCH_WAKES how many rows at 400 ms each turn has (at 40 ms four times, at 5 ms ten
times as many).
"""

import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from benchmarks.costs import measured
from benchmarks.floors import FLOORS, floor
from benchmarks.peer import packages, peer
from benchmarks.service import reactor
from benchmarks.stub import running, seen, serve_stub
from benchmarks.world import ROUNDS, World, wait_until, world

WAKES = int(os.environ.get("BENCH_WAKES", "40"))
GAPS = {400: WAKES, 40: 4 * WAKES, 5: 10 * WAKES}
WARM = 60
"""Rows before it counts: each workspace's access token, connections, prepared statements."""

Key = tuple[str, int, int]
"""Whose, at which gap, over how many workspaces."""


def wakes(write: Callable[[int], int], google: str, count: int, gap: int) -> list[float]:
    """Milliseconds from a commit to the arrival of its request, for so many single rows, `gap` ms apart in the mean."""
    committed: dict[int, float] = {}
    for number in range(count):
        first = write(number)
        committed[first] = time.monotonic()
        time.sleep(gap / 1000 * random.uniform(0.5, 1.5))
    wait_until(lambda: committed.keys() <= seen(google).arrivals.keys(), 0.2)
    arrived = seen(google).arrivals
    return [(arrived[number] - at) * 1000 for number, at in committed.items()]


def turn(name: str, write: Callable[[int, int], int], google: str, times: dict[Key, list[float]]) -> None:
    """Take one turn at every gap; `write` gets over how many workspaces, and the row's number."""
    for spread in (1, 50):
        for gap, count in GAPS.items():
            times[name, gap, spread] += wakes(partial(write, spread), google, count, gap)


def bench(it: World, google: str) -> dict[Key, list[float]]:
    times: dict[Key, list[float]] = defaultdict(list)
    directory = packages()
    if directory is None:
        print("no peer: npm is not at hand")

    def write(spread: int, number: int) -> int:
        return it.write(1, [it.workspaces[number % spread]])

    for _ in range(ROUNDS):
        for name in FLOORS:
            it.clean()
            with floor(name, it.dsn, google):
                turn(f"floor, {name}", write, google, times)
                wait_until(it.is_done)
        it.clean()
        with reactor(it.dsn, google) as process:
            time.sleep(1.0)
            times["reactor, cold", 0, 1] += wakes(partial(write, 1), google, 1, 1)
            wakes(partial(write, 50), google, WARM, 40)
            turn("reactor", write, google, times)
            wait_until(it.is_done)
            with measured(it, process.pid) as costs:
                wakes(partial(write, 50), google, GAPS[40], 40)
                wait_until(it.is_done)
        print("reactor, a row each 40 ms: " + costs.per_item(GAPS[40]), flush=True)
        if directory:
            with peer(it, directory, google) as other:
                wakes(other.write_one, google, WARM, 40)
                turn("graphile-worker", other.write_anywhere, google, times)
    return times


def report(times: dict[Key, list[float]]) -> None:
    names = list(dict.fromkeys(name for name, gap, _ in times if gap))
    for spread in (1, 50):
        for gap in GAPS:
            middle = {name: statistics.median(times[name, gap, spread]) for name in names}
            for name in names:
                ordered = sorted(times[name, gap, spread])
                p50, p95, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.95, 0.99))
                what = f"wake, a row each {gap:3} ms, {spread:2} workspaces, {name:22}"
                print(f"{what} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms   p99 {p99:6.2f} ms")
            ratios = "   ".join(f"{middle['reactor'] / middle[of]:.2f} of {of}" for of in names if of != "reactor")
            print(f"wake, a row each {gap:3} ms, {spread:2} workspaces, reactor's p50: {ratios}")
    cold = times["reactor, cold", 0, 1]
    print(f"wake, cold: the first row of a new process {', '.join(f'{each:.0f} ms' for each in cold)}")


def main() -> None:
    with world() as it, running(serve_stub, 0.0) as (google, _):
        report(bench(it, google))
