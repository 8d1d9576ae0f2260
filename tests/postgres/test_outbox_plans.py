"""What a claim touches does not grow with the queue: counted in buffers, under the reactor's role and its policies.

The application's own indexes are there, as deployments have them: one gives due rows in the order of all workspaces.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from reactor.core.item import AppliedReference, Item, Settlement, SettlementResult
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database, Server

Connection = psycopg.Connection[tuple[Any, ...]]

# Nine of ten in one workspace, 18 states of each source. A claim of 200 updates 200 rows and their entries in a dozen
# indexes: two thirds of what it touches.
FILL = """
insert into sync_outbox (workspace_id, operation, payload, next_attempt_at)
select md5((case when n %% 10 > 0 then 0 else 1 + n / 10 %% 40 end)::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object('sourceType', 'task', 'sourceId', md5('source' || n %% (%(rows)s / 18))::uuid),
       now() - (100000 - n) * interval '1 ms'
  from generate_series(1, %(rows)s) as n;
"""
CONNECTIONS = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)
select md5(n::text)::uuid, 'token', 'primary' from generate_series(0, 40) as n
on conflict do nothing;
"""
APPLICATION = """
create index idx_sync_outbox_pending on sync_outbox (next_attempt_at) where status in ('PENDING', 'FAILED');
create index idx_sync_outbox_workspace on sync_outbox (workspace_id, created_at desc);
"""
REST = f"""
{CONNECTIONS}
insert into sync_sources (workspace_id, source_key, floor_seq)
select workspace_id, sync_source_key(payload, id), 0 from sync_outbox group by 1, 2;
"""
CLAIM = """
explain (analyze, buffers, timing off, summary off, format json)
select * from sync_outbox_claim_next(
  %s::uuid[], %s::text[], null, 32, '{}', %s, %s, 512, 5, 1, false, 100000000, 262144)
"""
BARE_CLAIM = re.sub(r"^\s*explain.*", "", CLAIM, flags=re.MULTILINE)
BIG = "cfcd2084-95d5-65ef-66e7-dff9f98764da"


STATISTICS = ["analyzed", "no statistics", "planned while the queue was empty"]


@pytest.fixture(scope="module", params=STATISTICS)
def sizes(
    request: pytest.FixtureRequest, postgres: Server, migrated_template: str, reactor_login: dict[str, str]
) -> Iterator[list[Connection]]:
    """The reactor's sessions on 4,000 and on 40,000 waiting items."""
    statistics = request.param
    names = []
    connections = []
    for rows in (4_000, 40_000):
        name = postgres.create_database(migrated_template)
        names.append(name)
        with psycopg.connect(postgres.dsn(name), autocommit=True) as owner:
            if statistics != "analyzed":
                owner.execute("alter table sync_outbox set (autovacuum_enabled = false)")
                owner.execute("alter table sync_sources set (autovacuum_enabled = false)")
            owner.execute(APPLICATION)
            connection = psycopg.connect(postgres.dsn(name, **reactor_login))
            connections.append(connection)
            if statistics.startswith("planned"):
                owner.execute(CONNECTIONS)
                make_plans(connection)
            owner.execute(FILL, {"rows": rows})
            owner.execute(REST)
            if statistics == "analyzed":
                owner.execute("vacuum analyze")
    yield connections
    for connection in connections:
        connection.close()
    for name in names:
        postgres.drop_database(name)


def make_plans(connection: Connection) -> None:
    """Claim until plans for all calls are worth making: from the sixth call on."""
    for workspaces in (None, [BIG]):
        for _ in range(10):
            connection.execute(BARE_CLAIM, (workspaces, None, 32, 64))
    connection.commit()


def buffers(connection: Connection, workspaces: list[str] | None, cursors: list[str] | None, slots: int) -> int:
    """Claim, take it back, and say how many buffers it took, the catalogue's aside."""
    touched = 0
    for _ in range(6):  # the first one also reads the catalogue, and a plan of before may come back later
        [[[plan]]] = connection.execute(CLAIM, (workspaces, cursors, slots, 2 * slots)).fetchall()
        top = plan["Plan"]
        assert top["Actual Rows"] > slots * 0.9
        touched = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        connection.rollback()
    return touched


@pytest.mark.parametrize(
    ("workspaces", "slots", "limit"),
    [
        (None, 32, 4_500),
        (None, 200, 12_500),
        ([BIG], 32, 2_500),
        ([BIG], 200, 11_800),
    ],
    ids=["ring", "ring, 200", "big", "big, 200"],
)
def test_a_claim_costs_the_same_beside_ten_times_as_many(
    sizes: list[Connection], workspaces: list[str] | None, slots: int, limit: int
) -> None:
    small, large = (buffers(connection, workspaces, None, slots) for connection in sizes)
    assert large < limit
    assert large < 1.5 * small


def test_looking_by_key_costs_by_the_number_of_keys_looked_at(sizes: list[Connection]) -> None:
    """512 of 2,200, each with its newest row and its floor, and then the claim; the trees are three levels deep."""
    assert buffers(sizes[1], [BIG], ["task:8"], 32) < 512 * 16 + 2_500


def test_no_table_is_read_from_end_to_end(sizes: list[Connection]) -> None:
    """The statistics of tables count sequential scans, those inside a function too."""
    scans = "select sum(seq_scan) from pg_stat_xact_user_tables where relname in ('sync_outbox', 'sync_sources')"
    for connection in sizes:
        for workspaces in (None, [BIG]):
            for _ in range(7):  # from the sixth call on the plan may be a generic one
                connection.execute(BARE_CLAIM, (workspaces, None, 200, 400))
        assert connection.execute(scans).fetchone() == (0,)
        connection.rollback()


SCANS = "select coalesce(sum(seq_scan), 0) from pg_stat_user_tables where relname in ('sync_outbox', 'sync_sources')"


async def test_no_settle_and_no_sweep_reads_a_table_by_a_plan_of_an_empty_queue(database: Database) -> None:
    """Plans are kept from the sixth time on; what they were made for has become another table by then."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("alter table sync_outbox set (autovacuum_enabled = false)")
        owner.execute("alter table sync_sources set (autovacuum_enabled = false)")
        owner.execute(CONNECTIONS)
        async with open_session(database.reactor, name="claims") as session:
            outbox = Outbox(session)
            for _ in range(8):
                owner.execute(FILL, {"rows": 18})
                await settle_all(outbox)
                await outbox.sweep()
            owner.execute(FILL, {"rows": 4_000})
            await session.execute("select pg_stat_force_next_flush()")
            before = owner.execute(SCANS).fetchone()
            assert await settle_all(outbox) > 100
            await outbox.sweep()
            await session.execute("select pg_stat_force_next_flush()")
            assert owner.execute(SCANS).fetchone() == before


ENTRIES = """
select coalesce(sum(idx_tup_read), 0)
  from pg_stat_user_indexes where relname in ('sync_outbox', 'calendar_event_bindings')
"""
FEW = """
delete from sync_outbox where status = 'COMPLETED';
insert into sync_outbox (workspace_id, operation, payload)
select md5('0')::uuid, 'UPSERT_EVENT', jsonb_build_object('sourceType', 'task', 'sourceId', gen_random_uuid())
  from generate_series(1, 3)
"""
BOUND = """
insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id, event_type)
select md5('0')::uuid, 'x', 'primary', 'task', gen_random_uuid(), 'MILESTONE' from generate_series(1, 4000)
"""


async def test_no_settle_walks_an_index_by_a_plan_of_an_empty_queue(database: Database) -> None:
    """A table that was looked at while it was nearly empty is one whose whole index seems the cheapest way."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for table in ("sync_outbox", "sync_sources", "calendar_event_bindings"):
            owner.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
        owner.execute(CONNECTIONS)
        owner.execute(FEW)
        owner.execute("vacuum analyze")
        async with open_session(database.reactor, name="claims") as session:
            outbox = Outbox(session)
            for _ in range(8):
                await settle_all(outbox)
                owner.execute(FEW)
            owner.execute(FILL, {"rows": 4_000})
            owner.execute(BOUND)
            items = (await outbox.claim(slots=200)).items
            await session.execute("select pg_stat_force_next_flush()")
            [[before]] = owner.execute(ENTRIES).fetchall()
            await settle_each(outbox, items)
            await session.execute("select pg_stat_force_next_flush()")
            [[after]] = owner.execute(ENTRIES).fetchall()
            assert len(items) > 100
            assert after - before < 5 * len(items)


async def settle_all(outbox: Outbox) -> int:
    """Claim once and settle it; say how many."""
    items = (await outbox.claim(slots=200)).items
    await settle_each(outbox, items)
    return len(items)


async def settle_each(outbox: Outbox, items: list[Item]) -> None:
    ends = [
        Settlement(i, "COMPLETED", 0, moves_floor=True, memory=i.memory, applied=AppliedReference.ROW) for i in items
    ]
    assert set(await outbox.settle(ends)) <= {SettlementResult.WRITTEN}
