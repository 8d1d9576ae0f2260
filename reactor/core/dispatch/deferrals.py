"""Deferrals: items whose end waits for a lock of another session, and how much of the items in flight they may be.

A deferred end is still in flight, and only waits to be written. It counts in the share of its own lane, and not in the
room of all lanes; otherwise a lock on one workspace's rows would stop all others. That alone is not enough, because
many locked workspaces have a share each. So lanes with something deferred divide one more cap of items in flight among
themselves, and each may take a quarter of what the others leave: their sum stays below it, however many they are. Lanes
that come later add what they have in flight when they meet their first lock. What is deferred beyond the second cap
counts for all lanes: never more than twice as many items are in flight as without locks, and memory stays bounded.
"""

from uuid import UUID

from reactor.core.dispatch.lane import LANE_SHARE, Lane


class Deferrals:
    """The deferred ends of all lanes.

    Args:
        cap: How many items may be in flight without them.

    Attributes:
        total: How many ends are deferred.
        overdrawn: The workspaces that have their part of the second cap, as `divide` saw it last.
    """

    def __init__(self, cap: int) -> None:
        self.total = 0
        self.overdrawn = set[UUID]()
        self._cap = cap
        self._lanes = dict[UUID, Lane]()

    def change(self, lane: Lane, number: int) -> None:
        """Note that so many more ends of a lane are deferred, or so many fewer where `number` is negative."""
        lane.deferred += number
        self.total += number
        if lane.deferred:
            self._lanes[lane.workspace_id] = lane
        else:
            del self._lanes[lane.workspace_id]

    def divide(self) -> None:
        """See which lanes have a quarter of what the others of them leave."""
        lanes = self._lanes.values()
        left = self._cap - sum(lane.in_flight_items for lane in lanes)
        self.overdrawn = {
            lane.workspace_id for lane in lanes if lane.in_flight_items >= LANE_SHARE * (left + lane.in_flight_items)
        }

    def counted(self, in_flight_items: int) -> int:
        """How many of the items in flight take up room: those that are not deferred, or beyond the second cap."""
        return in_flight_items - self.total + max(0, self.total - self._cap)

    def clear(self) -> None:
        """Forget all of them."""
        self.total = 0
        self.overdrawn.clear()
        self._lanes.clear()
