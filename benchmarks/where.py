"""Where the time of a wake goes, and where the CPU of an item in a drain.

*A wake.* The steps between a writer's commit and the arrival of the request, in one reactor that notes the time at each
(BENCH_WAKES rows, 400 ms apart): microseconds of the step before, the median. To note it costs some microseconds. Below
them the CPU of the floors (benchmarks/floors.py), from the notification to the socket.

*An item.* A drain of BENCH_ITEMS items, in a reactor that a timer of its own CPU interrupts: by what it was at.
"""

import atexit
import json
import os
import runpy
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import trio

from benchmarks.costs import cpu
from benchmarks.floors import FLOORS, floor
from benchmarks.service import reactor
from benchmarks.stub import running, seen, serve_stub
from benchmarks.wake import WARM, wakes
from benchmarks.world import World, wait_until, world
from reactor.google.client import GoogleCalendar
from reactor.google.transport import Transport
from reactor.loop.loop import Loop
from reactor.postgres import claimer
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.wakeups import Wakeups

WAKES = int(os.environ.get("BENCH_WAKES", "60"))
ITEMS = int(os.environ.get("BENCH_ITEMS", "10000"))
INTO = "BENCH_WHERE"  # names the file that the reactor's process writes what it noted to
_SAMPLE = 0.001  # seconds of CPU; the kernel makes ticks of it


AT = {
    "core/payload.py parse": "check the payload (pydantic)",
    "postgres/claim.py _item": "make the item of its row",
    "postgres/claim.py claim": "send the claim, load its rows (psycopg)",
    "core/calendar/event.py body": "make the event",
    "core/calendar/messages.py _write": "write its JSON and the request",
    "core/calendar/messages.py remote": "read the event that was answered",
    "core/calendar/rounds.py _go_on": "the dialogue: decide what to ask, and what came of it",
    "core/calendar/rounds.py": "keep the dialogues of a batch",
    "google/batch.py write": "write the batch",
    "google/batch.py read": "read the batch's answer",
    "google/client.py": "the client around it",
    "google/transport.py": "HTTP and the socket (httpx, httpcore, h11, Trio)",
    "google/wire.py": "HTTP and the socket (httpx, httpcore, h11, Trio)",
    "core/policy.py prepare": "make the work",
    "core/policy.py settle": "decide what becomes of it",
    "core/dispatch/lane.py": "lanes, limits, evidence",
    "core/dispatch/lanes.py": "lanes, limits, evidence",
    "core/dispatch/evidence.py": "lanes, limits, evidence",
    "loop/settler.py _finish": "count and tell ends",
    "loop/settler.py": "gather ends",
    "loop/loop.py": "the loop around it",
    "loop/guarded_policy.py": "the loop around it",
    "core/dispatch/alarms.py": "lanes, limits, evidence",
    "postgres/settling.py _input": "write the settle's JSON",
    "postgres/settling.py _write": "send the settle, read its answer (psycopg, JSON)",
    "postgres/settling.py": "divide the settle",
    "postgres/outbox.py": "keep the items in flight",
    "core/dispatch/in_flight.py": "keep the items in flight",
}
"""By module of the reactor's, or module and function."""


# In the reactor's process


class Noted:
    """The moments of each wake, by the names of its steps."""

    def __init__(self) -> None:
        self.wakes: list[dict[str, tuple[float, float]]] = []

    def mark(self, name: str) -> None:
        """Note the first time of a step since the last notification."""
        if name == "the notification was read":
            self.wakes.append({})
        if self.wakes:
            self.wakes[-1].setdefault(name, (time.monotonic(), time.thread_time()))

    def around(self, owner: Any, name: str, *, before: str = "", after: str = "") -> None:
        """Note when a function of a class or module is called, and when it returns."""
        real = getattr(owner, name)

        def sync(*args: Any, **named: Any) -> Any:
            if before:
                self.mark(before)
            result = real(*args, **named)
            if after:
                self.mark(after)
            return result

        async def waiting(*args: Any, **named: Any) -> Any:
            if before:
                self.mark(before)
            result = await real(*args, **named)
            if after:
                self.mark(after)
            return result

        setattr(owner, name, waiting if hasattr(real, "__code__") and real.__code__.co_flags & 0x80 else sync)


def note_steps() -> Callable[[], Any]:
    """Have the steps of wakes noted; returns what tells them."""
    noted = Noted()
    noted.around(Wakeups, "_notified", before="the notification was read")
    noted.around(claimer, "claim", before="the look began", after="the item was made")
    noted.around(TrioConnection, "_until", before="the claim was sent", after="the claim was answered")
    noted.around(Loop, "_take_in", before="what else the claim said was taken in", after="its payload was checked")
    noted.around(Loop, "_send", before="a task sends it")
    noted.around(GoogleCalendar, "_drive", before="the first question was asked")
    noted.around(Transport, "send", before="there is a token")
    noted.around(Transport, "_written", after="the request was made")
    noted.around(trio.SocketStream, "send_all", before="it was handed to the socket", after="the socket took it")
    return lambda: noted.wakes


