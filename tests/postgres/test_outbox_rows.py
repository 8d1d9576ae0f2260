"""Whatever a row holds, it costs itself and no other row: what a claim takes beside it."""

from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import replace
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
import trio
from psycopg.abc import Buffer
from psycopg.types.string import ByteaBinaryLoader

from reactor.core.dispatch.gate import LookResult
from reactor.core.item import Binding, Item, Oversized, Settlement, SettlementResult, SourceState
from reactor.core.payload import LARGEST
from reactor.postgres import claimer
from reactor.postgres.claim import Pass, SetAside, claim
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.postgres.test_outbox_settles import BINDING
from tests.support.databases import Database
from tests.support.outbox_world import World, workspace

DUE = ["infinity", "-infinity", "4714-11-24 00:00+00 BC", "294276-12-31 23:59+00", None]
REFUSE = "create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.connection.execute("alter table sync_outbox alter column next_attempt_at drop not null")
    world.connection.execute("alter table sync_outbox alter column created_at drop not null")
    world.connect("w")
    world.connect("x")
    yield world
    world.close()


@pytest.fixture
def aside() -> list[SetAside]:
    return []


@pytest.fixture
async def outbox(database: Database, aside: list[SetAside]) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        yield Outbox(session, on_aside=aside.append)


async def take(outbox: Outbox, slots: int = 50) -> dict[UUID, Item]:
    """Claim until there is nothing more."""
    taken: dict[UUID, Item] = {}
    while (claimed := await outbox.claim(slots=slots)).look.found is LookResult.WORK:
        taken |= {item.id: item for item in claimed.items}
    return taken


@pytest.mark.parametrize("due", DUE)
async def test_what_is_never_due_waits_and_what_is_ancient_is_due(
    world: World, outbox: Outbox, due: str | None
) -> None:
    odd, innocent = world.insert("a", next_attempt_at=due), world.insert("b")
    other = world.insert("c", of="x")
    taken = set(await take(outbox))
    assert taken - {odd} == {innocent, other}
    assert (odd in taken) is (due is not None and ("BC" in due or due.startswith("-")))


@pytest.mark.parametrize("born", ["infinity", "-infinity", "4714-11-24 00:00+00 BC", None])
async def test_an_age_is_a_number(world: World, outbox: Outbox, born: str | None) -> None:
    row = world.insert(created_at=born)
    assert isinstance((await take(outbox))[row].age, float)


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 3000 + "]" * 3000, '"just a string"', "null", "[]"])
async def test_what_python_cannot_read_comes_as_text(world: World, outbox: Outbox, text: str) -> None:
    row, innocent = world.insert("a"), world.insert("b")
    world.connection.execute("update sync_outbox set payload = %s::jsonb where id = %s", (text, row))
    taken = await take(outbox)
    assert set(taken) == {row, innocent}
    assert isinstance(taken[row].payload, bytes)


def weight(items: Collection[Item]) -> int:
    return sum(len(item.payload) for item in items if isinstance(item.payload, bytes))


async def test_payloads_are_bounded_by_one_and_by_all(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimer, "BYTES_IN_FLIGHT", 400_000)
    monkeypatch.setattr(claimer, "BYTES_PER_CLAIM", 100_000)
    sizes = (5_000_000, *range(200_000, 250_000, 10_000), 150_000, 100_000, 10)
    rows = {world.insert(str(size), payload={"pad": "x" * size}): size for size in sizes}
    noise = world.insert("noise")
    random = "(select string_agg(md5(n::text), '') from generate_series(1, 100000) n)"
    world.connection.execute(
        f"update sync_outbox set payload = payload || jsonb_build_object('pad', {random}) where id = %s".encode(),
        (noise,),
    )
    seen: dict[UUID, Any] = {}
    while (claimed := await outbox.claim(slots=50)).look.found is not LookResult.NOTHING:
        assert weight(claimed.items) <= 100_000 + LARGEST
        assert weight(outbox.in_flight) <= 400_000 + LARGEST
        seen |= {item.id: item.payload for item in claimed.items}
        if claimed.look.found is LookResult.FULL:
            assert await outbox.settle([Settlement(outbox.in_flight[0], "COMPLETED", 0)]) == [SettlementResult.WRITTEN]
            assert outbox.followed
    assert isinstance(seen[noise], Oversized)
    assert {size: type(seen[row]) for row, size in rows.items()} == {
        size: Oversized if size > LARGEST else bytes for size in sizes
    }
    assert isinstance(huge := next(seen[row] for row, size in rows.items() if size == 5_000_000), Oversized)
    assert 5_000_000 < huge.size < 5_001_000


