"""Reactors that begin as forks of a process in which everything is imported.

A start of `python -m reactor` takes more than a second of a processor, nearly all of it for imports, and the suite
starts some two hundred. A fork has its own memory, signals, descriptors and end, so a test that kills, stops or freezes
it cannot tell it from a process that was started by a shell. What a fork does not show is the start itself: warnings
while modules are imported, and what the interpreter or the loader reads from the environment. `Process` starts a new
interpreter for that.
"""

import multiprocessing
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import reactor.__main__
import reactor.cli
import reactor.service

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.fork_server"])


class Forked:
    """As much of a `subprocess.Popen` as tests use.

    Args:
        environment: All of its environment.
        log: The file for what it writes to its standard output and standard error.
        program: What it runs instead of `python -m reactor`.
        errors: Another file for its standard error.
    """

    def __init__(
        self, environment: Mapping[str, str], log: Path, program: str = "", *, errors: Path | None = None
    ) -> None:
        log.touch()
        # As a daemon it does not outlive the process that runs the tests.
        self._process = _CONTEXT.Process(
            target=_run, args=(dict(environment), log, errors or log, program), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _run(environment: dict[str, str], log: Path, errors: Path, program: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for file, stream in ((log, sys.stdout), (errors, sys.stderr)):
        with file.open("ab") as out:
            os.dup2(out.fileno(), stream.fileno())
    warnings.simplefilter("error")
    sys.argv = ["reactor"]
    if program:
        exec(program, {"__name__": "__main__"})
    else:
        reactor.__main__.main()
