"""Claims items: which workspaces a claim looks at, how many items it takes, and what it leaves out.

**A claim** is one call of a function (db/migrations/0029_claim_next.sql; 0021_claim.sql argues its races,
0025_claim_items.sql how one row cannot harm others, 0026_order.sql and 0035_places_anew.sql what gives the order). One
replica claims at a time in a database: while a peer is claiming, the result is `BUSY`, to be tried again in a few
milliseconds. A call of `claim` may take several passes. The result is `NOTHING` only if none of them found anything,
and the ring of workspaces was read meanwhile and gone through. The gate's promise that no writer has to notify rests on
that. (Where many items are locked by other sessions, it is also `NOTHING` after half a second, and half a second later
we look again.)

If the server refuses a pass because of data, we look at the workspaces one by one, and in the one that is refused again
at the items; the row that is refused alone is set aside. If no single row is the cause, the workspace is barred for a
while (`reactor.core.dispatch.bars`), and the others go on.

**Memory.** The payloads of all items in flight are bounded together; a claim brings no more than what is left.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import trio

from reactor.core.dispatch.bars import Bars
from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.dispatch.in_flight import InFlight
from reactor.core.item import Item
from reactor.core.trials import TrialDecision, Trials
from reactor.errors import RefusedError, TransientError
from reactor.postgres.brakes import Brakes
from reactor.postgres.claim import ClaimResult, LockedItem, Pass, SetAside, claim, claim_apart
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.connection.errors import may_be_divided
from reactor.postgres.connection.session import Session, SessionLostError
from reactor.postgres.order import Order
from reactor.postgres.ring import Ring
from reactor.postgres.statements import statements

_SQL = statements("outbox")

BYTES_IN_FLIGHT = 32 * 1024 * 1024
"""Bytes of payloads in flight at most: an eighth of what k8s/base gives a pod. 3,000 items of 2 kB are 6 MB."""
BYTES_PER_CLAIM = 8 * 1024 * 1024
LOOK_IN_VAIN_FOR = 0.5
"""Seconds for which a claim looks at items that others have locked, and after which it looks again."""
KEYS = 512
"""Sources looked at by key in one pass, 16 microseconds each."""


class Claimer:
    """Claims items through one session, and takes its lease with the first claim.

    Args:
        session: The claims session.
        in_flight: The items in flight; what is claimed is added.
        max_attempts: Most attempts for any item, whatever its row says.
        batch: Items of a workspace that travel together; a claim takes so many from one that has them.
        brakes: The brake on bursts of cancels.
        on_aside: Called with each item that is set aside here.
        order: What the process knows of the order of states.

    Attributes:
        lease: The number of the session's lease; None before the first claim.
    """

    def __init__(
        self,
        session: Session,
        in_flight: InFlight,
        *,
        max_attempts: int,
        batch: int,
        brakes: Brakes,
        on_aside: Callable[[SetAside], object],
        order: Order,
    ) -> None:
        self.lease: int | None = None
        self._session = session
        self._in_flight = in_flight
        self._ceiling = max_attempts
        self._brakes = brakes
        self._on_aside = on_aside
        self._order = order
        self._ring = Ring(batch)
        self._trials = Trials()
        self._bars = Bars()
        self._cut = False
        self._locked_since: dict[UUID, float] = {}

    @property
    def waits_for_ends(self) -> bool:
        """Whether a claim left something for the time when items in flight have ended.

        That is an item whose payload was too much beside the others, or one that is to be tried alone.
        """
        return self._cut or (self._trials.wait and not self._in_flight.is_busy)

    async def claim(self, *, slots: int, excluded: Collection[UUID], per_workspace: float) -> ClaimResult:
        """Claim items that are due.

        Args:
            slots: At most so many. With none it only sees whether something is left for others.
            excluded: Workspaces to leave alone. Those without a valid connection need not be named.
            per_workspace: Most items for each workspace that is looked at.

        Raises:
            RefusedError: The server refused; nothing was claimed.
            SessionLostError: The session is gone.
        """
        began = trio.current_time()
        self._cut = self._in_flight.bytes >= BYTES_IN_FLIGHT
        again = self._bars.next(began, excluded)
        excluded = frozenset(excluded) | self._bars.workspaces
        barred = excluded | self._brakes.stopped
        turn = self._turn(barred, began)
        if slots <= 0 or self._cut or turn is TrialDecision.WAIT:
            return await self._full(barred)
        if isinstance(turn, UUID) and (claimed := await self._on_trial(turn)):
            return claimed
        if again and (claimed := await self._again(*again, slots)):
            return claimed
        return await self._round(slots, excluded, per_workspace, began)

    async def _round(self, slots: int, excluded: frozenset[UUID], per_workspace: float, began: float) -> ClaimResult:
        """Look at the workspaces of the ring, a few at a time, until something is found or none is left."""
        ring, read = self._ring, False
        ring.begin()
        while True:
            stopped = self._brakes.stopped
            barred = excluded | stopped
            refresh = not read and ring.is_stale(began)
            window = [] if refresh else ring.next_workspaces(slots, barred)
            if not window and read:
                turn = self._turn(barred, trio.current_time())  # perhaps only an item is left that needs a trial
                if isinstance(turn, UUID) and (claimed := await self._on_trial(turn)):
                    return claimed
                return ClaimResult(look=Look(LookResult.NOTHING, due_in=self._due_in(barred)))
            found = await self._pass(self._spread(slots, window, per_workspace), window, barred)
            if found.is_busy:
                return ClaimResult(look=Look(LookResult.BUSY))
            read = read or not window
            superseded = found.report["superseded"]
            released = stopped - self._brakes.stopped  # by a person; this pass did not look at them
            if found.items or superseded or released:
                look = Look(LookResult.WORK, left_behind=ring.has_due(barred))
                return await self._braked(found.items, look, superseded)
            if trio.current_time() - began > LOOK_IN_VAIN_FOR:
                return ClaimResult(look=Look(LookResult.NOTHING, due_in=LOOK_IN_VAIN_FOR))

    def _spread(self, slots: int, window: Collection[UUID], per_workspace: float) -> int:
        """How many items to take from some workspaces, or from a ring that is read anew."""
        return int(min(slots, per_workspace * max(1, len(window) or self._ring.due)))

    async def _again(self, workspace: UUID, trial: int, slots: int) -> ClaimResult | None:
        """Claim items of a workspace whose bar is over; None where there is nothing to claim."""
        found = await self._alone(min(slots, trial), workspace)
        if found is None or not found.items:
            return None
        self._take_in(found, began=None)
        return await self._braked(found.items, Look(LookResult.WORK, left_behind=True), found.report["superseded"])

    async def _on_trial(self, workspace: UUID) -> ClaimResult | None:
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
        return min(self._ring.due_in(barred, now), self._bars.over_in(now))

    async def _braked(self, items: list[Item], look: Look, superseded: int) -> ClaimResult:
        """Separate the items that the brake stops; if the database cannot count, those that it would have to count."""
        suspects = self._brakes.suspects(items)
        if not suspects:
            return ClaimResult(items, look, superseded)
        barred = frozenset(suspects)
        try:
            counted = await self._session.ask(self._brakes.count, suspects)
        except SessionLostError:
            raise
        except TransientError:
            for workspace in suspects:
                # Many are tried at once, because the brake counts cancels that come together.
                self._bars.bar(workspace, trio.current_time(), trial=KEYS)
        else:
            self._brakes.take_in(counted)
            barred = counted.stopped
        kept = [item for item in items if item.workspace_id not in barred]
        braked = [item for item in items if item.workspace_id in barred]
        return ClaimResult(kept, look, superseded, braked)

    def _turn(self, excluded: Collection[UUID], now: float) -> TrialDecision | UUID:
        in_flight = self._in_flight
        return self._trials.next(now, excluded, busy=in_flight.is_busy, trying=in_flight.is_trying)

    async def _pass(self, slots: int, window: list[UUID], excluded: Collection[UUID], *, trial: bool = False) -> Pass:
        """Look at some workspaces; without any, read the ring anew and look at its first."""
        began = trio.current_time()
        if self.lease is None:
            await self._begin()
        try:
            found = await self._session.ask(claim, self._params(slots, window, excluded, trial=trial))
        except RefusedError as error:
            if not may_be_divided(error.sqlstate):
                raise
            return await self._divided(slots, window, excluded, trial=trial)
        if not found.is_busy:
            self._take_in(found, began=began if not window else None)
            if not self._order.is_right(found.report["last_place"], unlogged=found.report["untold"]):
                await self._put_right()
        return found

    async def _begin(self) -> None:
        """Take a lease, and check that claims can rely on the order."""
        await self._put_right()
        while self.lease is None:  # we skip a number whose lock another session has
            if found := await self._session.ask(rows, "lease", {}):
                [[self.lease]] = found

    async def _put_right(self) -> None:
        with suppress(RefusedError):  # a claim meets it again
            await self._session.ask(self._order.put_right)

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
            "key_rows": KEYS,
            "ceiling": self._ceiling,
            "lease": self.lease,
            "trial": trial,
            "bytes": min(BYTES_PER_CLAIM, BYTES_IN_FLIGHT - self._in_flight.bytes),
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
                found = await self._session.ask(claim_apart, self._params(at_once, [workspace], (), trial=trial))
                self._bars.lift(workspace)  # a row that is the cause is set aside, so pauses need not grow
                break
            except RefusedError as error:
                if not may_be_divided(error.sqlstate):
                    raise
        if found is None:
            self._bars.bar(workspace, trio.current_time())
            self._ring.looked([(workspace, False, None, False)], successful=())
        return found

    def _take_in(self, found: Pass, *, began: float | None) -> None:
        report, now = found.report, trio.current_time()
        self._brakes.stopped = frozenset(map(UUID, report["stopped"]))
        found.items[:] = self._in_flight.add(found.items)
        self._cut |= report["cut"]
        self._trials.left_out([UUID(w) for w in report["trials"]], now)
        if began is not None:
            self._ring.fill(((UUID(w), first, then) for w, first, then in report["ring"]), began=began, now=now)
        # What was set aside just now took the place of what is behind it, and will not do so again.
        aside_of = (UUID(workspace) for _, workspace, _, _ in report["aside"] if workspace)
        successful = {
            *{item.workspace_id.int: item.workspace_id for item in found.items}.values(),
            *map(UUID, report["tidied"]),
            *aside_of,
        }
        looked = [(UUID(w), more, key, full) for w, more, key, full in report["looked"]]
        self._ring.looked(looked, successful=successful)
        self._note_locked([UUID(i) for i in report["refused"]], (item.id for item in found.items), now)
        for item_id, workspace, sqlstate, constraint in report["aside"]:
            self._on_aside(SetAside(UUID(item_id), workspace and UUID(workspace), sqlstate, constraint))

    async def _read_ring(self) -> None:
        began = trio.current_time()
        found = await self._session.ask(rows, "ring", {})
        self._ring.fill(((w, first, then) for w, first, then in found), began=began, now=trio.current_time())

    async def _full(self, excluded: Collection[UUID]) -> ClaimResult:
        if self._ring.is_stale(trio.current_time()):
            await self._read_ring()
        return ClaimResult(look=Look(LookResult.FULL, left_behind=self._ring.has_due(excluded)))

    async def locked_by_others(self, *, seconds: float) -> list[LockedItem]:
        """Return the items whose lock another session has had for that long at every look, with that session.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        now = trio.current_time()
        waiting = {item_id: now - since for item_id, since in self._locked_since.items() if now - since >= seconds}
        if not waiting:
            return []
        holders = await self._session.ask(rows, "item_lock_holders", {"ids": list(waiting)})
        for item_id in waiting.keys() - {item_id for item_id, _, _ in holders}:
            del self._locked_since[item_id]  # it is free now
        return [LockedItem(item_id, waiting[item_id], pid, name) for item_id, pid, name in holders]

    def _note_locked(self, locked: Iterable[UUID], claimed: Iterable[UUID], now: float) -> None:
        for item_id in locked:
            self._locked_since.setdefault(item_id, now)
        if self._locked_since:
            for item_id in claimed:
                self._locked_since.pop(item_id, None)


async def rows(connection: TrioConnection, name: str, params: dict[str, Any]) -> list[Row]:
    """Run one of the outbox's statements and return its rows.

    Raises:
        psycopg.Error: The server refused.
    """
    cursor = await connection.execute(_SQL[name], params)
    return await cursor.fetchall()
