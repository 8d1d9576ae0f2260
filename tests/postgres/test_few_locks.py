"""A server as PostgreSQL ships it, and replicas with all in hand that they may have: its lock table stays nearly empty.

The table is shared by all databases of the server; where it is full, no transaction that writes can go on, whoever's.
"""

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
import trio

from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import in_memory
from tests.support.repeating import Connection, Repeating

BATCH = 1_000  # the largest CALENDAR_SYNC_BATCH_SIZE
MOST_IN_HAND = 15 * BATCH  # with the largest settings
IN_HAND = 2 * BATCH  # what each replica has in hand: more than one claim, and than one sweep
A_FEW = 4  # locks for each replica
WORKSPACES = 200
REPLICAS = 3
OLDER = 100  # items of an older release that a replica sweeps at once

DEFAULTS = {"max_connections": "100", "max_prepared_transactions": "0", "max_locks_per_transaction": "64"}

CONNECTIONS = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)
select md5(n::text)::uuid, 'token', 'primary' from generate_series(1, %s) as n
"""
ITEMS = """
insert into sync_outbox (workspace_id, operation, payload)
select md5((n %% %s + 1)::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object('sourceType', 'task', 'sourceId', md5(n::text)::uuid)
  from generate_series(1, %s) as n
"""
ADVISORY = "select count(*) from pg_locks where locktype = 'advisory'"


class Most(Repeating):
    """Looks for the most advisory locks that there are at once."""

    most = 0

    def step(self, connection: Connection) -> None:
        [[count]] = connection.execute(ADVISORY).fetchall()
        self.most = max(self.most, count)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("needs a server with PostgreSQL's own settings")
    with embedded_postgres(DEFAULTS, below=in_memory()) as server:
        migrate(server.url(), progress=lambda _: None)
        yield server


def others_work(server: EmbeddedPostgres, round_: int) -> None:
    """Transactions of others that write, in this database and in another one."""
    with psycopg.connect(server.url(), autocommit=True) as session:
        session.execute(ITEMS.encode(), (WORKSPACES, 1))
        session.execute(f"create table if not exists somebody_elses_{round_} (n int)".encode())
    with psycopg.connect(server.url("template1"), autocommit=True) as session:
        session.execute(f"create table if not exists somebody_elses_{round_} (n int)".encode())


@pytest.mark.parametrize(
    ("replicas", "in_hand"),
    [(REPLICAS, IN_HAND), pytest.param(8, MOST_IN_HAND, marks=pytest.mark.soak)],
)
async def test_locks_are_few_whatever_is_in_hand(server: EmbeddedPostgres, replicas: int, in_hand: int) -> None:
    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute("truncate sync_outbox, sync_sources, google_connections")
        owner.execute(CONNECTIONS.encode(), (WORKSPACES,))
        owner.execute(ITEMS.encode(), (WORKSPACES, replicas * in_hand))
        owner.execute("analyze")
        with Most(server.url()) as watch:
            async with AsyncExitStack() as sessions:
                for replica in range(1, replicas + 1):
                    session = await sessions.enter_async_context(open_session(server.url(), name=f"replica {replica}"))
                    await fill(Outbox(session), in_hand)
                    [[held]] = owner.execute(ADVISORY).fetchall()
                    assert held <= A_FEW * replica
                    others_work(server, replica)
            assert watch.most <= BATCH + A_FEW * replicas
        with Most(server.url()) as watch:
            await take_over(server, replicas)
            assert watch.most <= A_FEW * replicas


async def test_taking_over_from_an_older_release_takes_few_locks(server: EmbeddedPostgres) -> None:
    """Its items are judged by their locks. Their workers are gone; all new replicas sweep at once."""
    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute("truncate sync_outbox, sync_sources, google_connections")
        owner.execute(CONNECTIONS.encode(), (WORKSPACES,))
        owner.execute(ITEMS.encode(), (WORKSPACES, BATCH))
        owner.execute("update sync_outbox set status = 'PROCESSING', claim_no = 1")
        with Most(server.url()) as watch:
            await take_over(server, REPLICAS)
        assert watch.most <= (OLDER + A_FEW) * REPLICAS


async def fill(outbox: Outbox, most: int) -> None:
    """Claim as much as that."""
    while (slots := min(BATCH, most - len(outbox.in_flight))) > 0:
        assert (await outbox.claim(slots=slots)).items, "there is enough for everybody"


async def take_over(server: EmbeddedPostgres, replicas: int) -> None:
    """All replicas sweep at once, until nothing is in anybody's hands."""

    async def sweep(name: str) -> None:
        async with open_session(server.url(), name=name) as session:
            outbox = Outbox(session)
            while (await outbox.invariants()).orphans:
                await outbox.sweep()

    async with trio.open_nursery() as nursery:
        for replica in range(replicas):
            nursery.start_soon(sweep, f"sweeper {replica}")
