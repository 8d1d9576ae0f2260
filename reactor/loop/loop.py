"""The loop: claim, send, settle, at the same time and never twice.

    gate ──look──▶ claim ──▶ lanes ──next──▶ senders ──outcomes──▶ settler
                     ▲                                               │
                     └───────────── room for items ◀─────────────────┘

One task looks (the gate calls it), one keeps time for the lanes, one sweeps, one settles; a task per request sends. All
decisions are made in `reactor.core.dispatch.lanes` and `reactor.core.policy`, synchronously, between two checkpoints:
code that changes what may be sent calls `_start_sends`, which starts every request that may leave now. So an item never
waits because no task has noticed it, and no task has to be woken to find out: the first item after a wake is on its way
in the step in which its claim returns.

*A look must not miss what opens while it is under way.* The gate takes the result of a look for the present state and
forgets earlier calls. So a look during which room was freed or a lane opened says that there is work, and is repeated.

*Two at a time.* Where a claim has left something behind, the next claim is asked for before the requests of this one
leave: the server claims while we check, write and send. That is a tenth more items a second in a drain (`python -m
benchmarks drain`, in turns); the requests leave 0.1 ms later. Where nothing is left behind they leave first.

*A settled source is free.* A state that came while its predecessor was in flight was announced when it could not be
claimed, and it is not announced again. So a settle says whether something has waited for it, and if so we look. While
the gate is awake the settle need not say so: the next look begins after the settle in any case, and one that is under
way counts as above. That is a statement less for each settle of a drain.

*Stopping* has two ways. `drain` stops claiming, releases what was not sent, waits for what is under way until a
deadline, releases the rest with a note of what it may have done, settles all that, and notifies the other replicas if
something has waited for it. Cancelling `run` (the claims session is lost) stops everything at once and writes nothing:
the locks are gone, and another replica may have claimed the items.

*A bug that one item brings out* costs that item an attempt, and nothing else: what is done for a single item is done
under a guard (`reactor.loop.guarded_policy`), a request that carries several is tried again item by item, and so is a
transaction that settles several. What is done for all of them has no guard. There the state may be wrong, so the error
is raised, and the service starts again with a new session and new lanes.

A claim is never cancelled half-way, because its items would be locked and unknown to us: `drain` waits for it.
"""

import math
import random
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial

import trio

from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.dispatch.lane import Batch, QueuedItem
from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.request_evidence import RequestEvidence, is_condemned
from reactor.core.item import Item, Settlement
from reactor.core.outcome import Dead, Outcome, Retry, Scope
from reactor.core.payload import Rebuild
from reactor.core.policy import blame_one, release
from reactor.core.refusals import RefusedWork
from reactor.core.stats import Stats
from reactor.errors import RefusedError, TransientError
from reactor.loop.guarded_policy import GuardedPolicy
from reactor.loop.ports import CalendarPort, Observer, OutboxPort, RebuildsPort, TokensOf, WakeupsPort
from reactor.loop.settler import Settler
from reactor.loop.sweeper import Sweeper

REFUSED_PAUSE = 0.5
"""Seconds until the next look after the database refused one."""
LAST_SETTLE = 10.0
"""Seconds for the last transaction after a drain; the session's own time-out is the same."""

_CRASHED = Retry("the exchange ended in an unexpected error", counts=True, scope=Scope.LANE)
_CRASHED_TOGETHER = Retry("the exchange of a batch ended in an unexpected error", counts=False, scope=Scope.LANE)


async def _let_leave() -> None:
    """Let the requests that were just started leave before anything else is done: a person waits for them.

    Trio runs what is ready in rounds, in any order. A request leaves in the second one after its start: httpcore waits
    for one (tests/google/test_google_turns.py counts). So in the third it has left.
    """
    for _ in range(3):
        await trio.lowlevel.cancel_shielded_checkpoint()


def _by_workspace(items: Iterable[Item]) -> Collection[list[Item]]:
    """Some items by their workspaces; a UUID's number is hashed ten times faster than the UUID."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.workspace_id.int, []).append(item)
    return groups.values()


class _Sending:
    """A batch under way, and what is known of it."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.outcomes: list[Outcome | None] = [None] * len(batch.entries)


