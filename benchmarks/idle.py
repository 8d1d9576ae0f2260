"""What replicas ask while nothing happens: from two seconds after an item on, and when that has been for a while.

Transactions are counted in the server's own log, where each has a number; so it is known which session they are of.
"""

import re
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.costs import cpu
from benchmarks.service import Reactor, reactor
from benchmarks.stub import running, serve_stub
from benchmarks.wake import wakes
from benchmarks.world import World, wait_until, world

WINDOW = 60.0
"""Seconds that are counted each time: housekeeping comes every 30 s, the watch of the locks every 60."""
SOON = 2.0
"""Seconds after the last item's end."""
_LINE = re.compile(r"^([0-9a-f.]+);(\d+/\d+);calendar-sync-reactor ?(\w*)[^;]*;", re.MULTILINE)


def log_transactions(it: World) -> None:
    for setting, value in (("log_statement", "all"), ("log_line_prefix", "%c;%v;%a;"), ("autovacuum", "off")):
        it.owner.execute(f"alter system set {setting} = '{value}'".encode())
    it.owner.execute("select pg_reload_conf()")


def transactions(log: Path, begin: int, end: int) -> Counter[str]:
    """Count the reactors' transactions in a part of the log, by the session's name."""
    text = log.read_bytes()[begin:end].decode(errors="replace")
    return Counter(name or "pool" for _, _, name in set(_LINE.findall(text)))


def count(log: Path, processes: list[Reactor], when: str) -> None:
    begin, used = log.stat().st_size, sum(cpu(process.pid) for process in processes)
    time.sleep(WINDOW)
    share = (sum(cpu(process.pid) for process in processes) - used) / WINDOW / len(processes)
    each = {name: n / WINDOW / len(processes) for name, n in transactions(log, begin, log.stat().st_size).items()}
    sessions = ", ".join(f"{name} {rate:.2f}" for name, rate in sorted(each.items()))
    memory, own = (max(process.memory(name) for process in processes) for name in ("VmRSS", "RssAnon"))
    print(
        f"idle, {len(processes)} running, {when:<10} {sum(each.values()):.2f} transactions/s each ({sessions}), "
        f"{share:.1%} of a core, {memory:.0f} MB resident, {own:.0f} without files",
        flush=True,
    )


def main() -> None:
    for replicas in (1, 2):
        with world() as it, running(serve_stub, 0.0) as (google, _), ExitStack() as stack:
            log_transactions(it)
            processes = [stack.enter_context(reactor(it.dsn, google)) for _ in range(replicas)]
            wakes(lambda number: it.write(1, [it.workspaces[number]]), google, 50, 20)
            wait_until(it.is_done)
            time.sleep(SOON)
            for when in ("soon after", "later"):
                count(it.server.data / "log", processes, when)
