"""The command line is quick: a command's libraries are imported when it is asked for, and not before."""

import json
import subprocess
import sys

from reactor.cli import COMMANDS
from tests.support.commands import whole

HEAVY = {"trio", "psycopg", "pydantic", "httpx", "google.auth", "structlog", "hypercorn", "prometheus_client"}


def imported(program: str) -> set[str]:
    """The modules that a program has imported when it ends."""
    code = f"import json, sys\ntry:\n    {program}\nfinally:\n    print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_no_command_and_none_of_their_libraries() -> None:
    modules = imported("import reactor.__main__ as m; sys.argv = ['reactor', '--help']; m.main()")
    assert "reactor.cli" in modules
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith(("reactor.commands.", "calendar_emulator"))]


def test_a_service_imports_neither_the_emulator_nor_the_demo_nor_another_command() -> None:
    modules = imported("import reactor.cli, reactor.service; reactor.cli.load('run')")
    assert {name for name in modules if name.startswith("reactor.commands.")} == {"reactor.commands.run"}
    assert not [name for name in modules if name.startswith(("reactor.demo", "calendar_emulator"))]


def test_a_service_holds_no_library_that_draws_for_people() -> None:
    """structlog and httpx import them where they are installed; it takes memory at rest."""
    modules = imported("import reactor.__main__ as m; sys.argv = ['reactor']; m.main()")  # without settings it ends
    assert modules >= {"reactor.service", "structlog", "httpx"}
    assert not modules & {"click", "pygments", "rich"}


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    helps = {name: command.help.split("\n\n")[0] for name, command in whole().commands.items()}
    assert helps == {name: command.does for name, command in COMMANDS.items()}
