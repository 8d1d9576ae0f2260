"""Alarms: the times at which lanes are looked at again although nothing has happened.

They are in a heap, and only an earlier alarm of a lane is news. Its later one stays in the heap; when its time comes it
is passed by, because that time is not the lane's `alarm_at` any more. So a heap may hold several alarms of a lane, for
up to a day, and they are forgotten when they are too many.
"""

import heapq
import math
from collections.abc import Iterator
from itertools import count

from reactor.core.dispatch.lane import Lane


class Alarms:
    """The alarms of all lanes. Times are seconds of the clock that `now` is from."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Lane]] = []
        self._ties = count()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[tuple[float, Lane]]:
        return ((at, lane) for at, _, lane in self._heap)

    @property
    def first(self) -> float:
        """When the next one may be due; infinity where there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def set(self, lane: Lane, at: float, lanes: int) -> None:
        """Set a lane's alarm, which is earlier than the one that it has.

        Args:
            lane: The lane.
            at: When it is to be looked at.
            lanes: How many lanes there are: with more than twice as many alarms, and some, old ones are forgotten.
        """
        lane.alarm_at = at
        heapq.heappush(self._heap, (at, next(self._ties), lane))
        if len(self._heap) > 2 * lanes + 64:
            self._forget_old()

    def due(self, now: float) -> Iterator[Lane]:
        """Take the lanes whose time has come; each may get a later alarm meanwhile."""
        while self._heap and self._heap[0][0] <= now:
            at, _, lane = heapq.heappop(self._heap)
            if lane.alarm_at == at:
                lane.alarm_at = math.inf
                yield lane

    def _forget_old(self) -> None:
        """Keep one alarm for each lane, and none of a lane that was dropped."""
        self._heap = list({lane: (at, tie, lane) for at, tie, lane in self._heap if lane.alarm_at == at}.values())
        heapq.heapify(self._heap)
