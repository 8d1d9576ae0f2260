"""The operator's connection to the database: one session for the time of a command, errors as sentences.

A role that row level security holds would see an empty outbox and no error; that is found out first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import JsonbLoader

from reactor.errors import ConfigurationError, ReactorError, TransientError
from reactor.postgres.session import CLIENT_END, CONNECT_TIMEOUT
from reactor.postgres.statements import statements

Row = dict[str, Any]

_SQL = statements("desk")
_STATEMENT_TIMEOUT = "60s"
_LOCK_TIMEOUT = "5s"


class _Moment(TimestamptzLoader):
    """A time, or its text where it is infinite or too far away for a datetime."""

    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Document(JsonbLoader):
    """A document, or its text where it is too deep, or a number in it too long, to be read."""

    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except (ValueError, RecursionError):
            return bytes(data).decode()


class Desk:
    """A session; made by `open_desk`. Each statement commits by itself."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, statement: LiteralString, /, **params: Any) -> list[Row]:
        """Run a statement; return its rows by the names of their columns."""
        cursor = self._connection.execute(statement, params)
        return cursor.fetchall() if cursor.description else []

    def row(self, statement: LiteralString, /, **params: Any) -> Row | None:
        """Run a statement; return its first row."""
        return next(iter(self.rows(statement, **params)), None)

    def one(self, statement: LiteralString, /, **params: Any) -> Row:
        """Run a statement that always has a row; return it."""
        [found] = self.rows(statement, **params)
        return found

    def rehearse(self, statement: LiteralString, /, **params: Any) -> None:
        """Run a statement and take it back: raises what it would raise, and changes nothing."""
        with self._connection.transaction(force_rollback=True):
            self._connection.execute(statement, params)

    def know(self, workspace: UUID) -> None:
        """Make sure that there is such a workspace.

        Raises:
            ConfigurationError: It has no connection and no item, and never had one applied.
        """
        if not self.one(_SQL["is_known"], workspace=workspace)["known"]:
            raise ConfigurationError(
                f"Nothing is known of workspace {workspace}: it has no connection and no open item. See "
                "`python -m reactor connections list` for those that there are."
            )


@contextmanager
def open_desk(dsn: str, *, name: str) -> Iterator[Desk]:
    """Connect for the time of a command.

    Args:
        dsn: libpq's connection string or URL.
        name: The command, for `pg_stat_activity`.

    Raises:
        TransientError: The database cannot be reached, or took too long.
        ConfigurationError: It is not the reactor's, or the role may not do what it is asked to.
    """
    with errors_as_sentences():
        conninfo = make_conninfo(dsn, connect_timeout=CONNECT_TIMEOUT, **CLIENT_END)
        connection = psycopg.connect(conninfo, autocommit=True, row_factory=dict_row, prepare_threshold=None)
        connection.adapters.register_loader("timestamptz", _Moment)
        connection.adapters.register_loader("jsonb", _Document)
        with connection:
            desk = Desk(connection)
            title = f"calendar-sync-reactor {name}"
            desk.rows(_SQL["session"], name=title, statement=_STATEMENT_TIMEOUT, lock=_LOCK_TIMEOUT)
            found = desk.one(_SQL["standing"])
            if not found["has_outbox"]:
                raise ConfigurationError(
                    f"The database {found['database']!r} has no sync_outbox. Look whether DATABASE_URL names the right "
                    "one; if it does, run `python -m reactor migrate` as the owner of its tables."
                )
            if found["is_blind"]:
                raise ConfigurationError(
                    f"Row level security hides the outbox from {found['role']!r}. Use a login in the role "
                    "calendar_sync_reactor (docs/schema.md, Roles), or the owner of the tables."
                )
            yield desk


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except ReactorError:
        raise
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.UndefinedObject) as error:
        raise ConfigurationError(
            f"The database lacks what this needs ({error.diag.message_primary}): run `python -m reactor migrate` as "
            "the owner of its tables."
        ) from error
    except errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"The role may not do this ({error.diag.message_primary}). Use a login in the role calendar_sync_reactor "
            "(docs/schema.md, Roles), or the owner of the tables."
        ) from error
    except errors.QueryCanceled as error:
        raise TransientError(
            "The database took too long. If it is busy, try again later; a --workspace makes less work."
        ) from error
    except errors.LockNotAvailable as error:
        raise TransientError("Somebody holds a lock on the row: look for an open transaction, try again.") from error
    except psycopg.OperationalError as error:
        raise TransientError(
            f"The database does not let us in: {str(error).strip()} Look at host, port, name and password in "
            "DATABASE_URL, and whether the server runs."
        ) from error
    except psycopg.Error as error:
        raise TransientError(
            f"The database refused ({error.diag.message_primary or type(error).__name__}): `python -m reactor check` "
            "may say why."
        ) from error
