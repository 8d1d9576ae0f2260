"""The outbox: claims items, settles them, releases them, and takes over those of workers that died.

An instance belongs to one session, the *claims session*, which holds the *lease* under which its items are claimed: one
advisory lock (db/migrations/0023_lease.sql). When the session is lost, the lease is lost too, and this object with it:
the next session gets a new one. A second session may do the writing, so that a settle and a claim need not wait for
each other.

**A claim** is one call of a function (db/migrations/0029_claim_next.sql; 0021_claim.sql argues its races,
0025_claim_items.sql how one row cannot harm others, 0026_order.sql what gives the order). One replica claims at a time
in a database: while a peer is claiming, the result is `BUSY`, to be tried again in a few milliseconds. A call of
`claim` may take several passes. The result is `NOTHING` only if none of them found anything, and the ring of workspaces
was read meanwhile and gone through. The gate's promise that no writer has to notify rests on that. (Where many items
are locked by other sessions, it is also `NOTHING` after half a second, and half a second later we look again.)

If the server refuses a pass because of data, we look at the workspaces one by one, and in the one that is refused again
at the items; the row that is refused alone is set aside. If no single row is the cause, the workspace is barred for a
while, first a second, at most a minute, and the others go on.

**A settle** is one transaction for all that is ready. It may be written by another session than the one with the lease
because the fence is not the lock: every takeover (a sweep, an older worker's claim) clears `lease_no`, and a settle
that comes after it finds no row. See `reactor.postgres.settling`.

**A sweep** finds the orphans, PROCESSING rows whose lease no session holds. If the server refuses it, it is divided
until the row that is the cause stands alone, and that is set aside.

**Memory.** The payloads of all items in flight are bounded together; a claim brings no more than what is left.

Every call is shielded from cancellation, because an interrupted statement costs the session and its lease; the
session's time-out bounds it. When the server refuses a statement, `RefusedError` is raised, and nothing has changed.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
import trio

from reactor.core.backoff import backoff
from reactor.core.brake import Limit
from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.trials import FREE_LOSSES, TrialDecision, Trials
from reactor.errors import RefusedError, TransientError
from reactor.postgres import sweeping
from reactor.postgres.brakes import Brakes, Pulled
from reactor.postgres.claim import ClaimResult, Invariants, Pass, Refused, SetAside, SweepResult, claim, claim_apart
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.connection.errors import as_ours, may_be_divided
from reactor.postgres.connection.session import Session, SessionLostError
from reactor.postgres.order import Order
from reactor.postgres.ring import Ring
from reactor.postgres.settling import by_workspace, is_bound, settle, transactions
from reactor.postgres.shares import with_census
from reactor.postgres.statements import statements

T = TypeVar("T")
_SQL = statements("outbox")
_ORPHANS = with_census(_SQL["orphans"])
_GATE = statements("gate")

_KEYS = 512  # sources looked at by key in one pass, 16 microseconds each
_BRAKE = Limit()
REFUSED_FOR = 60.0  # seconds after which we report a lock that another session holds
BYTES_IN_FLIGHT = 32 * 1024 * 1024
"""Bytes of payloads in flight at most: an eighth of what k8s/base gives a pod. 3,000 items of 2 kB are 6 MB."""
BYTES_PER_CLAIM = 8 * 1024 * 1024
BLOCKED_FOR = 1.0
"""Seconds until we try a workspace's bindings again that wait for a lock which shows only when they are written."""
BLOCKED_TRIALS = 5
"""Workspaces that one settle may find still blocked; more wait for the next settle."""
IN_VAIN = 0.5
"""Seconds for which a claim looks at items that others have locked, and after which it looks again."""
BARRED_AT_MOST = 60.0
"""Seconds; the longest time for which a workspace is left out because the server refuses to look at it."""


