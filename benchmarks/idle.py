"""Thirty seconds in which nothing happens: just after an item, and when more than a minute has passed."""

import time

from benchmarks.costs import cpu
from benchmarks.service import reactor
from benchmarks.stub import running, serve_stub
from benchmarks.wake import wakes
from benchmarks.world import World, wait_until, world

IDLE = 30.0  # seconds
LIVELY = 75.0  # seconds after the last item until sweeps become rare (reactor/loop/sweeper.py)
TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"


def transactions(it: World) -> int:
    # A backend reports when it has been idle for a while; asking counts too, once each time.
    it.owner.execute("select pg_stat_clear_snapshot()")
    return int((it.owner.execute(TRANSACTIONS).fetchone() or [0])[0])


def main() -> None:
    with world() as it, running(serve_stub, 0.0) as (google, _), reactor(it.dsn, google) as process:
        wakes(lambda number: it.write(1, [it.workspaces[number]]), google, 50, 20)
        wait_until(it.is_done)
        it.owner.execute("vacuum analyze")  # or its daemon is counted
        for when, pause in (("just after an item", 2.0), ("later", LIVELY)):
            time.sleep(pause)
            count, used = transactions(it), cpu(process.pid)
            time.sleep(IDLE)
            per_second = (transactions(it) - count - 2) / IDLE
            share = (cpu(process.pid) - used) / IDLE * 100
            memory = process.memory("VmRSS")
            print(f"idle, {when}: {per_second:.2f} transactions/s, {share:.1f} % of a core, {memory:.0f} MB resident")
