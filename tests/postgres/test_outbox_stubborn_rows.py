"""Rows that do not let themselves be changed, each in another way: they stand aside, and everybody else goes on."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import trio

from reactor.core.dispatch.gate import LookResult
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.errors import RefusedError
from reactor.postgres import sweeping
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.statements import statements
from tests.postgres.test_outbox_settles import BINDING
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace

CODES = ["P0001", "AB123", "42501", "40001", "40P01", "08006", "53100", "57014", "P0004", "55P03", "58030", "0A000"]
"""What triggers raise: their own codes, and by way of what they call (another table, a foreign server) the server's."""
REFUSALS = {code: f"raise exception 'no' using errcode = '{code}'" for code in CODES}
SILENT = {
    "does nothing": "return null",
    "undoes it": "new.status := old.status",
    "takes the lease away": "new.lease_no := null",
}
SLOW = {
    "waits for a lock": "perform from workspaces where id = new.workspace_id for update",
    "sleeps": "perform pg_sleep(30)",
}
KINDS = REFUSALS | SILENT | SLOW
LATER = {"sleeps", "AB123", "58030", "0A000"}
"""For `make soak`, and met by the claim in the suite: what sleeps takes ten seconds, the codes are as good as P0001."""
EACH = [pytest.param(kind, marks=[pytest.mark.soak] if kind in LATER else []) for kind in KINDS]
"""As a parameter."""


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.connection.execute("create table workspaces (id uuid primary key)")
    world.connection.execute("grant all on workspaces to public")
    for name in "wx":
        world.connection.execute("insert into workspaces values (%s)", (world.connect(name),))
    yield world
    world.close()


