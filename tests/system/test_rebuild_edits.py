"""Edits win over a rebuild, whenever they commit; and what a rebuild's items are, seen in the database alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import trio

from calendar_emulator import Fault
from reactor.core.item import Item
from reactor.core.payload import Rebuild, parse
from reactor.core.policy import release
from reactor.errors import ClaimLostError
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.rebuilds import Expansion
from tests.support.google_fixtures import USER
from tests.support.process_world import WORKSPACE
from tests.support.rebuild_world import UNLIMITED, RebuildWorld, source, world
from tests.support.waiting import until

__all__ = ["world"]

Connection = psycopg.Connection[tuple[Any, ...]]


async def test_edits_before_during_and_after_the_expansion_win(world: RebuildWorld) -> None:
    """Numbers: 0 is not edited, 1 before, 2 and 3 open while the state is read, 4 and 5 while it expands, 6 after."""
    world.define_view()
    world.connect()
    for number in range(7):
        world.write(number, f"old {number}")
    process = await world.start().ready()
    await world.quiet()
    emulator = world.google.emulator
    listing = emulator.fault(Fault(operation="list", latency=1.0))
    with world.writer() as writer, world.writer() as remover:
        world.write(2, "open edit", by=writer)
        world.write(3, None, by=remover)
        world.write(1, "edit before")
        rebuild = world.rebuild()
        await until(lambda: listing.fired)
        world.write(4, "edit during")
        world.write(5, None)
        await until(lambda: world.status(rebuild)[0] == "COMPLETED")
        states = dict(
            world.execute("select payload ->> 'sourceId', seq from sync_outbox where parent_id = %s", rebuild)
        )
        assert {source(2), source(3)} <= set(states), "the expansion has read their old states"
        world.write(6, "edit after")
        await world.quiet()
        assert world.shown()["old 2"] == world.shown()["old 3"] == 1
        writer.commit()
        remover.commit()
    await world.quiet()
    assert world.shown() == world.wanted()
    assert world.shown() == {"old 0": 1, "edit before": 1, "open edit": 1, "edit during": 1, "edit after": 1}
    assert process.popen.poll() is None
    codes = world.execute("select distinct failure_code from sync_outbox where parent_id = %s", rebuild)
    assert set(codes) <= {("SUPERSEDED",), (None,)}


async def test_an_edit_that_commits_between_the_expansion_and_its_childs_turn_supersedes_the_child(
    world: RebuildWorld,
) -> None:
    world.define_view()
    world.connect()
    world.write(1, "old")
    process = await world.start().ready()
    await world.quiet()
    with world.writer() as writer:
        world.write(1, "new", by=writer)
        update = world.google.emulator.fault(Fault(operation="update", latency=1.0))
        rebuild = world.rebuild()
        await until(lambda: update.fired)  # the child is on its way with the old state
        writer.commit()
    await world.quiet()
    assert world.shown() == {"new": 1}
    assert process.popen.poll() is None
    assert world.status(rebuild)[0] == "COMPLETED"


async def test_a_child_that_died_and_is_requeued_after_an_edit_is_superseded(world: RebuildWorld) -> None:
    """With a place of its own instead of its source's floor it would be the newest, and bring the old state back."""
    world.define_view()
    world.connect()
    world.write(1, "old")
    await world.start().ready()
    await world.quiet()
    with world.writer() as writer:
        world.write(1, "new", by=writer)
        world.google.emulator.fault(Fault(operation="update", effect="error", reason="badRequest", times=1))
        rebuild = world.rebuild()
        await world.quiet()
        writer.commit()
    await world.quiet()
    [(child, code)] = world.execute("select id, failure_code from sync_outbox where parent_id = %s", rebuild)
    assert (code, world.shown()) == ("BAD_REQUEST", {"new": 1})
    world.execute("update sync_outbox set status = 'PENDING', failure_code = null where id = %s", child)
    await world.quiet()
    assert world.shown() == {"new": 1}
    assert world.status(child)[2] == "SUPERSEDED"


@pytest.fixture
async def outbox(world: RebuildWorld) -> AsyncIterator[Outbox]:
    world.define_view()
    world.connect()
    async with open_session(world.database.reactor, name="claims") as session:
        yield Outbox(session)


async def claimed(outbox: Outbox) -> tuple[Item, Rebuild]:
    [item] = (await outbox.claim(slots=5)).items
    payload = parse(item.operation, item.workspace_id, item.payload)
    assert isinstance(payload, Rebuild)
    return item, payload