class Loop:
    """The loop, for the lifetime of one claims session.

    Args:
        outbox: The outbox, by way of that session.
        calendar: Sends requests to Google.
        rebuilds: Carries rebuilds out; to a lane a rebuild is a request like any other.
        tokens_of: Finds an item's tokens.
        wakeups: Calls `look`.
        lanes: Outlive the session, because what they have learnt about Google stays true.
        stats: Counters; they outlive the session too.
        ceiling: Failed attempts after which every item is a dead letter, whatever its row allows.
        observer: Is called with what happens; its errors must not reach the loop (`reactor.loop.guarded`).
    """

    def __init__(  # noqa: PLR0913 - four ports, and what outlives a session
        self,
        outbox: OutboxPort,
        calendar: CalendarPort,
        rebuilds: RebuildsPort,
        tokens_of: TokensOf,
        wakeups: WakeupsPort,
        *,
        lanes: Lanes,
        stats: Stats,
        ceiling: int,
        observer: Observer | None = None,
    ) -> None:
        self.stats = stats
        self._outbox = outbox
        self._calendar = calendar
        self._rebuilds = rebuilds
        self._tokens_of = tokens_of
        self._wakeups = wakeups
        self._lanes = lanes
        self._observer = observer or Observer()
        self._policy = GuardedPolicy(ceiling, self._observer.crashed)
        self._stop = trio.Event()
        self._deadline = math.inf
        self._looking = trio.Lock()
        self._freed = False
        self._settled_since = False  # whether ends were settled since the last look began without asking what waited
        self._alarm = math.inf
        self._rechecks = trio.Event()
        self._senders: trio.Nursery
        self._settler = Settler(
            outbox,
            stats,
            self._observer,
            self._settled,
            self._look_again,
            asks=self._asks,
            waits=self._wait,
            not_written=self._policy.not_written,
        )
        self._sweeper = Sweeper(outbox, stats, self._observer, self._look_again, wakeups.freed)

    def drain(self, seconds: float) -> None:
        """Stop claiming, wait `seconds` for what is under way, release the rest, and let `run` return."""
        self._deadline = trio.current_time() + seconds
        self._stop.set()

    def recheck(self) -> None:
        """See what may leave now: the lanes' part of the quota has changed."""
        self._rechecks.set()

    async def run(self) -> None:
        """Work until `drain` has been called and is done. Cancelled, it stops at once and writes nothing.

        Raises what the outbox or the wake-ups raise, in exception groups.
        """
        self._lanes.clear()
        await self._sweeper.sweep()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._settler.run)
                await self._work()
                self._settler.close()
                with trio.move_on_after(LAST_SETTLE):
                    await self._settler.over.wait()
                    await self._notify_peers()
                nursery.cancel_scope.cancel()
        finally:
            self._lanes.clear()

    async def _notify_peers(self) -> None:
        """Have the others look for what became claimable since our last look: no replica knows of it."""
        if self._freed or self._settled_since:
            with suppress(TransientError):
                await self._outbox.announce()

    async def _work(self) -> None:
        async with trio.open_nursery() as self._senders:
            try:
                async with trio.open_nursery() as claiming:
                    claiming.start_soon(self._wakeups.run, self.look)
                    claiming.start_soon(self._keep_time)
                    claiming.start_soon(self._sweeper.run)
                    await self._stop.wait()
                    async with self._looking:
                        claiming.cancel_scope.cancel()
            finally:  # cancelled, the nursery closes before the settler, which may be about to send what is next
                self._stop.set()
            self._lanes.evict_all()
            self._release_evicted()
            self._senders.cancel_scope.deadline = self._deadline

    async def look(self) -> Look:
        """Claim what there is room for, and send it; one call at a time."""
        if self._stop.is_set():
            return Look(LookResult.FULL)
        self._looking.acquire_nowait()  # free, and so not worth a round of the scheduler: only a drain waits for it
        try:
            return await self._look()
        finally:
            self._looking.release()

    async def _look(self) -> Look:
        self._freed = self._settled_since = False
        slots = self._lanes.slots(trio.current_time())
        try:
            claimed = await self._outbox.claim(slots=slots, excluded=frozenset(self._lanes.excluded))
        except TransientError as error:
            if isinstance(error, RefusedError):
                self._observer.refused(RefusedWork.CLAIM, error.sqlstate)
            refused = Look(LookResult.NOTHING, due_in=REFUSED_PAUSE)
            self._count_look("REFUSED", refused)
            return refused
        self._take_in(claimed.items)
        self._release_braked(claimed.braked)
        self._start_sends()
        if claimed.items and not claimed.look.left_behind:  # else the server claims the next ones meanwhile
            await _let_leave()
        self._observer.accepted(RefusedWork.CLAIM)
        self.stats.superseded += claimed.superseded
        self._count_look(claimed.look.found.name, claimed.look)
        if self._freed and claimed.look.found in (LookResult.NOTHING, LookResult.FULL):
            return Look(LookResult.WORK, left_behind=True)
        if self._settled_since and claimed.look.found is LookResult.NOTHING:
            return Look(LookResult.WORK)  # stay awake
        return claimed.look

    def _take_in(self, items: Sequence[Item]) -> None:
        now = trio.current_time()
        self.stats.claimed += len(items)
        for together in _by_workspace(items):
            lane = self._lanes.claimed(together[0].workspace_id, len(together))
            ready: list[QueuedItem] = []
            for item in together:
                wanted = self._policy.prepare(item)
                if isinstance(wanted, Settlement):
                    self._settler.put(wanted, now)
                else:
                    ready.append(QueuedItem(item, wanted, now))
            self._lanes.add(lane, ready, now)

    def _release_braked(self, items: Sequence[Item]) -> None:
        """Release the items that the brake has stopped."""
        now = trio.current_time()
        for item in items:
            self._lanes.claimed(item.workspace_id)
            self.stats.given_back += 1
            self._settler.put(release(item), now)

    def _count_look(self, name: str, look: Look) -> None:
        self.stats.looks[name] += 1
        self.stats.beats["look"] = trio.current_time()
        self._sweeper.looked(look, self._wakeups.called_at)

    def _look_again(self) -> None:
        """Have a replica look for what could not be claimed before."""
        self._freed = True
        self._wakeups.freed()

    def _asks(self) -> bool:
        """Whether to ask what has waited for the ends that were just written; where not, a look finds it."""
        if self._stop.is_set() or not self._wakeups.awake:
            return True
        self._settled_since = True
        return False

    def _start_sends(self) -> None:
        """Start every request that may leave now; call it after each change of what may leave."""
        now = trio.current_time()
        while not self._stop.is_set() and (batch := self._lanes.next(now)) is not None:
            self.stats.sends += 1
            self.stats.sent += len(batch.entries)
            self.stats.sizes.observe(len(batch.entries))
            for entry in batch.entries:
                self.stats.waits.observe(entry.item.age + now - entry.claimed_at)
            self._senders.start_soon(self._send, batch)
        self._release_evicted()
        if self._lanes.reopened(now):
            self._look_again()
        if self._lanes.alarm_at(now) < self._alarm:
            self._rechecks.set()

    def _release_evicted(self) -> None:
        """Release the items that their lanes have evicted."""
        for ready in self._lanes.evicted():
            self.stats.given_back += 1
            self._settler.put(release(ready.item), ready.claimed_at)

    async def _keep_time(self) -> None:
        while True:
            self._alarm = self._lanes.alarm_at(trio.current_time())
            with trio.move_on_at(self._alarm):
                await self._rechecks.wait()
            self._rechecks = trio.Event()
            self._lanes.tick(trio.current_time())
            self._start_sends()

    async def _send(self, batch: Batch) -> None:
        sending = _Sending(batch)
        over = False
        try:
            await self._exchange(sending)
            over = True
        finally:
            if not over:
                self._abort(sending)
        self._end(sending)
        self._start_sends()

    async def _exchange(self, sending: _Sending) -> None:
        report = partial(self._report, sending)
        entries = sending.batch.entries
        try:
            tokens = self._tokens_of(entries[0].item)
            if isinstance(tokens, Retry | Dead):
                self._report_rest(sending, tokens)
            elif isinstance(payload := entries[0].work.payload, Rebuild):  # nothing else travels with it
                report(0, await self._rebuilds.expand(entries[0].item, payload, tokens))
            else:
                now = trio.current_time()
                with self._observer.sending([(entry.item, now - entry.claimed_at) for entry in entries]):
                    await self._calendar.send([entry.work for entry in entries], tokens, report)
        except Exception as error:  # noqa: BLE001  # a bug that one item brings out must not lose all the others
            self._observer.crashed(error)
            self._report_rest(sending, _CRASHED if len(entries) == 1 else _CRASHED_TOGETHER)

    def _report_rest(self, sending: _Sending, outcome: Outcome) -> None:
        for place, known in enumerate(sending.outcomes):
            if known is None:
                self._report(sending, place, outcome)

    def _report(self, sending: _Sending, place: int, outcome: Outcome) -> None:
        """Note an outcome; an item that is to be tried again waits for the outcomes of the whole request."""
        sending.outcomes[place] = outcome
        entry = sending.batch.entries[place]
        self._lanes.answer_history.take_in(entry.item, outcome)
        if isinstance(outcome, Retry):
            return
        if is_condemned(outcome) and not self._lanes.condemn(sending.batch.lane, entry.item.connection.version):
            end = self._policy.release_unknown(entry)
        else:
            end = self._policy.settle(entry, outcome)
        self._settler.put(end, entry.claimed_at)

    def _end(self, sending: _Sending) -> None:
        """Note what an ended request showed, and settle the items that are to be tried again."""
        batch = sending.batch
        outcomes = [outcome for outcome in sending.outcomes if outcome is not None]
        evidence = RequestEvidence.of(outcomes)
        self.stats.throttled += evidence.throttled
        breakers = ((batch.lane.workspace_id, batch.lane.guard.breaker), (None, self._lanes.process.breaker))
        before = [breaker.state for _, breaker in breakers]
        held_until = self._lanes.process.held_until
        self._lanes.ended(batch, evidence, trio.current_time(), random=random.random())
        if self._lanes.process.held_until != held_until:
            refusals = [o for o in outcomes if isinstance(o, Retry | Dead) and o.scope is Scope.ALL]
            self._observer.everybody_held(refusals[0].text)
        for (whose, breaker), state in zip(breakers, before, strict=True):
            if breaker.state is not state:
                self._observer.breaker(whose, state, breaker.state)
        again = [(e, o) for e, o in zip(batch.entries, sending.outcomes, strict=True) if isinstance(o, Retry)]
        for (entry, _), retry in zip(again, blame_one([o for _, o in again]), strict=True):
            end = self._policy.settle(entry, retry)
            self.stats.retries[retry.reason] += 1
            self._settler.put(end, entry.claimed_at)

    def _abort(self, sending: _Sending) -> None:
        """Release the items of a cancelled request, with a note of what it may have done."""
        self.stats.broken_off += 1
        self._lanes.aborted(sending.batch, trio.current_time())
        for entry, outcome in zip(sending.batch.entries, sending.outcomes, strict=True):
            if outcome is None or isinstance(outcome, Retry):
                self._settler.put(self._policy.release_unknown(entry), entry.claimed_at)

    def _wait(self, settlement: Settlement, waits: bool) -> None:  # noqa: FBT001  (the settler's protocol)
        """Take note that an end waits for a lock of another session, or does not any more."""
        workspace_id, now = settlement.item.workspace_id, trio.current_time()
        if waits:
            self._lanes.deferred(workspace_id, now)
            self._start_sends()
        else:
            self._lanes.resumed(workspace_id, now)

    def _settled(self, settlements: Sequence[Settlement]) -> None:
        now = trio.current_time()
        for together in _by_workspace(settlement.item for settlement in settlements):
            self._lanes.settled(together[0].workspace_id, now, len(together))
        self._start_sends()
