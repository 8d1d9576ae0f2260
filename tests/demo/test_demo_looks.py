"""How often the demo looks at its own outbox."""

from typing import Any

import trio
from trio.testing import MockClock

from reactor.demo.demo import _LOOK, _DemoRun


class SlowStats:
    """Looks that take some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.looks = 0

    async def look(self, onlooker: Any) -> None:
        del onlooker
        self.looks += 1
        await trio.sleep(self._seconds)


async def looks_in(seconds: float, each: float) -> int:
    run: Any = object.__new__(_DemoRun)
    stats = SlowStats(each)
    run._stats, run._onlooker = stats, None
    with trio.move_on_after(seconds):
        await run._look()
    return stats.looks


async def test_looks_take_a_tenth_of_the_time_however_long_the_table_is(autojump_clock: MockClock) -> None:
    """It grows as long as the demo goes on, and each look reads all of it."""
    assert await looks_in(100.0, 1.0) <= 10
    assert await looks_in(10.0, _LOOK / 1000) >= 90
