"""Asks who holds the claim's lock and the gate's."""

from typing import Any

import psycopg
from psycopg.rows import tuple_row

from reactor.core.holders import Holder, Lock
from reactor.postgres.statements import statements

_SQL = statements("lock_holders")
_LOCKS = (Lock.CLAIM, Lock.GATE)  # by the second number of their keys


def holders(connection: psycopg.Connection[Any]) -> list[Holder]:
    """Return every session that holds the claim's or the gate's lock now.

    Raises:
        psycopg.Error: The server refused.
    """
    cursor = connection.cursor(row_factory=tuple_row).execute(_SQL["holders"])
    return [Holder(_LOCKS[number], *of_session) for number, *of_session in cursor]
