"""What housekeeping asks of the database: to measure the backlog, and to delete old rows in portions.

Rows that were settled long ago are deleted, the oldest first, a portion in a transaction. The server may refuse a row,
because a table of the application's refers to it or a trigger raises. Then its portion stays, we try smaller ones, and
in the end pass over that row alone. We also pass over a row that a trigger keeps without an error. The next run meets
these rows again.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from reactor.errors import ReactorError
from reactor.postgres.connection.driver import Row
from reactor.postgres.connection.errors import as_ours, may_be_divided
from reactor.postgres.connection.pool import Pool
from reactor.postgres.statements import statements

SQL = statements("housekeeping")


class Passed(NamedTuple):
    """The rows that we passed over, as far as the next portion would meet them again.

    Attributes:
        moment: When the last of them was settled; text where Python has no such time. What is older is done.
        ids: Those of that moment.
    """

    moment: Any = "-infinity"
    ids: tuple[UUID, ...] = ()

    def by(self, rows: list[Row]) -> "Passed":
        """Return these and some more rows, which are given in the order of their moments."""
        if not rows:
            return self
        moment = rows[-1][1]
        before = self.ids if moment == self.moment else ()
        return Passed(moment, (*before, *(item_id for item_id, at in rows if at == moment)))


@dataclass(frozen=True, slots=True)
class Portion:
    """The outcome of deleting a portion.

    Attributes:
        found: How many rows were in it.
        kept: The rows that are still there: ids and moments.
        refusal: The error because of which all of it stays.
    """

    found: int
    kept: list[Row]
    refusal: ReactorError | None = None


def delete_portion(connection: psycopg.Connection[Row], *, days: int, rows: int, passed: Passed) -> Portion | None:
    """Delete up to `rows` rows that are older than some days.

    Returns:
        None where nothing is left, or another replica is at it.

    Raises:
        psycopg.Error: The server refuses, and not for a row's sake.
    """
    found: list[Row] = []
    try:
        with connection.transaction():
            params = {"days": days, "rows": rows, "moment": passed.moment, "ids": list(passed.ids)}
            found = connection.execute(SQL["old"], params).fetchall()
            if not found:
                return None
            gone = {item for (item,) in connection.execute(SQL["delete"], {"ids": [row[0] for row in found]})}
    except psycopg.Error as error:
        if not found or not may_be_divided(error.sqlstate):
            raise
        return Portion(len(found), found, as_ours(error))
    return Portion(len(found), [row for row in found if row[0] not in gone])


async def backlog(pool: Pool, *, most: int) -> Row:
    """Measure the backlog; counts go up to `most`. Raises what `Pool.execute` raises."""
    [row] = await pool.execute(SQL["backlog"], {"most": most})
    return row


async def forget(pool: Pool, what: str, *, days: int, rows: int) -> int:
    """Delete a portion of rows that are not needed any more; return how many, 0 when nothing is left.

    Args:
        pool: Connections to the database.
        what: The statement's name: `forget_aside`, `forget_brakes`, `forget_departures`, `forget_acts` or
            `forget_invitations`.
        days: How old it is at least.
        rows: As many as that at most.
    """
    [[done]] = await pool.execute(SQL[what], {"days": days, "rows": rows})
    return int(done or 0)


async def forget_workspaces(pool: Pool, after: UUID, *, days: int, rows: int) -> tuple[UUID | None, int]:
    """Forget what is remembered for workspaces that are gone, those that follow `after` in the order of their ids.

    Returns:
        The last one that was looked at, None where there is no further one; and the rows of the largest portion.
    """
    [[last, *portions]] = await pool.execute(SQL["forget_workspaces"], {"after": after, "days": days, "rows": rows})
    return last, max(portions)
