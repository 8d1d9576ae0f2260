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

from reactor.postgres.connection.session_settings import Bounds, conninfo, set_up
from reactor.postgres.statements import statements

_SQL = statements("migrations")

# We wait for no lock longer than two seconds, because writers queue behind a session that waits for a table; the work
# itself may take as long as it takes. The wait must be above deadlock_timeout, by default 1 s: a session that has
# waited that long makes an autovacuum in its way give up. With 1 s none ever did, with 2 s the lock was there at the
# first try. yoyo looks for its tables in the current schema, so that is public.
_BOUNDS = Bounds(statement="0", lock="2s", idle_in_transaction="0", public_first=True)


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo ships no types
    """Runs and records migrations; differs from yoyo's own in four points.

    - The address goes to libpq as it is. yoyo parses addresses by itself and knows neither the directory of a socket
      nor a key=value string.
    - Every session gets our settings; a migration outside a transaction waits for locks as long as it takes.
    - There is no lock table: the caller holds an advisory lock, which a crash cannot leave behind.
    - The log names the database's user; the operating system's need not have a name in a container.
    """

    @classmethod
    def connected(cls, dsn: str) -> "Backend":
        """Connect to whatever libpq takes."""
        address = DatabaseURI("postgresql+psycopg", None, None, None, None, None, {"conninfo": dsn})
        return cls(address, "_yoyo_migration")

    def connect(self, dburi: DatabaseURI) -> psycopg.Connection[Any]:
        """Open a session; yoyo opens another one for each migration."""
        return psycopg.connect(conninfo(dburi.args["conninfo"]), autocommit=True)

    def init_connection(self, connection: psycopg.Connection[Any]) -> None:
        """Set up a new session, or one that was rolled back."""
        set_up(connection, "calendar-sync migrate", _BOUNDS)

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
