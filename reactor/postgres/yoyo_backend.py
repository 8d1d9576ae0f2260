"""yoyo's backend for psycopg 3, with our sessions."""

import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration

from reactor.postgres.statements import statements

_SQL = statements("migrations")


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo ships no types
    """Runs and records migrations; differs from yoyo's own in four points.

    - The address goes to libpq as it is. yoyo parses addresses by itself and knows neither the directory of a socket
      nor a key=value string.
    - Every session gets our time-outs; a migration outside a transaction waits for locks as long as it takes.
    - There is no lock table: the caller holds an advisory lock, which a crash cannot leave behind.
    - The log names the database's user; the operating system's need not have a name in a container.
    """

    schema = "public"

    @classmethod
    def connected(cls, dsn: str) -> "Backend":
        """Connect to whatever libpq takes."""
        address = DatabaseURI("postgresql+psycopg", None, None, None, None, None, {"conninfo": dsn})
        return cls(address, "_yoyo_migration")

    def connect(self, dburi: DatabaseURI) -> psycopg.Connection[Any]:
        """Open a session; yoyo opens another one for each migration."""
        return psycopg.connect(dburi.args["conninfo"], autocommit=True, application_name="calendar-sync migrate")

    def init_connection(self, connection: psycopg.Connection[Any]) -> None:
        """Set the time-outs of a new session, or of one that was rolled back."""
        super().init_connection(connection)
        connection.execute(_SQL["session"])

    @contextmanager
    def disable_transactions(self) -> Iterator[None]:
        """Run one migration outside a transaction."""
        with super().disable_transactions():
            self.connection.execute(_SQL["wait_for_locks"])
            yield

    @contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:  # noqa: ARG002  (yoyo's signature)
        """Do nothing: the advisory lock is held."""
        yield

    def get_log_data(self, migration: Migration | None = None, operation: str = "apply") -> dict[str, object]:
        """Return one row of yoyo's log."""
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration and migration.id,
            "migration_hash": migration and migration.hash,
            "username": self.connection.info.user,
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }
