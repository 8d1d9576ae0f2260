"""The order of states, watched by one process: the sequence must never fall behind the places that were given out.

db/migrations/0026_order.sql argues the order and how it is mended, 0035_places_anew.sql which places are reserved for
rows from before. The claim itself mends what it meets. This module does what takes more than one look. A service that
begins checks whether any place is ahead of the sequence. A sequence that is lower than this process has ever seen it (a
failover that lost commits, TRUNCATE ... RESTART IDENTITY, a restored backup under the same address) is moved ahead
before it gives out a place twice.

Each mending is logged once, by one replica: the database remembers which were logged.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.statements import statements

_SQL = statements("outbox")


@dataclass(frozen=True, slots=True)
class Mended:
    """The sequence was behind, and was moved ahead.

    Attributes:
        cause: START, CLAIM, SEQUENCE or GOOGLE: how it was found out.
        low: The last place that had been given out.
        high: The place beyond which all lies that is placed from then on.
    """

    cause: str
    low: int
    high: int


class Order:
    """What one process knows of the order, over all of its sessions.

    Args:
        on_mended: Called with each mending that no replica has logged yet.

    Attributes:
        mended: How many mendings this process has reported, by cause.
    """

    def __init__(self, on_mended: Callable[[Mended], object] = lambda _: None) -> None:
        self.mended: Counter[str] = Counter()
        self._on_mended = on_mended
        self._furthest = 0
        self._is_behind = False

    def is_right(self, last: int, *, unlogged: bool) -> bool:
        """Note the last place that was given out; return whether nothing must be mended or reported.

        Args:
            last: The place.
            unlogged: Whether there is a mending that was not logged yet.
        """
        self._is_behind = last < self._furthest
        self._furthest = max(last, self._furthest)
        return not (self._is_behind or unlogged)

    async def put_right(self, connection: TrioConnection) -> None:
        """Check whether any place is ahead of the sequence, mend that, and report what was mended.

        Raises:
            psycopg.Error: The server refused.
        """
        await mend(connection, "SEQUENCE" if self._is_behind else "START", self._furthest)
        cursor = await connection.execute(_SQL["take_unlogged_mendings"], {})
        for row in await cursor.fetchall():
            mended = Mended(*row)
            self.mended[mended.cause] += 1
            self._on_mended(mended)


async def mend(connection: TrioConnection, cause: str, met: int) -> bool:
    """Move the sequence ahead if any place is ahead of it; return whether it was moved.

    For GOOGLE also where the sequence has passed `met`, unless places above it are reserved already.

    Args:
        connection: Where to.
        cause: How it was found out.
        met: A place that was met.

    Raises:
        psycopg.Error: The server refused.
    """
    params: dict[str, Any] = {"cause": cause, "met": met}
    [[mended]] = await (await connection.execute(_SQL["mend"], params)).fetchall()
    return bool(mended)
