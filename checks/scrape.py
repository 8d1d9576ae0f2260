"""A scrape of this version: the reactor is started beside a database that is not there, asked, and told to stop.

It is alive without a database, and every metric is there from the start, so this takes a second and nothing else.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.request

from checks.tools import ROOT

_ENVIRONMENT = {
    "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
    "GOOGLE_CLIENT_ID": "none",
    "GOOGLE_CLIENT_SECRET": "none",
    "TOKEN_ENCRYPTION_KEYS": "k1:" + "A" * 43 + "=",
    "HEALTH_BIND": "127.0.0.1:0",
    "LOG_FORMAT": "json",
}


def scrape() -> str:
    """Start, ask, stop.

    Raises:
        RuntimeError: It did not start; the message is what it said.
    """
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    with subprocess.Popen(
        [sys.executable, "-m", "reactor"], env=inherited | _ENVIRONMENT, cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            return _ask(process)
        finally:
            process.send_signal(signal.SIGTERM)


def _ask(process: subprocess.Popen[str]) -> str:
    said = []
    for line in process.stderr or ():
        said.append(line)
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "started":
            with urllib.request.urlopen(f"{entry['health']}/metrics", timeout=10) as answer:  # noqa: S310  (loopback)
                return str(answer.read().decode())
    raise RuntimeError("".join(said))
