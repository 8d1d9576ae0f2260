"""One history's world: an application, a database, a Google, replicas; and what happens to them."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import trio

from calendar_emulator import Emulator, Service
from calendar_emulator.log import Exchange
from calendar_emulator.store.calendars import Write as CalendarWrite, WriteKind
from reactor.core.calendar import ids
from reactor.core.calendar.intent import SyncIntent
from reactor.core.item import Settlement
from tests.simulator.application import (
    WORKSPACES,
    Application,
    Edit,
    Source,
    State,
    as_text,
    calendars_of,
    key_of,
    source_id,
    title_of,
    user_of,
)
from tests.simulator.fate import Fate
from tests.simulator.google import Wire
from tests.simulator.google_faults import KINDS
from tests.simulator.history import Blow, Curse, Event, Hand, History, Lock, Order, Poison, Trick, Weather, Write
from tests.simulator.judge import LASTING, OURS, Judge, Violation
from tests.simulator.odd_rows import odd
from tests.simulator.replica import Replica
from tests.simulator.server import Server
from tests.simulator.stored import OPEN, REBUILD, Row
from tests.simulator.tables import Tables

EPOCH = 1_780_000_000.0
STEP = 0.5
"""Seconds between two looks of the judge."""
UNTIL_OVER = 300.0
"""Seconds after which everything must be settled, once everything has healed."""


class World:
    """One history's world."""

    def __init__(self, history: History, nursery: trio.Nursery) -> None:
        self.history, self.setup, self.nursery = history, history.setup, nursery
        self.rng = random.Random(f"world {history.seed}")
        self.story: list[tuple[float, str, str, dict[str, Any]]] = []
        self.tables = Tables()
        self.application = Application()
        self.server = Server(self.tables, random.Random(f"server {history.seed}"), nursery)
        self.emulator = Emulator(
            clock=lambda: EPOCH + trio.current_time(), rng=random.Random(f"google {history.seed}"), keep=2_000
        )
        self.wire = Wire(Service(self.emulator), random.Random(f"wire {history.seed}"), nursery)
        self.wire.latency = self.setup.latency
        self.judge = Judge(self)
        self.tables.lost = self.judge.swept
        self.healed_at: float | None = None
        self.bad: dict[UUID, Source] = {}
        self.cursed: dict[int, str] = {}
        self.ever_cursed: set[int] = set()
        self.grants: dict[int, str] = {}
        self.fate = Fate(self)
        self._locks: list[trio.CancelScope] = []
        self._ids = self._writing = 0
        for workspace in range(self.setup.workspaces):
            self.emulator.add_user(user_of(workspace), calendars=calendars_of(workspace)[1:])
            self._connect(workspace)
        for calendar in self.emulator.api.calendars.values():
            self._watch(calendar)
        self.emulator.log.observers.append(self._exchanged)
        self.replicas = [Replica(self, f"replica {n}") for n in range(self.setup.replicas)]

    # The story

    def tell(self, what: str, who: str = "", **details: Any) -> None:
        self.story.append((trio.current_time(), who, what, details))

    def name(self, workspace: UUID) -> str:
        return str(WORKSPACES.index(workspace))

    def _watch(self, calendar: Any) -> None:
        store: Callable[..., None] = calendar._store

        def watched(record: Any, event: Any, kind: WriteKind, now: float) -> None:
            store(record, event, kind, now)
            write: CalendarWrite = record.writes[-1]
            self.tell(kind.value, "google", event=event.get("summary", ""), calendar=calendar.id)
            self.judge.wrote(calendar.id, write)

        calendar._store = watched

    def _exchanged(self, exchange: Exchange) -> None:
        if exchange.effect or exchange.status >= 400:
            told = {"status": exchange.status, "reason": exchange.reason, "effect": exchange.effect}
            self.tell(f"answers {exchange.operation}", "google", calendar=exchange.calendar, **told)

    def replicas_told(self) -> str:
        """Where each replica stands, in a few words."""
        now = trio.current_time()
        told = []
        for replica in self.replicas:
            lanes = {self.name(lane.workspace_id): str(lane.standing(now)) for lane in replica.lanes}
            left_out = [self.name(w) for w in replica.lanes.excluded]
            whole = (
                f"held {replica.lanes.process.opens_at(now) - now:.0f} s"
                if replica.lanes.process.needs_probe
                else "open"
            )
            told.append(
                f"{replica.name} {'alive' if replica.alive else 'gone'}: {lanes}, left out {left_out}, whole {whole},"
                f" {replica.lanes.in_flight_items} in hand"
            )
        return "; ".join(told)

    # What the replicas tell

    def leaves(self, replica: Replica, works: Sequence[SyncIntent]) -> bool:
        """Take in what leaves; say whether it ends the worker."""
        deadly = False
        for work in works:
            self.judge.left((work.workspace_id, work.source_key, work.seq))
            if self.cursed.get(work.seq) == "deadly" and not work.repairs:
                deadly = True
                self.judge.killed_by(work.seq)
        self.tell("sends", replica.name, rows=[(work.source_key[-4:], work.seq) for work in works])
        if deadly:
            self.judge.trouble(trio.current_time() + 12)
        return deadly

    def ended(self, replica: Replica, settlement: Settlement) -> None:
        item = settlement.item
        told = f"{settlement.status} {settlement.failure_code or ''}".strip()
        self.tell(
            told,
            replica.name,
            row=item.seq,
            attempts=settlement.attempts,
            why=settlement.last_error,
            of=self.name(item.workspace_id),
        )
        self.judge.ended(replica, settlement)

    def crashed(self, replica: Replica, error: Exception) -> None:
        raise Violation(f"{replica.name} met what it did not expect: {error!r}") from error

    # Events

    async def run(self) -> None:
        """Everything, from the first event to the verdict."""
        for replica in self.replicas:
            self.nursery.start_soon(replica.run)
        self.nursery.start_soon(self._look)
        for event in self.history.events:
            await trio.sleep_until(event.at)
            self.tell(str(event.what), "event")
            await self._happen(event)
        await trio.sleep(1.0)
        self._heal()
        await self._until_over()
        self.judge.verdict()

    async def _look(self) -> None:
        while True:
            await trio.sleep(STEP)
            self.judge.check()

    async def _happen(self, event: Event) -> None:
        match event.what:
            case Write():
                self.nursery.start_soon(self._write, event.what)
            case Poison():
                self._poison(event.what)
            case Curse():
                self._curse(event.what)
            case Lock():
                self.nursery.start_soon(self._lock, event.what)
            case Order():
                self._order(event.what)
            case Blow():
                self.nursery.start_soon(self.fate.blow, event.what)
            case Weather():
                self.fate.weather(event.what)
            case Trick():
                self.nursery.start_soon(self.fate.trick, event.what)
            case Hand():
                self.fate.hand(event.what)

    # The application

    def _row(self, workspace: int, operation: str, document: Any, **more: Any) -> Row:
        self._ids += 1
        now = self.server.now()
        seq = self.tables.next_seq()
        return Row(
            **{
                "id": UUID(int=(self.rng.getrandbits(64) << 32) + self._ids),
                "workspace": WORKSPACES[workspace],
                "operation": operation,
                "text": as_text(document),
                "document": document,
                "seq": seq,
                "due": now,
                "created": now,
            }
            | more
        )

    def _state(self, source: Source, edit: Edit, age: float = 0.0) -> tuple[Row, State]:
        row = self._row(source[0], edit.operation, None, created=self.server.now() - age)
        title = title_of(edit.kind, row.seq)
        row.document = edit.payload(source, title)
        row.text = as_text(row.document)
        if not (state := State(edit, title)).shows:
            self.bad[row.id] = source
        return row, state

    async def _write(self, write: Write) -> None:
        """A transaction; what it holds is seen when it commits."""
        wrote = [
            (source, *self._state(source, edit, write.age))
            for source, edit in write.edits
            if source[0] < self.setup.workspaces
        ]
        silent = self.server.share(write)
        self._writing += 1
        if write.commit_after:
            await trio.sleep(write.commit_after)
        if write.commit_after is not None:
            self.tables.insert([row for _, row, _ in wrote], trio.current_time())
            for source, row, state in wrote:
                self.application.commit(source, row.seq, state)
            self.tell("commits", "application", rows=[row.seq for _, row, _ in wrote])
        self._writing -= 1
        self._end_transaction(write, silent)

    def _end_transaction(self, who: object, silent: bool) -> None:  # noqa: FBT001
        if silent:
            self.tables.calls = False
            self.server.unshare(who)
        else:
            self.tables.calls = False
            self.server.notify(0)

    def _commit(self) -> None:
        """End a transaction of a person's, which tries the gate as the triggers do."""
        self.server.commit()

    def _poison(self, poison: Poison) -> None:
        if poison.workspace < self.setup.workspaces:
            row = odd(poison.kind, poison.workspace, self._row)
            self.tables.insert([row], trio.current_time())
            self._commit()

    def _curse(self, curse: Curse) -> None:
        if curse.source[0] >= self.setup.workspaces:
            return
        row, state = self._state(curse.source, Edit())
        self.cursed[row.seq] = curse.kind
        self.ever_cursed.add(row.seq)
        self.tables.insert([row], trio.current_time())
        self.application.commit(curse.source, row.seq, state)
        if curse.kind == "500":
            event = ids.event_id(str(WORKSPACES[curse.source[0]]), key_of(curse.source), 0)
            for fault in KINDS["503"].faults:
                if fault.operation in ("insert", "update"):
                    self.fate.rules.append(self.emulator.fault(replace(fault, event_prefix=event, status=500)))
        self._commit()

    async def _lock(self, lock: Lock) -> None:
        if lock.workspace >= self.setup.workspaces:
            return
        workspace, key = WORKSPACES[lock.workspace], key_of((lock.workspace, lock.source))
        match lock.what:
            case "rows":
                what: list[object] = [row.id for row in self.tables.rows.values() if row.key == key]
            case "source":
                what = [(workspace, key)]
            case "workspace":
                what = [workspace]
            case _:
                what = [("connection", workspace)]
        mine = [each for each in what if each not in self.tables.locked]
        for each in mine:
            self.tables.locked[each] = lock
        with trio.CancelScope() as scope:
            self._locks.append(scope)
            await trio.sleep(lock.seconds)
        for each in mine:
            self.tables.locked.pop(each, None)

    def _order(self, order: Order) -> None:
        if order.workspace >= self.setup.workspaces:
            return
        workspace = WORKSPACES[order.workspace]
        match order.what:
            case "requeue":
                self.tables.requeue(self.server.now())
                self.judge.kills.clear()
            case "release":
                self.tables.release(workspace)
            case "connect":
                self._connect(order.workspace)
            case "revoke":
                self.emulator.oauth.revoke(self.grants[order.workspace])
            case "disable":
                self.tables.connections[workspace].valid = False
            case "rebuild" | "recreate":
                document = {
                    "operation": REBUILD,
                    "workspaceId": str(workspace),
                    "calendarId": calendars_of(order.workspace)[order.calendar],
                    "recreate": order.what == "recreate",
                }
                self.tables.insert([self._row(order.workspace, REBUILD, document)], trio.current_time())
            case _:
                known = [source for source in self.application.states if source[0] == order.workspace]
                edits = tuple((source, Edit("cancel")) for source in sorted(known))
                self.nursery.start_soon(self._write, Write(edits))
        self._commit()

    def _connect(self, workspace: int) -> None:
        token = self.emulator.oauth.grant(user_of(workspace))
        self.grants[workspace] = token
        self.tables.connect(WORKSPACES[workspace], token, calendars_of(workspace)[0], self.server.now())

    # The end

    def _heal(self) -> None:
        """Everything is as it should be from now on; the replicas stay as they are, with what they have learnt."""
        self.tell("everything heals", "event")
        now = trio.current_time()
        self.healed_at = now
        self.emulator.faults.clear()
        self.wire.cut_until = now
        self.server.troubles.clear()
        self.server.down_until = now
        for scope in self._locks:
            scope.cancel()
        self.cursed.clear()
        for row in self.tables.rows.values():
            row.refusal = ""
        self.tables.aside.clear()
        for workspace in range(self.setup.workspaces):
            self._connect(workspace)
        for replica in self.replicas:
            replica.revive()
        self.judge.trouble(now + 20)

    async def _until_over(self) -> None:
        limit = max([trio.current_time(), self.judge.calm_at, *self.judge.patient_until.values()]) + UNTIL_OVER
        while self._is_open():
            if trio.current_time() > limit:
                raise Violation(f"not settled: {self._left()}; {self.replicas_told()}")
            await trio.sleep(2.0)
        await trio.sleep(0.2)  # what waits to be written is written

    def _is_open(self) -> bool:
        """Whether anything is left; a person does what a person can do."""
        now = self.server.now()
        for workspace in WORKSPACES:
            self.tables.release(workspace)
        self.tables.requeue(now, but=LASTING)
        self.tables.hurry(now, beyond=5.0)
        self._commit()
        return self._writing > 0 or any(row.status in OPEN for row in self.tables.rows.values())

    def _left(self) -> list[tuple[Any, ...]]:
        return [(row.seq, row.status, row.due, row.code) for row in self.tables.rows.values() if row.status in OPEN]

    def shown(self) -> Counter[tuple[str, Source, str]]:
        """What people see."""
        shown: Counter[tuple[str, Source, str]] = Counter()
        for calendar in self.emulator.api.calendars:
            for event in self.emulator.events(calendar):
                private = event["extendedProperties"]["private"]
                source = OURS[private["reactorSource"].removeprefix("task:")]
                shown[calendar, source, event["summary"]] += 1
        return shown


__all__ = ["World", "source_id"]
