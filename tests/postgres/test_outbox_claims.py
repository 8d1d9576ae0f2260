"""Which items a claim takes, by the reactor's role on a real server."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
import trio

from reactor.core.dispatch.gate import LookResult
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.policy import release
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database, wait_until
from tests.support.outbox_world import World, source, workspace


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
async def outboxes(database: Database) -> AsyncIterator[list[Outbox]]:
    """Three replicas' outboxes."""
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(open_session(database.reactor, name=f"claims {n}")) for n in "abc"]
        yield [Outbox(session) for session in sessions]


@pytest.fixture
def outbox(outboxes: list[Outbox]) -> Outbox:
    return outboxes[0]


def completed(item: Item) -> Settlement:
    return Settlement(item, "COMPLETED", item.attempts, moves_floor=True)


async def test_an_item_carries_all_that_is_needed(world: World, outbox: Outbox) -> None:
    world.connect(token="v1:k:abc")
    world.connection.execute("select setval('sync_outbox_seq', 9)")
    world.connection.execute(
        "insert into sync_sources values (%s, %s, 3, 2, 'e', 'c', 'etag', null, true, true, '{x,y}')",
        (workspace(), f"task:{source()}"),
    )
    row = world.insert(max_attempts=3, attempts=1, status="FAILED", seq=7)
    [item] = (await outbox.claim(slots=5)).items
    assert (item.id, item.workspace_id, item.source_key) == (row, workspace(), f"task:{source()}")
    assert (item.seq, item.operation, item.attempts, item.max_attempts) == (7, "UPSERT_EVENT", 1, 3)
    assert json.loads(item.payload) == world.row(row)["payload"]
    assert 0 <= item.age < 60
    assert not item.is_child
    memory = item.memory
    assert (memory.floor_seq, memory.generation, memory.event_id, memory.calendar_id) == (3, 2, "e", "c")
    assert (memory.etag, memory.cancelled, memory.reopen, set(memory.possible_calendars)) == (
        "etag",
        True,
        True,
        {"x", "y"},
    )
    assert item.connection.token == "v1:k:abc"
    assert item.connection.version == world.one("select md5('v1:k:abc')")
    found = world.row(row)
    assert (found["status"], found["lease_no"], found["attempts"]) == ("PROCESSING", item.lease_no, 1)


@pytest.mark.parametrize(("allowed", "ceiling", "most"), [(9, 4, 4), (3, 4, 3)])
async def test_no_row_allows_more_attempts_than_the_service(
    world: World, outbox: Outbox, allowed: int, ceiling: int, most: int
) -> None:
    world.connect()
    world.insert(max_attempts=allowed)
    [item] = (await Outbox(outbox._session, max_attempts=ceiling).claim(slots=5)).items
    assert item.max_attempts == most


async def test_what_a_replica_cannot_send_soon_is_left_to_the_others(world: World, outboxes: list[Outbox]) -> None:
    world.connect()
    for number in range(20):
        world.insert(f"source {number}")
    for outbox in outboxes:
        outbox.per_workspace = 6
    claims = [await outbox.claim(slots=50) for outbox in outboxes]
    assert [len(claimed.items) for claimed in claims] == [6, 6, 6]
    assert all(claimed.look.left_behind for claimed in claims)
    for name in "abc":
        world.connect(name)
        for number in range(6):
            world.insert(f"source {number}", of=name)
    outboxes[0]._claimer._ring._fresh_until = 0.0
    first, second = await outboxes[0].claim(slots=50), await outboxes[0].claim(slots=50)
    assert (len(first.items), len(second.items)) == (6, 12), "it did not know how many workspaces there are"


async def test_a_source_that_only_an_older_worker_knew_is_known_by_its_binding(world: World, outbox: Outbox) -> None:
    world.connect()
    world.connection.execute(
        "insert into calendar_event_bindings "
        "(workspace_id, google_event_id, calendar_id, source_type, source_id, event_type) "
        "values (%s, 'old', 'home', 'task', %s, 'MILESTONE')",
        (workspace(), source()),
    )
    world.insert()
    world.insert(payload={"sourceId": "not a uuid"})
    by_key = {item.source_key: item.memory for item in (await outbox.claim(slots=5)).items}
    assert (by_key[f"task:{source()}"].event_id, by_key[f"task:{source()}"].calendar_id) == ("old", "home")
    assert by_key["task:not a uuid"].event_id is None


async def test_the_newest_is_claimed_alone_and_then_supersedes(world: World, outbox: Outbox) -> None:
    world.connect()
    rows = [world.insert() for _ in range(4)]
    [item] = (await outbox.claim(slots=5)).items
    assert item.id == rows[-1]
    late = world.insert()
    assert (await outbox.claim(slots=5)).look.found is LookResult.NOTHING, "its source is being worked on"
    await outbox.settle([completed(item)])
    claimed = await outbox.claim(slots=5)
    assert [each.id for each in claimed.items] == [late]
    assert [world.status(row) for row in rows[:-1]] == [("COMPLETED", 0, "SUPERSEDED")] * 3