async def test_a_payload_that_is_too_large_does_not_leave_the_server(world: World, database: Database) -> None:
    """What is thrown away after it was read has been in memory: a thousand of them are the process's end."""
    fetched: list[int] = []

    class Weighed(ByteaBinaryLoader):
        def load(self, data: Buffer) -> Buffer:
            fetched.append(len(data))
            return super().load(data)

    async def weigh(connection: TrioConnection) -> None:
        connection.adapters.register_loader("jsonb", Weighed)

    for of, operation in (("w", "UPSERT_EVENT"), ("x", "REBUILD_ALL")):
        world.insert(of=of, operation=operation, payload={"pad": "x" * LARGEST})
    world.insert("small")
    async with open_session(database.reactor, name="claims") as session:
        await session.run(weigh)
        assert len(await take(Outbox(session))) == 3
    assert max(fetched) < LARGEST


async def test_a_row_that_cannot_be_changed_is_set_aside(world: World, outbox: Outbox, aside: list[SetAside]) -> None:
    bad = world.insert("bad", payload={"bad": True})
    good = {world.insert(f"s{n}", of="wx"[n % 2]) for n in range(20)}
    world.connection.execute("alter table sync_outbox add constraint good check (not payload ? 'bad') not valid")
    assert set(await take(outbox)) == good
    assert aside == [SetAside(bad, workspace(), "23514", "good")]
    assert world.status(bad)[0] == "PENDING"
    newer = world.insert("bad")
    assert set(await take(outbox)) == {newer}, "its source goes on"


@pytest.mark.parametrize("of", ["w", "x"])
@pytest.mark.parametrize(("bad", "slots"), [(1, 1), (7, 1), (30, 4)])
async def test_what_cannot_be_changed_hides_nothing_behind_it(
    world: World, outbox: Outbox, aside: list[SetAside], of: str, bad: int, slots: int
) -> None:
    """Also after a refusal that held all, when one item is claimed: bad rows, old and many, are not that one."""
    for number in range(bad):
        world.insert(f"bad {number}", of=of, payload={"bad": True})
    good = world.insert("good", of="w")
    world.connection.execute("alter table sync_outbox add constraint good check (not payload ? 'bad') not valid")
    assert set(await take(outbox, slots)) == {good}
    assert len(aside) == bad


@pytest.mark.parametrize(("locked", "slots"), [(7, 1), (30, 4)])
@pytest.mark.parametrize(
    "lock",
    [
        "select from sync_outbox where id = any (%s) for update",
        "select try_lock_outbox_item(id) from unnest(%s::uuid[]) as t (id)",
    ],
)
async def test_what_is_locked_hides_nothing_behind_it(
    world: World, database: Database, outbox: Outbox, locked: int, slots: int, lock: LiteralString
) -> None:
    held = [world.insert(f"held {number}") for number in range(locked)]
    good = world.insert("good")
    with psycopg.connect(database.owner) as holder:
        holder.execute(lock, [held])
        assert set(await take(outbox, slots)) == {good}


async def test_it_is_tried_again_and_forgotten_once_it_can_be_changed(world: World, outbox: Outbox) -> None:
    bad = world.insert("bad", payload={"bad": True})
    world.connection.execute("alter table sync_outbox add constraint good check (not payload ? 'bad') not valid")
    assert await take(outbox) == {}
    world.connection.execute("update sync_set_aside set retry_at = now()")
    assert await take(outbox) == {}
    assert world.one("select refusals from sync_set_aside") == 2
    world.connection.execute("alter table sync_outbox drop constraint good")
    world.connection.execute("update sync_set_aside set retry_at = now()")
    assert set(await take(outbox)) == {bad}
    assert world.one("select count(*) from sync_set_aside") == 0


async def test_an_outdated_row_that_cannot_be_changed_is_set_aside(world: World, outbox: Outbox) -> None:
    stale = [world.insert("s", payload={"bad": n == 1}) for n in range(3)]
    newest = world.insert("s")
    world.connection.execute(
        "alter table sync_outbox add constraint good check (payload -> 'bad' is distinct from 'true') not valid"
    )
    [item] = (await take(outbox)).values()
    assert item.id == newest
    await outbox.settle([Settlement(item, "COMPLETED", 0, moves_floor=True)])
    await take(outbox)
    assert [world.status(row)[0] for row in stale] == ["COMPLETED", "PENDING", "COMPLETED"]


