"""What is done now and then, on a real database."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from reactor import housekeeping
from reactor.core.health import HealthFacts
from reactor.core.item import Settlement, SettlementResult
from reactor.errors import RefusedError, TransientError
from reactor.housekeeping import Housekeeping
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.retention import Passed, delete_portion
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database
from tests.support.outbox_world import World as Rows, workspace


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = Pool(database.reactor)
    yield pool
    await pool.aclose()


@pytest.fixture
def rounds(database: Database, pool: Pool) -> Housekeeping:
    return Housekeeping(pool, HealthFacts({}), retention_days=30)


def execute(database: Database, statement: str) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(statement.encode())


async def test_what_is_old_is_deleted_in_portions(
    database: Database, rounds: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        database,
        "insert into sync_outbox (workspace_id, operation, payload, status, updated_at)"
        " select gen_random_uuid(), 'CANCEL_EVENT', '{}', 'COMPLETED', now() - (age - 0.5) * interval '1 day'"
        " from generate_series(1, 60) as age",
    )
    monkeypatch.setattr(housekeeping, "PORTION", 7)
    await rounds.clean()
    assert rounds.deleted == 30


OLD = (
    "insert into sync_outbox (workspace_id, operation, payload, status, updated_at)"
    " select gen_random_uuid(), 'CANCEL_EVENT', '{}', 'COMPLETED', now() - interval '31 days'"
    " from generate_series(1, 30)"
)


def deleted_by(connection: psycopg.Connection[Any], *, rows: int) -> int:
    """Delete a portion in a transaction that stays open."""
    connection.execute("select")
    portion = delete_portion(connection, days=30, rows=rows, passed=Passed())
    return portion.found - len(portion.kept) if portion else 0


REFERRED = "create table audits (item uuid references sync_outbox); insert into audits select id from odd"
RAISED = (
    "create function keep() returns trigger language plpgsql as 'begin raise exception ''no''; end';"
    "create trigger keep before delete on sync_outbox for each row when (old.last_error = 'odd')"
    " execute function keep()"
)


KEPT = RAISED.replace("raise exception ''no''", "return null")


@pytest.mark.parametrize(("refuse", "sqlstate"), [(REFERRED, "23503"), (RAISED, "P0001"), (KEPT, None)])
async def test_a_row_that_cannot_be_deleted_keeps_no_other(
    database: Database, rounds: Housekeeping, refuse: str, sqlstate: str | None
) -> None:
    execute(database, OLD)
    for moment in (
        "now() - interval '31 days 1 second'",
        "now() - interval '30 days 1 hour'",
        "'-infinity'",
        "'-infinity'",
    ):
        execute(
            database,
            "insert into sync_outbox (workspace_id, operation, payload, status, last_error, updated_at)"
            f" values (gen_random_uuid(), 'CANCEL_EVENT', '{{}}', 'COMPLETED', 'odd', {moment})",
        )
    execute(database, "create view odd as select id from sync_outbox where last_error = 'odd'")
    execute(database, refuse)
    for _ in range(2):
        with pytest.raises(RefusedError, match=sqlstate) if sqlstate else nullcontext():
            await rounds.clean()
        assert rounds.deleted == 30
    execute(database, "drop table if exists audits; drop trigger if exists keep on sync_outbox")
    await rounds.clean()
    assert rounds.deleted == 34


async def test_what_a_new_consent_would_bring_back_is_kept(database: Database, rounds: Housekeeping) -> None:
    """A dead letter of AUTH may be the one newest state; without a connection there is nothing that brings it back."""
    world = Rows(database)
    world.connect("waits", valid=False)
    world.connect("works")
    old: dict[str, Any] = {"status": "DEAD_LETTER", "updated_at": "2020-01-01"}
    kept = world.insert("a", of="waits", failure_code="AUTH", **old)
    world.insert("b", of="waits", failure_code="FORBIDDEN", **old)
    world.insert("c", of="waits", **old)
    world.insert("d", of="works", **old | {"status": "COMPLETED"})
    world.insert("e", of="left", failure_code="AUTH", **old)
    await rounds.clean()
    assert rounds.deleted == 4
    assert world.status(kept) == ("DEAD_LETTER", 0, "AUTH")
    world.connection.execute("update google_connections set is_valid = true")
    assert world.status(kept) == ("PENDING", 0, None)
    world.close()


async def test_one_replica_at_a_time_deletes(database: Database, rounds: Housekeeping) -> None:
    execute(database, OLD)
    with psycopg.connect(database.reactor) as other:
        assert deleted_by(other, rows=10) == 10
        await rounds.clean()
        assert rounds.deleted == 0, "the other one is at it"
    await rounds.clean()
    assert rounds.deleted == 20


async def test_deleting_waits_for_nobody_and_holds_up_nobody(database: Database, rounds: Housekeeping) -> None:
    """Claims and settles go on beside a portion that is not committed; a row that is locked is passed over."""
    execute(database, OLD)
    rows = Rows(database)
    rows.connect()
    with psycopg.connect(database.reactor) as deleting, psycopg.connect(database.reactor) as reading:
        locked = reading.execute("select id from sync_outbox limit 1 for update").fetchone()
        assert deleted_by(deleting, rows=100) == 29
        item_id = rows.insert()
        async with open_session(database.reactor, name="claims", lock_timeout="100ms") as session:
            outbox = Outbox(session)
            [item] = (await outbox.claim(slots=5)).items
            assert item.id == item_id
            assert await outbox.settle([Settlement(item, "COMPLETED", 0)]) == [SettlementResult.WRITTEN]
        deleting.commit()
        assert rows.one("select count(*) from sync_outbox where id = any(%s)", list(locked or ())) == 1
    assert rows.status(item_id) == ("COMPLETED", 0, None)
    rows.close()


async def test_the_backlog_is_measured(database: Database, rounds: Housekeeping) -> None:
    await rounds.measure()
    assert (rounds.oldest_due, rounds.due_workspaces) == (0.0, 0)
    rows = Rows(database)
    rows.connect()
    rows.insert()
    execute(database, "update sync_outbox set next_attempt_at = now() - interval '1 hour'")
    await rounds.measure()
    assert 3_600 <= rounds.oldest_due < 3_700
    assert rounds.due_workspaces == 1
    rows.close()


async def test_what_waits_is_counted_so_far_and_its_age_is_that_of_the_insert(
    database: Database, rounds: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is not due yet; not what waits for a person to connect again, who is counted instead."""
    rows = Rows(database)
    rows.connect("w")
    rows.connect("parked", valid=False)
    for number in range(5):
        rows.insert(f"s{number}")
        rows.insert(f"s{number}", of="parked")
    rows.insert("done", status="COMPLETED")
    execute(
        database,
        "update sync_outbox set created_at = now() - interval '2 hours', next_attempt_at = now() + interval '1 hour'",
    )
    await rounds.measure()
    assert (rounds.pending, rounds.invalid, rounds.oldest_due) == (5, 1, 0.0)
    assert 7_200 <= rounds.oldest_pending < 7_300
    assert 0 <= rounds.notify_usage < 1
    monkeypatch.setattr(housekeeping, "COUNTED", 3)
    await rounds.measure()
    assert rounds.pending == 3
    rows.close()


