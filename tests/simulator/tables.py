"""What the SQL does to the reactor's tables, as a contract in Python: one method for each statement.

Everything is a value: `now` comes in, rows change, what is returned is what the statement returns. Nothing waits; who
may be told, and which leases are held, is decided outside (`tests.simulator.server`). `test_conformance.py` gives the
same operations to this and to PostgreSQL.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from reactor.core.brake import Limit
from reactor.core.item import Consent, Item, Memory, Oversized, Settlement, Written
from reactor.core.outcome import FailureCode

OPEN = ("PENDING", "FAILED", "PROCESSING")
WAITS = ("PENDING", "FAILED")
REBUILD = "REBUILD_ALL"
LARGEST = 256 * 1024
FREE_LOSSES = 3
"""So often in a row a worker may be lost with an item before that counts."""
ASIDE = 60.0
"""Seconds until a row that could not be updated is tried again; they double, to an hour."""

Due = float | None


@dataclass(slots=True, eq=False)
class Row:
    """A row of `sync_outbox`.

    Attributes:
        text: The payload as it is stored.
        due: `next_attempt_at`; None is NULL, and it may be infinite.
        refusal: The SQLSTATE with which every update of the row is refused, empty where none is.
        committed_at: When it became visible.
    """

    id: UUID
    workspace: UUID
    operation: str
    text: bytes
    document: Any
    seq: int
    due: Due
    created: float
    max_attempts: int = 5
    parent: UUID | None = None
    status: str = "PENDING"
    attempts: int = 0
    claim_no: int | None = None
    lease_no: int | None = None
    losses: int = 0
    code: str | None = None
    error: str | None = None
    refusal: str = ""
    committed_at: float = math.inf

    @property
    def key(self) -> str:
        """What `sync_source_key` says."""
        found = self.document if isinstance(self.document, dict) else {}
        kind, about = found.get("sourceType"), found.get("sourceId")
        return (
            f"{_as_text(kind)[:40]}:{_as_text(about)[:40]}" if kind is not None and about is not None else str(self.id)
        )

    def is_due(self, now: float) -> bool:
        """Whether it waits and its time has come; never where that is NULL."""
        return self.status in WAITS and self.due is not None and self.due <= now


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(slots=True)
class Source:
    """A row of `sync_sources`."""

    memory: Memory = field(default_factory=Memory)
    document: Any = None


@dataclass(slots=True)
class Bound:
    """A row of `calendar_event_bindings`."""

    event_id: str
    calendar_id: str
    title: str


@dataclass(slots=True)
class Connection:
    """A row of `google_connections`."""

    token: str
    calendar_id: str
    valid: bool = True


@dataclass(slots=True)
class Stop:
    """A row of `sync_brakes`."""

    cause: str
    deletes: int
    events: int
    passes: int = 0
    released: bool = False


@dataclass(slots=True)
class Claim:
    """What a claim came to."""

    rows: list[Row] = field(default_factory=list)
    superseded: int = 0
    left: bool = False
    due_in: float = math.inf
    stopped: frozenset[UUID] = frozenset()


@dataclass(slots=True)
class Count:
    """What counting for the brake came to."""

    passes: int
    deletes: int
    events: int
    stopped: bool


class Tables:
    """The tables.

    Attributes:
        locked: What transactions of the application have locked: ids of rows, `(workspace, source key)` for a source's
            binding and memory, workspaces for a row that the others refer to, `("connection", workspace)`.
        leases: The leases whose lock somebody holds.
        calls: Whether a trigger wants somebody who sleeps to be woken; whoever runs the transaction takes it.
    """

    def __init__(self) -> None:
        self.rows: dict[UUID, Row] = {}
        self.sources: dict[tuple[UUID, str], Source] = {}
        self.bindings: dict[tuple[UUID, str], Bound] = {}
        self.connections: dict[UUID, Connection] = {}
        self.brakes: dict[UUID, Stop] = {}
        self.aside: dict[UUID, float] = {}
        self.refusals: Counter[UUID] = Counter()
        self.locked: dict[object, object] = {}
        self.leases: set[int] = set()
        self.calls = False
        self.lost: Callable[[Row, bool], None] = lambda *_: None  # told what lost its worker, and whether that counted
        self._seq = 0
        self._claims = 0

    # The application

    def next_seq(self) -> int:
        """A number of `sync_outbox_seq`."""
        self._seq += 1
        return self._seq

    def insert(self, rows: Iterable[Row], at: float) -> None:
        """Commit rows, at a time of the observer's clock."""
        for row in rows:
            row.committed_at = at
            self.rows[row.id] = row
            self.calls = True

    def requeue(self, now: float, but: Collection[str] = ()) -> int:
        """What an operator does to dead letters."""
        dead = [row for row in self.rows.values() if row.status == "DEAD_LETTER" and row.code not in but]
        for row in dead:
            row.attempts = 0
            self._reopen(row, now)
        return len(dead)

    def connect(self, workspace: UUID, token: str, calendar_id: str, now: float) -> None:
        """A person connects; what died for want of that is due again."""
        old = self.connections.get(workspace)
        self.connections[workspace] = Connection(token, calendar_id)
        if old is None or not old.valid or old.token != token:
            for row in self.rows.values():
                if row.workspace == workspace and row.status == "DEAD_LETTER" and row.code == "AUTH":
                    row.attempts, row.error = 0, None
                    self._reopen(row, now)
            self.calls = True

    def _reopen(self, row: Row, now: float) -> None:
        row.status, row.code, row.due = "PENDING", None, now
        self.calls = True

    def hurry(self, now: float, beyond: float = 0.0) -> None:
        """Make due what waits for longer than that, also what waits for ever."""
        for row in self.rows.values():
            if row.status in WAITS and (row.due is None or row.due > now + beyond):
                row.due = now
                self.calls = True

    # The claim

    def claim(
        self, *, now: float, lease_no: int, slots: int, excluded: Collection[UUID], after: UUID | None, trial: bool
    ) -> Claim:
        """Claim; workspaces behind `after` come first. `trial`: one that lost its worker thrice is in hand already."""
        claim = Claim(stopped=frozenset(w for w, stop in self.brakes.items() if not stop.released))
        chosen: list[tuple[int, int, Row]] = []
        for place, workspace in enumerate(self._ring(after)):
            if workspace in excluded or workspace in claim.stopped:
                continue
            if not self._supersede_and_choose(workspace, now, claim, chosen, place):
                continue
        chosen.sort(key=lambda each: (each[0], each[1]))
        self._take(chosen, claim, now=now, lease_no=lease_no, slots=slots, trial=trial)
        claim.due_in = self._due_in(now, {*excluded, *claim.stopped})
        return claim

    @staticmethod
    def group(losses: int, slots: int, *, trial: bool) -> int:
        """How many that lost their worker so often may be claimed at once: ever fewer, at last one in hand."""
        if losses < FREE_LOSSES:
            return max(1, slots >> (2 * losses))
        return 0 if trial else 1

    def _take(
        self,
        chosen: list[tuple[int, int, Row]],
        claim: Claim,
        *,
        now: float,
        lease_no: int,
        slots: int,
        trial: bool,
    ) -> None:
        """Make rows PROCESSING: as many as there are slots, and few of those whose worker was lost."""
        lost: Counter[int] = Counter()
        for _, _, row in chosen:
            losses = min(row.losses, FREE_LOSSES)
            lost[losses] += 1
            if (losses and lost[losses] > self.group(losses, slots, trial=trial)) or len(claim.rows) >= slots:
                claim.left = True
                continue
            if self._is_set_aside(row, now):
                continue
            self._claims += 1
            row.status, row.claim_no, row.lease_no = "PROCESSING", self._claims, lease_no
            claim.rows.append(row)

    def _ring(self, after: UUID | None) -> list[UUID]:
        waiting = sorted({row.workspace for row in self.rows.values() if row.status in WAITS})
        live = [w for w in waiting if (c := self.connections.get(w)) is not None and c.valid]
        return [w for w in live if after is not None and w > after] + [w for w in live if after is None or w <= after]

    def _supersede_and_choose(
        self, workspace: UUID, now: float, claim: Claim, chosen: list[tuple[int, int, Row]], place: int
    ) -> bool:
        mine = [row for row in self.rows.values() if row.workspace == workspace and row.status in OPEN]
        if not self._pass_rebuilds(workspace, mine, now, claim, chosen, place):
            return False
        heads: dict[str, Row] = {}
        busy: set[str] = set()
        seen: dict[str, list[Row]] = {}
        for row in mine:
            if row.operation == REBUILD:
                continue
            key = row.key
            if row.status == "PROCESSING":
                busy.add(key)
            head = heads.get(key)
            if head is None or (row.seq, head.id) > (head.seq, row.id):
                heads[key] = row
            if row.is_due(now):
                seen.setdefault(key, []).append(row)
        turn = 0
        for key in sorted(seen, key=lambda key: (min(float(row.due or 0) for row in seen[key]), key)):
            floor, head = self._floor(workspace, key), heads[key]
            for row in seen[key]:
                if row.seq < floor:
                    claim.superseded += self._put_away(row, now)
            if head.is_due(now) and head.seq >= floor and key not in busy and head.id not in self.locked:
                chosen.append((turn, place, head))
                turn += 1
        return True

    def _pass_rebuilds(
        self,
        workspace: UUID,
        mine: list[Row],
        now: float,
        claim: Claim,
        chosen: list[tuple[int, int, Row]],
        place: int,
    ) -> bool:
        """Look at the rebuilds of a workspace; say whether its other rows may be claimed."""
        rebuilds = [row for row in mine if row.operation == REBUILD]
        if not rebuilds:
            return True
        newest = max(rebuilds, key=lambda row: row.seq)
        floor = self._floor(workspace, REBUILD)
        for row in rebuilds:
            if row.status in WAITS and row.seq < floor:
                claim.superseded += self._put_away(row, now)
        if any(row.status == "PROCESSING" for row in rebuilds):
            return False
        if newest.seq < floor or newest.id in self.aside:
            return True
        if not newest.is_due(now):
            return True
        if newest.id not in self.locked and not any(row.status == "PROCESSING" for row in mine):
            chosen.append((0, place, newest))
        return False

    def _floor(self, workspace: UUID, key: str) -> int:
        source = self.sources.get((workspace, key))
        return source.memory.floor_seq if source else 0

    def _put_away(self, row: Row, now: float) -> int:
        if row.status not in WAITS or row.id in self.locked or self._is_set_aside(row, now):
            return 0
        row.status, row.code, row.error = "COMPLETED", "SUPERSEDED", None
        return 1

    def _is_set_aside(self, row: Row, now: float) -> bool:
        """Whether the row cannot be updated; that is tried now and then."""
        if now < self.aside.get(row.id, -math.inf):
            return True
        if row.refusal:
            self.refusals[row.id] += 1
            self.aside[row.id] = now + ASIDE * 2 ** min(self.refusals[row.id] - 1, 6)
            return True
        self.aside.pop(row.id, None)
        return False

    def _due_in(self, now: float, excluded: Collection[UUID]) -> float:
        times = [
            row.due
            for row in self.rows.values()
            if row.status in WAITS and row.due is not None and row.due > now and row.workspace not in excluded
        ]
        return min(times, default=math.inf) - now

    def has_due(self, now: float, excluded: Collection[UUID]) -> bool:
        """Whether something is due in a workspace that is not excluded."""
        stopped = {w for w, stop in self.brakes.items() if not stop.released}
        live = {w for w, c in self.connections.items() if c.valid} - stopped - set(excluded)
        return any(row.is_due(now) and row.workspace in live for row in self.rows.values())

    def item(self, row: Row, now: float, ceiling: int) -> Item:
        """What a claim says of a row."""
        source = self.sources.get((row.workspace, row.key if row.operation != REBUILD else REBUILD))
        memory = source.memory if source else Memory()
        bound = self.bindings.get((row.workspace, row.key))
        if memory.event_id is None and not memory.cancelled and bound is not None and row.operation != REBUILD:
            memory = replace(memory, event_id=bound.event_id, calendar_id=bound.calendar_id)
        token = self.connections[row.workspace].token
        return Item(
            id=row.id,
            workspace_id=row.workspace,
            source_key=REBUILD if row.operation == REBUILD else row.key,
            seq=row.seq,
            claim_no=row.claim_no or 0,
            operation=row.operation,
            payload=payload_of(row),
            attempts=row.attempts,
            max_attempts=min(row.max_attempts, ceiling),
            age=now - row.created if math.isfinite(row.created) else 0.0,
            is_child=row.parent is not None,
            memory=memory,
            consent=Consent(token, token),
            lease_no=row.lease_no or 0,
            losses=row.losses,
        )

    # Ends

    def settle(self, settlement: Settlement, now: float) -> Written:
        """Write what becomes of one item."""
        item = settlement.item
        row = self.rows.get(item.id)
        if row is None or not self.fits(row, item):
            return Written.LOST
        if self.waits(settlement):
            return Written.WAITING
        if row.refusal:
            return Written.LOST
        settlement = self._under_consent(settlement, now)
        was = row.status
        row.status, row.attempts = settlement.status, min(settlement.attempts, row.max_attempts)
        if row.status == "FAILED" or (row.status == "PENDING" and settlement.delay > 0):
            row.due = now + settlement.delay
        row.code = settlement.failure_code.value if settlement.failure_code else None
        row.error, row.lease_no, row.losses = settlement.last_error, None, 0
        self.calls |= row.status == "PENDING" != was
        self._remember(settlement, row)
        self._bind(settlement)
        return Written.WRITTEN

    @staticmethod
    def fits(row: Row, item: Item) -> bool:
        """The fence: whether the claim still holds."""
        return row.lease_no == item.lease_no

    def waits(self, settlement: Settlement) -> bool:
        """Whether a transaction of the application is in the way of an end."""
        item, binds = settlement.item, settlement.binding is not None
        if item.id in self.locked or (binds and item.workspace_id in self.locked):
            return True
        touches = binds or settlement.unbind or self._remembers(settlement)
        return touches and (item.workspace_id, item.source_key) in self.locked

    def _remembers(self, settlement: Settlement) -> bool:
        moves_floor = settlement.moves_floor and not settlement.item.is_child
        return moves_floor or settlement.memory is not None or settlement.applied is not None

    def _under_consent(self, settlement: Settlement, now: float) -> Settlement:
        """What becomes of an item whose token was refused, seeing which token is stored."""
        del now
        if settlement.invalid_consent is None:
            return settlement
        workspace = settlement.item.workspace_id
        stored = self.connections.get(workspace)
        is_locked = ("connection", workspace) in self.locked
        if stored is not None and not is_locked and stored.token == settlement.invalid_consent:
            stored.valid = False
            return settlement
        if settlement.status != "DEAD_LETTER" or settlement.failure_code is not FailureCode.AUTH:
            return settlement
        return replace(
            settlement,
            status="PENDING",
            attempts=settlement.item.attempts,
            delay=1.0 if is_locked else 0.0,
            failure_code=None,
            last_error=None,
            moves_floor=False,
        )

    def _remember(self, settlement: Settlement, row: Row) -> None:
        item, memory = settlement.item, settlement.memory or settlement.item.memory
        moves_floor = settlement.moves_floor and not item.is_child
        if not self._remembers(settlement):
            return
        source = self.sources.setdefault((item.workspace_id, item.source_key), Source())
        floor = max(source.memory.floor_seq, item.seq if moves_floor else 0)
        source.memory = replace(memory, floor_seq=floor)
        if settlement.applied is not None:
            source.document = row.document

    def _bind(self, settlement: Settlement) -> None:
        item, binding = settlement.item, settlement.binding
        if binding is not None:
            key = f"{binding.source_type}:{binding.source_id}"
            self.bindings[item.workspace_id, key] = Bound(binding.event_id, binding.calendar_id, binding.title)
        elif settlement.unbind:
            self.bindings.pop((item.workspace_id, item.source_key), None)

    def followed(self, items: Iterable[Item], now: float) -> bool:
        """Whether something due has waited for the end of these items."""
        return any(self._is_followed(item, now) for item in items)

    def _is_followed(self, item: Item, now: float) -> bool:
        if item.operation == REBUILD:
            return True
        return any(
            row.is_due(now)
            and row.workspace == item.workspace_id
            and row.id != item.id
            and (row.operation == REBUILD or row.key == item.source_key)
            for row in self.rows.values()
        )

    def sweep(
        self, now: float, ceiling: int, *, lease_no: int = 0, held: Collection[UUID] = ()
    ) -> tuple[int, int]:
        """Take over what lost its worker; return how many are due again and how many are dead.

        What is under the lease `lease_no`, and not among what its holder has in hand, has lost its worker too.
        """
        recovered = dead = 0
        for row in list(self.rows.values()):
            if row.status != "PROCESSING" or row.refusal:
                continue
            if row.id in held if row.lease_no == lease_no else row.lease_no in self.leases:
                continue
            if self._is_locked(row):
                continue
            before = row.attempts
            is_dead = self._lose(row, now, ceiling)
            dead, recovered = dead + is_dead, recovered + (not is_dead)
            self._note_lost(row)
            self.lost(row, row.attempts > before)
        return recovered, dead

    def _is_locked(self, row: Row) -> bool:
        return row.id in self.locked or (row.workspace, row.key) in self.locked

    def _lose(self, row: Row, now: float, ceiling: int) -> bool:
        del now
        counts = row.losses >= FREE_LOSSES
        row.losses += 1
        row.lease_no = row.claim_no = None
        row.attempts = min(row.attempts + counts, row.max_attempts)
        row.error = "The worker was lost with the item in hand."
        if counts and row.attempts >= min(row.max_attempts, ceiling):
            row.status, row.code = "DEAD_LETTER", "WORKER_LOST"
            return True
        row.status = "FAILED" if row.attempts else "PENDING"
        self.calls |= row.status == "PENDING"
        return False

    def _note_lost(self, row: Row) -> None:
        """Nobody knows what the lost attempt did."""
        found = row.document if isinstance(row.document, dict) else {}
        if row.parent is not None and "stray" in found:
            return
        rebuild = row.operation == REBUILD
        source = self.sources.setdefault((row.workspace, REBUILD if rebuild else row.key), Source())
        memory = source.memory
        dies = row.status == "DEAD_LETTER" and row.parent is None
        memory = replace(memory, floor_seq=max(memory.floor_seq, row.seq if dies else 0))
        calendar = found.get("calendarId")
        if not rebuild:
            reopen = row.operation == "CANCEL_EVENT" or found.get("recreate") is True
            strays = memory.strays if calendar is None or calendar in memory.strays else (*memory.strays, calendar)
            memory = replace(memory, reopen=memory.reopen or reopen, strays=strays)
        source.memory = memory

    # The brake

    def count(self, workspace: UUID, recent: dict[UUID, int], in_flight: Collection[UUID], limit: Limit) -> Count:
        """Count what is to be deleted in a workspace, and stop it where that is too much."""
        stop = self.brakes.get(workspace)
        passes = stop.passes if stop else 0
        counted = [item for item, seq in recent.items() if seq > passes]
        over = sum(item not in in_flight for item in counted)
        newest: dict[str, Row] = {}
        for row in self.rows.values():
            if row.workspace == workspace and row.status in WAITS:
                head = newest.get(row.key)
                newest[row.key] = row if head is None or row.seq > head.seq else head
        waiting = sum(
            row.operation == "CANCEL_EVENT"
            and row.parent is None
            and row.seq > passes
            and row.id not in recent
            and self._has_event(workspace, key)
            for key, row in newest.items()
        )
        remembered = sum(w == workspace and s.memory.event_id is not None for (w, _), s in self.sources.items())
        bound = sum(w == workspace for w, _ in self.bindings)
        deletes, events = waiting + len(counted), over + max(remembered, bound)
        stopped = limit.stops(deletes, events) and (stop is None or stop.released)
        if stopped:
            self.brakes[workspace] = Stop("BURST", deletes, events, passes)
        return Count(passes, deletes, events, stopped)

    def _has_event(self, workspace: UUID, key: str) -> bool:
        source = self.sources.get((workspace, key))
        return (workspace, key) in self.bindings or (source is not None and source.memory.event_id is not None)

    def release(self, workspace: UUID) -> bool:
        """Let pass what waits in a stopped workspace."""
        stop = self.brakes.get(workspace)
        if stop is None or stop.released:
            return False
        stop.released, stop.passes, self.calls = True, self.next_seq(), True
        return True


def payload_of(row: Row) -> Any:
    """The payload as a claim hands it out."""
    if len(row.text) > LARGEST:
        return Oversized(len(row.text))
    return row.text