@pytest.fixture
def holder(world: World, database: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction of the application that is open for long, with a lock on what a trigger wants."""
    with psycopg.connect(database.owner) as holder:
        holder.execute("select from workspaces for update")
        yield holder


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[Outbox]:
    async with (
        open_session(database.reactor, name="claims", statement_timeout="3s") as session,
        open_session(database.reactor, name="settles", lock_timeout="100ms", statement_timeout="3s") as writing,
    ):
        yield Outbox(session, writing)


def refuse(world: World, body: str, status: str) -> None:
    """What is bad does not let itself become so."""
    world.connection.execute(
        f"create or replace function stubborn() returns trigger language plpgsql as $$ begin {body}; return new; end $$"
    )
    world.connection.execute(
        "create or replace trigger stubborn before update on sync_outbox for each row "
        f"when (new.payload ? 'bad' and new.status = '{status}') execute function stubborn()"
    )


async def all_of(outbox: Outbox, wanted: set[UUID], seconds: float) -> dict[UUID, Item]:
    """Claim until all that is wanted is in hand."""
    with trio.fail_after(seconds):
        while not wanted <= {item.id for item in outbox.in_flight}:
            try:
                claimed = await outbox.claim(slots=50)
            except RefusedError:
                await trio.sleep(0.1)
                continue
            if claimed.look.found is LookResult.NOTHING:
                await trio.sleep(0.05)
    return {item.id: item for item in outbox.in_flight}


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_claim_goes_on_without_it(world: World, outbox: Outbox, kind: str) -> None:
    refuse(world, KINDS[kind], "PROCESSING")
    bad = {world.insert(f"bad {n}", payload={"bad": True}) for n in range(3)}
    good = {world.insert(f"good {n}", of="wx"[n % 2]) for n in range(6)}
    elsewhere = {row for row in good if world.row(row)["workspace_id"] != world.row(next(iter(bad)))["workspace_id"]}
    await all_of(outbox, elsewhere, 12)
    taken = await all_of(outbox, good, 12)
    assert not bad & set(taken)
    later = world.insert("later", of="x")
    await all_of(outbox, {later}, 12)


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
@pytest.mark.parametrize("kind", EACH)
async def test_a_settle_goes_on_without_it(world: World, outbox: Outbox, kind: str, status: Any) -> None:
    bad = {world.insert(f"bad {n}", payload={"bad": True}) for n in range(3)}
    good = {world.insert(f"good {n}", of="wx"[n % 2]) for n in range(6)}
    items = await all_of(outbox, bad | good, 12)
    refuse(world, KINDS[kind], status)
    ends = [Settlement(item, status, 1 if status == "FAILED" else 0, delay=60) for item in items.values()]
    results: dict[UUID, SettlementResult] = {}
    with trio.fail_after(12):
        while not all(results.get(row) is SettlementResult.WRITTEN for row in good):
            held = [end for end in ends if end.item in outbox.in_flight]
            results |= {end.item.id: each for end, each in zip(held, await outbox.settle(held), strict=True)}
    if kind in ("undoes it", "takes the lease away"):
        return
    assert not any(results[row] is SettlementResult.WRITTEN for row in bad)


async def test_an_end_that_is_refused_is_told_as_that(world: World, outbox: Outbox) -> None:
    """Not as the loss of a worker that lives."""
    row = world.insert("bad", payload={"bad": True})
    items = await all_of(outbox, {row}, 12)
    refuse(world, KINDS["P0001"], "COMPLETED")
    assert await outbox.settle([Settlement(items[row], "COMPLETED", 0)]) == [SettlementResult.LOST]
    world.connection.execute("update sync_set_aside set retry_at = now()")
    assert (await outbox.sweep()).recovered == 1
    assert world.row(row)["last_error"] == "The database refuses to write its outcome (SQLSTATE P0001)."


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("kind", EACH)
async def test_a_sweep_goes_on_without_it(world: World, outbox: Outbox, kind: str) -> None:
    bad = {world.insert(f"bad {n}", payload={"bad": True}) for n in range(3)}
    good = {world.insert(f"good {n}", of="wx"[n % 2]) for n in range(60)}
    await all_of(outbox, bad | good, 12)
    world.connection.execute("update sync_outbox set lease_no = 2147483647 - lease_no")
    refuse(world, KINDS[kind], "PENDING")
    with trio.fail_after(12):
        while any(world.status(row)[0] == "PROCESSING" for row in good):
            await outbox.sweep()


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize("kind", EACH)
async def test_an_outdated_one_that_cannot_end(world: World, outbox: Outbox, kind: str) -> None:
    """What is superseded and does not let itself be put away: each stands aside, and its workspace goes on."""
    bad = {world.insert("s", payload={"bad": True}) for n in range(3)}
    newest = world.insert("s")
    items = await all_of(outbox, {newest}, 12)
    refuse(world, KINDS[kind], "COMPLETED")
    await outbox.settle([Settlement(items[newest], "COMPLETED", 0, moves_floor=True)])
    with trio.fail_after(12):
        while (await outbox.claim(slots=50)).look.found is LookResult.WORK:
            pass
        elsewhere = world.insert("elsewhere", of="x")
        neighbour = world.insert("neighbour")
        await all_of(outbox, {elsewhere}, 12)
        await all_of(outbox, {elsewhere, neighbour}, 12)
    aside = {row for (row,) in world.connection.execute("select item_id from sync_set_aside")}
    assert aside == (set() if kind == "takes the lease away" else bad), "without a lease it may end"


async def test_a_replica_that_freezes_while_it_claims_apart_ends_soon(database: Database) -> None:
    """Nobody else claims meanwhile: its transaction must not last as long as one that only has rows."""
    async with open_session(database.reactor, name="claims") as session:

        async def bounds(connection: TrioConnection) -> list[str]:
            found = []
            async with connection.transaction():
                await connection.execute(statements("outbox")["hurry"])
                cursor = await connection.execute("show idle_in_transaction_session_timeout")
                found += await cursor.fetchall()
            cursor = await connection.execute("show idle_in_transaction_session_timeout")
            return [bound for (bound,) in found + await cursor.fetchall()]

        assert await session.run(bounds) == ["5s", "1min"]


async def test_a_rebuild_that_cannot_be_taken(world: World, outbox: Outbox) -> None:
    refuse(world, REFUSALS["42501"], "PROCESSING")
    bad = world.insert(operation="REBUILD_ALL", payload={"bad": True})
    good = {world.insert(f"good {n}", of="x") for n in range(6)}
    assert bad not in await all_of(outbox, good, 12)
    assert world.one("select sqlstate from sync_set_aside") == "42501"


async def test_orphans_that_are_locked_do_not_hide_others(
    world: World, outbox: Outbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 10)
    rows = [world.insert(f"s{n}", id=UUID(int=n + 1)) for n in range(25)]
    await all_of(outbox, set(rows), 12)
    world.connection.execute("update sync_outbox set lease_no = 2147483647 - lease_no")
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_outbox where id <= %s for update", (rows[12],))
        assert (await outbox.sweep()).recovered == 12


async def test_what_is_set_aside_may_be_locked(world: World, outbox: Outbox, database: Database) -> None:
    refuse(world, REFUSALS["P0001"], "PROCESSING")
    bad = [world.insert(f"bad {n}", payload={"bad": True}) for n in range(2)]
    good = world.insert("good")
    await all_of(outbox, {good}, 12)
    world.connection.execute("update sync_set_aside set retry_at = now()")
    world.connection.execute("update sync_outbox set payload = payload - 'bad' where id = %s", (bad[0],))
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_set_aside for update")
        await all_of(outbox, {bad[0], world.insert("later"), world.insert("later", of="x")}, 5)
        other.rollback()
        other.execute("lock table sync_set_aside in exclusive mode")
        await all_of(outbox, {world.insert("latest"), world.insert("latest", of="x")}, 5)


async def test_a_lease_whose_lock_somebody_has_is_passed_by(world: World, outbox: Outbox) -> None:
    for ahead in range(1, 9):
        world.connection.execute(
            "select pg_advisory_lock(718302, (select last_value::integer from sync_lease_no) + %s)", (ahead,)
        )
    await all_of(outbox, {world.insert()}, 5)


async def test_many_locked_workspaces_cost_the_others_little(world: World, outbox: Outbox, database: Database) -> None:
    world.connection.execute(
        "alter table calendar_event_bindings add foreign key (workspace_id) references workspaces (id)"
    )
    names = [f"locked {n}" for n in range(100)]
    for name in names:
        world.connection.execute("insert into workspaces values (%s)", (world.connect(name),))
    rows = {world.insert(of=name) for name in names}
    items = await all_of(outbox, rows, 12)
    with psycopg.connect(database.owner) as other:
        other.execute("select from workspaces where id <> %s for update", (workspace("x"),))
        ends = [
            Settlement(item, "COMPLETED", 0, binding=replace(BINDING, source_id=source())) for item in items.values()
        ]
        for again in range(6):
            good = (await all_of(outbox, {mine := world.insert(f"good {again}", of="x")}, 5))[mine]
            end = Settlement(good, "COMPLETED", 0, binding=replace(BINDING, source_id=source(f"good {again}")))
            with trio.fail_after(12):
                while (await outbox.settle([end]))[0] is not SettlementResult.WRITTEN:
                    pass
                assert set(await outbox.settle(ends)) == {SettlementResult.WAITING}
    with trio.fail_after(12):
        while outbox.in_flight:
            await outbox.settle(ends)


@pytest.mark.parametrize("value", ["null", "''", "repeat('x', 1000000)"])
async def test_a_connection_without_a_token_is_its_workspaces_trouble(world: World, outbox: Outbox, value: str) -> None:
    world.connection.execute("alter table google_connections alter refresh_token_encrypted drop not null")
    world.connection.execute(
        f"update google_connections set refresh_token_encrypted = {value} where workspace_id = %s".encode(),
        (workspace("w"),),
    )
    rows = {world.insert("a"), world.insert("b"), world.insert("c", of="x")}
    items = await all_of(outbox, rows, 5)
    assert all(len(item.connection.token) <= 8192 for item in items.values())
    assert {item.connection.token for item in items.values() if item.workspace_id == workspace("x")} == {"token"}


@pytest.mark.parametrize("column", ["google_event_id", "calendar_id"])
@pytest.mark.parametrize("value", ["null", "''", "repeat('x', 1000000)"])
async def test_a_binding_that_names_no_event_is_not_read(world: World, outbox: Outbox, column: str, value: str) -> None:
    world.connection.execute(f"alter table calendar_event_bindings alter {column} drop not null".encode())
    world.connection.execute(
        "insert into calendar_event_bindings"
        " (workspace_id, google_event_id, calendar_id, source_type, source_id, event_type)"
        " values (%s, 'e', 'c', 'task', %s, 'MILESTONE'), (%s, 'e', 'c', 'task', %s, 'MILESTONE')",
        (workspace("w"), source("odd"), workspace("w"), source("good")),
    )
    world.connection.execute(
        f"update calendar_event_bindings set {column} = {value} where source_id = %s".encode(), (source("odd"),)
    )
    odd, good = world.insert("odd"), world.insert("good")
    items = await all_of(outbox, {odd, good}, 5)
    assert (items[odd].memory.event_id, items[odd].memory.calendar_id) == (None, None)
    assert (items[good].memory.event_id, items[good].memory.calendar_id) == ("e", "c")


async def test_thousands_that_cannot_be_changed_hide_nobody(world: World, outbox: Outbox) -> None:
    """They are at the head of their workspace, in the order of due times and in that of the sources' keys."""
    refuse(world, REFUSALS["AB123"], "PROCESSING")
    world.connection.execute(
        "insert into sync_outbox (workspace_id, operation, payload, next_attempt_at)"
        " select %s, 'UPSERT_EVENT', jsonb_build_object('bad', true, 'sourceType', 'a', 'sourceId', n),"
        " now() - interval '1 h' from generate_series(1, 2000) n",
        (workspace("w"),),
    )
    await all_of(outbox, {world.insert("elsewhere", of="x")}, 5)
    await all_of(outbox, {world.insert("neighbour")}, 30)
    assert world.one("select count(*) from sync_set_aside") > 0


async def test_rows_that_are_locked_take_nobodys_slot(world: World, outbox: Outbox, database: Database) -> None:
    locked = [world.insert(f"locked {n}") for n in range(200)]
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_outbox for no key update")
        for slots in (1, 2, 50):
            for of in "wx":
                wanted = world.insert(f"{slots}", of=of)
                with trio.fail_after(5):
                    while wanted not in {item.id for item in outbox.in_flight}:
                        await outbox.claim(slots=slots)
    await all_of(outbox, set(locked), 5)


async def test_items_whose_lock_somebody_has_end_a_look_in_the_end(world: World, outbox: Outbox) -> None:
    for n in range(200):
        world.insert(f"locked {n}")
    world.connection.execute("select pg_advisory_lock(hashtext(id::text)) from sync_outbox")
    wanted = world.insert("wanted", of="x")
    for slots in (1, 50):
        with trio.fail_after(5):
            while (await outbox.claim(slots=slots)).look.found is LookResult.WORK:
                pass
    assert [item.id for item in outbox.in_flight] == [wanted]
