"""Two replicas, one of which is killed again and again, at random moments: nothing is lost, and nothing happens twice.

After each kill the survivor ends what both of them had in hand while the next replica starts. Google takes its time, so
that most kills hit requests on the wire, some of which are carried out for nobody.
"""

import random
import signal
import statistics
from collections import Counter

import pytest
import trio

from calendar_emulator.store.calendars import WriteKind
from tests.support.process_world import Process, World

SOURCES = 12
PERIOD = 2.0
"""Seconds from a kill until everything that was in hand is done, by the survivor."""


class Application:
    """Edits and cancels, and what should be in the calendar because of them."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._titles: dict[int, str] = {}
        self.rows = 0

    def write(self, rows: int) -> None:
        for _ in range(rows):
            self.rows += 1
            number = self._rng.randrange(SOURCES)
            if number in self._titles and self._rng.random() < 0.25:
                del self._titles[number]
                self._world.cancel(number)
            else:
                self._titles[number] = f"state {self.rows}"
                self._world.insert(number, self._titles[number])

    @property
    def wanted(self) -> Counter[str]:
        return Counter(self._titles.values())


async def kill_again_and_again(world: World, *, kills: int, seed: int) -> tuple[list[float], int]:
    """Return how long each time it took until all was done, and how many items were in a killed replica's hands."""
    rng = random.Random(seed)
    application = Application(world, rng)
    world.connect()
    replicas: list[Process] = [await world.start().ready(), await world.start().ready()]
    took: list[float] = []
    for _ in range(kills):
        world.google.emulator.settings.latency = rng.choice([0.0, 0.02, 0.1])
        for _ in range(rng.randrange(1, 4)):
            application.write(rng.randrange(1, 8))
            await trio.sleep(rng.uniform(0, 0.05))  # the moment of the kill, not a wait for something
        victim = replicas.pop(rng.randrange(2))
        victim.signal(signal.SIGKILL)
        killed_at = trio.current_time()
        await world.all_done(application.rows, seconds=30)
        took.append(trio.current_time() - killed_at)
        assert world.titles() == application.wanted
        assert world.locks() == 0
        replicas.append(await world.start().ready())
    writes = world.google.emulator.writes(world.google.user)
    assert len(writes) <= SOURCES, "an id of a source was made twice"
    assert all(kinds[WriteKind.INSERT] == 1 for kinds in writes.values())
    for replica in replicas:
        replica.signal(signal.SIGTERM)
        assert await replica.ended() == 0
    [[lost]] = world.execute("select coalesce(sum(losses), 0) from sync_outbox")
    return took, int(lost)


async def test_a_replica_that_is_killed_again_and_again_loses_nothing(world: World) -> None:
    await kill_again_and_again(world, kills=3, seed=1)


@pytest.mark.soak
async def test_two_hundred_kills(world: World) -> None:
    took, lost = await kill_again_and_again(world, kills=200, seed=2)
    figures = f"{statistics.median(took):.2f} s, at worst {max(took):.2f} s"
    print(f"200 kills, {lost} items in hand; all was done after {figures}")  # noqa: T201  (for `make soak ARGS=-s`)
    assert lost > 50, "the kills hit nothing"
    assert max(took) < PERIOD
