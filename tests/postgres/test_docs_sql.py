"""Each statement that a page tells a person to type is one that the server takes, on the tables that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.databases import Server
from tests.support.example_database import make_example

DOCS = Path(__file__).resolve().parents[2] / "docs"
WORKSPACE = "7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"
BEGINS = r"(?:select|update|delete|create role|grant)"
SHOWN = re.compile(rf"^ *({BEGINS} [^;`]*);|`({BEGINS} [^`]*?);?`", re.MULTILINE)
STATEMENTS = [
    (page.name, first or second)
    for page in sorted(DOCS.glob("*.md"))
    for first, second in SHOWN.findall(page.read_text("utf-8"))
]


@pytest.fixture(scope="module")
def example(postgres: Server) -> Iterator[str]:
    name = postgres.create_database()
    make_example(postgres.dsn(name))
    with psycopg.connect(postgres.dsn(name), autocommit=True) as owner:
        owner.execute((DOCS.parent / "db" / "console.sql").read_bytes())
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.mark.parametrize(("page", "statement"), STATEMENTS)
def test_what_a_page_has_a_person_type(example: str, page: str, statement: str) -> None:
    """Run and taken back."""
    filled = statement.replace("<the workspace>", WORKSPACE).replace(
        "workspace_id = '…'", f"workspace_id = '{WORKSPACE}'"
    )
    if "pg_terminate_backend" in filled:
        filled = filled.replace("(pid)", "(0)")
    filled = filled.replace("role calendar_sync_keda", "role calendar_sync_reactor").replace(" to …", " to pg_monitor")
    with psycopg.connect(example) as owner:
        if "create role calendar_sync_reactor" not in filled:
            owner.execute(filled.encode())
        owner.rollback()


def test_there_are_some() -> None:
    assert len(STATEMENTS) >= 10
    assert {"migrating.md", "operations.md", "schema.md", "kubernetes.md"} <= {page for page, _ in STATEMENTS}
