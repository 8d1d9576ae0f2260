"""The operator's connection to the database: one session for the time of a command, errors as sentences.

A role without a row level security policy would see an empty outbox and no error, so we check that first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.rows import dict_row

from reactor.errors import ConfigurationError, ReactorError, TransientError
from reactor.postgres.connection.errors import not_connected
from reactor.postgres.connection.session_settings import Bounds, connect
from reactor.postgres.shown import shown
from reactor.postgres.statements import statements

Row = dict[str, Any]

_SQL = statements("admin")
_BOUNDS = Bounds(statement="60s", lock="5s")  # a command may read a large table, and waits for people's transactions


class AdminSession:
    """An operator's session; `open_admin_session` makes it. Each statement commits by itself.

    Attributes:
        connection: The session, for what has statements of its own.
        hides_texts: Whether the role may not read texts of events: then they are dots.
    """

    def __init__(self, connection: psycopg.Connection[Row], *, hides_texts: bool = False) -> None:
        self.connection = connection
        self.hides_texts = hides_texts

    def rows(self, statement: LiteralString, /, **params: Any) -> list[Row]:
        """Run a statement; return its rows by the names of their columns."""
        cursor = self.connection.execute(shown(statement) if self.hides_texts else statement, params)
        return cursor.fetchall() if cursor.description else []

    def row(self, statement: LiteralString, /, **params: Any) -> Row | None:
        """Run a statement; return its first row."""
        return next(iter(self.rows(statement, **params)), None)

    def one(self, statement: LiteralString, /, **params: Any) -> Row:
        """Run a statement that always has a row; return it."""
        [found] = self.rows(statement, **params)
        return found

    def dry_run(self, statement: LiteralString, /, **params: Any) -> None:
        """Run a statement and roll it back: raises what it would raise, and changes nothing."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(statement, params)

    def knows_workspace(self, workspace: UUID) -> bool:
        """Whether it has a connection or an item, or ever had one applied."""
        known: bool = self.one(_SQL["workspace_is_known"], workspace=workspace)["known"]
        return known

    def require_workspace(self, workspace: UUID) -> None:
        """Make sure that there is such a workspace.

        Raises:
            ConfigurationError: It has no connection and no item, and never had one applied.
        """
        if not self.knows_workspace(workspace):
            raise ConfigurationError(
                f"Nothing is known of workspace {workspace}: it has no connection to Google and no open item. If the "
                f"id is right, connect it: `python -m reactor connect --workspace {workspace} --calendar …`; "
                "`python -m reactor connections list` shows those that are connected."
            )


@contextmanager
def open_admin_session(dsn: str, *, name: str) -> Iterator[AdminSession]:
    """Connect for the time of a command.

    Args:
        dsn: libpq's connection string or URL.
        name: The command, for `pg_stat_activity`.

    Raises:
        TransientError: The database cannot be reached, or took too long.
        ConfigurationError: It is not the reactor's, or the role may not do what it is asked to.
    """
    with errors_as_sentences():
        title = f"calendar-sync-reactor {name}"
        with connect(dsn, title, _BOUNDS, row_factory=dict_row, prepare_threshold=None) as connection:
            admin = AdminSession(connection)
            require_outbox(admin)
            yield admin


def require_outbox(admin: AdminSession) -> None:
    """Make sure that the database has an outbox, and that this role sees its rows; note whether it may read texts.

    Raises:
        ConfigurationError: It is not the reactor's, or row level security hides the rows.
    """
    found = admin.one(_SQL["database_and_role"])
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
    admin.hides_texts = found["hides_texts"]


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except ReactorError:
        raise
    except UnicodeEncodeError as error:  # an argument whose bytes are no text: Python hands it on as half characters
        if error.encoding != "utf-8":  # of a terminal, which is another matter
            raise
        raise ConfigurationError("What was given holds bytes that are no UTF-8: write it again.") from error
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
        raise TransientError(
            "Another session holds a lock on the row: look for an open transaction, "
            "`python -m reactor locks`, and try again."
        ) from error
    except psycopg.OperationalError as error:
        advice = "Look at host, port, name and password in DATABASE_URL, and whether the server runs."
        raise not_connected(error, advice) from error
    except psycopg.Error as error:
        raise TransientError(
            f"The database refused ({error.diag.message_primary or error.sqlstate or 'without a reason'}): run "
            "`python -m reactor check`, which may say why."
        ) from error