async def test_a_schema_that_lacks_something_is_noticed_and_so_is_its_repair(
    database: Database, rounds: Housekeeping
) -> None:
    seen = []
    for word in ("enable", "disable", "enable"):
        execute(database, f"alter table sync_outbox {word} trigger sync_outbox_wake_insert")
        seen.append((len(await rounds.verify()), rounds._facts.schema_current))
    assert seen == [(0, True), (1, False), (0, True)]


async def test_a_database_that_does_not_answer_holds_nothing_up(
    rounds: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "TIMEOUT", 0.001)
    with pytest.raises(TransientError):
        await rounds.verify()


async def test_what_is_set_aside_is_counted_and_forgotten_when_it_is_not_open_any_more(
    database: Database, rounds: Housekeeping
) -> None:
    world = Rows(database)
    world.connect()
    items = [world.insert(f"s{n}") for n in range(3)]
    for item in items:
        world.connection.execute("select sync_outbox_set_aside(%s, 'P0001', null)", (item,))
    world.connection.execute("update sync_outbox set status = 'COMPLETED' where id = %s", (items[0],))
    world.connection.execute("delete from sync_outbox where id = %s", (items[1],))
    await rounds.measure()
    assert rounds.aside == 3
    await rounds.clean()
    await rounds.measure()
    assert rounds.aside == 1
    world.close()


