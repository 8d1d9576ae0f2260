"""Deletes what was settled long ago, the oldest first, a portion in a transaction.

The server may refuse a row: a table of the application's refers to it, a trigger raises. Then its portion stays, a
smaller one is tried, and at last the row is passed by, alone. It is met again the next time.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from reactor.errors import ReactorError
from reactor.postgres.blame import may_be_divided
from reactor.postgres.driver import Row
from reactor.postgres.errors import as_ours
from reactor.postgres.statements import statements

SQL = statements("housekeeping")


class Place(NamedTuple):
    """A place among what is old.

    Attributes:
        moment: When a row was settled; text where Python has no such time.
        id: The row's.
    """

    moment: Any
    id: UUID


BEGIN = Place("-infinity", UUID(int=0))


@dataclass(frozen=True, slots=True)
class Portion:
    """What became of a portion.

    Attributes:
        found: Rows that are in it.
        deleted: Rows that are gone.
        last: Where it ends.
        refusal: Why all of it stays.
    """

    found: int
    deleted: int
    last: Place
    refusal: ReactorError | None = None


def delete_portion(connection: psycopg.Connection[Row], *, days: int, rows: int, after: Place) -> Portion | None:
    """Delete what is older than some days: so many rows, after a place.

    Returns:
        None where nothing is left, or another replica is at it.

    Raises:
        psycopg.Error: The server refuses, and not for a row's sake.
    """
    found: list[Row] = []
    try:
        with connection.transaction():
            found = connection.execute(SQL["old"], {"days": days, "rows": rows, **after._asdict()}).fetchall()
            if not found:
                return None
            deleted = connection.execute(SQL["delete"], {"ids": [row[0] for row in found]}).rowcount
    except psycopg.Error as error:
        if not found or not may_be_divided(error.sqlstate):
            raise
        return Portion(len(found), 0, _end(found), as_ours(error))
    return Portion(len(found), deleted, _end(found))


def _end(found: list[Row]) -> Place:
    item_id, moment = found[-1]
    return Place(moment, item_id)
