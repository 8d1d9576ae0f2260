"""Items whose worker died, and how they are taken over."""

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
import trio
import trio.testing

from reactor.core.explain.causes import Cause
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.postgres import sweeping
from reactor.postgres.claim import SweepResult
from reactor.postgres.connection.session import SessionLostError, open_session
from reactor.postgres.outbox import Outbox
from tests.support.commands import document
from tests.support.databases import Database, wait_until
from tests.support.outbox_world import World, source, workspace


async def die_with_all(world: World, database: Database) -> None:
    """Claim everything in a session that is then terminated."""
    try:
        async with open_session(database.reactor, name="victim") as session:
            outbox = Outbox(session)
            while (claimed := await outbox.claim(slots=50)).superseded and not claimed.items:
                pass  # what is superseded is a result of its own
            world.connection.execute("select pg_terminate_backend(pid) from sync_lease_holders()")
            await session.execute("select 1")
    except* SessionLostError:
        pass
    wait_until(lambda: world.locks() == 0)


async def test_a_lost_attempt_costs_nothing_at_first_and_its_effects_are_suspected(
    world: World, outbox: Outbox, database: Database
) -> None:
    upsert = world.insert("a")
    cancel = world.insert("b", operation="CANCEL_EVENT")
    recreate = world.insert("c", payload={"recreate": True})
    await die_with_all(world, database)
    assert await outbox.sweep() == SweepResult(recovered=3)
    assert [world.status(row) for row in (upsert, cancel, recreate)] == [("PENDING", 0, None)] * 3
    by_id = {item.id: item.memory for item in (await outbox.claim(slots=12)).items}
    assert by_id[upsert].possible_calendars == ("primary",)
    assert [by_id[row].reopen for row in (upsert, cancel, recreate)] == [False, True, True]
    assert await outbox.sweep() == SweepResult()


@pytest.mark.parametrize("impossible", ["", "..", " primary", "primary\n", "\u2003x", "x" * 1025, 5, ["primary"], None])
async def test_what_cannot_be_a_calendar_is_not_noted(
    world: World, outbox: Outbox, database: Database, impossible: object
) -> None:
    """A row that was lost before anybody read it may name anything as its calendar."""
    world.insert(payload={"calendarId": impossible})
    world.insert("b", payload={"calendarId": "x" * 1024})
    await die_with_all(world, database)
    assert await outbox.sweep() == SweepResult(recovered=2)
    assert [len((world.memory(about) or {})["strays"]) for about in ("s", "b")] == [0, 1]


async def test_what_is_remembered_stays_and_strays_gather(world: World, outbox: Outbox, database: Database) -> None:
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key, floor_seq, google_event_id, reopen, strays) "
        "values (%s, %s, 1, 'e', true, '{away}')",
        (workspace(), f"task:{source()}"),
    )
    world.insert(seq=2)
    await die_with_all(world, database)
    await outbox.sweep()
    [item] = (await outbox.claim(slots=9)).items
    memory = item.memory
    assert (memory.event_id, memory.floor_seq, memory.reopen) == ("e", 1, True)
    assert set(memory.possible_calendars) == {"primary", "away"}


async def test_the_last_attempt_is_the_end_and_moves_the_floor(
    world: World, outbox: Outbox, database: Database
) -> None:
    older = world.insert("a")
    newest = world.insert("a", attempts=4, status="FAILED", losses=3)
    child = world.insert("b", attempts=1, max_attempts=2, parent_id=older, losses=3)
    for _ in range(2):  # they are tried one at a time
        await die_with_all(world, database)
        assert await outbox.sweep() == SweepResult(dead=1)
    assert world.status(newest) == ("DEAD_LETTER", 5, "WORKER_LOST")
    assert world.status(child) == ("DEAD_LETTER", 2, "WORKER_LOST")
    assert (world.memory("a") or {})["floor_seq"] == world.row(newest)["seq"]
    assert (world.memory("b") or {})["floor_seq"] == 0
    assert (await outbox.claim(slots=9)).items == []
    assert world.status(older) == ("COMPLETED", 0, "SUPERSEDED")


