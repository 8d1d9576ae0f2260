"""The brake where items are claimed."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import psycopg
import pytest
import trio

from reactor.core import policy
from reactor.core.brake import Limit
from reactor.core.dispatch.gate import LookResult
from reactor.core.item import Item, Settlement, SourceState
from reactor.postgres.brakes import SQL, Brakes, CancelCount, Pulled, release, stopped
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace

STOP = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 60, 80)"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
def pulled() -> list[Pulled]:
    return []


@pytest.fixture
async def outbox(database: Database, pulled: list[Pulled]) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        yield Outbox(session, brake=Limit(share=0.5, least=4), on_pull=pulled.append)


@pytest.fixture
async def fleet(database: Database, pulled: list[Pulled]) -> AsyncIterator[list[Outbox]]:
    """Four replicas."""
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(open_session(database.reactor, name="claims")) for _ in range(4)]
        yield [Outbox(session, brake=Limit(share=0.5, least=4), on_pull=pulled.append) for session in sessions]


def applied(item: Item) -> Settlement:
    memory = SourceState(event_id=f"event{item.source_key}", calendar_id="primary")
    return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=memory)


async def bind(world: World, outbox: Outbox, names: Iterable[str]) -> None:
    """Give sources events."""
    for name in names:
        world.insert(name)
    while items := (await outbox.claim(slots=50)).items:
        await outbox.settle([applied(item) for item in items])


def removed(item: Item) -> Settlement:
    return Settlement(
        item, "COMPLETED", item.attempts, moves_floor=True, memory=SourceState(cancelled=True), unbind=True
    )


async def cancel(world: World, outbox: Outbox, name: str) -> bool:
    """Cancel a source, and have a replica remove its event; say whether it did."""
    world.insert(name, operation="CANCEL_EVENT")
    claimed = await outbox.claim(slots=50)
    await outbox.settle([removed(item) for item in claimed.items])
    await outbox.settle(list(map(policy.release, claimed.braked)))
    return bool(claimed.items)


def let_time_pass(world: World, seconds: float) -> None:
    """What was removed was removed so much earlier."""
    world.connection.execute("update sync_sources set removed_at = removed_at - make_interval(secs => %s)", (seconds,))


async def ids(outbox: Outbox) -> list[UUID]:
    return [item.id for item in (await outbox.claim(slots=50)).items]


async def test_nothing_is_claimed_of_a_workspace_that_is_stopped_in_the_middle_of_a_round(
    world: World, outbox: Outbox
) -> None:
    world.connect()
    world.connect("other")
    for name in "abc":
        world.insert(name)
    first = (await outbox.claim(slots=1)).items
    assert len(first) == 1
    world.connection.execute(STOP, [workspace()])
    elsewhere = world.insert(of="other")
    found: list[UUID] = []
    while (claimed := await outbox.claim(slots=1)).look.found is LookResult.WORK:
        found += [item.id for item in claimed.items]
    assert found == [elsewhere]
    assert not (await outbox.claim(slots=0)).look.left_behind
    assert release(world.connection, workspace())
    found = []
    while (claimed := await outbox.claim(slots=1)).look.found is LookResult.WORK:
        found += [item.id for item in claimed.items]
    assert len(found) == 2


async def test_a_burst_is_handed_back_and_the_others_are_not(
    world: World, outbox: Outbox, pulled: list[Pulled]
) -> None:
    world.connect()
    world.connect("other")
    await bind(world, outbox, "abcdef")
    burst = {world.insert(name, operation="CANCEL_EVENT") for name in "abcd"}
    elsewhere = world.insert(of="other")
    claimed = await outbox.claim(slots=50)
    assert [item.id for item in claimed.items] == [elsewhere]
    assert {item.id for item in claimed.braked} == burst
    assert pulled == [Pulled(workspace(), "BURST", 4, 6)]
    await outbox.settle(list(map(policy.release, claimed.braked)))
    assert await ids(outbox) == []
    [found] = stopped(world.connection)
    assert (found.workspace_id, found.waiting) == (workspace(), 4)
    assert stopped(world.connection, workspace("other")) == []
    assert release(world.connection, workspace())
    assert not release(world.connection, workspace())
    assert (await outbox.claim(slots=50)).look.found is LookResult.WORK
    assert set(await ids(outbox)) == burst
    assert len(pulled) == 1


async def test_what_has_no_event_is_no_delete(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    world.connect()
    await bind(world, outbox, "ab")
    for name in "abcdefgh":
        world.insert(name, operation="CANCEL_EVENT")
    assert len(await ids(outbox)) == 8
    assert pulled == []


async def test_children_of_a_rebuild_were_counted_before(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    world.connect()
    await bind(world, outbox, "abcdef")
    parent = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    own = world.insert("f", operation="CANCEL_EVENT")
    for name in "abcde":
        world.insert(
            name, operation="CANCEL_EVENT", parent_id=parent, seq=world.one("select max(seq) from sync_outbox")
        )
    assert [item.id for item in (await outbox.claim(slots=1)).items] == [own]
    assert len(await ids(outbox)) == 5
    assert pulled == []


async def test_what_cannot_be_counted_waits(
    world: World, outbox: Outbox, pulled: list[Pulled], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    await bind(world, outbox, "abcd")
    burst = {world.insert(name, operation="CANCEL_EVENT") for name in "abcd"}
    with monkeypatch.context() as patched:
        patched.setattr(Brakes, "count", lambda _, connection, *__: connection.execute("select 1 / 0"))
        claimed = await outbox.claim(slots=50)
        assert (claimed.items, {item.id for item in claimed.braked}) == ([], burst)
        await outbox.settle(list(map(policy.release, claimed.braked)))
    assert (await outbox.claim(slots=50)).look.found is LookResult.NOTHING, "it is asked again after a second"
    while not (claimed := await outbox.claim(slots=50)).braked:  # noqa: ASYNC110
        await trio.sleep(0.01)
    assert {item.id for item in claimed.braked} == burst
    assert len(pulled) == 1


# The window

NAMES = "abcdefghijkl"


@pytest.mark.parametrize("replicas", [1, 4])
async def test_a_burst_that_trickles_in_stops_at_the_same_count_over_one_replica_and_over_four(
    world: World, fleet: list[Outbox], pulled: list[Pulled], replicas: int
) -> None:
    world.connect()
    await bind(world, fleet[0], NAMES)
    gone = 0
    while await cancel(world, fleet[gone % replicas], NAMES[gone]):
        gone += 1
    assert gone == 6
    assert pulled == [Pulled(workspace(), "BURST", 7, 12)]


async def test_two_replicas_that_claim_at_the_same_time_do_not_pass_together(
    world: World, fleet: list[Outbox], pulled: list[Pulled], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither counts before both have claimed, four cancels each: alone, each would pass."""
    world.connect()
    await bind(world, fleet[0], NAMES)
    both, arrived = trio.Event(), []
    count = Brakes.count

    async def together(brakes: Brakes, connection: TrioConnection, suspects: Any) -> CancelCount:
        arrived.append(brakes)
        if len(arrived) == 2:
            both.set()
        await both.wait()
        return await count(brakes, connection, suspects)

    monkeypatch.setattr(Brakes, "count", together)
    burst = [world.insert(name, operation="CANCEL_EVENT") for name in NAMES[:8]]
    held: list[UUID] = []
    passed: list[UUID] = []

    async def claim(outbox: Outbox, items: list[UUID]) -> None:
        world.connection.execute("update sync_outbox set next_attempt_at = 'infinity' where status = 'PENDING'")
        world.connection.execute("update sync_outbox set next_attempt_at = now() where id = any(%s)", (items,))
        claimed = await outbox.claim(slots=4)
        passed.extend(item.id for item in claimed.items)
        held.extend(item.id for item in claimed.braked)
        await outbox.settle(list(map(policy.release, claimed.braked)))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, fleet[0], burst[:4])
            while not arrived:  # noqa: ASYNC110  # a statement that another task runs sets no event
                await trio.sleep(0.001)
            nursery.start_soon(claim, fleet[1], burst[4:])
    assert passed == []
    assert set(held) == set(burst)
    assert [each.deletes for each in pulled] == [8], "one of them says so"


