"""What work costs: CPU of the worker and of PostgreSQL, WAL, entries in indexes, buffers.

CPU is the kernel's, of whole processes; that of server processes that have ended counts too. WAL and entries are read
from the log itself (`pg_waldump`): each entry in a B-tree is a record there, whatever statistics may say. The first
change of a page after a checkpoint is logged with the whole page; these images are left out, since they come by chance.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.world import World

_TICKS = os.sysconf("SC_CLK_TCK")
_BUFFERS = """
select sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0))::float8
  from pg_statio_user_tables
"""
_RECORD = re.compile(r"^(\S+)\s+(\d+) \(\s*[\d.]+\)\s+(\d+) \(\s*[\d.]+\)\s+(\d+) \(")


@dataclass
class Costs:
    """What a stretch of work cost; `items` says by how many it is divided.

    Attributes:
        worker: Seconds of CPU.
        server: Seconds of CPU, of all of PostgreSQL's processes.
        wal: Bytes, without images of whole pages.
        entries: New entries in indexes.
        heap: Records about rows: inserts, updates, locks.
        buffers: Blocks of tables and indexes that were looked at.
    """

    worker: float = 0.0
    server: float = 0.0
    wal: int = 0
    entries: int = 0
    heap: int = 0
    buffers: float = 0.0

    def per_item(self, items: int) -> str:
        """Tell what one item costs."""
        return (
            f"worker {self.worker / items * 1e6:,.0f} us CPU, PostgreSQL {self.server / items * 1e6:,.0f} us CPU, "
            f"{self.wal / items:,.0f} bytes of WAL, {self.entries / items:.1f} index entries, "
            f"{self.heap / items:.1f} records of rows, {self.buffers / items:,.0f} buffers"
        )


@contextmanager
def measured(world: World, worker: int) -> Iterator[Costs]:
    """Measure the block; the result is complete when it ends.

    Args:
        world: The server.
        worker: The worker's process id.
    """
    costs = Costs()
    start, before = world.owner.execute("select pg_current_wal_insert_lsn()::text").fetchone() or ("",), _buffers(world)
    worker_cpu, server_cpu = cpu(worker), _server_cpu(world)
    yield costs
    costs.worker, costs.server = cpu(worker) - worker_cpu, _server_cpu(world) - server_cpu
    costs.buffers = _buffers(world) - before
    end = world.owner.execute("select pg_current_wal_insert_lsn()::text").fetchone() or ("",)
    world.owner.execute("select pg_switch_wal()")  # what is in a buffer gets into the file
    for kind, number, size in _records(world, start[0], end[0]):
        costs.wal += size
        if kind.startswith("Btree/INSERT"):
            costs.entries += number
        elif kind.startswith("Heap/"):
            costs.heap += number


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, of all its threads."""
    return sum(_fields(pid)[11:13]) / _TICKS


def _server_cpu(world: World) -> float:
    postmaster = int((world.server.data / "postmaster.pid").read_text().split()[0])
    own = _fields(postmaster)
    children = (each for each in _processes(_fields) if each[1] == postmaster)
    return (sum(own[11:15]) + sum(sum(child[11:13]) for child in children)) / _TICKS


def _processes(read: Callable[[int], list[int]]) -> Iterator[list[int]]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield read(int(path.name))
            except (FileNotFoundError, ProcessLookupError):
                continue


def _fields(pid: int) -> list[int]:
    """Numbers of /proc/PID/stat from the state on: 1 is the parent; 11 to 14 are ticks, own and of ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:15])]


def _buffers(world: World) -> float:
    world.owner.execute("select pg_stat_force_next_flush()")
    world.owner.execute("select pg_stat_clear_snapshot()")
    [count] = world.owner.execute(_BUFFERS).fetchone() or (0.0,)
    return float(count)


def _records(world: World, start: str, end: str) -> Iterator[tuple[str, int, int]]:
    """Kind, number and bytes (without images) of what was logged between two places."""
    waldump = [str(world.server.bin_path / "pg_waldump"), "-p", str(world.server.data / "pg_wal"), "--stats=record"]
    told = subprocess.run([*waldump, "-s", start, "-e", end], check=True, capture_output=True, text=True).stdout
    for line in told.splitlines():
        if (found := _RECORD.match(line)) and "/" in found[1]:
            yield found[1], int(found[2]), int(found[3])
