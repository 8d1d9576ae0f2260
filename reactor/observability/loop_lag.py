"""Measures how late the event loop wakes a task: a blocking call or too little CPU shows here first."""

from collections import deque

import trio

EVERY = 1.0  # seconds
KEPT = 60  # measurements: a scrape comes once or twice a minute


class LoopLag:
    """Sleeps for a second again and again, and notes how late it is woken."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)

    @property
    def worst(self) -> float:
        """The largest delay of the last minute, in seconds."""
        return max(self._late, default=0.0)

    async def run(self) -> None:
        """Measure once a second, for ever."""
        while True:
            due = trio.current_time() + EVERY
            await trio.sleep_until(due)
            self._late.append(trio.current_time() - due)
