"""A console that runs as an operator runs it, and a browser, each once for a file; a site of its own for a test."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Browser, sync_playwright

from tests.console.attacks import attack, attacking_sessions
from tests.console.site import DatabaseSite
from tests.support.commands import inherited
from tests.support.databases import Database, Server, wait_until
from tests.support.outbox_world import World as Rows

CHROMIUM = Path("/usr/bin/chromium")


class RunningConsole:
    """A console's process.

    Attributes:
        url: Where it is, without a slash at the end.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self._out, self._errors = folder / "out", folder / "log"
        settings = {"CONSOLE_BIND": "127.0.0.1:0", "LOG_FORMAT": "json", **environment}
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "reactor", "console"],
                env=inherited(PYTHONUNBUFFERED="1", **settings),
                stdout=out,
                stderr=errors,
            )
        wait_until(lambda: bool(self.links) or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.log
        self.url = self.links[0].partition("/?")[0]

    @property
    def links(self) -> list[str]:
        """The links that it has printed; the last one is good."""
        return [line.partition(": ")[2] for line in self._out.read_text().splitlines()]

    @property
    def log(self) -> str:
        return self._errors.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(30)

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(30)


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[RunningConsole]:
    console = RunningConsole(folder, **environment)
    try:
        yield console
    finally:
        console.end()


@pytest.fixture
def rows(database: Database) -> Iterator[Rows]:
    rows = Rows(database)
    rows.connect()
    yield rows
    rows.close()


@pytest.fixture
async def site(database: Database, nursery: trio.Nursery) -> DatabaseSite:
    return await DatabaseSite(database.reactor).open(nursery)


@pytest.fixture(scope="module")
def attacked(postgres: Server, migrated_template: str, reactor_login: dict[str, str]) -> Iterator[Database]:
    """A database whose every text is an attack."""
    name = postgres.create_database(migrated_template)
    database = Database(owner=postgres.dsn(name), reactor=postgres.dsn(name, **reactor_login))
    assert len(attack(database)) > 10
    with attacking_sessions(database):
        yield database
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def console(attacked: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A console on that database."""
    named = {"CONSOLE_NAME": "production <b>", "CONSOLE_COLOUR": "red"}
    with running(tmp_path_factory.mktemp("console"), DATABASE_URL=attacked.reactor, **named) as console:
        yield console


@pytest.fixture(scope="module")
def chromium() -> None:
    """Debian's Chromium. Without it the tests are skipped, and where CI is set they fail: `.ci/run` installs it."""
    if not CHROMIUM.exists():
        assert not os.environ.get("CI"), f"{CHROMIUM} is missing: .ci/run installs it"
        pytest.skip(f"{CHROMIUM} is not here")


@pytest.fixture(scope="module")
def browser(chromium: None) -> Iterator[Browser]:
    """A browser that tests drive."""
    del chromium
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        yield playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