class Outbox:
    """The outbox, through one session.

    Args:
        session: The claims session.
        writing: The session that settles; without one it is the claims session.
        max_attempts: Most attempts for any item, whatever its row says.
        batch: Items of a workspace that travel together; a claim takes so many from one that has them.
        brake: How much of a workspace may be deleted at once (`reactor.core.brake`).
        on_pull: Called with each workspace that is stopped here.
        on_aside: Called with each item that is set aside here.
        order: What the process knows of the order of states.
        counted: Called with each count of the replicas (`reactor.postgres.shares`), which comes with every sweep.

    Attributes:
        followed: Whether something that is due has waited for the items that were settled last.
        each: Items of one workspace that are sent soon. A claim brings so many for each that it looks at; what is more
            stays where other replicas find it.
    """

    def __init__(  # noqa: PLR0913 - what outlives a session, and callbacks
        self,
        session: Session,
        writing: Session | None = None,
        *,
        max_attempts: int = 5,
        batch: int = 50,
        brake: Limit = _BRAKE,
        on_pull: Callable[[Pulled], object] = lambda _: None,
        on_aside: Callable[[SetAside], object] = lambda _: None,
        order: Order | None = None,
        counted: Callable[[float, Sequence[int], int], object] = lambda *_: None,
    ) -> None:
        self.followed = False
        self.each = math.inf
        self._session = session
        self._writing = writing or session
        self._ceiling = max_attempts
        self._brakes = Brakes(brake, on_pull)
        self._on_aside = on_aside
        self._order = order or Order()
        self._counted = counted
        self._ring = Ring(batch)
        self._lease: int | None = None
        self._in_flight: dict[int, Item] = {}  # by the numbers of their ids: a UUID is hashed in Python
        self._suspected: set[int] = set()  # of them, those that may end their worker
        self._bytes = 0
        self._cut = False
        self._trials = Trials()
        self._unwritten: set[int] = set()  # items whose outcome waits for a lock
        self._refused: dict[UUID, float] = {}
        self._blocked: dict[UUID, float] = {}
        self._barred: dict[UUID, _Bar] = {}  # by workspace

    @property
    def lease(self) -> int | None:
        """The number of the session's lease; None before the first claim."""
        return self._lease

    @property
    def in_flight(self) -> list[Item]:
        """The items that were claimed and not settled."""
        return list(self._in_flight.values())

    # Claiming

    async def claim(self, *, slots: int, excluded: Collection[UUID] = ()) -> ClaimResult:
        """Claim items that are due.

        Args:
            slots: At most so many. With none it only sees whether something is left for others.
            excluded: Workspaces to leave alone. Those without a valid connection need not be named.

        Raises:
            RefusedError: The server refused; nothing was claimed.
            SessionLostError: The session is gone.
        """
        ring, began = self._ring, trio.current_time()
        self._cut = self._bytes >= BYTES_IN_FLIGHT
        suspects = self._suspects(began, excluded) if self._barred else ()
        excluded = frozenset(excluded) | self._barred.keys()
        barred = excluded | self._brakes.stopped
        turn = self._turn(barred, began)
        if slots <= 0 or self._cut or turn is TrialDecision.WAIT:
            return await self._full(barred)
        if isinstance(turn, UUID) and (claimed := await self._tried(turn)):
            return claimed
        if (
            suspects
            and (found := await self._alone(min(slots, self._barred[suspects[0]].trial), suspects[0]))
            and found.items
        ):
            self._take_in(found, began=None)
            return await self._braked(found.items, Look(LookResult.WORK, left_behind=True), found.report["superseded"])
        ring.begin()
        read = False
        while True:
            stopped = self._brakes.stopped
            barred = excluded | stopped
            refresh = not read and ring.is_stale(began)
            window = [] if refresh else ring.next_workspaces(slots, barred)
            if not window and read:
                turn = self._turn(barred, trio.current_time())  # we may just have found that only a suspect is left
                if isinstance(turn, UUID) and (claimed := await self._tried(turn)):
                    return claimed
                return ClaimResult(look=Look(LookResult.NOTHING, due_in=self._due_in(barred)))
            found = await self._pass(self._spread(slots, window), window, barred)
            if found.is_busy:
                return ClaimResult(look=Look(LookResult.BUSY))
            read = read or not window
            superseded = found.report["superseded"]
            if (
                found.items or superseded or stopped - self._brakes.stopped
            ):  # a workspace that the brake has released was not looked at yet
                look = Look(LookResult.WORK, left_behind=ring.has_due(barred))
                return await self._braked(found.items, look, superseded)
            if trio.current_time() - began > IN_VAIN:
                return ClaimResult(look=Look(LookResult.NOTHING, due_in=IN_VAIN))

    def _spread(self, slots: int, window: Collection[UUID]) -> int:
        """How many items to take from some workspaces, or from a ring that is read anew."""
        return int(min(slots, self.each * max(1, len(window) or self._ring.due)))

    async def _tried(self, workspace: UUID) -> ClaimResult | None:
        """Claim one item alone that lost its worker three times; None where there is none."""
        self._trials.begin(workspace)
        found = await self._pass(1, [workspace], (), trial=True)
        if found.is_busy:
            return ClaimResult(look=Look(LookResult.BUSY))
        self._trials.tried(workspace, trio.current_time(), found=bool(found.items))
        if not found.items:
            return None
        return await self._braked(found.items, Look(LookResult.FULL, left_behind=True), found.report["superseded"])

    def _due_in(self, barred: Collection[UUID]) -> float:
        """Seconds until there may be something to claim without a notification."""
        now = trio.current_time()
        opening = (max(0.0, until - now) for _, until, _ in self._barred.values())
        return min(self._ring.due_in(barred, now), *opening, float("inf"))

    def _suspects(self, now: float, excluded: Collection[UUID]) -> list[UUID]:
        """The workspaces that were barred for long enough; each is tried alone, because it may cost the others time."""
        over = [(until, w) for w, (_, until, _) in self._barred.items() if until <= now and w not in excluded]
        return [workspace for _, workspace in sorted(over)]

    def _bar(self, workspace: UUID, trial: int = 1) -> None:
        """Leave a workspace out for a while; after that, `trial` of its items are tried."""
        refusals = self._barred[workspace].refusals + 1 if workspace in self._barred else 1
        until = trio.current_time() + backoff(refusals, random=0, cap=BARRED_AT_MOST)
        self._barred[workspace] = _Bar(refusals, until, trial)

    async def _braked(self, items: list[Item], look: Look, superseded: int) -> ClaimResult:
        """Separate the items that the brake stops; if the database cannot count, those that it would have to count."""
        suspects = self._brakes.suspects(items)
        if not suspects:
            return ClaimResult(items, look, superseded)
        barred = frozenset(suspects)
        try:
            counted = await self._run(self._brakes.count, suspects)
        except SessionLostError:
            raise
        except TransientError:
            for workspace in suspects:
                self._bar(
                    workspace, trial=_KEYS
                )  # try many at once, because the brake counts cancels that come together
        else:
            self._brakes.take_in(counted)
            barred = counted.stopped
        kept = [item for item in items if item.workspace_id not in barred]
        held = [item for item in items if item.workspace_id in barred]
        return ClaimResult(kept, look, superseded, held)

    @property
    def _is_busy(self) -> bool:
        """Whether an item is in flight that may still end this worker; one that only waits to be written does not."""
        return self._in_flight.keys() > self._unwritten

    def _turn(self, excluded: Collection[UUID], now: float) -> TrialDecision | UUID:
        trying = not self._suspected <= self._unwritten
        return self._trials.next(now, excluded, busy=self._is_busy, trying=trying)

    async def _pass(self, slots: int, window: list[UUID], excluded: Collection[UUID], *, trial: bool = False) -> Pass:
        """Look at some workspaces; without any, read the ring anew and look at its first."""
        began = trio.current_time()
        if self._lease is None:
            await self._begin()
        try:
            found = await self._run(claim, self._params(slots, window, excluded, trial=trial))
        except RefusedError as error:
            if not may_be_divided(error.sqlstate):
                raise
            return await self._divided(slots, window, excluded, trial=trial)
        if not found.is_busy:
            self._take_in(found, began=began if not window else None)
            if not self._order.is_right(found.report["last_place"], untold=found.report["untold"]):
                await self._put_right()
        return found

    async def _begin(self) -> None:
        """Take a lease, and check that claims can rely on the order."""
        await self._put_right()
        while self._lease is None:  # we skip a number whose lock another session has
            if rows := await self._run(_rows, "lease", {}):
                [[self._lease]] = rows

    async def _put_right(self) -> None:
        with suppress(RefusedError):  # a claim meets it again
            await self._run(self._order.put_right)

    def _params(
        self, slots: int, window: list[UUID], excluded: Collection[UUID], *, trial: bool = False
    ) -> dict[str, Any]:
        return {
            "workspaces": window or None,
            "cursors": self._ring.cursors(window) or None,
            "past": self._ring.last_workspace,
            "width": len(window) or self._ring.width(slots),
            "excluded": [] if window else list(excluded),
            "slots": slots,
            "due_rows": 2 * slots,
            "key_rows": _KEYS,
            "ceiling": self._ceiling,
            "lease": self._lease,
            "trial": trial,
            "bytes": min(BYTES_PER_CLAIM, BYTES_IN_FLIGHT - self._bytes),
        }

    async def _divided(self, slots: int, window: list[UUID], excluded: Collection[UUID], *, trial: bool) -> Pass:
        """Look at one workspace after another, because the server refuses all of them together and one is the cause."""
        if not window:
            await self._read_ring()
            window = self._ring.next_workspaces(slots, excluded)
        together = Pass([], {"superseded": 0})
        for workspace in window:
            found = await self._alone(slots - len(together.items), workspace, trial=trial)
            if found is None:
                continue
            if found.is_busy:
                break
            self._take_in(found, began=None)
            together.items.extend(found.items)
            together.report["superseded"] += found.report["superseded"]
            if len(together.items) >= slots:
                break
        return together

    async def _alone(self, slots: int, workspace: UUID, *, trial: bool = False) -> Pass | None:
        """Look at one workspace, all at once or, if that is refused, at one item; None if that is refused too."""
        found: Pass | None = None
        for at_once in sorted({slots, 1}, reverse=True):
            try:
                found = await self._run(claim_apart, self._params(at_once, [workspace], (), trial=trial))
                self._barred.pop(workspace, None)  # a row that is the cause is set aside, so pauses need not grow
                break
            except RefusedError as error:
                if not may_be_divided(error.sqlstate):
                    raise
        if found is None:
            self._bar(workspace)
            self._ring.looked([(workspace, False, None, False)], successful=())
        return found

    def _take_in(self, found: Pass, *, began: float | None) -> None:
        report, now = found.report, trio.current_time()
        self._brakes.stopped = frozenset(map(UUID, report["stopped"]))
        # A row that a person made claimable while we have it in flight is claimed once more; the first claim ends it.
        found.items[:] = [item for item in found.items if item.id.int not in self._in_flight]
        workspaces: dict[int, UUID] = {}
        for item in found.items:
            self._in_flight[item.id.int] = item
            self._bytes += _size(item)
            if item.losses >= FREE_LOSSES:
                self._suspected.add(item.id.int)
            workspaces[item.workspace_id.int] = item.workspace_id
        self._cut |= report["cut"]
        self._trials.left_out([UUID(w) for w in report["trials"]], now)
        if began is not None:
            self._ring.fill(((UUID(w), first, then) for w, first, then in report["ring"]), began=began, now=now)
        # What was set aside just now took the place of what is behind it, and will not do so again.
        aside_of = (UUID(workspace) for _, workspace, _, _ in report["aside"] if workspace)
        successful = {
            *workspaces.values(),
            *map(UUID, report["tidied"]),
            *aside_of,
        }
        looked = [(UUID(w), more, key, full) for w, more, key, full in report["looked"]]
        self._ring.looked(looked, successful=successful)
        self._note_refused([UUID(i) for i in report["refused"]], (item.id for item in found.items), now)
        for item_id, workspace, sqlstate, constraint in report["aside"]:
            self._on_aside(SetAside(UUID(item_id), workspace and UUID(workspace), sqlstate, constraint))

    async def _read_ring(self) -> None:
        began = trio.current_time()
        rows = await self._run(_rows, "ring", {})
        self._ring.fill(((w, first, then) for w, first, then in rows), began=began, now=trio.current_time())

    async def _full(self, excluded: Collection[UUID]) -> ClaimResult:
        if self._ring.is_stale(trio.current_time()):
            await self._read_ring()
        return ClaimResult(look=Look(LookResult.FULL, left_behind=self._ring.has_due(excluded)))

    # Settling

    async def settle(
        self, settlements: Sequence[Settlement], *, asks: Callable[[], bool] = lambda: True
    ) -> list[SettlementResult]:
        """Write the outcomes of items.

        Args:
            settlements: The items with their outcomes.
            asks: Whether to find out if something has waited for them; called after they were written.

        Returns:
            The result for each. An item that is `WAITING` is still in flight.

        Raises:
            RefusedError: The server refused; items that are still `in_flight` are to be settled again.
            SessionLostError: The session is gone; what was written is not known.
        """
        # An outcome of an item that is not in flight must not end it: it may be ours again, under another claim.
        ours = {each.item.id.int: each for each in settlements if self._holds(each.item)}
        results: dict[int, SettlementResult] = {}
        self.followed = False
        still_blocked = 0
        for transaction in self._transactions(ours.values(), results):
            if still_blocked >= BLOCKED_TRIALS:
                results |= dict.fromkeys(
                    (each.item.id.int for each in transaction.settlements), SettlementResult.WAITING
                )
                continue
            write = settle if transaction.blocked is None else by_workspace
            written = await self._ask(self._writing, write, transaction.settlements)
            results |= written.results
            still_blocked += transaction.blocked in written.blocked
            self._note_blocked(transaction.blocked, written.blocked)
            self._unwritten |= {number for number, each in written.results.items() if each is SettlementResult.WAITING}
            await self._end([n for n, each in written.results.items() if each is not SettlementResult.WAITING], asks)
        lost = SettlementResult.LOST
        return [
            results.get(each.item.id.int, lost) if ours.get(each.item.id.int) is each else lost for each in settlements
        ]

    def _transactions(
        self, settlements: Iterable[Settlement], results: dict[int, SettlementResult]
    ) -> "Iterable[_Transaction]":
        """Divide into transactions; settlements that are known to wait for a lock come last, or not at all for now."""
        now, free, apart = trio.current_time(), [], dict[UUID, list[Settlement]]()
        for each in settlements:
            until = self._blocked.get(each.item.workspace_id) if self._blocked else None
            if until is None or not is_bound(each):
                free.append(each)
            elif until <= now:
                apart.setdefault(each.item.workspace_id, []).append(each)
            else:
                results[each.item.id.int] = SettlementResult.WAITING
        for group in transactions(free):
            yield _Transaction(group)
        for workspace, blocked in apart.items():
            for group in transactions(blocked):
                yield _Transaction(group, workspace)

    def _note_blocked(self, tried: UUID | None, blocked: Collection[UUID]) -> None:
        if tried is not None and tried not in blocked:
            self._blocked.pop(tried, None)
        for workspace in blocked:
            self._blocked[workspace] = trio.current_time() + BLOCKED_FOR

    async def _end(self, numbers: list[int], asks: Callable[[], bool]) -> None:
        """Forget items that are settled, and find out whether something has waited for them."""
        suspects, ended = self._cut, [self._in_flight.pop(number) for number in numbers]
        self._bytes -= sum(map(_size, ended))
        self._unwritten.difference_update(numbers)
        self._suspected.difference_update(numbers)
        if ended:
            suspects |= any(item.losses for item in ended) or (self._trials.wait and not self._is_busy)
            self.followed |= suspects or (asks() and await self._is_followed(ended))

    async def _is_followed(self, ended: list[Item]) -> bool:
        """Whether something due has waited for items that are settled; True if the database does not answer."""
        about = {
            "ids": [item.id for item in ended],
            "workspaces": [item.workspace_id for item in ended],
            "keys": [item.source_key for item in ended],
        }
        try:
            [[followed]] = await self._ask(self._writing, _rows, "followed", about)
        except SessionLostError:
            raise
        except TransientError:
            return True
        return bool(followed)

    def _held(self) -> set[UUID]:
        return {item.id for item in self._in_flight.values()}

    def _holds(self, item: Item) -> bool:
        held = self._in_flight.get(item.id.int)
        return held is not None and held.claim_no == item.claim_no

    async def give_back(self, items: Iterable[Item]) -> list[SettlementResult]:
        """Make items PENDING again, their attempts as they were: nothing was sent for them. As `settle`."""
        return await self.settle([Settlement(item, "PENDING", item.attempts) for item in items])

    async def announce(self) -> None:
        """Notify the other replicas, so that they look.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        await self._ask(self._writing, _announce)

    # Taking over

    async def sweep(self) -> SweepResult:
        """Take over the items of lost workers; their attempts may have had any effect.

        No writer notifies for items that are due again because of that: look for them.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        return await sweeping.sweep(self._run, self._orphans, self._ceiling)

    async def _orphans(self, connection: TrioConnection, after: UUID) -> tuple[list[Row], bool]:
        """Read the items in flight here, when the session is ours, because a claim may have used it until now."""
        began = trio.current_time()
        params = {"lease": self._lease or 0, "held": _ids(item.id for item in self._in_flight.values()), "after": after}
        rows = await (await connection.execute(_ORPHANS, params)).fetchall()
        divisors, older, others_in_flight, *_ = rows[0]
        self._counted(began, divisors, older)
        return [row[3:] for row in rows if row[3] is not None], others_in_flight

    async def refused(self, *, seconds: float = REFUSED_FOR) -> list[Refused]:
        """Return the items whose lock another session has had for that long at every look, with that session.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        now = trio.current_time()
        waiting = {item_id: now - since for item_id, since in self._refused.items() if now - since >= seconds}
        if not waiting:
            return []
        holders = await self._run(_rows, "item_lock_holders", {"ids": list(waiting)})
        for item_id in waiting.keys() - {item_id for item_id, _, _ in holders}:
            del self._refused[item_id]  # it is free now
        return [Refused(item_id, waiting[item_id], pid, name) for item_id, pid, name in holders]

    def _note_refused(self, refused: Iterable[UUID], claimed: Iterable[UUID], now: float) -> None:
        for item_id in refused:
            self._refused.setdefault(item_id, now)
        if self._refused:
            for item_id in claimed:
                self._refused.pop(item_id, None)

    async def invariants(self) -> Invariants:
        """Check that the lease, the rows and the items in flight agree.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        return await self._run(self._invariants)

    async def _invariants(self, connection: TrioConnection) -> Invariants:
        wanted = self._held()
        async with connection.transaction():
            [[rows, is_held]] = await _rows(connection, "processing_items", {"lease": self._lease or 0})
            [[orphans]] = await _rows(connection, "count_orphans", {})
            [[doubled]] = await _rows(connection, "count_doubled_sources", {})
        # Items that were settled or claimed while we asked are no disagreement.
        steady, seen = wanted & self._held(), set(rows)
        missing = len(steady) if steady and not is_held else len(steady - seen)
        return Invariants(len(self._in_flight), len(seen - wanted), missing, orphans, doubled)

    async def _run(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await self._ask(self._session, work, *args)

    async def _ask(self, session: Session, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        try:
            return await session.run(lambda connection: work(connection, *args), shield=True)
        except psycopg.Error as error:
            raise as_ours(error) from error


class _Bar(NamedTuple):
    """Why a workspace is left out: so many refusals in a row, until then; so many of its items are tried after."""

    refusals: int
    until: float
    trial: int


class _Transaction:
    """Settlements that are written together; `blocked` is their workspace where a lock was in its way before."""

    def __init__(self, settlements: list[Settlement], blocked: UUID | None = None) -> None:
        self.settlements = settlements
        self.blocked = blocked


def _size(item: Item) -> int:
    """Bytes of its payload."""
    return len(item.payload) if isinstance(item.payload, bytes) else 0


def _ids(ids: Iterable[UUID]) -> str:
    return f"{{{','.join(map(str, ids))}}}"


async def _rows(connection: TrioConnection, name: str, params: dict[str, Any]) -> list[Row]:
    cursor = await connection.execute(_SQL[name], params)
    return await cursor.fetchall()


async def _announce(connection: TrioConnection) -> None:
    await connection.execute(_GATE["announce"])
