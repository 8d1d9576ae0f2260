"""The programs that the checks call: where they are, and what to do where one is not."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
K8S = ROOT / "k8s"
_PLACES = (ROOT / ".venv" / "manifests" / "bin", ROOT / ".venv" / "tools")
_FROM = {
    "promtool": "it is in Debian's package `prometheus` or `promtool`, which .ci/tools unpacks where there is apt-get",
    "prometheus": "it is in Debian's package `prometheus`, which .ci/tools unpacks where there is apt-get",
}


class MissingToolError(Exception):
    """A program is not on this machine; the message says how to get it."""


def find(name: str) -> Path:
    """Return the program's path.

    Raises:
        MissingToolError: It is not there.
    """
    for place in _PLACES:
        if os.access(place / name, os.X_OK):
            return place / name
    raise MissingToolError(f"{name} is not here: {_FROM.get(name, 'make check installs it')}.")


def run(name: str, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said, whatever its exit code.

    Raises:
        MissingToolError: It is not there.
    """
    command = [find(name), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603  (ours)


def problems(name: str, *arguments: str | Path, stdin: str | None = None) -> list[str]:
    """Run a program that is silent about what is well; return what it says otherwise.

    Raises:
        MissingToolError: It is not there.
    """
    done = run(name, *arguments, stdin=stdin)
    if done.returncode == 0:
        return []
    said = (done.stdout + done.stderr).strip()
    return [f"{name}: {said or f'exit code {done.returncode}'}"]