async def test_a_busy_workspace_that_loses_one_now_and_then_is_never_stopped(
    world: World, outbox: Outbox, pulled: list[Pulled]
) -> None:
    world.connect()
    names = [f"event {number}" for number in range(40)]
    await bind(world, outbox, names)
    for name in names[:30]:
        assert await cancel(world, outbox, name)
        let_time_pass(world, 150)
    assert pulled == []


async def test_what_has_an_event_again_is_not_gone(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    world.connect()
    await bind(world, outbox, "abcdefgh")
    for names in ("abcd", "efgh", "abcd"):
        for name in names:
            assert await cancel(world, outbox, name)
        await bind(world, outbox, names)
    for name in "abcd":
        assert await cancel(world, outbox, name), "four of eight that are there"
    assert pulled == []


async def test_a_cancel_that_is_tried_again_counts_once(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    world.connect()
    await bind(world, outbox, "abcdefgh")
    burst = {world.insert(name, operation="CANCEL_EVENT") for name in "abcd"}
    for end in ("FAILED", "DEAD_LETTER", "PENDING", "COMPLETED"):
        items = (await outbox.claim(slots=50)).items
        assert {item.id for item in items} == burst
        if end == "COMPLETED":
            await outbox.settle([removed(item) for item in items])
        else:
            await outbox.settle([Settlement(item, end, 1, moves_floor=end == "DEAD_LETTER") for item in items])
            world.connection.execute(
                "update sync_outbox set status = 'PENDING', next_attempt_at = now() where status <> 'COMPLETED'"
            )
    assert pulled == []
    assert not await cancel(world, outbox, "e")
    assert [(each.deletes, each.events) for each in pulled] == [(5, 8)]


async def test_what_was_released_is_not_counted_and_what_comes_later_is(
    world: World, outbox: Outbox, pulled: list[Pulled]
) -> None:
    world.connect()
    await bind(world, outbox, NAMES)
    for name in NAMES[:6]:
        assert await cancel(world, outbox, name)
    assert not await cancel(world, outbox, NAMES[6])
    assert release(world.connection, workspace())
    items = (await outbox.claim(slots=50)).items or (await outbox.claim(slots=50)).items
    await outbox.settle([removed(item) for item in items])
    await bind(world, outbox, "mnopqrs")
    for name in "mnopqr":
        assert await cancel(world, outbox, name), "out of six that are left and those"
    assert not await cancel(world, outbox, "s")
    assert [(each.deletes, each.events) for each in pulled] == [(7, 12), (7, 12)]


async def test_what_only_an_older_worker_knows_counts(world: World, outbox: Outbox, pulled: list[Pulled]) -> None:
    """It has a binding, and no memory until it is removed."""
    world.connect()
    for name in "abcdefgh":
        world.connection.execute(
            "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id,"
            " event_type) values (%s, 'e', 'primary', 'task', %s, 'MILESTONE')",
            (workspace(), source(name)),
        )
    for name in "abcd":
        assert await cancel(world, outbox, name)
    assert not await cancel(world, outbox, "e")
    assert [(each.deletes, each.events) for each in pulled] == [(5, 8)]


# What counting costs

FILL = """
insert into sync_sources (workspace_id, source_key, floor_seq, cancelled, removed_at, google_event_id)
select md5('1')::uuid, 'task:' || md5(n::text), n, n > 30,
       case when n > 330 then now() - n * interval '1 h' when n > 30 then now() - interval '1 min' end,
       case when n <= 30 then 'e' end
  from generate_series(1, 100000) as n;
"""


@pytest.mark.parametrize("analyzed", [False, True])
def test_counting_costs_by_what_is_gone_lately_and_not_by_all_that_ever_was(
    database: Database,
    analyzed: bool,  # noqa: FBT001
) -> None:
    """30 events, 300 removed within the window, and 100,000 tombstones."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("alter table sync_sources set (autovacuum_enabled = false)")
        owner.execute(FILL)
        if analyzed:
            owner.execute("analyze sync_sources")
        [[of]] = owner.execute("select md5('1')::uuid")
    about = {"workspaces": [of], "workspace": of, "window": 600.0, "waiting": True, "share": 0.5, "least": 400}
    explain = "explain (analyze, buffers, timing off, summary off, format json) "
    touched = {}
    with psycopg.connect(database.reactor, autocommit=True) as connection:
        assert connection.execute(SQL["claimed"], about).fetchall() == [(of, False, 300)]
        assert connection.execute(SQL["count"], about).fetchall() == [(300, 330, False, False)]
        for name in ("claimed", "count"):
            for _ in range(6):  # from the sixth on the plan may be one for all parameters
                [[[plan]]] = connection.execute((explain + SQL[name]).encode(), about).fetchall()
                touched[name] = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert touched["claimed"] < 60
    assert touched["count"] < 90
