"""Checks whether there is a pooler in between, and whether it gives us sessions.

LISTEN and session advisory locks need one server process for the whole life of a connection. Behind a pooler in
transaction mode each statement may run in another process: LISTEN is accepted and no notification arrives, a lock is
taken in a process that serves another client the next moment. Nothing fails; items are just done twice. So we check it
at start.

A pooler answers the client's start-up itself and makes up the process id that it reports there. If that id is the one
that the server's own `pg_backend_pid()` returns, there is no pooler and nothing more to check. If it is not, there is a
pooler, and two connections show its mode: while one is between two statements, the other opens a transaction. In
session mode each keeps a server process of its own. In transaction mode the second gets the process that the first has
just left (poolers reuse the last one used first; where they do not, the first comes back to another process), or waits
for it where there is only one.
"""

from typing import Any

import psycopg

from reactor.errors import ConfigurationError
from reactor.postgres.connection.errors import not_connected
from reactor.postgres.connection.session_settings import conninfo

_ADVICE = (
    "DATABASE_URL leads through a pooler in transaction mode, where LISTEN and session locks do not work. "
    "Use the direct connection (Supabase: db.<project>.supabase.co, port 5432) or a pooler in session mode "
    "(Supabase: the pooler's host with port 5432 instead of 6543; PgBouncer: pool_mode = session)."
)

Connection = psycopg.Connection[tuple[Any, ...]]


def require_sessions(dsn: str) -> None:
    """Make sure that a connection is a session (blocks; run it in a thread).

    Args:
        dsn: libpq's connection string or URL.

    Raises:
        ConfigurationError: A pooler in transaction mode is in between, or the server refuses a parameter of the
            connection; the message says what to do.
        TransientError: The database cannot be reached.
    """
    # We change no setting here: behind a pooler in transaction mode, other clients' statements would run with it. The
    # process id that the server reports depends on no setting.
    address = conninfo(dsn)
    try:
        with psycopg.connect(address, autocommit=True, prepare_threshold=None) as first:
            pid = _pid(first)
            if pid == first.info.backend_pid:
                return
            with psycopg.connect(address, autocommit=True, prepare_threshold=None) as second, second.transaction():
                if _pid(second) == pid or _pid(first) != pid:
                    raise ConfigurationError(_ADVICE)
    except psycopg.errors.ProtocolViolation as error:  # statement mode refuses the transaction
        raise ConfigurationError(_ADVICE) from error
    except psycopg.OperationalError as error:
        raise not_connected(error) from error


def _pid(connection: Connection) -> int:
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None  # noqa: S101  (for the type checker)
    return int(row[0])
