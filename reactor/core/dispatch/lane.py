"""One workspace's lane: the items that are ready to be sent, those that are in flight, and what holds the lane back."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum, auto
from uuid import UUID

from reactor.core.calendar.intent import SyncIntent
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.evidence import Answered
from reactor.core.dispatch.guard import Guard, Ticket
from reactor.core.dispatch.limits import Limits
from reactor.core.item import Item

MAX_LANES = 4096
"""How many lanes a process keeps, at about 1.5 kB each."""
LANE_SHARE = 0.25
"""The part of all items in flight that one lane may have."""


@dataclass(slots=True, eq=False)
class QueuedItem:
    """A claimed item that waits in a lane's queue to be sent.

    Attributes:
        item: The item.
        work: What is wanted for it.
        claimed_at: When it was claimed, in seconds of the loop's clock.
        answered: Which other requests were answered since the item failed last; set when the item leaves.
    """

    item: Item
    work: SyncIntent
    claimed_at: float
    answered: Answered = Answered.NONE


class LaneStatus(StrEnum):
    """What holds a lane back, or whether it has work; the values are labels of a metric."""

    IDLE = auto()
    BUSY = auto()
    LIMITED = auto()
    """Its rate limit lets nothing leave now."""
    HELD = auto()
    """It pauses after an answer that the next request would get too."""
    BROKEN = auto()
    """Its circuit breaker is not closed."""
    CONDEMNED = auto()
    """Its token is dead, and that is about to be written to the database."""


@dataclass(slots=True, eq=False)
class Lane:
    """The items of one workspace that this process has in flight, and the guard of their requests.

    Attributes:
        workspace_id: The workspace.
        guard: Its limits, breaker and hold.
        queue: The items that are ready, the oldest first.
        in_flight_items: Items in the queue, in a request, or waiting to be settled.
        deferred: How many of these wait to be settled until another session gives up a lock.
        condemned: The version of a token that turned out dead; until that is settled nothing is claimed.
        in_line: Whether the lane is in the line of lanes that may send.
        alarm_at: When the lane is looked at again although nothing has happened.
    """

    workspace_id: UUID
    guard: Guard
    queue: deque[QueuedItem] = field(default_factory=deque)
    in_flight_items: int = 0
    deferred: int = 0
    condemned: str | None = None
    in_line: bool = False
    alarm_at: float = math.inf

    def standing(self, now: float) -> LaneStatus:
        """The lane's status: what holds it back, or whether it has work."""
        if self.condemned:
            return LaneStatus.CONDEMNED
        if self.guard.breaker.state is not BreakerState.CLOSED:
            return LaneStatus.BROKEN
        if self.guard.held_until > now:
            return LaneStatus.HELD
        if self.queue and self.limited(now):
            return LaneStatus.LIMITED
        return LaneStatus.BUSY if self.in_flight_items else LaneStatus.IDLE

    def limited(self, now: float) -> bool:
        """Whether its rate lets nothing leave now. Its cap of requests does not count: one may end at any moment."""
        return now < self.guard.limits.ready_at(now) < math.inf

    def clear(self) -> None:
        """Forget the items in flight."""
        self.queue.clear()
        self.in_flight_items, self.deferred, self.condemned, self.in_line = 0, 0, None, False


@dataclass(slots=True, eq=False)
class Batch:
    """The items that go out as one request.

    Attributes:
        lane: The lane of their workspace.
        entries: The items, never two of one source, all under the same connection.
        sent_at: When the request left.
        ticket: What the lane's guard gave out for it.
        process_ticket: What the process's guard gave out for it.
    """

    lane: Lane
    entries: list[QueuedItem]
    sent_at: float
    ticket: Ticket
    process_ticket: Ticket


def take_batch(queue: deque[QueuedItem], most: int, answered: Callable[[Item], Answered]) -> list[QueuedItem]:
    """Take from the queue the items that may travel as one request: of different sources, under one connection.

    An item that failed while other requests were answered travels alone. If it makes its request fail, no other item is
    in that request, and the failure is its own.
    """
    first = queue.popleft()
    first.answered = answered(first.item)
    entries = [first]
    sources = {first.item.source_key}
    while queue and len(entries) < most and not first.answered:
        item = queue[0].item
        if item.source_key in sources or item.connection.version != first.item.connection.version or answered(item):
            break
        sources.add(item.source_key)
        entries.append(queue.popleft())
    return entries


class LaneCache:
    """The lanes of this process: those with items in flight, and the most recent others, for what they have learnt.

    Args:
        limits: Makes the limits of a lane.
        kept: How many lanes are kept; the number of items in flight bounds those that cannot be dropped.
    """

    def __init__(self, limits: Callable[[], Limits], kept: int) -> None:
        self._limits = limits
        self._kept = kept
        self._lanes: OrderedDict[UUID, Lane] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def get(self, workspace_id: UUID) -> Lane:
        """The lane of a workspace that has items in flight."""
        return self._lanes[workspace_id]

    def use(self, workspace_id: UUID) -> Lane:
        """The lane of a workspace, made where there is none."""
        lane = self._lanes.get(workspace_id)
        if lane is None:
            lane = self._lanes[workspace_id] = Lane(workspace_id, Guard(self._limits()))
        else:
            self._lanes.move_to_end(workspace_id)
        return lane

    def drop_idle(self, now: float) -> list[UUID]:
        """Forget some lanes if there are too many, the least recently used first; busy ones go to the back.

        So do those whose bucket is not full: a lane that is made anew has a full one.
        """
        dropped = []
        for _ in range(min(8, len(self._lanes) - self._kept)):
            workspace_id, lane = next(iter(self._lanes.items()))
            # The outcomes of a request may be settled before the request has ended.
            if lane.in_flight_items or lane.guard.in_flight or not lane.guard.limits.is_full(now):
                self._lanes.move_to_end(workspace_id)
                continue
            del self._lanes[workspace_id]
            lane.alarm_at = math.inf
            dropped.append(workspace_id)
        return dropped
