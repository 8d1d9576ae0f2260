"""The reactor as a process of its own, without quotas."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.world import KEYS, wait_until


class Reactor:
    """A running `python -m reactor`, or another module that runs it."""

    def __init__(self, dsn: str, google: str, log: Path, module: Sequence[str]) -> None:
        self._log = log
        environment = {
            **os.environ,
            "DATABASE_URL": dsn,
            "GOOGLE_CLIENT_ID": "id",
            "GOOGLE_CLIENT_SECRET": "secret",
            "GOOGLE_API_ROOT": f"{google}/",
            "GOOGLE_TOKEN_URI": f"{google}/token",
            "TOKEN_ENCRYPTION_KEYS": KEYS,
            "CALENDAR_SYNC_REQUESTS_PER_MINUTE": "0",
            "CALENDAR_SYNC_LANE_REQUESTS_PER_MINUTE": "0",
            "HEALTH_BIND": "127.0.0.1:0",
            "LOG_FORMAT": "json",
        }
        with log.open("wb") as out:
            self._popen = subprocess.Popen([sys.executable, "-m", *module], env=environment, stdout=out, stderr=out)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ready(self) -> None:
        wait_until(lambda: '"ready"' in self._log.read_text() or self._popen.poll() is not None)
        if self._popen.poll() is not None:
            sys.exit(self._log.read_text())

    def memory(self, name: str) -> float:
        """MB of `VmRSS` or `VmHWM`."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

    def stop(self) -> None:
        self._popen.terminate()
        self._popen.wait()


@contextmanager
def reactor(dsn: str, google: str, module: Sequence[str] = ("reactor",)) -> Iterator[Reactor]:
    with tempfile.TemporaryDirectory() as directory:
        process = Reactor(dsn, google, Path(directory) / "log", module)
        try:
            process.ready()
            yield process
        finally:
            process.stop()
