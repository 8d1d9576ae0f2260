"""Which items are sent next, together with which others, and whose are not even claimed. Values and `now` in.

Each workspace has a *lane*: the items that are ready, and a guard. The lanes that may send stand in a *line*; who has
sent goes to its end, so a workspace with a million items is one in the line like a workspace with one.

*Natural batching.* No timer waits to fill a batch. A lane with one ready item sends it at once; what becomes ready
while requests are in flight goes together, and where there is a backlog, claims bring whole batches. One thing makes a
lane wait with less: while more than half of the process's requests are out, a lane that has one of them waits for its
end, since another small request would only take the place of somebody else's first one.

*What is not claimed.* An item in hand is a lock in the database and a state that cannot be superseded any more. So a
lane that is held, that waits for its breaker, or that has enough in its queue is *excluded* from claiming, and what
is in a queue that cannot leave within `PATIENCE` is *surrendered*: given back, untouched. A suspect lane keeps only the
one item that it tries with. All items in hand together are bounded, and a quarter of that is what one lane may have.
Where a quota rules, what may leave soon is the bound, of a lane (`LANE_AHEAD`) and of all (`AHEAD`): so the backlog
lies in the database and not with a replica that has only a part of the quota for it, and all replicas work it off.

*The quota's part* (`share`) is good until a time that is moved on again and again (core/dispatch/sharing.py). When it
is past, nothing is claimed and nothing leaves; the next one begins with empty buckets.

*What waits for a lock.* An end whose row is locked by another session is *deferred*: still in hand, with nothing left
to do but to be written. It says nothing of Google, so a suspect guard tries with the next item beside it. It fills its
own lane's share, and not the room of the whole, or a lock on one workspace's rows would stop all others. That alone
would not do: many locked workspaces have a share each. So lanes with something deferred have one more `in_hand_cap` to
divide among themselves, of which each may take a quarter of what the others leave: once they are known their sum stays
below it, however many they are. Lanes that come later add what they have in hand when they meet their first lock. What
is deferred beyond the second cap counts for the whole: in hand are never more than twice as many as without locks, and
memory stays bounded.

*Who is told.* A lane that will reopen at a known time is in a heap of timers; call `tick` at `alarm_at`.
`reopened` says, once, that claiming may find something that it could not before. So a lane that is excluded has an
alarm, or items or a request in hand whose end opens it. After `clear` nothing is in hand, so it judges every lane anew.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Set as AbstractSet
from itertools import count
from uuid import UUID

from reactor.core.calendar.work import SyncIntent
from reactor.core.dispatch.evidence import Evidence
from reactor.core.dispatch.guard import ProcessGuard
from reactor.core.dispatch.lane import MAX_LANES, Batch, Lane, LaneCache, QueuedItem, take_batch
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.verdict import RequestEvidence
from reactor.core.item import Item

PATIENCE = 1.0
"""Seconds that an item may wait in hand for its lane: as long as a claim that another replica could have made."""
IN_HAND = 15
"""Claims' worth of items in hand: 3,000 for claims of 200, at about 4 kB each. A request of 50 items that takes 100 ms
carries 500 a second; 5,000 a second need 500 under way, as many ready, and twice as many being settled. With 10 claims'
worth a drain stood still when its first requests, small ones of many workspaces, came back together: 4,960 items a
second where it is 5,270 now (python -m benchmarks drain, in turns)."""
AHEAD = 5.0
"""Seconds for which a replica has items in hand at most, at the rate of its quota; requests and settles included."""
LANE_AHEAD = 2.0
"""Seconds for which a lane has items in its queue before nothing is claimed for it."""
SHARE = 4
"""One lane may have this part of all items in hand."""
CROWDED = 2
"""With half of them under way no lane gets a second one that is not full."""


class Lanes:
    """All lanes.

    Args:
        whole: The limits of the process; their cap is the number of requests in flight.
        limits: Makes the limits of a lane.
        claim_size: Items per claim.
        parts: Items per request.
        kept: Lanes that are kept.

    Attributes:
        whole: The guard of the process.
        evidence: Which items failed, and what got through since.
        in_hand: Items that are claimed and not settled.
        in_hand_cap: How many may be.
        quota_waits: Times that a lane with something ready had to wait for its rate.
    """

    def __init__(
        self, *, whole: Limits, limits: Callable[[], Limits], claim_size: int, parts: int, kept: int = MAX_LANES
    ) -> None:
        self.whole = ProcessGuard(whole)
        self.in_hand = self._deferred = 0
        self.quota_waits = 0
        self.in_hand_cap = IN_HAND * claim_size
        self._claim_size = claim_size
        self._parts = parts
        self._make_limits = limits
        self._divisor, self._shared_at = 1, -math.inf
        self._good_until = math.inf
        self._lanes = LaneCache(self._new_limits, kept)
        self._line: deque[Lane] = deque()
        self._excluded: dict[UUID, Lane] = {}
        self._waiting: dict[UUID, Lane] = {}  # for the end of their request
        self._under_way: set[Batch] = set()
        self._deferring: dict[UUID, Lane] = {}
        self._overdrawn: set[UUID] = set()  # of them, those that have their part; computed at each look
        self._now = -math.inf
        self._surrendered: list[QueuedItem] = []
        self._alarms: list[tuple[float, int, Lane]] = []
        self._ties = count()
        self.evidence = Evidence()
        self._was_full = False
        self._reopened = False

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self.whole.in_flight

    @property
    def excluded(self) -> AbstractSet[UUID]:
        """The workspaces from which nothing is to be claimed; ask for `slots` first."""
        return self._excluded.keys() | self._overdrawn if self._overdrawn else self._excluded.keys()

    @property
    def divisor(self) -> int:
        """Of the quotas one part in so many is ours."""
        return self._divisor

    @property
    def each(self) -> int:
        """Items of one workspace that a claim should bring at most: what its lane sends soon."""
        return self._new_limits().within(LANE_AHEAD)

    def share(self, now: float, divisor: int, good_until: float) -> None:
        """Use a part of the quotas, one in `divisor`, and until then; see what may be sent after it."""
        anew = not self.may_use(now)
        self._good_until = good_until
        if divisor == self._divisor and not anew:
            return
        self._divisor, self._shared_at = divisor, now
        self.whole.limits.share(now, divisor, anew=anew)
        for lane in self._lanes:
            lane.guard.limits.share(now, divisor, anew=anew)
            self._refresh(lane, now)

    def may_use(self, now: float) -> bool:
        """Whether the part is good."""
        return now <= self._good_until

    def unshare(self) -> None:
        """Use nothing of the quotas until the next `share`."""
        self._good_until = -math.inf

    def _new_limits(self) -> Limits:
        """A lane's limits, as if it had been there when the part was given out."""
        limits = self._make_limits()
        if self._shared_at > -math.inf:
            limits.share(self._shared_at, self._divisor, anew=True)
        return limits

    def slots(self, now: float) -> int:
        """How many items may be claimed."""
        self._divide()
        slots = self._slots(now)
        self._was_full |= slots == 0
        return slots

    def _slots(self, now: float) -> int:
        if not self.may_use(now) or self.whole.closed_until(now, PATIENCE) > now:
            return 0
        if self.whole.suspect:
            return int(self.in_hand == self._deferred + self._passed_over(now))
        soon = self.whole.limits.within(AHEAD)
        room = min(soon, self.in_hand_cap) - (self.in_hand - self._deferred) - max(0, self._deferred - self.in_hand_cap)
        size = min(soon, self._claim_size)
        return min(size, room) if 2 * room >= size else 0

    def _passed_over(self, now: float, lane: Lane | None = None) -> int:
        """Items in requests for which the guard does not wait while it is suspect: the lane's, or the process's."""
        if lane is None:
            return sum(
                len(each.entries) for each in self._under_way if not self.whole.waits_for(each.whole_ticket, now)
            )
        own = (each for each in self._under_way if each.lane is lane and not lane.guard.waits_for(each.ticket, now))
        return sum(len(each.entries) for each in own)

    def claimed(self, item: Item) -> Lane:
        """Take an item in hand; until it is settled it takes up room."""
        lane = self._lanes.use(item.workspace_id)
        lane.in_hand += 1
        self.in_hand += 1
        for dropped in self._lanes.drop_idle(self._now):
            self._reopened |= self._excluded.pop(dropped, None) is not None
        return lane

    def add(self, lane: Lane, item: Item, work: SyncIntent, now: float) -> None:
        """Let an item that was claimed be sent."""
        lane.queue.append(QueuedItem(item, work, now))
        if len(lane.queue) in (1, self._parts) or (lane.workspace_id not in self._excluded and self._has_enough(lane)):
            self._refresh(lane, now)

    def settled(self, workspace_id: UUID, now: float) -> None:
        """One item of the workspace is not in hand any more."""
        lane = self._lanes.get(workspace_id)
        lane.in_hand -= 1
        self.in_hand -= 1
        if lane.in_hand == 0:
            lane.condemned = None
        self._reopened |= bool(self._overdrawn) and workspace_id in self._overdrawn
        if workspace_id in self._excluded:
            self._refresh(lane, now)

    def deferred(self, workspace_id: UUID, now: float) -> None:
        """The end of an item of the workspace waits for a lock of another session. See what may be sent after it."""
        self._defer(workspace_id, 1, now)

    def resumed(self, workspace_id: UUID, now: float) -> None:
        """A deferred end waits for no lock any more; to be followed by `settled`."""
        self._defer(workspace_id, -1, now)

    def _defer(self, workspace_id: UUID, change: int, now: float) -> None:
        lane = self._lanes.get(workspace_id)
        lane.deferred += change
        self._deferred += change
        if lane.deferred:
            self._deferring[workspace_id] = lane
        else:
            del self._deferring[workspace_id]
        self._reopened |= workspace_id in self._overdrawn
        self._refresh(lane, now)

    def _divide(self) -> None:
        """See which of the lanes with something deferred have a quarter of what the others of them leave."""
        lanes = self._deferring.values()
        left = self.in_hand_cap - sum(lane.in_hand for lane in lanes)
        self._overdrawn = {lane.workspace_id for lane in lanes if SHARE * lane.in_hand >= left + lane.in_hand}

    def clear(self) -> None:
        """Let go of whatever is in hand: the claims are lost, and requests under way will not be heard of any more.

        What was learnt of Google stays, and nothing else.
        """
        for batch in self._under_way:
            batch.lane.guard.give(batch.ticket, self._now)
            self.whole.give(batch.whole_ticket, self._now)
        for own in (self._under_way, self._surrendered, self._waiting, self._line, self._deferring, self._overdrawn):
            own.clear()
        self.in_hand = self._deferred = 0
        self._was_full = False
        for lane in self._lanes:
            lane.clear()
            self._refresh(lane, self._now)

    def next(self, now: float) -> Batch | None:
        """What is to be sent now; ask until there is nothing."""
        self._now = now
        while self._line and self.may_use(now) and self.whole.ready_at(now) <= now:
            lane = self._line.popleft()
            lane.in_line = False
            if not lane.queue:
                continue
            if self._waits(lane):
                self._waiting[lane.workspace_id] = lane
            elif lane.guard.ready_at(now) <= now:
                return self._take(lane, now)
            else:
                self._refresh(lane, now)
        return None

    def _waits(self, lane: Lane) -> bool:
        return len(lane.queue) < self._parts and lane.guard.in_flight > 0 and self.whole.has_out(CROWDED)

    def _stop_waiting(self, now: float) -> None:
        waiting, self._waiting = self._waiting, {}
        for lane in waiting.values():
            self._refresh(lane, now)

    def _take(self, lane: Lane, now: float) -> Batch:
        most = min(self._parts, lane.guard.limits.available(now), self.whole.limits.available(now))
        if suspect := lane.guard.suspect or self.whole.suspect:
            most = 1
        entries = take_batch(lane.queue, most, self.evidence.since_failure)
        batch = Batch(lane, entries, now, lane.guard.take(now, len(entries)), self.whole.take(now, len(entries)))
        self._under_way.add(batch)
        if suspect:
            self._surrender(lane)
        self._refresh(lane, now)
        return batch

    def ended(self, batch: Batch, verdict: RequestEvidence, now: float, *, random: float) -> None:
        """Take in what a request came to."""
        if not self._is_over(batch):
            return
        lane, guard = batch.lane, batch.lane.guard
        guard.judge(batch.ticket, verdict, now, random=random)
        self.whole.judge_of(lane.workspace_id, batch.whole_ticket, verdict, now, random=random)
        if verdict.throttled:
            guard.limits.throttled(now, sent_at=batch.sent_at, retry_after=verdict.lane_after)
        for held, side, after in ((verdict.lane, guard, verdict.lane_after), (verdict.everybody, self.whole, None)):
            if held:
                side.hold(now, sent_at=batch.sent_at, random=random, after=after)
            elif verdict.life:
                side.works(batch.sent_at)
        self._after(lane, now)

    def _is_over(self, batch: Batch) -> bool:
        """Take a request off the list; what was let go of by `clear` is not there any more, and says nothing."""
        known = batch in self._under_way
        self._under_way.discard(batch)
        return known

    def broken_off(self, batch: Batch, now: float) -> None:
        """A request was cancelled; nobody knows what came of it."""
        if not self._is_over(batch):
            return
        batch.lane.guard.give(batch.ticket, now)
        self.whole.give(batch.whole_ticket, now)
        self._after(batch.lane, now)

    def condemn(self, lane: Lane, version: str) -> bool:
        """A token of the lane is dead.

        Returns:
            Whether that is news; only the first item that meets it is a dead letter.
        """
        if lane.condemned == version:
            return False
        lane.condemned = version
        return True

    def tick(self, now: float) -> None:
        """Let the lanes open whose time has come."""
        self._now = now
        while self._alarms and self._alarms[0][0] <= now:
            at, _, lane = heapq.heappop(self._alarms)
            if lane.alarm_at == at:
                lane.alarm_at = math.inf
                self._refresh(lane, now)
        if self.whole.closed_until(now, PATIENCE) > now + PATIENCE:
            self.surrender_all()

    def alarm_at(self, now: float) -> float:
        """When `tick` and `next` have something to do without anything happening before."""
        alarm = self._alarms[0][0] if self._alarms else math.inf
        if self._line or self._was_full:
            whole = max(self.whole.ready_at(now), self.whole.closed_until(now, PATIENCE))
            alarm = min(alarm, whole if whole > now else math.inf)
        return alarm

    def reopened(self, now: float) -> bool:
        """Whether claiming may find what it could not before; says so once."""
        reopened = self._reopened or (self._was_full and self._slots(now) > 0)
        if reopened:
            self._reopened = self._was_full = False
        return reopened

    def surrendered(self) -> list[QueuedItem]:
        """What is to be given back, each once."""
        surrendered, self._surrendered = self._surrendered, []
        return surrendered

    def surrender_all(self) -> None:
        """Have all that was not sent given back."""
        for lane in self._lanes:
            self._surrender(lane)

    def _surrender(self, lane: Lane) -> None:
        self._surrendered += lane.queue
        lane.queue.clear()

    def _after(self, lane: Lane, now: float) -> None:
        self._waiting.pop(lane.workspace_id, None)
        self._refresh(lane, now)
        if self._waiting and not self.whole.has_out(CROWDED):
            self._stop_waiting(now)
        if self.whole.closed_until(now, PATIENCE) > now + PATIENCE:
            self.surrender_all()

    def _refresh(self, lane: Lane, now: float) -> None:
        """Put a lane where it belongs: in the line, among the excluded, among the alarms."""
        self._now = now
        guard = lane.guard
        closed_until = math.inf if lane.condemned else guard.closed_until(now, PATIENCE)
        if lane.condemned or closed_until > now + PATIENCE:
            self._surrender(lane)
        ready_at = max(guard.ready_at(now), closed_until) if lane.queue else closed_until
        if lane.queue and ready_at <= now and not lane.in_line:
            self._line.append(lane)
            lane.in_line = True
        if closed_until > now or self._has_enough(lane):
            self._excluded[lane.workspace_id] = lane
        elif self._excluded.pop(lane.workspace_id, None) is not None:
            self._reopened = True
        if now < ready_at < lane.alarm_at:
            lane.alarm_at = ready_at
            self.quota_waits += bool(lane.queue) and lane.limited(now)
            heapq.heappush(self._alarms, (ready_at, next(self._ties), lane))
            if len(self._alarms) > 2 * len(self._lanes) + 64:
                self._forget_old_alarms()

    def _forget_old_alarms(self) -> None:
        """Keep one alarm for each lane: an earlier one and a lane that was dropped leave theirs behind, up to a day."""
        self._alarms = list({lane: (at, tie, lane) for at, tie, lane in self._alarms if lane.alarm_at == at}.values())
        heapq.heapify(self._alarms)

    def _has_enough(self, lane: Lane) -> bool:
        if lane.guard.suspect:
            return lane.in_hand > lane.deferred + self._passed_over(self._now, lane)
        soon = min(2 * self._parts, lane.guard.limits.within(LANE_AHEAD))
        return len(lane.queue) >= soon or SHARE * lane.in_hand >= self.in_hand_cap
