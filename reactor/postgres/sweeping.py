"""Takes over items whose worker was lost, one portion after another; the statements are in outbox.sql.

A portion is one transaction. A portion that the server refuses is halved until one row stands alone, and that row is
set aside, so that it delays no other. A sweep makes a limited number of these trials; the next sweep goes on.

Rows of an older release are judged by their item's lock, which the sweep takes. All replicas sweep at once and share
the server's lock table, so few of those rows come in one portion (docs/scaling.md, Locks).
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg

from reactor.errors import RefusedError
from reactor.postgres.claim import SweepResult, set_aside
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.statements import statements

TRIALS = 24
"""Refusals in one sweep: enough to find one row among a thousand twice."""
PAGE = 1000
"""Orphans that are looked for at once."""
OLDER = 100
"""Orphans of an older release in one portion."""

_SQL = statements("outbox")
_FIRST = UUID(int=0)

Run = Callable[..., Awaitable[Any]]
"""Runs a function with the session's connection and some arguments; raises RefusedError where the server refuses."""

Found = tuple[list[Row], bool]
"""Orphans, and whether another replica has items in flight."""


async def sweep(
    run: Run, orphans_after: Callable[[TrioConnection, UUID], Awaitable[Found]], ceiling: int
) -> SweepResult:
    """Take over all orphans that can be taken over now.

    Args:
        run: Runs a function in a transaction of the session; see `Run`.
        orphans_after: Finds the orphans after an item's id, `PAGE` at most: id, lease_no, claim_no.
        ceiling: Most attempts, whatever a row says.

    Raises:
        RefusedError: The server refuses a sweep of nothing too.
    """
    orphans, others_in_flight = await run(orphans_after, _FIRST)
    swept, found, trials = SweepResult(), 0, 0
    while orphans:
        found += len(orphans)
        pending = portions(orphans)
        while pending and trials < TRIALS:
            portion = pending.pop()
            try:
                [[recovered, dead]] = await run(take_over, portion, ceiling, trials > 0)
            except RefusedError as error:
                if not trials:
                    await run(take_over, [], ceiling, False)  # refused without any item: no row is the cause
                trials += 1
                pending += await _halves(run, portion, error)
            else:
                swept = SweepResult(swept.recovered + recovered, swept.dead + dead)
        if len(orphans) < PAGE:
            break
        orphans, _ = await run(orphans_after, orphans[-1][0])
    return replace(swept, again=others_in_flight or found > swept.recovered + swept.dead)


def portions(orphans: list[Row]) -> list[list[Row]]:
    """Divide orphans such that their sweeps take few locks."""
    older = [row for row in orphans if row[1] is None]
    divided = [older[first : first + OLDER] for first in range(0, len(older), OLDER)]
    return [*divided, leased] if (leased := [row for row in orphans if row[1] is not None]) else divided


async def _halves(run: Run, portion: list[Row], error: RefusedError) -> list[list[Row]]:
    """Halve a portion that was refused; a row that was refused alone is set aside."""
    if (half := len(portion) // 2) > 0:
        return [portion[half:], portion[:half]]
    if isinstance(error.__cause__, psycopg.Error):
        await run(set_aside, portion[0][0], error.__cause__)
    return []


async def take_over(
    connection: TrioConnection,
    orphans: list[Row],
    ceiling: int,
    hurried: bool,  # noqa: FBT001  (an argument of `Run`)
) -> list[Row]:
    """Take over some orphans; in less time where some were refused already."""
    ids, leases, claims = ([row[column] for row in orphans] for column in range(3))
    async with connection.transaction():
        if hurried:
            await connection.execute(_SQL["hurry"])
        params = {"ids": ids, "leases": leases, "claims": claims, "ceiling": ceiling}
        return await (await connection.execute(_SQL["sweep"], params)).fetchall()
