"""From a kill -9 until its items are in other hands, and until a row is that was committed at once after it.

Two replicas. *In hand*: twenty items are in the hands of one, which is killed up to three seconds after the other is
ready. *At rest*: the one that sleeps with the gate's lock is killed after a while in which nothing happened, and then a
row is committed: the writer has nobody to call.

BENCH_KILLS says how often.
"""

import os
import random
import signal
import time
from contextlib import ExitStack

from benchmarks.service import Reactor, reactor
from benchmarks.stub import running, serve_stub
from benchmarks.world import World, wait_until, world

KILLS = int(os.environ.get("BENCH_KILLS", "10"))
ITEMS = 20
SILENCE = 30.0
"""Seconds without work before a replica at rest is killed."""
_LEASES = "select lease_no, count(*) from sync_outbox where status = 'PROCESSING' group by 1"
_ARMED = """
select pid from pg_locks where classid = 718300 and objid = 1 and mode = 'ExclusiveLock' and granted
"""


def in_hand(it: World) -> dict[int, int]:
    return dict(it.owner.execute(_LEASES).fetchall())


def kill(process: Reactor) -> float:
    os.kill(process.pid, signal.SIGKILL)
    return time.monotonic()


def with_items(it: World, google: str) -> float:
    with ExitStack() as stack:
        victim = stack.enter_context(reactor(it.dsn, google))
        it.write(ITEMS, it.workspaces)
        wait_until(lambda: sum(in_hand(it).values()) == ITEMS)
        lost = in_hand(it).keys()
        survivor = stack.enter_context(reactor(it.dsn, google))
        time.sleep(random.uniform(0, 3))
        killed_at = kill(victim)
        wait_until(lambda: sum(in_hand(it).values()) == ITEMS and not lost & in_hand(it).keys(), 0.002)
        took = time.monotonic() - killed_at
        kill(survivor)  # it would wait for answers
        return took


def at_rest(it: World, google: str) -> float:
    with ExitStack() as stack:
        victim = stack.enter_context(reactor(it.dsn, google))
        wait_until(lambda: it.owner.execute(_ARMED).fetchone())
        survivor = stack.enter_context(reactor(it.dsn, google))
        time.sleep(SILENCE + random.uniform(0, 10))
        armed = it.owner.execute(_ARMED).fetchone()
        kill(victim)
        wait_until(lambda: it.owner.execute(_ARMED).fetchone() != armed, 0.0005)
        it.write(1, it.workspaces)
        written_at = time.monotonic()
        wait_until(lambda: in_hand(it), 0.002)
        took = time.monotonic() - written_at
        kill(survivor)
        return took


def main() -> None:
    with world() as it, running(serve_stub, 60.0) as (google, _):
        for name, measure in (("in hand", with_items), ("at rest", at_rest)):
            took = []
            for _ in range(KILLS):
                it.clean()
                took.append(measure(it, google))
            took.sort()
            median, most = took[len(took) // 2], took[-1]
            print(f"recovery, {name}: {median:.2f} s in the median, {most:.2f} s at most of {KILLS}", flush=True)