async def test_a_ceiling_holds_for_rows_that_allow_more(world: World, outbox: Outbox, database: Database) -> None:
    row = world.insert(max_attempts=9, attempts=1, status="FAILED", losses=3)
    await die_with_all(world, database)
    assert await Outbox(outbox._session, max_attempts=2).sweep() == SweepResult(dead=1)
    assert world.status(row) == ("DEAD_LETTER", 2, "WORKER_LOST")


@pytest.mark.parametrize(
    ("end", "losses"),
    [
        (lambda item: Settlement(item, "PENDING", item.attempts), 3),
        (lambda item: Settlement(item, "PENDING", item.attempts, 0.0, last_error="rate limited"), None),
        (lambda item: Settlement(item, "FAILED", item.attempts + 1, 0.0, last_error="an answer"), None),
    ],
    ids=["given back", "put off by an answer", "failed"],
)
async def test_only_an_answer_clears_a_suspect(
    world: World, outbox: Outbox, end: Callable[[Item], Settlement], losses: int | None
) -> None:
    """A drain between two crashes says nothing about the item that ends its workers."""
    row = world.insert(losses=3)
    [item] = (await outbox.claim(slots=9)).items
    assert await outbox.settle([end(item)]) == [SettlementResult.WRITTEN]
    assert world.row(row)["losses"] == losses


async def test_what_lost_three_workers_is_tried_alone(world: World, outbox: Outbox) -> None:
    """So that its fourth loss proves something; meanwhile nothing else is claimed, and between two trials all is."""
    others = [world.insert(str(n), losses=n % 3) for n in range(6)]
    suspects = [world.insert(f"s{n}", losses=3 + n) for n in range(2)]
    world.insert("r", operation="REBUILD_ALL", losses=3, of="x")
    world.connect("x")
    first = (await outbox.claim(slots=50)).items
    assert {item.id for item in first} == set(others)
    assert (await outbox.claim(slots=50)).items == []
    await outbox.settle([Settlement(item, "COMPLETED", 0) for item in first])
    tried = []
    for _ in range(3):
        assert outbox.followed, "the end of what was in the way has us look"
        [item] = (await outbox.claim(slots=50)).items
        tried.append(item.id)
        new = world.insert(f"new {len(tried)}")
        assert (await outbox.claim(slots=50)).items == []
        await outbox.settle([Settlement(item, "COMPLETED", 0)])
        [other] = (await outbox.claim(slots=50)).items
        assert other.id == new
        await outbox.settle([Settlement(other, "COMPLETED", 0)])
    assert set(suspects) < set(tried)
    assert (await outbox.claim(slots=50)).items == []


async def test_items_in_hand_are_no_orphans(world: World, outbox: Outbox, database: Database) -> None:
    world.insert()
    async with open_session(database.reactor, name="peer") as session:
        peer = Outbox(session)
        [item] = (await peer.claim(slots=5)).items
        assert (await outbox.sweep(), await peer.sweep()) == (SweepResult(again=True), SweepResult()), (
            "it is elsewhere, or here"
        )
        assert await peer.settle([Settlement(item, "COMPLETED", 0)]) == [SettlementResult.WRITTEN]
    assert await outbox.sweep() == SweepResult()


async def test_what_is_ours_and_not_in_hand_is_an_orphan(world: World, outbox: Outbox) -> None:
    """The answer of the claim that brought it was lost, say."""
    held = world.insert("held")
    [item] = (await outbox.claim(slots=1)).items
    lost = world.insert("lost", status="PROCESSING", lease_no=item.lease_no)
    assert await outbox.sweep() == SweepResult(recovered=1)
    assert [world.status(row)[0] for row in (held, lost)] == ["PROCESSING", "PENDING"]


