"""Brings a database to the schema that this version needs, while the application goes on writing to it.

The migrations are plain SQL and each may run twice; yoyo runs and records them. What is done around it here:

- A session's advisory lock instead of yoyo's lock table, whose row survives a crash. It dies with the session.
- A lock that blocks writers is asked for under a `lock_timeout` of two seconds, and again after a growing pause.
- An index is built concurrently, outside a transaction. A build that was interrupted leaves an invalid index, which
  `if not exists` would take for done: it is dropped first.
- What was applied once and is broken now (a trigger dropped or disabled, a function replaced) is applied again.
- The backfill runs in small transactions before the migration that would do it in one.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg import errors, sql
from yoyo.migrations import Migration, read_sql_migration

from reactor.errors import ConfigurationError, TransientError
from reactor.postgres.connection.pooler import require_sessions
from reactor.postgres.connection.session_settings import Bounds, connect
from reactor.postgres.setup import inspection, schema
from reactor.postgres.setup.schema import Script
from reactor.postgres.setup.yoyo_backend import Backend
from reactor.postgres.statements import statements

Progress = Callable[[str], None]

_SQL = statements("migrations")
_BACKFILL = "0010_backfill"
_PAGES = 256  # per transaction of the backfill: 2 MB, some thousand rows, tens of milliseconds
_TRIES = 40  # with the pauses below about four minutes
_LONGEST_PAUSE = 5.0  # seconds
_BUSY = (errors.LockNotAvailable, errors.DeadlockDetected)


def migrate(dsn: str, *, progress: Progress) -> None:
    """Apply every migration that is missing, then triggers and roles; changes nothing where nothing is missing.

    Args:
        dsn: Where the database is, as the owner of its tables: anything that libpq takes.
        progress: Called with a sentence for each thing that is done.

    Raises:
        TransientError: The database cannot be reached, or a table lock could not be had for minutes.
        ConfigurationError: The role may not do this, or the schema is not one that can be adopted.
    """
    require_sessions(dsn)
    with _errors_as_ours("migrated", advice=_OWNER), Backend.connected(dsn) as backend:
        _keep_others_out(backend, progress)
        for script in [*schema.migrations(), schema.triggers()]:
            if inspection.problems(backend.connection, script):
                progress(f"Applying {script.id}.")
                _patiently(partial(_apply, backend, script), progress)
        _patiently(partial(_run, backend, schema.roles()), progress)  # grants leave no trace to compare
        left = inspection.problems(backend.connection)
    if left:
        raise ConfigurationError("Migrated, and yet: " + " ".join(left))


def missing(dsn: str) -> list[str]:
    """Return what the database lacks, a sentence each; nothing is changed, and the reactor's role may ask.

    Raises:
        TransientError: The database cannot be reached.
        ConfigurationError: The role may not ask.
    """
    with _errors_as_ours("inspected", advice=_MEMBER), connect(dsn, "calendar-sync inspect", Bounds()) as connection:
        return inspection.problems(connection)


def _apply(backend: Backend, script: Script) -> None:
    if not script.is_migration:
        _run(backend, script)
        return
    for index in inspection.invalid_indexes(backend.connection, script):
        _drop_index(backend, index)
    if script.id == _BACKFILL:
        _backfill_in_portions(backend)
    again = script.id in inspection.recorded(backend.connection)
    backend.apply_one(Migration(script.id, str(script.path), str(script.path.parent)), mark=not again)


def _run(backend: Backend, script: Script) -> None:
    """Run a re-runnable file, each statement on its own."""
    _, _, parts = read_sql_migration(str(script.path))
    for statement in parts:
        backend.connection.execute(statement.encode())


def _drop_index(backend: Backend, name: str) -> None:
    drop = sql.SQL("drop index concurrently if exists public.{}").format(sql.Identifier(name))
    with backend.disable_transactions():
        backend.connection.execute(drop)


def _backfill_in_portions(backend: Backend) -> None:
    row = backend.connection.execute(_SQL["pages"]).fetchone()
    for first in range(0, row[0] if row else 0, _PAGES):
        backend.connection.execute(_SQL["backfill_pages"], {"first": first, "end": first + _PAGES})


def _keep_others_out(backend: Backend, progress: Progress) -> None:
    """Take the lock of the migrations; it is given back when the session ends, however it ends."""
    reported = False
    while backend.connection.execute(_SQL["try_lock"]).fetchone() != (True,):
        if not reported:
            progress("Another migration is running; waiting for it.")
            reported = True
        time.sleep(random.uniform(0.2, 0.5))


def _patiently(action: Callable[[], None], progress: Progress) -> None:
    """Try again for as long as another session holds a lock that the action needs."""
    for attempt in range(_TRIES):
        try:
            return action()
        except _BUSY as error:
            progress(f"Another session holds a lock ({error.diag.message_primary}); trying again.")
            time.sleep(random.uniform(0.5, 1) * min(_LONGEST_PAUSE, 0.1 * 2**attempt))
    raise TransientError(
        "Could not get a table lock for several minutes. Look for long-running transactions, end them, and run this "
        "again."
    )


_OWNER = " (this takes the owner of the tables; creating the role takes CREATEROLE once)"
_MEMBER = " (use a login to which the role calendar_sync_reactor was granted: docs/schema.md, Roles)"


@contextmanager
def _errors_as_ours(done: str, *, advice: str) -> Iterator[None]:
    """Turn psycopg's errors into ours; `advice` is for a right that is missing."""
    try:
        yield
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).strip()
        if isinstance(error, errors.InsufficientPrivilege):
            reason += advice
        kind = TransientError if isinstance(error, psycopg.OperationalError) else ConfigurationError
        raise kind(f"The database cannot be {done}: {reason}") from error
