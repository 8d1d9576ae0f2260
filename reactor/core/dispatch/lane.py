"""One workspace's lane: what is ready to be sent for it, what is under way, what holds it back."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum, auto
from uuid import UUID

from reactor.core.calendar.work import SyncIntent
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.evidence import Answered
from reactor.core.dispatch.guard import Guard, Ticket
from reactor.core.dispatch.limits import Limits
from reactor.core.item import Item

MAX_LANES = 4096
"""Lanes that are kept, at about 1.5 kB each."""


@dataclass(slots=True, eq=False)
class QueuedItem:
    """An item that may be sent.

    Attributes:
        item: The item.
        work: What is wanted for it.
        claimed_at: When it was claimed.
        answered: Who got an answer since it failed last, known when it leaves.
    """

    item: Item
    work: SyncIntent
    claimed_at: float
    answered: Answered = Answered.NONE


class LaneStatus(StrEnum):
    """Where a lane stands."""

    IDLE = auto()
    BUSY = auto()
    LIMITED = auto()
    """It waits for its rate."""
    HELD = auto()
    """It waits after an answer that whatever is sent next would meet."""
    BROKEN = auto()
    """Its breaker is not closed."""
    CONDEMNED = auto()
    """Its token is dead, and that is being written."""


@dataclass(slots=True, eq=False)
class Lane:
    """A workspace's lane.

    Attributes:
        workspace_id: Whose.
        guard: What holds it back.
        queue: What is ready, the oldest first.
        in_flight_items: Items in the queue, under way, or on their way to be settled.
        deferred: Of these, the ones whose end waits for a lock of another session.
        condemned: The version of a token that turned out dead; until that is settled nothing is claimed.
        in_line: Whether it stands in the line.
        alarm_at: When it is looked at again without anything happening.
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
        """Where it stands, in one word: what holds it back, or whether it has work."""
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
        """Whether its rate lets nothing leave now; requests under way do not count, they end any moment."""
        return now < self.guard.limits.ready_at(now) < math.inf

    def clear(self) -> None:
        """Let go of what is in hand."""
        self.queue.clear()
        self.in_flight_items, self.deferred, self.condemned, self.in_line = 0, 0, None, False


@dataclass(slots=True, eq=False)
class Batch:
    """What goes out as one request.

    Attributes:
        lane: Whose.
        entries: The items, never two of one source, all under the same connection.
        sent_at: When.
        ticket: The lane's guard's.
        process_ticket: The process's guard's.
    """

    lane: Lane
    entries: list[QueuedItem]
    sent_at: float
    ticket: Ticket
    process_ticket: Ticket


def take_batch(queue: deque[QueuedItem], most: int, answered: Callable[[Item], Answered]) -> list[QueuedItem]:
    """Take from the queue what may travel as one: of different sources, under one connection.

    An item that failed while somebody else was answered travels alone. Where it takes a whole request down, it is then
    the only one in it, and what the request comes to is its own.
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
    """The lanes that are known: those with items in hand, and for what they have learnt the last that had some.

    Args:
        limits: Makes the limits of a lane.
        kept: How many are kept; the number of items in hand bounds those that cannot be dropped.
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
        """The lane of a workspace that has items in hand."""
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
            # What a request came to may be settled before it has ended.
            if lane.in_flight_items or lane.guard.in_flight or not lane.guard.limits.is_full(now):
                self._lanes.move_to_end(workspace_id)
                continue
            del self._lanes[workspace_id]
            lane.alarm_at = math.inf
            dropped.append(workspace_id)
        return dropped
