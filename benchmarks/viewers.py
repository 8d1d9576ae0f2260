"""People at the console: the console as a process, and as many who reload a page of it every second.

The viewers are a process of their own and do nothing but send and receive, so that they take little of the machine.
"""

import http.client
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.world import wait_until

VIEWERS = 50


class RunningConsole:
    """A running `python -m reactor console`.

    Args:
        dsn: Its database.
        folder: For what it prints.

    Attributes:
        address: Its host and port.
        cookie: Of a browser that has come by its link.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        printed = folder / "console"
        environment = {**os.environ, "DATABASE_URL": dsn, "CONSOLE_BIND": "127.0.0.1:0", "PYTHONUNBUFFERED": "1"}
        with printed.open("wb") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "reactor", "console"], env=environment, stdout=out, stderr=subprocess.DEVNULL
            )
        wait_until(lambda: "?key=" in printed.read_text() or self._popen.poll() is not None)
        link = urlsplit(printed.read_text().split()[-1])
        self.address = link.netloc
        client = http.client.HTTPConnection(self.address)
        client.request("GET", f"/?{link.query}")
        self.cookie = str(client.getresponse().getheader("set-cookie")).partition(";")[0]
        client.close()

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        return sum(
            int(each.read_text().split()[0]) / 1e9 for each in Path(f"/proc/{self._popen.pid}/task").glob("*/schedstat")
        )

    def stop(self) -> None:
        """End it."""
        self._popen.terminate()
        self._popen.wait()


@contextmanager
def console(dsn: str) -> Iterator[RunningConsole]:
    """Run one for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        running = RunningConsole(dsn, Path(folder))
        try:
            yield running
        finally:
            running.stop()


def _look(address: str, cookie: str, path: str, seconds: list[float]) -> None:
    client = http.client.HTTPConnection(address)
    while True:
        began = time.monotonic()
        client.request("GET", path, headers={"cookie": cookie, "accept": "text/html"})
        answer = client.getresponse()
        answer.read()
        if answer.status == 200:
            seconds.append(time.monotonic() - began)
        time.sleep(max(0.0, began + 1.0 - time.monotonic()))


def _viewers(pipe: Any, address: str, cookie: str, path: str) -> None:
    seconds: list[float] = []
    for _ in range(VIEWERS):
        threading.Thread(target=_look, args=(address, cookie, path, seconds), daemon=True).start()
    pipe.send("begun")
    pipe.recv()
    pipe.send(seconds)


@contextmanager
def viewers(running: RunningConsole, path: str = "/") -> Iterator[list[float]]:
    """Have them look for the length of the block; then the list has the seconds that each look took."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_viewers, args=(theirs, running.address, running.cookie, path), daemon=True)
    process.start()
    seconds: list[float] = []
    try:
        ours.recv()
        yield seconds
        ours.send("end")
        seconds += ours.recv()
    finally:
        process.terminate()
        process.join()
