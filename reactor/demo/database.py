"""The demo's database: one of its own, on an embedded server or on one that is given; dropped when the demo ends."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from reactor.errors import ConfigurationError
from reactor.postgres.connection.session_settings import Bounds, connect
from reactor.postgres.setup import schema
from reactor.postgres.setup.embedded import embedded_postgres
from reactor.postgres.setup.migrations import migrate

_BOUNDS = Bounds(statement="0", lock="0")  # a database is copied, and dropped with the sessions in it


@dataclass(frozen=True, slots=True)
class Database:
    """A database with the example application and the reactor's schema.

    Attributes:
        owner: Connection string of the owner, as whom the application writes.
        reactor: Connection string with the rights that the reactor has in production, where they can be had without
            another password: on the embedded server.
    """

    owner: str
    reactor: str


@contextmanager
def demo_database(server: str | None) -> Iterator[Database]:
    """Make a database with the example application and the reactor's schema; drop it at the end of the block.

    Args:
        server: Connection string of a server on which the role may create databases and roles; None to start one.

    Raises:
        ConfigurationError: There is no embedded server here, or the given one refuses.
    """
    if server is None:
        with embedded_postgres() as own, _database(own.url()) as dsn:
            yield Database(dsn, make_conninfo(dsn, options="-c role=calendar_sync_reactor"))
    else:
        with _database(server) as dsn:
            yield Database(dsn, dsn)


@contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"calendar_sync_demo_{os.getpid()}_{secrets.token_hex(3)}"
    _execute(server, sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name)))
    try:
        dsn = make_conninfo(server, dbname=name)
        _prepare(dsn)
        yield dsn
    finally:
        _execute(server, sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _prepare(dsn: str) -> None:
    tables, *rest = schema.examples()
    _execute(dsn, tables.text.encode())
    migrate(dsn, progress=lambda _: None)
    for script in rest:
        _execute(dsn, script.text.encode())


def _execute(dsn: str, statement: sql.Composed | bytes) -> None:
    try:
        with connect(dsn, "calendar-sync-reactor demo", _BOUNDS) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        raise ConfigurationError(f"The demo cannot have a database of its own: {str(error).strip()}") from error
