"""A rebuild in the loop: a request like any other, as far as everybody else can tell."""

from typing import Any

import trio

from reactor.core.outcome import Expanded, FailureCode, Retry
from tests.support.loop_world import CALENDAR, FakeClaimed, World, workspace


def rebuild_json(number: int = 1) -> dict[str, Any]:
    return {"operation": "REBUILD_ALL", "workspaceId": str(workspace(number)), "calendarId": CALENDAR}


async def test_a_rebuild_is_carried_out_and_completed(autojump_clock: trio.abc.Clock) -> None:
    world = World()
    async with world.running():
        [row_id] = world.outbox.insert((workspace(1), 1), content=rebuild_json())
        await world.until_done([row_id])
    [settlement] = world.outbox.settlements
    assert (settlement.status, settlement.moves_floor, settlement.memory) == ("COMPLETED", True, None)
    assert world.calendar.requests == []


async def test_a_rebuild_that_fails_is_tried_again(autojump_clock: trio.abc.Clock) -> None:
    world = World()
    world.rebuilds.outcome = Retry("no", counts=True)
    async with world.running():
        [row_id] = world.outbox.insert((workspace(1), 1), content=rebuild_json())
        await world.until(lambda: len(world.rebuilds.begun) == 2)
        assert world.outbox.rows[row_id].attempts == 1
        world.rebuilds.outcome = Expanded(0)
        await world.until_done([row_id])


async def test_a_slow_rebuild_takes_one_place_and_holds_nobody_up(autojump_clock: trio.abc.Clock) -> None:
    world = World(concurrency=2)
    world.rebuilds.latency = 1_000.0
    async with world.running():
        world.outbox.insert((workspace(1), 1), content=rebuild_json())
        await world.until(lambda: len(world.rebuilds.begun) == 1)
        assert world.lanes.in_flight_requests == 1
        others = world.outbox.insert(*((workspace(number), number) for number in range(2, 30)))
        await world.until_done(others, within=60)
        assert world.lanes.in_flight_requests == 1


async def test_a_drain_cuts_a_rebuild_off_and_gives_it_back(autojump_clock: trio.abc.Clock) -> None:
    world = World()
    world.rebuilds.latency = 1_000.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        [row_id] = world.outbox.insert((workspace(1), 1), content=rebuild_json())
        await world.until(lambda: len(world.rebuilds.begun) == 1)
        world.loop.drain(5.0)
    row = world.outbox.rows[row_id]
    assert (row.status, row.attempts) == ("PENDING", 0)
    [settlement] = world.outbox.settlements
    assert settlement.memory is None, "nothing was sent for the source"


async def test_a_crash_of_a_rebuild_costs_it_an_attempt(autojump_clock: trio.abc.Clock) -> None:
    world = World()

    async def crash(*_: object) -> Expanded:
        raise ValueError

    world.rebuilds.expand = crash  # type: ignore[method-assign, assignment]
    async with world.running():
        [row_id] = world.outbox.insert((workspace(1), 1), content=rebuild_json(), max_attempts=1)
        await world.until_done([row_id])
    assert world.outbox.rows[row_id].code == FailureCode.EXHAUSTED
    assert len(world.errors) == 1


async def test_what_the_brake_has_stopped_is_given_back_untouched(autojump_clock: trio.abc.Clock) -> None:
    world = World()
    claim = world.outbox.claim
    stopped: list[object] = []

    async def braked(**given: Any) -> FakeClaimed:
        claimed = await claim(**given)
        held = [item for item in claimed.items if item.workspace_id == workspace(1) and not stopped]
        stopped.extend(held)
        return FakeClaimed([item for item in claimed.items if item not in held], claimed.look, braked=held)

    world.outbox.claim = braked  # type: ignore[method-assign]
    async with world.running():
        ids = world.outbox.insert((workspace(1), 1), (workspace(2), 2))
        await world.until_done(ids)
    first = world.outbox.settlements[0]
    assert (first.item, first.status, first.attempts, first.memory) == (stopped[0], "PENDING", 0, None)
    assert world.lanes.in_flight_items == 0


async def test_what_has_waited_for_an_items_end_is_looked_for_at_once(autojump_clock: trio.abc.Clock) -> None:
    world = World()
    async with world.running():
        first = world.outbox.insert((workspace(1), 1))
        await world.until(lambda: world.calendar.in_flight == 1)
        second = world.outbox.insert((workspace(1), 1))
        await world.until_done([*first, *second], within=1.0)  # the poll comes after five
