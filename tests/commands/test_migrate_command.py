"""`python -m reactor migrate` as an operator meets it, in a checkout and installed from the wheel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from reactor.cli import app
from tests.support.databases import Database

CHECKOUT = Path(__file__).resolve().parents[2]


def test_it_migrates_and_says_what_is_missing(empty_database: str) -> None:
    runner = CliRunner(env={"DATABASE_URL": empty_database})
    before = runner.invoke(app, ["migrate", "--check"])
    assert before.exit_code == 1
    assert before.stdout.startswith("Migration 0001_enums is not applied.\n")
    done = runner.invoke(app, ["migrate"])
    assert done.exit_code == 0
    assert done.stdout.startswith("Applying 0001_enums.\n")
    assert done.stdout.endswith("Nothing is missing.\n")
    after = runner.invoke(app, ["migrate", "--check"])
    assert (after.exit_code, after.stdout) == (0, "Nothing is missing.\n")
    again = runner.invoke(app, ["migrate", "--database-url", empty_database], env={"DATABASE_URL": None})
    assert (again.exit_code, again.stdout) == (0, "Nothing is missing.\n")


def test_a_program_reads_json(empty_database: str) -> None:
    runner = CliRunner(env={"DATABASE_URL": empty_database})
    before = runner.invoke(app, ["migrate", "--check", "--json"])
    assert before.exit_code == 1
    assert json.loads(before.stdout)["missing"][0] == "Migration 0001_enums is not applied."
    done = runner.invoke(app, ["migrate", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["done"][0] == "Applying 0001_enums."
    assert done.stderr.startswith("Applying 0001_enums.\n")
    assert json.loads(runner.invoke(app, ["migrate", "--json"]).stdout)["missing"] == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"SUPABASE_URL": "https://x.supabase.co"}, "the direct connection or of the session pooler"),
    ],
)
def test_without_an_address_it_says_which_one_to_give(environment: dict[str, str], message: str) -> None:
    cleared = {"DATABASE_URL": None, "SUPABASE_URL": None}
    result = CliRunner().invoke(app, ["migrate"], env={**cleared, **environment})
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_error_is_a_sentence_and_keeps_the_password(tmp_path: Path) -> None:
    url = f"postgresql://me:hunter2@/x?host={tmp_path}"
    result = CliRunner().invoke(app, ["migrate", "--check", "--database-url", url])
    assert result.exit_code == 2
    assert result.stderr.startswith("The database cannot be inspected: ")
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_a_damaged_database_is_named(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("drop trigger sync_outbox_wake_insert on sync_outbox")
    result = CliRunner().invoke(app, ["migrate", "--check", "--database-url", database.reactor])
    assert (result.exit_code, result.stdout) == (1, "Trigger sync_outbox_wake_insert on sync_outbox is missing.\n")


@pytest.fixture(scope="module")
def installed_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a clean virtual environment: the pinned requirements by their hashes, then the built wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    [wheel] = directory.glob("*.whl")
    uv = str(Path(sys.executable).parent / "uv")
    python = directory / "clean" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(directory / "clean")], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(python)]
    subprocess.run([*install, "--require-hashes", "-r", "requirements/run.txt"], cwd=CHECKOUT, check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    subprocess.run([uv, "pip", "check", "-q", "--python", str(python)], check=True)
    return python


def test_the_installed_package_brings_its_sql(installed_python: Path, empty_database: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [installed_python, *arguments],
            cwd=tmp_path,
            env={**environment, "DATABASE_URL": empty_database},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    where = run("-c", "import reactor.postgres.setup.schema as s; print(s.__file__, s.directory())")
    assert all(Path(path).is_relative_to(installed_python.parent.parent) for path in where.split())
    assert run("-m", "reactor", "migrate").startswith("Applying 0001_enums.\n")
    assert run("-m", "reactor", "migrate", "--check") == "Nothing is missing.\n"
    assert run(
        "-c", "import reactor.postgres.setup.schema as s; print(*[script.id for script in s.examples()])"
    ).split() == [
        "01_tables",
        "02_calendar_events",
        "03_enqueue",
    ]
