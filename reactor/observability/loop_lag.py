"""How long a task that is due waits for its turn: what blocks the loop, or too little CPU, shows here first."""

from collections import deque

import trio

EVERY = 1.0  # seconds
KEPT = 60  # measurements: a scrape comes once or twice a minute


class LoopLag:
    """Sleeps, and looks how late it is woken."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)

    @property
    def worst(self) -> float:
        """The most seconds of the last minute."""
        return max(self._late, default=0.0)

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            due = trio.current_time() + EVERY
            await trio.sleep_until(due)
            self._late.append(trio.current_time() - due)
