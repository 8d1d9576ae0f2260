"""How every session of ours begins: where it connects, what it sets, how it reads values.

A role, a database, a server and a client's environment have some thirty settings that change what a statement means or
returns. We rely on none of them: all code that opens a session calls `connect`, or `set_up` after connecting.

**The primary.** Of several hosts or addresses libpq takes the primary, unless the connection string names something
else in `target_session_attrs`. A server in recovery is refused: nothing can be written there, and its locks are its
own.

**Time-outs.** The server's comes before the client's: a statement that the server gives up costs a refusal, one that
the client gives up costs the session and all that it holds.

**Values that Python cannot hold** (a time before the year 1, after 9999, or infinite; JSON with a number of thousands
of digits, or nested hundreds deep) come as text and not as an error: one odd row must not end a command that lists it.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Format
from psycopg.rows import tuple_row
from psycopg.types.datetime import DateLoader, IntervalLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.json import JsonbLoader, JsonLoader

from reactor.errors import TransientError
from reactor.postgres.statements import statements

CONNECT_TIMEOUT = 5  # seconds, for each address that the name resolves to
STATEMENT_TIMEOUT = 8.0  # seconds in the server; every statement of the service takes milliseconds

_SQL = statements("session_settings")
_DEEPEST = 500  # Python 3.11 reads JSON nested 990 deep, 3.13 10,000 deep, and much that is then done with it fails
_UNKNOWN = 0  # psycopg's own for a type that it does not know, such as an enumeration
_CLIENT_END = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 15_000}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long the server lets a session's statements take, in Postgres' own units; "0" is for ever.

    Attributes:
        statement: A statement.
        lock: Waiting for a lock.
        idle_in_transaction: Silence within a transaction.
        public_first: Whether `public` comes first in the path; otherwise it comes last, if it is not there.
        look_ups: Whether rows are found by index only, so that a plan that is kept stays right when tables grow.
    """

    statement: str = f"{STATEMENT_TIMEOUT:g}s"
    lock: str = "1s"
    idle_in_transaction: str = "60s"
    public_first: bool = False
    look_ups: bool = False


def conninfo(dsn: str) -> str:
    """A connection string with our time-outs, for the primary.

    Args:
        dsn: libpq's connection string or URL.
    """
    given = conninfo_to_dict(dsn)
    primary = "target_session_attrs" not in given and "PGTARGETSESSIONATTRS" not in os.environ
    attrs = {"target_session_attrs": "primary"} if primary else {}
    return make_conninfo(dsn, connect_timeout=CONNECT_TIMEOUT, **_CLIENT_END, **attrs)


def connect(
    dsn: str, name: str, bounds: Bounds, *, kind: type[psycopg.Connection[Any]] = psycopg.Connection, **options: Any
) -> psycopg.Connection[Any]:
    """Open a session in autocommit mode; blocks.

    Args:
        dsn: libpq's connection string or URL.
        name: What `pg_stat_activity` calls it.
        bounds: Its time-outs.
        kind: The class of the session.
        options: More for `psycopg.connect`.

    Raises:
        psycopg.Error: Cannot connect to the database.
        TransientError: The server is not the primary.
    """
    connection = kind.connect(conninfo(dsn), autocommit=True, **options)
    try:
        set_up(connection, name, bounds)
    except BaseException:
        connection.close()
        raise
    return connection


def set_up(connection: psycopg.Connection[Any], name: str, bounds: Bounds) -> None:
    """Give a new connection our settings; it may be done again. Arguments and errors as for `connect`."""
    cursor = connection.cursor(row_factory=tuple_row)
    cursor.execute(
        _SQL["settings"],
        {
            "name": name,
            "statement": bounds.statement,
            "lock": bounds.lock,
            "idle_in_transaction": bounds.idle_in_transaction,
            "public_first": bounds.public_first,
            "look_ups": bounds.look_ups,
        },
    )
    [(in_recovery, _)] = cursor.fetchall()
    if in_recovery:
        raise TransientError(
            "The server is not the primary: it is in recovery, and nothing can be written there. Give DATABASE_URL the "
            "primary, or all hosts of the cluster."
        )
    with suppress(psycopg.errors.InvalidParameterValue):
        cursor.execute(_SQL["notice_gone_clients"])
    read_anything(connection)


def read_anything(connection: psycopg.BaseConnection[Any]) -> None:
    """Have a connection return text where a value is more than Python can hold."""
    adapters = connection.adapters
    adapters.register_loader("timestamptz", _TimestamptzLoader)
    adapters.register_loader("timestamp", _TimestampLoader)
    adapters.register_loader("date", _DateLoader)
    adapters.register_loader("interval", _IntervalLoader)
    adapters.register_loader("json", _JsonLoader)
    adapters.register_loader("jsonb", _JsonbLoader)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":  # psycopg would return bytes
        for name in ("text", "varchar", "bpchar", "name", _UNKNOWN):
            adapters.register_loader(name, _TextLoader)
            adapters.register_loader(name, _TextBinaryLoader)


class _OrText(Loader):
    """Loads by `kind`; what that cannot make a value of is its text."""

    kind: type[Loader]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._value = self.kind(oid, context).load

    def load(self, data: Buffer) -> Any:
        try:
            return self._value(data)
        except (psycopg.DataError, ValueError, OverflowError, RecursionError):
            return bytes(data).decode("utf-8", "replace")


class _TimestamptzLoader(_OrText):
    kind = TimestamptzLoader


class _TimestampLoader(_OrText):
    kind = TimestampLoader


class _DateLoader(_OrText):
    kind = DateLoader


class _IntervalLoader(_OrText):
    kind = IntervalLoader


class _OrJsonText(_OrText):
    """JSON; its text also where it is nested deeper than code in Python can go, whatever this Python's reader can."""

    def load(self, data: Buffer) -> Any:
        value = super().load(data)
        text = bytes(data)
        may_be_deep = text.count(b"[") + text.count(b"{") > _DEEPEST
        return text.decode("utf-8", "replace") if may_be_deep and _is_deep(value) else value


class _JsonLoader(_OrJsonText):
    kind = JsonLoader


class _JsonbLoader(_OrJsonText):
    kind = JsonbLoader


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for outer in level
            if isinstance(outer, (dict, list))
            for child in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


class _TextLoader(Loader):
    """Text from a database that does not know its encoding; what is not UTF-8 in it cannot be read."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


class _TextBinaryLoader(_TextLoader):
    format = Format.BINARY
