"""Fixtures shared by the whole suite.

The suite runs on an embedded PostgreSQL 18, started once; with TEST_DATABASE_URL it runs on that server instead, as
a superuser.
"""

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from reactor.embedded import embedded_postgres

# Machines are shared: no deadline per example, and a slow first example is not a failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

pytest_plugins = ["tests.google_fixtures"]


class Server:
    """A PostgreSQL server on which tests make databases."""

    def __init__(self, admin_dsn: str) -> None:
        self.admin_dsn = admin_dsn
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

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server for the whole run."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield Server(given)
        return
    with embedded_postgres() as server:
        yield Server(server.url())


@pytest.fixture
def empty_database(postgres: Server) -> Iterator[str]:
    """An empty database's connection string, as its owner."""
    name = postgres.create_database()
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.fixture
def own_backends() -> None:
    """The server's processes are ours to freeze."""
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("the server's processes belong to somebody else")