# What is gone

MEMORIES = "select source_key from sync_sources where workspace_id = %s order by 1"
TEXTS = "select payload is not null from sync_sources where workspace_id = %s order by source_key"


def remember(world: Rows, of: str, count: int, **columns: Any) -> None:
    for number in range(count):
        row = {"workspace_id": workspace(of), "source_key": f"task:{number}", "google_event_id": "e"} | columns
        row["payload"] = Jsonb({"event": {"title": "a secret"}})
        world.connection.execute(
            f"insert into sync_sources ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})".encode(),
            list(row.values()),
        )


def memories(world: Rows, of: str) -> int:
    return len(world.connection.execute(MEMORIES, (workspace(of),)).fetchall())


def texts(world: Rows, of: str) -> list[bool]:
    return [kept for (kept,) in world.connection.execute(TEXTS, (workspace(of),))]


async def test_a_workspace_that_is_deleted_leaves_nothing(
    deployed_database: str, reactor_login: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application's tables refer to its workspaces; ours refer to nothing."""
    migrate(deployed_database, progress=lambda _: None)
    database = Database(deployed_database, make_conninfo(deployed_database, **reactor_login))
    world = Rows(database)
    world.connection.execute("truncate sync_outbox, calendar_event_bindings, google_connections")
    for name in ("deleted", "lives"):
        world.connection.execute("insert into workspaces values (%s, %s)", (workspace(name), name))
        world.connect(name)
        remember(world, name, 20)
        world.connection.execute("select sync_outbox_set_aside(%s, 'P0001', null)", (world.insert("s", of=name),))
        world.connection.execute(
            "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 60, 80)",
            (workspace(name),),
        )
    pool = Pool(database.reactor)
    monkeypatch.setattr(housekeeping, "PORTION", 7)
    rounds = Housekeeping(pool, HealthFacts({}), retention_days=30)
    await rounds.clean()
    assert (memories(world, "deleted"), memories(world, "lives")) == (20, 20)
    world.connection.execute("delete from workspaces where id = %s", (workspace("deleted"),))
    await rounds.clean()
    holders = world.connection.execute(
        "select table_name from information_schema.columns"
        " where column_name = 'workspace_id' and table_name like 'sync%%'"
    ).fetchall()
    assert {name for (name,) in holders} >= {"sync_sources", "sync_brakes", "sync_set_aside", "sync_departures"}
    count = "select count(*) from {} where workspace_id = %s"
    left = {name: world.one(count.format(name), workspace("deleted")) for (name,) in holders}
    assert left == dict.fromkeys(left, 0)
    assert texts(world, "lives") == [True] * 20
    assert world.one("select count(*) from sync_brakes") == world.one("select count(*) from sync_set_aside") == 1
    await pool.aclose()
    world.close()


async def test_who_disconnects_may_come_back_as_long_as_settled_items_are_kept(
    database: Database, rounds: Housekeeping
) -> None:
    world = Rows(database)
    world.connect()
    remember(world, "w", 3)
    world.insert("s")  # waits
    disconnect = "delete from google_connections"
    world.connection.execute(disconnect)
    for _ in range(2):
        await rounds.clean()
    assert texts(world, "w") == [True] * 3
    world.connection.execute("update sync_departures set seen_at = now() - interval '29 days'")
    world.connect()
    await rounds.clean()
    assert world.one("select count(*) from sync_departures") == 0
    world.connection.execute(disconnect)
    await rounds.clean()
    assert texts(world, "w") == [True] * 3, "it left anew"
    world.connection.execute("update sync_departures set seen_at = now() - interval '31 days'")
    await rounds.clean()
    assert texts(world, "w") == [False] * 3, "an item waits: its floors are kept, texts are not"
    world.connection.execute("delete from sync_outbox")
    await rounds.clean()
    assert memories(world, "w") == world.one("select count(*) from sync_departures") == 0
    world.close()


@pytest.mark.parametrize("left", ["open", "dead", "bound", "connected"])
async def test_what_may_still_be_needed_is_kept(database: Database, rounds: Housekeeping, left: str) -> None:
    world = Rows(database)
    remember(world, "w", 2)
    if left == "open":
        world.insert("s")
    elif left == "dead":
        world.insert("s", status="DEAD_LETTER", failure_code="BAD_REQUEST")
    elif left == "connected":
        world.connect(valid=False)
    else:
        world.connection.execute(
            "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id,"
            " event_type) values (%s, 'e', 'primary', 'task', gen_random_uuid(), 'MILESTONE')",
            (workspace(),),
        )
    await rounds.clean()
    assert texts(world, "w") == [True, True]
    for table in ("sync_outbox", "calendar_event_bindings", "google_connections"):
        world.connection.execute(f"delete from {table}".encode())
    await rounds.clean()
    assert memories(world, "w") == 0
    world.close()


async def test_thousands_of_workspaces_are_looked_at_in_pages(database: Database, rounds: Housekeeping) -> None:
    execute(
        database,
        "insert into sync_sources (workspace_id, source_key) select gen_random_uuid(), 'task:1'"
        " from generate_series(1, 2500)",
    )
    world = Rows(database)
    world.connect()
    remember(world, "w", 1)
    await rounds.clean()
    assert world.one("select count(*) from sync_sources") == 1
    world.close()


async def test_forgetting_locks_nothing_of_the_application_and_passes_by_what_is_locked(
    database: Database, rounds: Housekeeping
) -> None:
    world = Rows(database)
    remember(world, "w", 3)
    with psycopg.connect(database.owner) as other:
        other.execute("lock table google_connections, calendar_event_bindings in exclusive mode")
        other.execute("select from sync_sources where source_key = 'task:1' for update")
        await rounds.clean()
        assert world.connection.execute(MEMORIES, (workspace(),)).fetchall() == [("task:1",)]
    await rounds.clean()
    assert memories(world, "w") == 0
    world.close()


async def test_acts_are_kept_as_long_as_settled_items(database: Database, rounds: Housekeeping) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into sync_acts (at, who, how, act) select now() - days * interval '1 day', 'ada', 'command', 'x'"
            " from (values (100), (31), (29), (0)) as a (days)"
        )
        await rounds.clean()
        ages = owner.execute("select extract(day from now() - at)::integer from sync_acts order by id").fetchall()
    assert ages == [(29,), (0,)]


async def test_invitations_are_forgotten_some_time_after_they_have_expired(
    database: Database, rounds: Housekeeping
) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into sync_invitations (hash, workspace_id, calendar_id, invited_by, expires_at)"
            " select sha256(days::text::bytea), gen_random_uuid(), 'x', 'ada', now() - days * interval '1 day'"
            " from (values (100), (31), (29), (0)) as a (days)"
        )
        await rounds.clean()
        ages = owner.execute(
            "select extract(day from now() - expires_at)::integer from sync_invitations order by expires_at"
        ).fetchall()
    assert ages == [(29,), (0,)]
