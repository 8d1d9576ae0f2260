"""Whatever the backlogs are and however much is claimed at a time: turns go round."""

from collections import Counter
from uuid import UUID

import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database
from tests.support.outbox_world import World, workspace


@settings(max_examples=12, suppress_health_check=list(HealthCheck))  # the database is emptied for every example
@given(
    backlogs=st.lists(st.integers(1, 40), min_size=2, max_size=7),
    slots=st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_nobody_is_passed_over(database: Database, backlogs: list[int], slots: list[int]) -> None:
    """Claims go by turns to workspaces with much and with little to do, and round in each kind; nobody waits longer."""
    world = World(database)
    try:
        world.connection.execute("truncate sync_outbox, sync_sources, google_connections")
        waiting: Counter[UUID] = Counter()
        for number, rows in enumerate(backlogs):
            waiting[world.connect(str(number))] = rows
            for row in range(rows):
                world.insert(f"{number} {row}", of=str(number))
        assert waiting.keys() == {workspace(str(number)) for number in range(len(backlogs))}
        trio.run(_drain, database, waiting, slots)
    finally:
        world.close()


async def _drain(database: Database, waiting: Counter[UUID], slots: list[int]) -> None:
    async with open_session(database.reactor, name="claims") as session:
        outbox = Outbox(session)
        served = dict.fromkeys(waiting, 0)
        claims = 0
        while waiting:
            claimed = await outbox.claim(slots=slots[claims % len(slots)])
            claims += 1
            assert claimed.items, "there is work, and nothing is in the way of it"
            for item in claimed.items:
                served[item.workspace_id] = claims
                waiting[item.workspace_id] -= 1
            waiting = +waiting
            longest = max((claims - served[workspace_id] for workspace_id in waiting), default=0)
            assert longest <= 2 * len(served), "somebody waited while others had two turns"