def sample() -> Callable[[], Any]:
    """Have the process interrupted as its CPU passes, from a signal on; returns what tells where it was."""
    met: Counter[str] = Counter()

    def meet(_signal: int, frame: FrameType | None) -> None:
        met[_place(frame)] += 1

    signal.signal(signal.SIGPROF, meet)
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_PROF, _SAMPLE, _SAMPLE))
    return lambda: met


def _place(frame: FrameType | None) -> str:
    """What the process was at: the innermost function that stands for something."""
    while frame is not None:
        path = frame.f_code.co_filename.rpartition("/reactor/")[2]
        if at := AT.get(f"{path} {frame.f_code.co_name}") or AT.get(path):
            return at
        frame = frame.f_back
    return "Trio: the scheduler, the poll"


def note(how: str, into: str) -> None:
    """Be a reactor that notes where its time goes."""
    told = note_steps() if how == "steps" else sample()

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(into).write_text(json.dumps(told()))

    atexit.register(write)
    sys.argv = ["reactor"]
    runpy.run_module("reactor", run_name="__main__")


# Beside it


def steps(it: World) -> None:
    with tempfile.TemporaryDirectory() as directory, running(serve_stub, 0.0) as (google, _):
        into = f"{directory}/noted"

        def write(number: int) -> int:
            return it.write(1, [it.workspaces[number % len(it.workspaces)]])

        with reactor(it.dsn, google, ["benchmarks.where", "steps", into]) as process:
            wakes(write, google, WARM, 40)
            committed: dict[int, float] = {}
            before = cpu(process.pid)
            for number in range(WAKES):
                first = write(number)
                committed[first] = time.monotonic()
                time.sleep(0.4)
            used = cpu(process.pid) - before
            arrived = seen(google).arrivals
        noted = [wake for wake in json.loads(Path(into).read_text()) if "the socket took it" in wake]
    found: dict[str, list[tuple[float, float]]] = {}
    whole: list[float] = []
    for number, commit in committed.items():
        inside = [wake for wake in noted if commit - 0.01 < wake["the socket took it"][0] < arrived[number] + 0.01]
        if len(inside) != 1:
            continue
        whole.append((arrived[number] - commit) * 1000)
        last, spent = commit, inside[0]["the notification was read"][1]
        for name, (at, so_far) in sorted(inside[0].items(), key=lambda moment: moment[1]):
            found.setdefault(name, []).append(((at - last) * 1e6, (so_far - spent) * 1e6))
            last, spent = at, so_far
    print(
        f"a wake, from the return of COMMIT to the request's arrival: {statistics.median(whole):.2f} ms ({len(whole)})"
    )
    for name, each in found.items():
        wall, own = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"  {wall:7.0f} us, {own:5.0f} us of CPU of ours, until {name}")
    ours = statistics.median(sum(own for _, own in each) for each in zip(*found.values(), strict=False))
    print(f"  {ours:.0f} us of CPU of ours together")
    handed = statistics.median(_until_handed(wake) for wake in noted)
    print(f"  {handed:.0f} us of CPU of ours until it was handed to the socket")
    print(
        f"  {used / WAKES * 1000:.1f} ms of CPU of the process for a wake, with all that follows it and 400 ms of rest"
    )


def _until_handed(wake: dict[str, tuple[float, float]]) -> float:
    """Microseconds of CPU."""
    return (wake["it was handed to the socket"][1] - wake["the notification was read"][1]) * 1e6


def floors(it: World) -> None:
    with running(serve_stub, 0.0) as (google, _):
        for name in FLOORS:
            it.clean()
            with floor(name, it.dsn, google) as spent:
                wakes(lambda number: it.write(1, [it.workspaces[number % len(it.workspaces)]]), google, WAKES, 400)
                wait_until(it.is_done)
            if spent:
                print(f"  {statistics.median(spent) * 1e6:.0f} us by the floor, {name}")


def items(it: World) -> None:
    with tempfile.TemporaryDirectory() as directory, running(serve_stub, 0.0) as (google, _):
        into = f"{directory}/noted"
        it.clean()
        with reactor(it.dsn, google, ["benchmarks.where", "sample", into]) as process:
            wakes(lambda number: it.write(1, [it.workspaces[number % len(it.workspaces)]]), google, WARM, 20)
            wait_until(it.is_done)
            os.kill(process.pid, signal.SIGUSR1)
            before = cpu(process.pid)
            it.write(ITEMS, it.workspaces)
            wait_until(it.is_done, 0.05)
            used = (cpu(process.pid) - before) / ITEMS * 1e6
        met = Counter[str](json.loads(Path(into).read_text()))
    print(f"an item in a drain: {used:.0f} us of CPU of the process ({met.total()} samples)")
    for place, times in met.most_common():
        print(f"  {times / met.total() * used:7.1f} us  {place}")


def main() -> None:
    with world() as it:
        steps(it)
        floors(it)
        items(it)


if __name__ == "__main__":
    note(sys.argv[1], sys.argv[2])
