"""The world as the loop sees it, in memory: an outbox, a calendar and a gate, under virtual time."""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any
from uuid import UUID, uuid5

import trio

from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.token_answers import GrantType
from reactor.core.dispatch.gate import Gate, GateAction, GateState, LockAttempt, Look, LookResult, Timings
from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.limits import Limits
from reactor.core.item import Item, Settlement, SettlementResult, SourceState, WorkspaceConnection
from reactor.core.outcome import Dead, Done, Expanded, Outcome, Retry
from reactor.core.payload import Rebuild
from reactor.core.stats import Stats
from reactor.errors import TransientError
from reactor.loop import Loop, Observer, Tokens
from reactor.loop.guarded import Guarded

SPACE = UUID("2b1c6d1e-0a4f-4c7e-9a55-6f3f0c6d7e10")
CALENDAR = "ada@example.com"


@cache
def workspace(number: int) -> UUID:
    return uuid5(SPACE, f"workspace {number}")


@lru_cache(maxsize=100_000)
def source_id(number: int) -> str:
    return str(uuid5(SPACE, f"source {number}"))


def payload(workspace_id: UUID, source: int, title: str = "Review", **more: Any) -> dict[str, Any]:
    return {
        "operation": "UPSERT_EVENT",
        "workspaceId": str(workspace_id),
        "calendarId": CALENDAR,
        "sourceType": "task",
        "sourceId": source_id(source),
        "eventType": "MILESTONE",
        "event": {"title": title, "start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"},
    } | more


@dataclass
class Row:
    """A row of the fake outbox; its content is made when it is claimed, so that a million are cheap."""

    id: UUID
    workspace_id: UUID
    source: int
    seq: int
    due: float
    born: float
    status: str = "PENDING"
    attempts: int = 0
    max_attempts: int = 5
    code: str | None = None
    content: Any = None


@dataclass(frozen=True)
class FakeClaimed:
    items: list[Item]
    look: Look
    superseded: int = 0
    braked: list[Item] = field(default_factory=list)


class Listener(Observer):
    """Takes down what crashed, and why everybody was held."""

    def __init__(self, errors: list[Exception], held: list[str]) -> None:
        self._errors = errors
        self._held = held

    def everybody_held(self, problem: str) -> None:
        self._held.append(problem)

    def crashed(self, error: Exception) -> None:
        self._errors.append(error)


@dataclass(frozen=True)
class FakeSwept:
    recovered: int = 0
    dead: int = 0
    again: bool = False


