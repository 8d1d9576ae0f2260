"""The replicas and the last hour, as pages of a console with a database that has pulses."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
import trio

from reactor.console.app import ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import VisitorKeys
from reactor.core.dispatch.lane import LaneStatus
from reactor.core.pulse import Pulse, PulseCounts
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.pulses import write_pulse
from tests.desk.test_pulses import ONE, STATE, TWO, lane, pool, pulse
from tests.support.databases import Database
from tests.support.outbox_world import World

__all__ = ["pool"]  # a fixture

ATTACK = "<script>alert(1)</script>"


@pytest.fixture
async def browser(database: Database, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has come by the link."""
    links: list[str] = []
    keys = VisitorKeys(links.append)
    keys.renew()
    console = Console(ConsoleDatabase(database.reactor))
    nursery.start_soon(console.database.keep)
    app = ConsoleApp(console, VisitorRules(), keys)
    transport = httpx.ASGITransport(app.door, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8400") as client:
        assert (await client.get(f"/?key={links[0]}")).status_code == 303
        yield client


def busy(minutes_ago: int, chance: random.Random) -> Pulse:
    """A minute in which something happened."""
    done = chance.randrange(200, 400)
    counts = Counter(claimed=done, applied=done, retried=chance.choice((0, 0, 0, 30)))
    times = Counter({"0.25": done // 2, "0.5": done // 3, "2.5": done // 6})
    answers = Counter({"200": done, "412": done // 20, "503": chance.choice((0, 0, 40))})
    return replace(pulse(minutes_ago), counts=PulseCounts(counts, times, times, answers))


async def test_the_pages_show_replicas_lanes_and_the_hour(
    database: Database, pool: Pool, browser: httpx.AsyncClient
) -> None:
    world = World(database)
    behind, chance = world.connect(), random.Random(1)
    async with (
        open_session(database.reactor, name="calendar-sync-reactor claims") as first,
        open_session(database.reactor, name="calendar-sync-reactor claims") as second,
    ):
        outboxes = Outbox(first), Outbox(second)
        for each in outboxes:
            await each.claim(slots=1)
        for number in range(40):
            world.insert(f"s{number}")
        world.close()
        for ago in range(2, 58):
            await write_pulse(pool, ONE, busy(ago, chance))
        one = replace(STATE, lease=outboxes[0].lease, lanes=(lane(behind), lane(9, LaneStatus.HELD, opens_in=600.0)))
        await write_pulse(pool, ONE, pulse(state=one))
        two = replace(TWO, host=ATTACK, settings={**TWO.settings, "log_level": ATTACK})
        await write_pulse(pool, two, pulse(state=replace(STATE, lease=outboxes[1].lease, gate=ATTACK)))
        await write_pulse(pool, replace(ONE, host=ATTACK, version=ATTACK, replica=UUID(int=8)), pulse(3))
        page, day, now = [await browser.get(path) for path in ("/replicas", "/replicas?hours=24", "/")]
        document = (await browser.get("/replicas", headers={"accept": "application/json"})).json()
    assert [answer.status_code for answer in (page, day, now)] == [200] * 3
    for answer in (page, day, now):
        assert "<script>alert" not in answer.text
        assert answer.text.count('<svg class="chart" ') == 3
        assert len(answer.content) < 64_000
    assert "40 items at 5 a second: through by" in page.text
    assert "CALENDAR_SYNC_BATCH_SIZE" in page.text
    assert "1 replica of version 1.0, 1 replica of version 1.1" in page.text
    assert "Items in 10 minutes" in day.text
    assert "412" in now.text
    assert [each["pulse"]["version"] for each in document["replicas"]] == ["1.0", "1.1"]
    assert len(document["trend"]["points"]) == 60


async def test_without_a_replica_the_pages_say_so(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/replicas")
    assert page.status_code == 200
    assert "No replica is connected: nothing is sent." in page.text
    assert (await browser.get("/")).status_code == 200