async def test_a_content_dead_letter_makes_the_next_older_the_newest(world: World, outbox: Outbox) -> None:
    world.connect()
    good, bad = world.insert(), world.insert()
    [item] = (await outbox.claim(slots=5)).items
    assert item.id == bad
    await outbox.settle([Settlement(item, "DEAD_LETTER", 0, moves_floor=False)])
    assert [each.id for each in (await outbox.claim(slots=5)).items] == [good]


async def test_a_late_commit_of_an_older_state_is_superseded(world: World, outbox: Outbox, database: Database) -> None:
    world.connect()
    with psycopg.connect(database.owner) as writer:
        older = world.insert(by=writer)
        newer = world.insert()
        [item] = (await outbox.claim(slots=5)).items
        assert item.id == newer
        await outbox.settle([completed(item)])
        writer.commit()
    claimed = await outbox.claim(slots=5)
    assert (claimed.items, claimed.look.found) == ([], LookResult.WORK)
    assert world.status(older) == ("COMPLETED", 0, "SUPERSEDED")
    assert (await outbox.claim(slots=5)).look.found is LookResult.NOTHING


async def test_what_is_not_due_waits_and_the_look_says_how_long(world: World, outbox: Outbox) -> None:
    world.connect()
    world.insert(status="FAILED", next_attempt_at=world.one("select now() + interval '100 s'"))
    world.insert("other", next_attempt_at=world.one("select now() + interval '50 s'"))
    claimed = await outbox.claim(slots=5)
    assert (claimed.items, claimed.look.found) == ([], LookResult.NOTHING)
    assert 40 < claimed.look.due_in <= 50


async def test_an_older_due_state_does_not_overtake_its_successor_in_backoff(world: World, outbox: Outbox) -> None:
    world.connect()
    world.insert()
    world.insert(status="FAILED", next_attempt_at=world.one("select now() + interval '100 s'"))
    assert (await outbox.claim(slots=5)).look.found is LookResult.NOTHING


@pytest.mark.parametrize("connection", ["none", "invalid", "excluded"])
async def test_a_workspace_is_parked(world: World, outbox: Outbox, connection: str) -> None:
    row = world.insert()
    if connection != "none":
        world.connect(valid=connection == "excluded")
    excluded = [workspace()] if connection == "excluded" else []
    claimed = await outbox.claim(slots=5, excluded=excluded)
    assert (claimed.items, claimed.look.found) == ([], LookResult.NOTHING)
    if connection == "none":
        world.connect()
    world.connection.execute("update google_connections set is_valid = true")
    assert [item.id for item in (await outbox.claim(slots=5)).items] == [row]


async def test_a_row_that_somebody_has_locked_holds_back_nothing_else(
    world: World, outbox: Outbox, database: Database
) -> None:
    world.connect()
    locked, free = world.insert("a"), world.insert("b")
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_outbox where id = %s for update", (locked,))
        assert [item.id for item in (await outbox.claim(slots=5)).items] == [free]
        assert (await outbox.claim(slots=5)).look.found is LookResult.NOTHING
    assert [item.id for item in (await outbox.claim(slots=5)).items] == [locked]


async def test_an_item_that_an_older_worker_has_locked_is_refused_and_told(
    world: World, outbox: Outbox, database: Database
) -> None:
    world.connect()
    row = world.insert()
    with psycopg.connect(database.owner, autocommit=True) as worker:
        worker.execute("select try_lock_outbox_item(%s)", (row,))
        assert (await outbox.claim(slots=5)).items == []
        assert await outbox.locked_by_others() == []
        [locked] = await outbox.locked_by_others(seconds=0)
        assert (locked.id, locked.pid) == (row, worker.info.backend_pid)
        assert world.status(row) == ("PENDING", 0, None)
        worker.execute("select unlock_outbox_item(%s)", (row,))
    assert [item.id for item in (await outbox.claim(slots=5)).items] == [row]
    assert await outbox.locked_by_others(seconds=0) == []


async def test_one_claims_at_a_time(world: World, outbox: Outbox, database: Database) -> None:
    world.connect()
    world.insert()
    with psycopg.connect(database.owner) as peer:
        peer.execute("select pg_advisory_xact_lock(718300, 0)")
        assert (await outbox.claim(slots=5)).look.found is LookResult.BUSY
    assert (await outbox.claim(slots=5)).look.found is LookResult.WORK


async def test_without_slots_it_says_whether_others_could_help(world: World, outbox: Outbox) -> None:
    world.connect()
    look = (await outbox.claim(slots=0)).look
    assert (look.found, look.left_behind) == (LookResult.FULL, False)
    world.insert()
    look = (await Outbox(outbox._session).claim(slots=0)).look
    assert (look.found, look.left_behind) == (LookResult.FULL, True)
    look = (await Outbox(outbox._session).claim(slots=0, excluded=[workspace()])).look
    assert not look.left_behind


