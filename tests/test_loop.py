"""The loop among fakes, under virtual time."""

import trio
from trio.testing import MockClock

from tests.loop_world import World, workspace


async def test_an_item_is_sent_at_once_and_settled(autojump_clock: MockClock) -> None:
    world = World()
    async with world.running():
        await trio.sleep(1)
        inserted_at = trio.current_time()
        ids = world.outbox.insert((workspace(1), 1))
        await world.until_done(ids)
    [sent_at] = world.calendar.sent_at(workspace(1))
    assert sent_at - inserted_at <= 2 * world.outbox.delay, "the claim is all that it waits for"
    assert world.outbox.statuses() == {"COMPLETED": 1}
    assert not world.outbox.claimed


async def test_a_backlog_travels_in_large_batches(autojump_clock: MockClock) -> None:
    world = World()
    ids = [i for w in range(50) for i in world.outbox.insert(*((workspace(w), s) for s in range(200)))]
    async with world.running():
        began = trio.current_time()
        await world.until_done(ids)
        seconds = trio.current_time() - began
    assert world.stats.sends <= 0.06 * len(ids)
    assert seconds <= len(ids) / 5_000