async def test_an_expansion_that_begins_again_makes_nothing_twice(world: RebuildWorld, outbox: Outbox) -> None:
    for number in range(3):
        world.write(number, f"event {number}", enqueue=False)
    rebuild = world.rebuild()
    item, payload = await claimed(outbox)
    world.execute("update sync_outbox set attempts = 3 where id = %s", rebuild)
    with psycopg.connect(world.database.reactor, autocommit=True) as connection:
        expansion = Expansion(item, payload)
        for made in (3, 0):
            expansion.open(connection)
            assert expansion.upserts(connection, "")[1] == made
            assert expansion.cancels(connection, "") == (None, 0)
            attempts = world.status(rebuild)[1]
            assert attempts == 0, "what gets on has not failed"
        world.execute("update sync_outbox set attempts = 3 where id = %s", rebuild)
        expansion.upserts(connection, "")
        assert world.status(rebuild)[1] == 3, "what only repeats itself may fail"
    assert world.execute("select count(*) from sync_outbox where parent_id = %s", rebuild) == [(3,)]


async def test_an_expansion_whose_claim_is_lost_writes_nothing(world: RebuildWorld, outbox: Outbox) -> None:
    world.write(1, "event", enqueue=False)
    world.rebuild()
    item, payload = await claimed(outbox)
    with psycopg.connect(world.database.reactor, autocommit=True) as connection:
        for stale in (replace(item, lease_no=item.lease_no - 1), replace(item, id=UUID(int=1))):
            expansion = Expansion(stale, payload)
            expansion.open(connection)
            with pytest.raises(ClaimLostError):
                expansion.upserts(connection, "")
        await outbox.settle([release(item)])
        expansion = Expansion(item, payload)
        expansion.open(connection)
        with pytest.raises(ClaimLostError):
            expansion.upserts(connection, "")
    assert world.execute("select count(*) from sync_outbox where parent_id is not null") == [(0,)]


async def test_whoever_takes_the_claim_away_waits_for_the_portion(world: RebuildWorld, outbox: Outbox) -> None:
    rebuild = world.rebuild()
    item, payload = await claimed(outbox)
    with psycopg.connect(world.database.reactor) as connection:
        expansion = Expansion(item, payload)
        expansion.open(connection)
        expansion.upserts(connection, "")  # within the transaction of this connection, which is not over
        with psycopg.connect(world.database.owner) as peer:
            peer.execute("set lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                peer.execute("update sync_outbox set status = 'FAILED' where id = %s", (rebuild,))
    assert world.status(rebuild)[0] == "PROCESSING"


@pytest.mark.soak
async def test_ten_thousand_events_hold_nobody_up(world: RebuildWorld) -> None:
    """Portions are short transactions, and other workspaces' items pass while the rebuild expands and is sent."""
    world.define_view()
    world.connect()
    other = world.connect(UUID(int=77))
    events = 10_000
    world.execute(
        "insert into app_events select %s, %s, ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid,"
        " 'event ' || n from generate_series(1, %s) as n",
        WORKSPACE,
        USER,
        events,
    )
    await world.start(**UNLIMITED).ready()
    rebuild = world.rebuild()
    sizes: set[int] = set()
    passed = 0
    with trio.move_on_after(120):
        while world.status(rebuild)[0] != "COMPLETED" or passed < 3:
            number = 20_000 + passed
            item = world.insert(number, f"other {number}", workspace=other)
            await until(lambda item=item: world.status(item)[0] == "COMPLETED")  # type: ignore[misc]
            [[made, left]] = world.execute(
                "select count(*), count(*) filter (where status in ('PENDING', 'FAILED')) from sync_outbox"
                " where parent_id = %s",
                rebuild,
            )
            assert left or made < events, "the other's item had to wait for the rebuild's end"
            passed += 1
            sizes |= {
                size
                for (size,) in world.execute(
                    "select count(*) from sync_outbox where parent_id = %s group by created_at", rebuild
                )
            }
    assert passed >= 3
    assert max(sizes) <= 1_000
    assert world.execute("select count(distinct created_at) from sync_outbox where parent_id = %s", rebuild) == [(10,)]
    await world.quiet(180)
    bound = world.execute("select count(*) from calendar_event_bindings where workspace_id = %s", WORKSPACE)
    assert bound == [(events,)]
    assert (world.wanted() - world.shown()).total() == 0
    assert (world.shown() - world.wanted()).total() == passed