async def test_a_big_workspace_does_not_delay_a_small_one(world: World, outbox: Outbox) -> None:
    world.connect("big")
    for name in ("one", "two"):
        world.connect(name)
    for n in range(60):
        world.insert(f"s{n}", of="big")
    small = {world.insert(of=name) for name in ("one", "two")}
    claimed = await outbox.claim(slots=6)
    assert small <= {item.id for item in claimed.items}
    assert len(claimed.items) == 6
    small = {world.insert("later", of="one")}
    deadline = trio.current_time() + 5
    while not small <= {item.id for item in outbox.in_flight}:
        assert trio.current_time() < deadline
        await outbox.claim(slots=1)


async def test_turns_go_round(world: World, outbox: Outbox) -> None:
    names = [f"w{n}" for n in range(7)]
    for name in names:
        world.connect(name)
        for n in range(5):
            world.insert(f"{name}{n}", of=name)
    seen = [item.workspace_id for _ in range(14) for item in (await outbox.claim(slots=1)).items]
    assert len(seen) == 14
    assert {seen.count(workspace(name)) for name in names} == {2}


async def test_a_hot_source_hides_nothing(world: World, outbox: Outbox) -> None:
    world.connect()
    world.connection.execute(
        "insert into sync_outbox (workspace_id, operation, payload, next_attempt_at) "
        "select %s, 'UPSERT_EVENT', jsonb_build_object('sourceType', 'task', 'sourceId', %s::text), "
        "now() - interval '1 h' from generate_series(1, 3000)",
        (workspace(), source("hot")),
    )
    for n in range(700):
        world.insert(f"backoff {n}", status="FAILED", next_attempt_at=world.one("select now() + interval '1 h'"))
    others = {world.insert(f"cold {n}") for n in range(40)}
    found: set[object] = set()
    [hot] = (await outbox.claim(slots=1)).items
    while items := (await outbox.claim(slots=8)).items:
        found |= {item.id for item in items}
    assert found == others
    assert (await outbox.claim(slots=8)).look.found is LookResult.NOTHING
    await outbox.settle([completed(hot)])
    while (await outbox.claim(slots=8)).look.found is LookResult.WORK:
        pass
    assert world.one("select count(*) from sync_outbox where failure_code = 'SUPERSEDED'") == 2999


async def test_an_item_in_hand_is_not_claimed_twice(world: World, outbox: Outbox) -> None:
    world.connect()
    row = world.insert()
    [item] = (await outbox.claim(slots=5)).items
    world.connection.execute("update sync_outbox set status = 'PENDING' where id = %s", (row,))
    assert (await outbox.claim(slots=5)).items == []
    assert await outbox.settle([completed(item)]) == [SettlementResult.WRITTEN]
    assert world.locks() == 0


async def test_replicas_share_the_work(world: World, outboxes: list[Outbox]) -> None:
    world.connect()
    rows = {world.insert(f"s{n}") for n in range(60)}
    claimed: list[object] = []

    async def work(outbox: Outbox) -> None:
        while (answer := await outbox.claim(slots=3)).look.found is not LookResult.NOTHING:
            claimed.extend(item.id for item in answer.items)

    async with trio.open_nursery() as nursery:
        for outbox in outboxes:
            nursery.start_soon(work, outbox)
    assert len(claimed) == 60
    assert set(claimed) == rows
    for outbox in outboxes:
        facts = await outbox.invariants()
        assert (facts.unexpected_locks, facts.missing_locks, facts.orphans, facts.doubled) == (0, 0, 0, 0)
    assert world.locks() == 60


async def test_a_cancelled_claim_keeps_the_session(world: World, outbox: Outbox) -> None:
    world.connect()
    world.insert()
    with trio.CancelScope() as scope:
        scope.cancel()
        await outbox.claim(slots=5)
    assert len(outbox.in_flight) == world.locks()
    await outbox.settle(list(map(release, outbox.in_flight)))
    assert world.locks() == 0


@pytest.mark.parametrize(
    "change", ["status = 'COMPLETED', processed_at = now()", "next_attempt_at = now() + interval '1 hour'"]
)
async def test_what_changes_while_it_is_chosen_is_not_claimed(world: World, database: Database, change: str) -> None:
    """The claim has its snapshot, and stops at a policy of the application's until the change is committed."""
    world.connect()
    world.insert("a")
    row = world.insert("b")
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and objid = 99 and not granted"
    async with open_session(database.reactor, name="claims", lock_timeout="9s") as session:
        outbox = Outbox(session)
        assert len((await outbox.claim(slots=1)).items) == 1
        world.connection.execute(
            "create function wait() returns boolean language plpgsql as"
            " 'begin perform pg_advisory_xact_lock_shared(99); return true; end'"
        )
        world.connection.execute("create policy wait on sync_outbox as restrictive using (wait())")
        claimed: list[Item] = []

        async def claim() -> None:
            claimed.extend((await outbox.claim(slots=1)).items)

        with psycopg.connect(database.owner, autocommit=True) as other:
            other.execute("select pg_advisory_lock(99)")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(claim)
                await trio.to_thread.run_sync(wait_until, lambda: world.one(waiting) == 1)
                world.connection.execute(f"update sync_outbox set {change} where id = %s".encode(), (row,))
                other.execute("select pg_advisory_unlock(99)")
    assert claimed == []
    assert world.status(row)[0] == ("COMPLETED" if "COMPLETED" in change else "PENDING")
