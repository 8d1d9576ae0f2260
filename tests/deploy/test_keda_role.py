"""The scaler's role: it learns one number, cheaply, and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.databases import Database

Connection = psycopg.Connection[tuple[Any, ...]]
ROOT = Path(__file__).resolve().parents[2]
KEDA = (ROOT / "db" / "keda.sql").read_bytes()
[TRIGGER] = [
    trigger
    for document in yaml.safe_load_all((ROOT / "k8s" / "components" / "keda" / "scaled-object.yaml").read_text())
    for trigger in document["spec"].get("triggers", ())
]
DEPTH = TRIGGER["metadata"]["query"]

FILL = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 't', 'c', n <> 4 from generate_series(1, 4) as n;
insert into sync_outbox (workspace_id, operation, payload, status, next_attempt_at)
select ('00000000-0000-0000-0000-' || lpad((n % 5)::text, 12, '0'))::uuid, 'UPSERT_EVENT', '{}',
       case when n <= 100 then 'PENDING' when n <= 200 then 'FAILED' else 'COMPLETED' end::outbox_status,
       case when n % 10 = 1 then now() + interval '1 hour' else now() - interval '1 minute' end
  from generate_series(1, 500) as n
"""


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(KEDA)
        owner.execute(KEDA)  # again is harmless
        owner.execute(FILL)
        yield owner


@pytest.fixture
def scaler(database: Database, owner: Connection) -> Iterator[Connection]:
    name = f"reactor_keda_{os.getpid()}"
    role = sql.Identifier(name)
    owner.execute(sql.SQL("create role {} login password 'p' in role calendar_sync_keda").format(role))
    with psycopg.connect(make_conninfo(database.owner, user=name, password="p"), autocommit=True) as connection:
        yield connection
    owner.execute(sql.SQL("drop owned by {}").format(role))
    owner.execute(sql.SQL("drop role {}").format(role))


def test_it_counts_what_is_due_and_can_be_done(scaler: Connection) -> None:
    """Workspaces 1 to 3 of five: one has no connection, one a dead one; of workspace 1 half is in back-off."""
    assert scaler.execute(DEPTH).fetchone() == (20 + 40 + 40,)


def test_it_stops_counting(scaler: Connection) -> None:
    assert scaler.execute(DEPTH.replace("10000", "7")).fetchone() == (7,)


@pytest.mark.parametrize(
    "statement",
    [
        b"select count(*) from sync_outbox",
        b"select payload from sync_outbox limit 1",
        b"select * from google_connections",
        b"select * from sync_sources",
        b"select * from calendar_event_bindings",
        b"select * from sync_outbox_due_workspaces()",
        b"insert into sync_outbox (workspace_id, operation, payload) values (gen_random_uuid(), 'CANCEL_EVENT', '{}')",
        b"update sync_outbox set attempts = 0",
        b"delete from sync_outbox",
        b"create table mine (id int)",
        b"set role calendar_sync_reactor",
    ],
)
def test_it_can_do_nothing_else(scaler: Connection, statement: bytes) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        scaler.execute(statement)


def test_nobody_else_may_ask(database: Database, owner: Connection) -> None:
    assert owner.execute(DEPTH).fetchone() == (100,)
    with psycopg.connect(database.reactor) as reactor, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reactor.execute(DEPTH)


def test_a_caller_cannot_put_objects_of_their_own_in_its_way(scaler: Connection) -> None:
    scaler.execute("create temporary table sync_outbox (workspace_id uuid, status text, next_attempt_at timestamptz)")
    scaler.execute("set search_path = pg_temp, public")
    assert scaler.execute(DEPTH).fetchone() == (100,)


def test_it_costs_the_same_when_much_waits(owner: Connection) -> None:
    """A hundred thousand items in back-off and as many that are done are not read."""
    owner.execute(
        "insert into sync_outbox (workspace_id, operation, payload, status, next_attempt_at)"
        " select '00000000-0000-0000-0000-000000000002', 'UPSERT_EVENT', '{}',"
        " case when n % 2 = 0 then 'PENDING' else 'COMPLETED' end::outbox_status, now() + interval '1 hour'"
        " from generate_series(1, 200000) as n"
    )
    owner.execute("vacuum analyze sync_outbox")
    plan = owner.execute(b"explain (analyze, buffers, format json) " + DEPTH.encode()).fetchone()
    assert plan is not None
    [report] = plan[0]
    top = report["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 500
