"""What the fixtures of databases hand out, and what tests ask of a database."""

import os
import select
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


class Server:
    """A PostgreSQL server on which tests make databases.

    Attributes:
        admin_dsn: Connection string of a superuser.
        psql: The client's program, None where there is none.
    """

    def __init__(self, admin_dsn: str, psql: str | None) -> None:
        self.admin_dsn = admin_dsn
        self.psql = psql
        self._made = 0

    def dsn(self, database: str, **options: str) -> str:
        return make_conninfo(self.admin_dsn, dbname=database, **options)

    def create_database(self, template: str = "template0") -> str:
        """Make a database; return its name."""
        self._made += 1
        name = f"reactor_test_{os.getpid()}_{self._made}"
        self._execute(sql.SQL("create database {} template {}").format(*map(sql.Identifier, (name, template))))
        return name

    def drop_database(self, name: str) -> None:
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a session of the superuser."""
        return psycopg.connect(self.admin_dsn, autocommit=True)

    def _execute(self, statement: sql.Composed) -> None:
        with self.session() as session:
            session.execute(statement)


@dataclass(frozen=True)
class Database:
    """A migrated database of its own.

    Attributes:
        owner: Connection string of the tables' owner, who is not held by row level security.
        reactor: Connection string of a login in `calendar_sync_reactor`, with the rights the reactor has in production.
    """

    owner: str
    reactor: str


def in_memory() -> Path | None:
    """A file system in memory, if there is a large one.

    The suite makes a thousand databases of three hundred files, and half of what that takes is the disk's.
    """
    memory = Path("/dev/shm")
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 8 << 30
    return memory if has_room else None


def sql_file(name: str) -> bytes:
    """Read an SQL file that lies beside the tests."""
    return (Path(__file__).parent / name).read_bytes()


def deploy(dsn: str, items: int) -> str:
    """Make an empty database what a deployment has: the contract, rows, and nothing of ours."""
    with psycopg.connect(dsn) as owner:
        owner.execute("select set_config('tests.items', %s, false)", (str(items),))
        owner.execute(sql_file("deployed_schema.sql"))
        owner.execute(sql_file("deployed_rows.sql"))
    return dsn


def catalogue(dsn: str) -> list[str]:
    """Return what the database's catalogue says about the schema."""
    with psycopg.connect(dsn) as connection:
        return [line for (line,) in connection.execute(sql_file("catalogue.sql"))]


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        select.select([], [], [], 0.01)
