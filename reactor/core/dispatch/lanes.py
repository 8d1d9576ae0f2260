"""Decides which items are sent next, which travel together, and for which workspaces nothing is claimed.

Values and `now` go in, decisions come out.

Each workspace has a *lane*: the items that are ready, and a guard. The lanes that may send are in a *line*; a lane that
has sent goes to its end, so a workspace with a million items has one place in the line, like a workspace with one item.

*Natural batching.* No timer waits to fill a batch. A lane with one ready item sends it at once; what becomes ready
while requests are in flight goes together, and where there is a backlog, claims bring whole batches. One thing makes a
lane wait with less: while more than half of the process's requests are out, a lane that has one of them waits for its
end, because another small request would only take the place of another lane's first one.

*What is not claimed.* An item in flight is a lock in the database and a state that cannot be superseded any more. So a
lane that is held, that waits for its breaker, or that has enough in its queue is *excluded* from claiming, and what is
in a queue that cannot leave within `MAX_QUEUE_SECONDS` is *evicted*: released, untouched. A lane whose guard needs a
probe keeps only the one item that it tries with. All items in flight together are bounded, and one lane may have a
quarter of that. Where a quota decides, the bound is what may leave soon, of a lane (`LANE_AHEAD`) and of all (`AHEAD`):
so the backlog stays in the database and not with a replica that has only a part of the quota for it, and all replicas
work on it.

*The quota's part* (`share`) is good until a time that is moved on again and again (core/dispatch/sharing.py). When it
is past, nothing is claimed and nothing leaves; the next one begins with empty buckets.

*What waits for a lock.* An end whose row is locked by another session is *deferred* (core/dispatch/deferrals.py). It
says nothing about Google, so a guard that needs a probe tries with the next item meanwhile.

*Who is notified.* A lane that will reopen at a known time has an alarm (core/dispatch/alarms.py); call `tick` at
`alarm_at`. `reopened` says, once, that claiming may find something that it could not before. So a lane that is excluded
has an alarm, or items or a request in flight whose end opens it. After `clear` nothing is in flight, so it looks at
every lane anew.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set as AbstractSet
from uuid import UUID

from reactor.core.dispatch.alarms import Alarms
from reactor.core.dispatch.deferrals import Deferrals
from reactor.core.dispatch.evidence import AnswerHistory
from reactor.core.dispatch.guard import ProcessGuard
from reactor.core.dispatch.lane import LANE_SHARE, MAX_LANES, Batch, Lane, LaneCache, QueuedItem, take_batch
from reactor.core.dispatch.limits import Limits
from reactor.core.dispatch.request_evidence import RequestEvidence

MAX_QUEUE_SECONDS = 1.0
"""Seconds that a claimed item may wait for its lane; after that we release it, and another replica may claim it."""
IN_FLIGHT_CLAIMS = 15
"""How many claims' worth of items may be in flight: 3,000 for claims of 200, at about 4 kB each. A request of 50 items
that takes 100 ms carries 500 a second; 5,000 a second need 500 under way, as many ready, and twice as many being
settled. With 10 claims' worth a drain stood still when its first requests, small ones of many workspaces, came back
together: 4,960 items a second where it is 5,270 now (python -m benchmarks drain, in turns)."""
AHEAD = 5.0
"""A replica has items in flight for at most so many seconds at the rate of its quota, requests and settles included."""
LANE_AHEAD = 2.0
"""Seconds for which a lane has items in its queue before nothing is claimed for it."""
BUSY_SHARE = 0.5
"""With this part of all requests under way no lane gets a second one that is not full."""


class Lanes:
    """The lanes of all workspaces, and what may be claimed and sent for them.

    Args:
        process: The limits of the process; their cap is the number of requests in flight.
        limits: Makes the limits of a lane.
        claim_size: Items per claim.
        parts: Items per request.
        kept: Lanes that are kept.

    Attributes:
        process: The guard of the process.
        answer_history: Which items failed, and which requests were answered since.
        in_flight_items: Items that are claimed and not settled.
        in_flight_items_cap: How many items may be in flight.
        quota_waits: Times that a lane with something ready had to wait for its rate.
    """

    def __init__(
        self, *, process: Limits, limits: Callable[[], Limits], claim_size: int, parts: int, kept: int = MAX_LANES
    ) -> None:
        self.process = ProcessGuard(process)
        self.in_flight_items = self.quota_waits = 0
        self.in_flight_items_cap = IN_FLIGHT_CLAIMS * claim_size
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
        self._deferrals = Deferrals(self.in_flight_items_cap)
        self._now = -math.inf
        self._evicted: list[QueuedItem] = []
        self._alarms = Alarms()
        self.answer_history = AnswerHistory()
        self._was_full = False
        self._reopened = False

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    @property
    def in_flight_requests(self) -> int:
        """Requests to Google under way."""
        return self.process.in_flight

    @property
    def excluded(self) -> AbstractSet[UUID]:
        """The workspaces from which nothing is to be claimed; ask for `slots` first."""
        overdrawn = self._deferrals.overdrawn
        return self._excluded.keys() | overdrawn if overdrawn else self._excluded.keys()

    @property
    def divisor(self) -> int:
        """We may use one part in so many of the quotas."""
        return self._divisor

    @property
    def per_workspace(self) -> int:
        """Items of one workspace that a claim should bring at most: what its lane sends soon."""
        return self._new_limits().within(LANE_AHEAD)

    def share(self, now: float, divisor: int, good_until: float) -> None:
        """Use a part of the quotas, one in `divisor`, and until then; see what may be sent after it."""
        anew = not self.may_use(now)
        self._good_until = good_until
        if divisor == self._divisor and not anew:
            return
        self._divisor, self._shared_at = divisor, now
        self.process.limits.share(now, divisor, anew=anew)
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
        self._deferrals.divide()
        slots = self._slots(now)
        self._was_full |= slots == 0
        return slots

    def _slots(self, now: float) -> int:
        if not self.may_use(now) or self.process.closed_until(now, MAX_QUEUE_SECONDS) > now:
            return 0
        if self.process.needs_probe:
            return int(self.in_flight_items == self._deferrals.total + self._passed_over(now))
        soon = self.process.limits.within(AHEAD)
        room = min(soon, self.in_flight_items_cap) - self._deferrals.counted(self.in_flight_items)
        size = min(soon, self._claim_size)
        # Claim nothing until at least half of a claim fits: many small claims cost more than one that comes later.
        return min(size, room) if 2 * room >= size else 0

    def _passed_over(self, now: float, lane: Lane | None = None) -> int:
        """Items in requests for which a guard that needs a probe does not wait: the lane's guard, or the process's."""
        if lane is None:
            return sum(
                len(each.entries) for each in self._under_way if not self.process.waits_for(each.process_ticket, now)
            )
        own = (each for each in self._under_way if each.lane is lane and not lane.guard.waits_for(each.ticket, now))
        return sum(len(each.entries) for each in own)

    def claimed(self, workspace_id: UUID, items: int = 1) -> Lane:
        """Note that items of a workspace were claimed; until they are settled they take up room."""
        lane = self._lanes.use(workspace_id)
        lane.in_flight_items += items
        self.in_flight_items += items
        for dropped in self._lanes.drop_idle(self._now):
            self._reopened |= self._excluded.pop(dropped, None) is not None
        return lane

    def add(self, lane: Lane, entries: Iterable[QueuedItem], now: float) -> None:
        """Put claimed items into their lane's queue."""
        lane.queue += entries
        self._refresh(lane, now)

    def settled(self, workspace_id: UUID, now: float, items: int = 1) -> None:
        """Note that items of the workspace were settled, or are lost."""
        lane = self._lanes.get(workspace_id)
        lane.in_flight_items -= items
        self.in_flight_items -= items
        if lane.in_flight_items == 0:
            lane.condemned = None
        overdrawn = self._deferrals.overdrawn
        self._reopened |= bool(overdrawn) and workspace_id in overdrawn
        if workspace_id in self._excluded:
            self._refresh(lane, now)

    def deferred(self, workspace_id: UUID, now: float) -> None:
        """Note that the end of an item waits for a lock of another session; ask `next` afterwards."""
        self._defer(workspace_id, 1, now)

    def resumed(self, workspace_id: UUID, now: float) -> None:
        """Note that a deferred end waits for no lock any more; call `settled` next."""
        self._defer(workspace_id, -1, now)

    def _defer(self, workspace_id: UUID, change: int, now: float) -> None:
        lane = self._lanes.get(workspace_id)
        self._deferrals.change(lane, change)
        self._reopened |= workspace_id in self._deferrals.overdrawn
        self._refresh(lane, now)

    def clear(self) -> None:
        """Forget all items in flight: the claims are lost, and the requests under way will report nothing any more.

        Only what was learnt about Google stays.
        """
        for batch in self._under_way:
            batch.lane.guard.abandon(batch.ticket, self._now)
            self.process.abandon(batch.process_ticket, self._now)
        for own in (self._under_way, self._evicted, self._waiting, self._line, self._deferrals):
            own.clear()
        self.in_flight_items = 0
        self._was_full = False
        for lane in self._lanes:
            lane.clear()
            self._refresh(lane, self._now)

    def next(self, now: float) -> Batch | None:
        """The next batch to send now, None where there is none; call it until then."""
        self._now = now
        while self._line and self.may_use(now) and self.process.ready_at(now) <= now:
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
        return len(lane.queue) < self._parts and lane.guard.in_flight > 0 and self.process.is_loaded(BUSY_SHARE)

    def _stop_waiting(self, now: float) -> None:
        waiting, self._waiting = self._waiting, {}
        for lane in waiting.values():
            self._refresh(lane, now)

    def _take(self, lane: Lane, now: float) -> Batch:
        most = min(self._parts, lane.guard.limits.available(now), self.process.limits.available(now))
        if needs_probe := lane.guard.needs_probe or self.process.needs_probe:
            most = 1
        entries = take_batch(lane.queue, most, self.answer_history.since_failure)
        batch = Batch(lane, entries, now, lane.guard.take(now, len(entries)), self.process.take(now, len(entries)))
        self._under_way.add(batch)
        if needs_probe:  # we try with this one item; another replica may take the others
            self._evict(lane)
        self._refresh(lane, now)
        return batch

    def ended(self, batch: Batch, evidence: RequestEvidence, now: float, *, random: float) -> None:
        """Note what an ended request showed."""
        if not self._is_over(batch):
            return
        lane, guard = batch.lane, batch.lane.guard
        guard.finish(batch.ticket, evidence, now, random=random)
        self.process.finish_for(lane.workspace_id, batch.process_ticket, evidence, now, random=random)
        if evidence.throttled:
            guard.limits.throttled(now, sent_at=batch.sent_at, retry_after=evidence.lane_after)
        for held, side, after in (
            (evidence.holds_lane, guard, evidence.lane_after),
            (evidence.holds_all, self.process, None),
        ):
            if held:
                side.hold(now, sent_at=batch.sent_at, random=random, after=after)
            elif evidence.answered:
                side.record_success(batch.sent_at)
        self._after(lane, now)

    def _is_over(self, batch: Batch) -> bool:
        """Take a request off the list; False where `clear` has forgotten it, so that its outcome says nothing."""
        known = batch in self._under_way
        self._under_way.discard(batch)
        return known

    def aborted(self, batch: Batch, now: float) -> None:
        """Note that a request was cancelled; its outcome is unknown."""
        if not self._is_over(batch):
            return
        batch.lane.guard.abandon(batch.ticket, now)
        self.process.abandon(batch.process_ticket, now)
        self._after(batch.lane, now)

    def condemn(self, lane: Lane, version: str) -> bool:
        """Note that a token of the lane is dead.

        Returns:
            Whether that is news; only the first item that meets it is a dead letter.
        """
        if lane.condemned == version:
            return False
        lane.condemned = version
        return True

    def tick(self, now: float) -> None:
        """Reopen the lanes whose time has come."""
        self._now = now
        for lane in self._alarms.due(now):
            self._refresh(lane, now)
        if self.process.closed_until(now, MAX_QUEUE_SECONDS) > now + MAX_QUEUE_SECONDS:
            self.evict_all()

    def alarm_at(self, now: float) -> float:
        """When to call `tick` and `next` if nothing happens before."""
        alarm = self._alarms.first
        if self._line or self._was_full:
            opens_at = max(self.process.ready_at(now), self.process.closed_until(now, MAX_QUEUE_SECONDS))
            alarm = min(alarm, opens_at if opens_at > now else math.inf)
        return alarm

    def reopened(self, now: float) -> bool:
        """Whether a claim may find what the last one could not; True once for each change."""
        reopened = self._reopened or (self._was_full and self._slots(now) > 0)
        if reopened:
            self._reopened = self._was_full = False
        return reopened

    def evicted(self) -> list[QueuedItem]:
        """The items to release, each once."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def evict_all(self) -> None:
        """Evict every item that was not sent."""
        for lane in self._lanes:
            self._evict(lane)

    def _evict(self, lane: Lane) -> None:
        self._evicted += lane.queue
        lane.queue.clear()

    def _after(self, lane: Lane, now: float) -> None:
        self._waiting.pop(lane.workspace_id, None)
        self._refresh(lane, now)
        if self._waiting and not self.process.is_loaded(BUSY_SHARE):
            self._stop_waiting(now)
        if self.process.closed_until(now, MAX_QUEUE_SECONDS) > now + MAX_QUEUE_SECONDS:
            self.evict_all()

    def _refresh(self, lane: Lane, now: float) -> None:
        """Put a lane where it belongs now: in the line, among the excluded lanes, among the alarms."""
        self._now = now
        guard = lane.guard
        closed_until = math.inf if lane.condemned else guard.closed_until(now, MAX_QUEUE_SECONDS)
        if lane.condemned or closed_until > now + MAX_QUEUE_SECONDS:  # another replica may send them sooner
            self._evict(lane)
        ready_at = max(guard.ready_at(now), closed_until) if lane.queue else closed_until
        if lane.queue and ready_at <= now and not lane.in_line:
            self._line.append(lane)
            lane.in_line = True
        if closed_until > now or self._has_enough(lane):
            self._excluded[lane.workspace_id] = lane
        elif self._excluded.pop(lane.workspace_id, None) is not None:
            self._reopened = True
        if now < ready_at < lane.alarm_at:
            self.quota_waits += bool(lane.queue) and lane.limited(now)
            self._alarms.set(lane, ready_at, len(self._lanes))

    def _has_enough(self, lane: Lane) -> bool:
        if lane.guard.needs_probe:
            return lane.in_flight_items > lane.deferred + self._passed_over(self._now, lane)
        soon = min(2 * self._parts, lane.guard.limits.within(LANE_AHEAD))
        return len(lane.queue) >= soon or lane.in_flight_items >= LANE_SHARE * self.in_flight_items_cap