async def test_a_claim_that_was_swept_is_fenced(world: World, outbox: Outbox, database: Database) -> None:
    """A worker that lost its locks but not its mind: what it writes in the name of its claim finds no row."""
    row = world.insert()
    async with open_session(database.reactor, name="zombie") as session:
        zombie = Outbox(session)
        [item] = (await zombie.claim(slots=5)).items
        await session.execute("select pg_advisory_unlock_all()")
        assert (await outbox.invariants()).orphans == 1
        assert (await zombie.invariants()).missing_locks == 1
        assert await outbox.sweep() == SweepResult(recovered=1)
        assert await zombie.settle([Settlement(item, "COMPLETED", 0, moves_floor=True)]) == [SettlementResult.LOST]
    assert world.status(row) == ("PENDING", 0, None)


async def test_an_older_workers_row_gets_ten_minutes(world: World, outbox: Outbox) -> None:
    row = world.insert()
    world.connection.execute("update sync_outbox set status = 'PROCESSING'")
    world.connection.execute("alter table sync_outbox disable trigger sync_outbox_touch")
    world.connection.execute("update sync_outbox set updated_at = now() - interval '9 minutes'")
    assert await outbox.sweep() == SweepResult()
    world.connection.execute("update sync_outbox set updated_at = now() - interval '11 minutes'")
    with psycopg.connect(world.connection.info.dsn, password="", autocommit=True) as worker:
        worker.execute("select try_lock_outbox_item(%s)", (row,))
        assert await outbox.sweep() == SweepResult(again=True), "it is alive"
        worker.execute("select unlock_outbox_item(%s)", (row,))
    assert await outbox.sweep() == SweepResult(recovered=1)
    assert world.status(row) == ("PENDING", 0, None)


async def test_a_rebuilds_worker_may_die(world: World, outbox: Outbox, database: Database) -> None:
    row = world.insert(operation="REBUILD_ALL")
    await die_with_all(world, database)
    assert await outbox.sweep() == SweepResult(recovered=1)
    assert [item.id for item in (await outbox.claim(slots=5)).items] == [row]
    assert (world.memory("REBUILD_ALL") or {})["strays"] == []


async def test_a_stray_leaves_no_memory(world: World, outbox: Outbox) -> None:
    """It is about an event and not about a source."""
    parent = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    payload = {"sourceType": None, "sourceId": None, "stray": {"eventId": "e", "etag": '"1"'}}
    world.insert(operation="CANCEL_EVENT", parent_id=parent, payload=payload, status="PROCESSING", claim_no=1)
    assert await outbox.sweep() == SweepResult(recovered=1)
    assert world.one("select count(*) from sync_sources") == 0


async def test_an_item_that_kills_its_worker_dies_alone(world: World, outbox: Outbox, database: Database) -> None:
    """Whatever is in the same hands is claimed in ever smaller groups, and no attempt of it is counted."""
    rows = [world.insert(f"s{n}") for n in range(60)]
    killer = rows[30]
    for _ in range(40):
        async with open_session(database.reactor, name="worker") as session:
            worker = Outbox(session, max_attempts=3)
            while items := (await worker.claim(slots=20)).items:
                if killer in {item.id for item in items}:
                    break
                await worker.settle([Settlement(item, "COMPLETED", item.attempts) for item in items])
        wait_until(lambda: world.locks() == 0)
        await Outbox(outbox._session, max_attempts=3).sweep()
        if world.status(killer)[0] == "DEAD_LETTER":
            break
    async with open_session(database.reactor, name="worker") as session:
        worker = Outbox(session)
        while items := (await worker.claim(slots=20)).items:
            await worker.settle([Settlement(item, "COMPLETED", item.attempts) for item in items])
    assert world.status(killer) == ("DEAD_LETTER", 3, "WORKER_LOST")
    assert document(database, "explain", str(killer), code=1)["cause"] == Cause.WORKER_LOST
    assert {world.status(row) for row in rows if row != killer} == {("COMPLETED", 0, None)}


async def test_a_worker_that_is_killed_for_other_reasons_costs_its_items_nothing(
    world: World, outbox: Outbox, database: Database
) -> None:
    rows = [world.insert(f"s{n}") for n in range(30)]
    for _ in range(6):
        await die_with_all(world, database)
        await outbox.sweep()
    assert sum(world.status(row)[1] for row in rows) <= 3, "those that were tried alone"
    assert {world.status(row)[2] for row in rows} == {None}


