"""`python -m reactor` on a database that has lost what it had sent, as a restored backup has."""

import signal

from tests.support.process_world import World


async def test_an_edit_after_a_restored_backup_reaches_the_calendar(world: World) -> None:
    world.connect()
    process = await world.start().ready()
    for state in range(4):
        world.insert(1, f"state {state}")
        await world.all_done(state + 1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    world.execute("truncate sync_outbox, sync_sources, calendar_event_bindings")
    world.execute("select setval('sync_outbox_seq', 1, false)")
    process = await world.start().ready()
    world.insert(1, "the newest")
    await world.all_done(1)
    assert world.titles() == {"the newest": 1}
    [told] = process.events("order_mended")
    assert (told["level"], told["cause"], told["low"]) == ("warning", "GOOGLE", 2)
    await process.counts('reactor_order_mended_total{cause="GOOGLE"} 1.0')
