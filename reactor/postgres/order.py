"""The order of states, watched by one process: that the sequence never falls behind what was given out.

db/migrations/0026_order.sql argues the order and how it is mended. What a claim meets is mended by the claim itself.
Here is what takes more than one look: a service that begins looks whether anything is ahead of the sequence, and a
sequence that stands lower than this process has ever seen it (a failover that lost commits, TRUNCATE ... RESTART
IDENTITY, a restored backup under the same address) is moved ahead before it gives out a place twice.

Each mending is told once, by whichever replica comes first: the database remembers which were.
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
    """The sequence was moved ahead.

    Attributes:
        cause: START, CLAIM, SEQUENCE or GOOGLE: how it was found out.
        low: The last place that had been given out.
        high: The place up to which it was moved.
    """

    cause: str
    low: int
    high: int


class Order:
    """What one process knows of the order, over all of its sessions.

    Args:
        on_mended: Told of each mending that no log tells of yet.

    Attributes:
        mended: How many this process has told, by cause.
    """

    def __init__(self, on_mended: Callable[[Mended], object] = lambda _: None) -> None:
        self.mended: Counter[str] = Counter()
        self._on_mended = on_mended
        self._furthest = 0
        self._is_behind = False

    def is_right(self, last: int, *, untold: bool) -> bool:
        """Take note of the last place that was given out; say whether nothing is to be mended or told.

        Args:
            last: The place.
            untold: Whether there is a mending that no log tells of.
        """
        self._is_behind = last < self._furthest
        self._furthest = max(last, self._furthest)
        return not (self._is_behind or untold)

    async def put_right(self, connection: TrioConnection) -> None:
        """Look whether anything is ahead of the sequence, mend that, and tell what was mended.

        Raises:
            psycopg.Error: The server refused.
        """
        await mend(connection, "SEQUENCE" if self._is_behind else "START", self._furthest)
        cursor = await connection.execute(_SQL["tell"], {})
        for row in await cursor.fetchall():
            mended = Mended(*row)
            self.mended[mended.cause] += 1
            self._on_mended(mended)


async def mend(connection: TrioConnection, cause: str, met: int) -> bool:
    """Move the sequence ahead if anything is ahead of it; say whether it was.

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
