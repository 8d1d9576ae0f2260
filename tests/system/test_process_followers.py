"""What waits for another item's end is claimed at that end, and not at the next poll, a minute away here."""

import signal

from calendar_emulator import Fault
from tests.support.rebuild_world import RebuildWorld, world
from tests.support.waiting import until

__all__ = ["world"]

POLL = {"CALENDAR_SYNC_POLL_INTERVAL_MS": "60000"}


async def test_an_edit_that_comes_while_the_one_before_is_sent(world: RebuildWorld) -> None:
    world.connect()
    await world.start(**POLL).ready()
    world.google.emulator.settings.latency = 1.0
    world.write(1, "first")
    await until(lambda: world.statuses().get("PROCESSING"))
    world.write(1, "second")
    await world.quiet(30)
    assert world.shown() == {"second": 1}


async def test_a_rebuild_that_comes_while_something_is_sent_and_what_comes_while_it_expands(
    world: RebuildWorld,
) -> None:
    world.define_view()
    world.connect()
    await world.start(**POLL).ready()
    insert = world.google.emulator.fault(Fault(operation="insert", latency=1.0))
    listing = world.google.emulator.fault(Fault(operation="list", latency=1.0))
    world.write(1, "first")
    await until(lambda: insert.fired)
    world.rebuild()
    await until(lambda: listing.fired)
    world.write(2, "second")
    await world.quiet(30)
    assert world.shown() == world.wanted()


async def test_an_edit_whose_predecessor_is_sent_by_a_replica_that_drains(world: RebuildWorld) -> None:
    """Who settles it claims nothing any more, and the other one has looked already."""
    world.connect()
    going = await world.start(**POLL).ready()
    insert = world.google.emulator.fault(Fault(operation="insert", latency=3.0))
    world.write(1, "first")
    await until(lambda: insert.fired)
    await world.start(**POLL).ready()
    world.write(1, "second")
    going.signal(signal.SIGTERM)
    assert await going.ended() == 0
    await world.quiet(30)
    assert world.shown() == {"second": 1}
