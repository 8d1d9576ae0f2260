"""A picture of the console for the docs: `python -m tools.picture` writes docs/console.png.

It starts the demo and waits until its charts have some minutes to show, and something needs a person there. So what
the picture shows is what the console has shown. Needs Chromium.
"""

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread

from playwright.sync_api import sync_playwright

FILE = Path(__file__).resolve().parent.parent / "docs" / "console.png"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
_RATE = "8"  # rows a second
_MINUTES = 12  # that the charts show
_PATIENCE = 1_800_000  # milliseconds until all of that is to be seen


def main() -> None:
    """Take the picture."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "reactor", "demo", "--rate", _RATE]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        try:
            link = link_of(demo)
            Thread(target=demo.stdout.read, daemon=True).start()  # type: ignore[union-attr]  # or a full pipe stops it
            take(link)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait()


def link_of(demo: subprocess.Popen[str]) -> str:
    """The link that the demo prints."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if found := re.match(r"The console: (\S+)", line):
            return found[1]
    raise SystemExit("the demo has printed no link")


def take(link: str) -> None:
    """Look at the console until its charts show something, and something needs a person."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        tab = browser.new_page(viewport={"width": 1100, "height": 820})
        tab.goto(link)
        tab.locator("#hour1-numbers tbody tr").nth(_MINUTES - 1).wait_for(state="attached", timeout=_PATIENCE)
        tab.locator(".verdict.person").wait_for(timeout=_PATIENCE)
        tab.screenshot(path=FILE)


if __name__ == "__main__":
    main()