async def test_what_is_locked_is_swept_later_and_the_rest_now(world: World, outbox: Outbox, database: Database) -> None:
    row, source_row, free = (world.insert(name) for name in ("row", "source", "free"))
    await die_with_all(world, database)
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key) values (%s, %s)", (workspace(), f"task:{source('source')}")
    )
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_outbox where id = %s for update", (row,))
        other.execute("select from sync_sources for update")
        assert await outbox.sweep() == SweepResult(recovered=1, again=True)
        assert [world.status(each)[0] for each in (row, source_row, free)] == ["PROCESSING", "PROCESSING", "PENDING"]
    assert await outbox.sweep() == SweepResult(recovered=2)


async def test_an_orphan_that_cannot_be_changed_is_set_aside(world: World, outbox: Outbox, database: Database) -> None:
    rows = [world.insert(f"s{n}") for n in range(9)]
    await die_with_all(world, database)
    world.connection.execute(
        "create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'"
    )
    world.connection.execute(
        "create trigger refuse before update on sync_outbox for each row "
        f"when (new.id = '{rows[4]}') execute function refuse()".encode()
    )
    assert await outbox.sweep() == SweepResult(recovered=8, again=True)
    assert await outbox.sweep() == SweepResult()
    told = world.one("select (item_id, sqlstate, refusals)::text from sync_set_aside")
    assert told == f"({rows[4]},P0001,1)", "the second sweep leaves it alone"


async def test_what_a_claim_brings_meanwhile_is_not_swept(world: World, outbox: Outbox) -> None:
    """A sweep that waited for the session while a claim was in it knows what that claim has brought."""
    for round_ in range(5):
        rows = [world.insert(f"s{round_}{n}") for n in range(3)]
        swept: list[SweepResult] = []

        async def sweep() -> None:
            swept.append(await outbox.sweep())  # noqa: B023  (the nursery ends within the round)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox._session.execute, "select pg_sleep(0.05)")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(partial(outbox.claim, slots=5))
            nursery.start_soon(sweep)
        assert swept == [SweepResult()]
        assert {world.status(row)[0] for row in rows} == {"PROCESSING"}


async def test_what_an_older_worker_ends_meanwhile_is_not_swept(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its claim nor its end leaves a number in the row: only the status tells."""
    row = world.insert(status="PROCESSING")
    world.connection.execute("alter table sync_outbox disable trigger sync_outbox_touch")
    world.connection.execute("update sync_outbox set updated_at = now() - interval '11 minutes'")
    sweep = sweeping.take_over

    async def late(*arguments: Any) -> Any:
        world.connection.execute("update sync_outbox set status = 'COMPLETED', processed_at = now()")
        return await sweep(*arguments)

    monkeypatch.setattr(sweeping, "take_over", late)
    assert await outbox.sweep() == SweepResult(again=True)
    assert world.status(row) == ("COMPLETED", 0, None)


@pytest.mark.parametrize(
    "meanwhile",
    [
        "update sync_outbox set lease_no = nextval('sync_lease_no')",
        "update sync_outbox set claim_no = 5",
        "select try_lock_outbox_item(id) from sync_outbox",
    ],
    ids=["a claim", "an older worker's claim", "the oldest worker's lock"],
)
async def test_what_is_claimed_anew_meanwhile_is_not_swept(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A peer may have swept it, and a third have claimed it, since it was seen as an orphan."""
    row = world.insert(status="PROCESSING", claim_no=4)
    sweep = sweeping.take_over

    async def late(*arguments: Any) -> Any:
        world.connection.execute(meanwhile.encode())
        return await sweep(*arguments)

    monkeypatch.setattr(sweeping, "take_over", late)
    assert await outbox.sweep() == SweepResult(again=True)
    assert world.status(row) == ("PROCESSING", 0, None)
