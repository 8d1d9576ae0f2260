"""What the fixtures of databases hand out."""

import os
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


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
