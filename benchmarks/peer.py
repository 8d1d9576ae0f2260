"""The best peer beside the reactor: graphile-worker, where Node is at hand.

Its worker (peer.mjs) does what the reactor does for an item: one request, one upsert of a binding, the job done. Node's
packages are installed once, into a directory of their own (BENCH_PEER names it; a cache in the temporary directory
otherwise). Without npm there is no peer, and the benchmarks say so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.world import World, wait_until

PACKAGES = ("graphile-worker@0.18", "undici@8", "pg@8", "node@24")
_WORKER = Path(__file__).with_suffix(".mjs")
_TABLES = """
create table if not exists bench_bindings (
  workspace_id uuid, source_type text, source_id uuid, google_event_id text,
  updated_at timestamptz not null default now(), primary key (workspace_id, source_type, source_id))
"""
_INSERT = """
select graphile_worker.add_job('sync_item', json_build_object(
         'workspace_id', gen_random_uuid(), 'source_type', 'task', 'source_id', gen_random_uuid(),
         'event', json_build_object(
           'summary', 'bench-' || (%(first)s + n) || ' of a project', 'description', 'What has to be true by then.',
           'start', json_build_object('dateTime', '2026-12-01T09:00:00Z'),
           'end', json_build_object('dateTime', '2026-12-01T10:00:00Z'))))
  from generate_series(0, %(rows)s - 1) as n
"""


class Peer:
    """A running worker of graphile-worker.

    Attributes:
        pid: Its process.
    """

    def __init__(self, world: World, popen: "subprocess.Popen[bytes]") -> None:
        self.pid = popen.pid
        self._world = world

    def write(self, rows: int) -> int:
        """Commit jobs; return the number of the first."""
        first = self._world.numbers(rows)
        self._world.owner.execute(_INSERT, {"first": first, "rows": rows})
        return first

    def write_one(self, _number: int) -> int:
        """Commit one job."""
        return self.write(1)

    def write_anywhere(self, _spread: int, _number: int) -> int:
        """Commit one job: it has no workspaces."""
        return self.write(1)

    def is_done(self) -> bool:
        """Tell whether no job is left."""
        found = self._world.owner.execute("select not exists (select from graphile_worker._private_jobs)").fetchone()
        return found == (True,)


def packages() -> Path | None:
    """Return the directory that holds Node's packages, installing them; None where there is no npm."""
    directory = Path(os.environ.get("BENCH_PEER") or Path(tempfile.gettempdir()) / "calendar-sync-peer")
    if (directory / "node_modules" / "graphile-worker").exists():
        return directory
    if shutil.which("npm") is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "package.json").write_text('{"private": true}')
    done = subprocess.run(["npm", "install", "--silent", *PACKAGES], cwd=directory, stdout=sys.stderr, check=False)
    return directory if done.returncode == 0 else None


@contextmanager
def peer(world: World, directory: Path, google: str) -> Iterator[Peer]:
    """Run the worker for the length of the block."""
    world.owner.execute(_TABLES)
    node = directory / "node_modules" / ".bin" / "node"
    shutil.copy(_WORKER, directory / _WORKER.name)  # Node looks for packages beside the file
    command = [str(node if node.exists() else shutil.which("node")), str(directory / _WORKER.name)]
    environment = {**os.environ, "BENCH_DSN": world.server.url(), "BENCH_STUB": google}
    with tempfile.TemporaryFile() as log:
        popen = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

        def told() -> bytes:
            return os.pread(log.fileno(), 1 << 20, 0)

        try:
            wait_until(lambda: b"READY" in told() or popen.poll() is not None)
            if popen.poll() is not None:
                sys.exit(told().decode())
            yield Peer(world, popen)
        finally:
            popen.terminate()
            popen.wait()