@dataclass
class FakeOutbox:
    """Claims fairly, one row per source at a time; settles with a fence; every call takes a moment."""

    delay: float = 0.002
    rows: dict[UUID, Row] = field(default_factory=dict)
    open: OrderedDict[UUID, deque[Row]] = field(default_factory=OrderedDict)
    claimed: dict[UUID, Item] = field(default_factory=dict)
    consents: dict[UUID, str] = field(default_factory=dict)
    invalid: set[UUID] = field(default_factory=set)
    memories: dict[tuple[UUID, str], SourceState] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    lost: set[UUID] = field(default_factory=set)
    followed: bool = False
    refuse: int = 0
    most_in_flight_items: int = 0
    elsewhere: bool = False
    """Whether another replica has something in hand."""
    transactions: Counter[str] = field(default_factory=Counter)
    inserted: Callable[[], None] = lambda: None
    _seq: int = 0

    def insert(self, *rows: tuple[UUID, int], content: Any = None, max_attempts: int = 5) -> list[UUID]:
        now = trio.current_time()
        ids = []
        for workspace_id, source in rows:
            self._seq += 1
            row_id = UUID(int=self._seq)
            row = Row(row_id, workspace_id, source, self._seq, now, now, max_attempts=max_attempts, content=content)
            self.rows[row_id] = row
            self.open.setdefault(workspace_id, deque()).append(row)
            ids.append(row_id)
        self.inserted()
        return ids

    @property
    def in_flight(self) -> Collection[Item]:
        return list(self.claimed.values())

    def statuses(self) -> Counter[str]:
        return Counter(row.status for row in self.rows.values())

    def reconnect(self, workspace_id: UUID, version: str) -> None:
        self.consents[workspace_id] = version
        self.invalid.discard(workspace_id)
        for row in self.rows.values():
            if row.workspace_id == workspace_id and row.code == "AUTH":
                row.status, row.code, row.due = "PENDING", None, trio.current_time()
                self.open[workspace_id].append(row)
        self.inserted()

    async def _transaction(self, name: str) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.delay)
        self.transactions[name] += 1
        if self.refuse:
            self.refuse -= 1
            raise TransientError("The database refused.")

    async def claim(self, *, slots: int, excluded: Collection[UUID] = ()) -> FakeClaimed:
        if slots <= 0:
            return FakeClaimed([], Look(LookResult.FULL, left_behind=True))
        await self._transaction("claim")
        now = trio.current_time()
        items: list[Item] = []
        due_in = float("inf")
        busy = {(item.workspace_id, item.source_key) for item in self.claimed.values()}
        spaces = [w for w in self.open if w not in excluded and w not in self.invalid]
        share = max(1, slots // max(len(spaces), 1))
        for workspace_id in spaces:
            queue = self.open[workspace_id]
            taken = 0
            for _ in range(min(len(queue), 4 * slots)):
                row = queue.popleft()
                key = (workspace_id, f"task:{source_id(row.source)}")
                if row.due > now or key in busy or taken >= share or len(items) >= slots:
                    queue.append(row)
                    due_in = min(due_in, max(row.due - now, 0.0)) if row.due > now else due_in
                    continue
                busy.add(key)
                taken += 1
                items.append(self._claim(row, now))
            if not queue:
                del self.open[workspace_id]
            else:
                self.open.move_to_end(workspace_id)
        self.most_in_flight_items = max(self.most_in_flight_items, len(self.claimed))
        if items:
            return FakeClaimed(items, Look(LookResult.WORK, left_behind=bool(self.open)))
        return FakeClaimed(items, Look(LookResult.NOTHING, due_in=due_in))

    def _claim(self, row: Row, now: float) -> Item:
        content = row.content or payload(row.workspace_id, row.source, f"state {row.seq}")
        row.status = "PROCESSING"
        key = f"task:{source_id(row.source)}"
        version = self.consents.get(row.workspace_id, "v1")
        item = Item(
            id=row.id,
            workspace_id=row.workspace_id,
            source_key=key,
            seq=row.seq,
            claim_no=self.transactions["claim"],
            operation=content["operation"],
            payload=content,
            attempts=row.attempts,
            max_attempts=row.max_attempts,
            age=now - row.born,
            is_child=False,
            memory=self.memories.get((row.workspace_id, key), SourceState()),
            connection=WorkspaceConnection(f"encrypted {version}", version),
        )
        self.claimed[row.id] = item
        return item

    async def settle(self, settlements: Sequence[Settlement], *, asks: Callable[[], bool]) -> list[SettlementResult]:
        await self._transaction("settle")
        settled = [self._settle(settlement) for settlement in settlements]
        self.followed = asks() and any(map(self._follows, settlements))
        return settled

    def _follows(self, settlement: Settlement) -> bool:
        item, now = settlement.item, trio.current_time()
        source = self.rows[item.id].source
        waiting = self.open.get(item.workspace_id, ())
        return any(r.source == source and r.id != item.id and r.due <= now for r in waiting)

    def _settle(self, settlement: Settlement) -> SettlementResult:
        item = settlement.item
        row = self.rows[item.id]
        assert self.claimed.pop(item.id) is item, "settled without a claim, or twice"
        if item.id in self.lost:
            return SettlementResult.LOST
        self.settlements.append(settlement)
        code = settlement.failure_code
        row.status, row.attempts, row.code = settlement.status, settlement.attempts, code
        if settlement.memory is not None:
            self.memories[item.workspace_id, item.source_key] = settlement.memory
        if settlement.dead_token_version == self.consents.get(item.workspace_id, "v1"):
            self.invalid.add(item.workspace_id)
        if settlement.status in ("PENDING", "FAILED"):
            row.due = trio.current_time() + settlement.delay
            self.open.setdefault(item.workspace_id, deque()).append(row)
            if settlement.status == "PENDING":
                self.inserted()
        return SettlementResult.WRITTEN

    async def announce(self) -> None:
        await self._transaction("announce")

    async def sweep(self) -> FakeSwept:
        await self._transaction("sweep")
        return FakeSwept(again=self.elsewhere)


@dataclass
class FakeTokens:
    item: Item
    quota_user: str | None = None
    grant: GrantType = GrantType.USER

    async def token(self, rejected: str | None = None) -> str:
        raise NotImplementedError


Answers = Callable[[SyncIntent, float], Outcome]


def done(work: SyncIntent) -> Done:
    return Done(f"event{work.source_key[-12:]}", work.payload.calendar_id, work.generation, '"1"')


@dataclass
class FakeCalendar:
    """Answers every item of a request after `latency`; `answers` decides how."""

    latency: Callable[[Sequence[SyncIntent]], float] = lambda _: 0.1
    answers: Answers = lambda work, _: done(work)
    requests: list[tuple[float, list[SyncIntent]]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def send(
        self, works: Sequence[SyncIntent], tokens: Tokens, report: Callable[[int, Outcome], None] | None = None
    ) -> list[Outcome]:
        assert isinstance(tokens, FakeTokens)
        self.requests.append((trio.current_time(), list(works)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(self.latency(works))
        finally:
            self.in_flight -= 1
        outcomes = [self.answers(work, trio.current_time()) for work in works]
        assert report is not None
        for place, outcome in enumerate(outcomes):
            report(place, outcome)
        return outcomes

    @property
    def sizes(self) -> list[int]:
        return [len(works) for _, works in self.requests]

    def sent_at(self, workspace_id: UUID) -> list[float]:
        return [at for at, works in self.requests if works[0].workspace_id == str(workspace_id)]


@dataclass
class FakeRebuilds:
    """A rebuild takes `latency` and comes to `outcome`."""

    latency: float = 1.0
    outcome: Outcome = field(default_factory=lambda: Expanded(3))
    begun: list[Item] = field(default_factory=list)

    async def expand(self, item: Item, payload: Rebuild, tokens: Tokens) -> Outcome:
        assert item.payload["calendarId"] == payload.calendar_id
        assert isinstance(tokens, FakeTokens)
        self.begun.append(item)
        await trio.sleep(self.latency)
        return self.outcome


class FakeWakeups:
    """The real gate; who asks is granted at once, since no writer is ever in the middle of something."""

    def __init__(self, jitter: Callable[[], float] = lambda: 0.5) -> None:
        self.gate = Gate(Timings(), jitter)
        self.stir = trio.Event()
        self.looks = 0
        self.called_at = -math.inf

    def inserted(self) -> None:
        """A writer commits: it calls only if the gate is held."""
        if self.gate.state is GateState.ARMED:
            self.called_at = trio.current_time()
            self.gate.notified(trio.current_time())
            self.stir.set()

    @property
    def awake(self) -> bool:
        return self.gate.state is GateState.AWAKE

    def freed(self) -> None:
        self.gate.freed(trio.current_time())
        self.stir.set()

    async def run(self, look: Callable[[], Awaitable[Look]]) -> None:
        self.gate.connected(trio.current_time())
        while True:
            step = self.gate.next(trio.current_time())
            match step.do:
                case GateAction.LOOK:
                    self.looks += 1
                    self.gate.looked(await look(), trio.current_time())
                case GateAction.SLEEP:
                    with trio.move_on_at(step.until):
                        await self.stir.wait()
                    self.stir = trio.Event()
                case GateAction.ASK:
                    self.gate.asked(LockAttempt.GRANTED, trio.current_time())
                case GateAction.RELEASE:
                    self.gate.released()
                    continue  # the real one does not wait for it: the next look is asked for at once
                case GateAction.ANNOUNCE:
                    self.gate.announced(trio.current_time())
                case _:
                    raise AssertionError(step)
            await trio.lowlevel.checkpoint()


def unlimited(in_flight_cap: int) -> Limits:
    return Limits(burst=1_000_000, ceiling=1e6, floor=1e6, in_flight_cap=in_flight_cap)


class World:
    """A loop and what is around it."""

    def __init__(
        self,
        *,
        concurrency: int = 32,
        lane_concurrency: int = 4,
        claim_size: int = 200,
        parts: int = 50,
        lane_limits: Callable[[], Limits] | None = None,
        tokens_of: Callable[[Item], Tokens | Retry | Dead] = FakeTokens,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.outbox = FakeOutbox()
        self.calendar = FakeCalendar()
        self.rebuilds = FakeRebuilds()
        self.wakeups = FakeWakeups()
        self.outbox.inserted = self.wakeups.inserted
        self.lanes = Lanes(
            process=unlimited(concurrency),
            limits=lane_limits or (lambda: unlimited(lane_concurrency)),
            claim_size=claim_size,
            parts=parts,
        )
        self.stats = Stats()
        self.errors: list[Exception] = []
        self.held: list[str] = []
        self.loop = Loop(
            self.outbox,
            self.calendar,
            self.rebuilds,
            tokens_of,
            self.wakeups,
            lanes=self.lanes,
            stats=self.stats,
            ceiling=5,
            observer=Guarded((*observers, Listener(self.errors, self.held)), self.stats),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loop, running, and cut off at the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.loop.run)
            yield
            nursery.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool], *, within: float = 600.0) -> None:
        """Wait, in virtual time; the longer it takes, the more rarely we look, to half a per cent of the time."""
        began = trio.current_time()
        with trio.fail_after(within):
            while not condition():  # noqa: ASYNC110 - virtual time passes only when nothing else can happen
                await trio.sleep(max(0.001, (trio.current_time() - began) / 200))

    async def until_done(self, ids: Iterable[UUID], *, within: float = 600.0) -> None:
        rows = [self.outbox.rows[row_id] for row_id in ids]
        await self.until(lambda: all(row.status in ("COMPLETED", "DEAD_LETTER") for row in rows), within=within)


def with_title(item: Item, title: str) -> Item:
    return replace(item, payload=payload(item.workspace_id, 1, title))