async def test_a_check_at_the_end_of_the_transaction_finds_its_row(world: World, outbox: Outbox) -> None:
    bad = world.insert("bad", payload={"bad": True})
    good = {world.insert(f"s{n}", of="wx"[n % 2]) for n in range(9)}
    world.connection.execute(REFUSE)
    world.connection.execute(
        "create constraint trigger late after update on sync_outbox deferrable initially deferred for each row "
        "when (new.payload ? 'bad') execute function refuse()"
    )
    with trio.fail_after(30):
        taken: set[UUID] = set()
        while taken != good:
            taken |= set(await take(outbox))
            await trio.sleep(0.01)
    assert world.one("select (item_id, sqlstate)::text from sync_set_aside") == f"({bad},P0001)"


async def test_a_row_that_cannot_be_read_bars_its_workspace_and_no_other(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged page: whatever reads the row fails."""
    bad = world.insert("bad")
    good = {world.insert(f"s{n}", of="x") for n in range(9)}

    async def damaged(connection: TrioConnection, params: dict[str, Any]) -> Pass:
        if params["workspaces"] != [workspace("x")]:
            await connection.execute("do $$ begin raise data_corrupted; end $$")
        return await claim(connection, params)

    with monkeypatch.context() as patched:
        patched.setattr(claimer, "claim", damaged)
        patched.setattr(claimer, "claim_apart", damaged)
        assert set(await take(outbox)) == good
        claimed = await outbox.claim(slots=5)
        assert claimed.look.found is LookResult.NOTHING
        assert claimed.look.due_in <= 2, "it is tried again"
    with trio.fail_after(30):
        while not (taken := await take(outbox)):  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert set(taken) == {bad}


LOCKS = {
    "the row": "select from sync_outbox where id = %(id)s for update",
    "what is remembered": "select from sync_sources where source_key = %(key)s for update",
    "the binding": "select from calendar_event_bindings where 'task:' || source_id = %(key)s for update",
    "the binding of a cancel": "select from calendar_event_bindings where 'task:' || source_id = %(key)s for update",
}


@pytest.mark.parametrize("locked", LOCKS)
async def test_what_is_locked_is_settled_later_and_the_rest_now(
    world: World, outbox: Outbox, database: Database, locked: str
) -> None:
    """It keeps its own item: neither other workspaces nor the bindings of its own wait with it."""

    def ends(items: Collection[Item]) -> list[Settlement]:
        memory = SourceState(event_id="e")
        return [
            Settlement(i, "COMPLETED", 0, moves_floor=True, memory=memory, binding=binding_of(i.source_key))
            for i in items
        ]

    [world.insert(f"s{n}", of="wx"[n % 2]) for n in range(6)]
    await outbox.settle(ends((await take(outbox)).values()))
    rows = [world.insert(f"s{n}", of="wx"[n % 2]) for n in range(6)]
    items = await take(outbox)
    done = ends([items[row] for row in rows])
    if locked == "the binding of a cancel":
        done[0] = replace(done[0], memory=SourceState(cancelled=True), binding=None, unbind=True)
    with psycopg.connect(database.owner) as other:
        assert other.execute(LOCKS[locked], {"id": rows[0], "key": items[rows[0]].source_key}).rowcount == 1
        assert await outbox.settle(done) == [SettlementResult.WAITING] + [SettlementResult.WRITTEN] * 5
        assert [item.id for item in outbox.in_flight] == [rows[0]]
        assert await outbox.settle(done[:1]) == [SettlementResult.WAITING]
    assert await outbox.settle(done[:1]) == [SettlementResult.WRITTEN]
    assert {world.status(row)[0] for row in rows} == {"COMPLETED"}


def binding_of(source_key: str) -> Binding:
    return replace(BINDING, source_id=source_key.partition(":")[2])


async def test_a_row_that_a_trigger_leaves_as_it_is_is_not_taken(
    world: World, outbox: Outbox, aside: list[SetAside]
) -> None:
    """A BEFORE trigger that returns null: the update succeeds and changes nothing."""
    bad = world.insert("bad", payload={"bad": True})
    good = {world.insert(f"s{n}", of="wx"[n % 2]) for n in range(9)}
    world.connection.execute("create function skip() returns trigger language plpgsql as 'begin return null; end'")
    world.connection.execute(
        "create trigger skip before update on sync_outbox for each row "
        "when (new.payload ? 'bad') execute function skip()"
    )
    assert set(await take(outbox)) == good
    assert [(each.id, each.sqlstate) for each in aside] == [(bad, "P0002")]
    assert {item.id for item in outbox.in_flight} == good
