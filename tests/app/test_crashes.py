"""An error that nobody expected: one line of the log with its traceback, no message, exit code 1."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reactor import cli
from tests.support.commands import inherited
from tests.support.forked import Forked
from tests.support.process_world import KEYS

SECRET = "dinner with ada@example.com"
ENVIRONMENT = {
    "DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/app",
    "TOKEN_ENCRYPTION_KEYS": KEYS,
    "GOOGLE_CLIENT_ID": "id",
    "GOOGLE_CLIENT_SECRET": "secret",
    "HEALTH_BIND": "127.0.0.1:0",
}
COMMANDS = sorted(cli.COMMANDS)
GROUP = "ExceptionGroup('outer', [ExceptionGroup('inner', [error, KeyError('{SECRET}')]), error])"


class Ended(NamedTuple):
    """How a process has ended, and what it said."""

    returncode: int | None
    stdout: str
    stderr: str


def ended(program: str, *arguments: str, **environment: str) -> Ended:
    """Run a program and `main` after it, as `python -m reactor` does."""
    code = f"import sys\n{program}\nfrom reactor.__main__ import main\nsys.argv = {['reactor', *arguments]!r}\nmain()"
    with tempfile.TemporaryDirectory() as directory:
        out, errors = Path(directory, "out"), Path(directory, "errors")
        process = Forked(inherited(**{**ENVIRONMENT, **environment}), out, code, errors=errors)
        return Ended(process.wait(60), out.read_text(), errors.read_text())


def line_of(ended: Ended, code: int = 1) -> dict[str, Any]:
    assert ended.returncode == code, ended.stderr
    assert SECRET not in ended.stderr
    assert "hunter2" not in ended.stderr
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    [line] = [line for line in lines if line["level"] == "error"]
    assert set(line) == {"event", "exception", "level", "logger", "timestamp"}
    return dict(line)


def failing(error: str) -> str:
    """Make every command fail as soon as it begins."""
    return f"""
import typer
from reactor import cli
def fail():
    password = 'hunter2'
    error = ValueError({SECRET!r})
    raise {error}
broken = typer.Typer(add_completion=False)
broken.command()(fail)
cli.load = lambda name: typer.main.get_command(broken)
"""


def test_each_command_that_fails_says_so_in_one_line() -> None:
    program = (
        failing("error")
        + f"""
from reactor.__main__ import main
for command in {COMMANDS!r}:
    sys.argv = ['reactor', command]
    try:
        main()
    except SystemExit as end:
        print(command, end.code)
"""
    )
    result = ended(program, "status")
    assert result.stdout.split() == [word for command in COMMANDS for word in (command, "1")]
    assert SECRET not in result.stderr
    assert "hunter2" not in result.stderr
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["crashed"] * (len(COMMANDS) + 1)
    assert {line["exception"].splitlines()[-1] for line in lines} == {"ValueError"}


def test_a_group_of_groups_is_one_line() -> None:
    line = line_of(ended(failing(GROUP.format(SECRET=SECRET)), "status"))
    assert line["exception"].count("ExceptionGroup") == 2
    assert line["exception"].count("KeyError") == 1


def test_a_service_that_fails_says_so_in_one_line() -> None:
    program = f"""
from reactor import service
async def run(*_): raise ValueError({SECRET!r})
service.run = run
"""
    assert line_of(ended(program, "run", LOG_FORMAT="json"))["event"] == "crashed"


def test_modules_that_cannot_be_imported_are_one_line() -> None:
    line = line_of(ended("sys.modules['reactor.cli'] = None"))
    assert line["exception"].splitlines()[-1] == "ModuleNotFoundError"


def test_on_a_terminal_it_is_one_line_too() -> None:
    result = ended(failing("error"), "status", LOG_FORMAT="console")
    [line] = result.stderr.splitlines()
    assert "crashed" in line
    assert SECRET not in line


def test_threads_and_destructors_tell_theirs() -> None:
    program = f"""
from reactor.observability import crashes
crashes.watch()
import threading
class Unlucky:
    def __del__(self): raise KeyError({SECRET!r})
def fail():
    Unlucky()
    raise ValueError({SECRET!r})
thread = threading.Thread(target=fail)
thread.start()
thread.join()
sys.exit(0)
"""
    result = ended(program)
    assert SECRET not in result.stderr
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["error_without_receiver", "thread_crashed"]


def test_ctrl_c_is_a_quiet_end_also_in_a_group() -> None:
    result = ended(failing("BaseExceptionGroup('', [KeyboardInterrupt()])"), "status")
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize(
    "broken",
    [{"ALL_PROXY": "socks5://127.0.0.1:1080"}, {"SSL_CERT_FILE": "/nowhere.pem"}, {"PGSSLMODE": "no-verify"}],
    ids=lambda broken: next(iter(broken)),
)
@pytest.mark.parametrize("arguments", [("run",), ("check",)], ids=" ".join)
def test_an_environment_in_which_requests_cannot_be_made(broken: dict[str, str], arguments: Sequence[str]) -> None:
    result = ended("", *arguments, LOG_FORMAT="json", **broken)
    assert result.returncode == (2 if arguments == ("run",) else 1)
    assert "Traceback" not in result.stdout + result.stderr
    assert f"{next(iter(broken))} " in result.stdout + result.stderr
    assert len(result.stderr.splitlines()) <= 3
