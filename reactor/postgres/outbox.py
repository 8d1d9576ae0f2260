"""The outbox: claims items, settles them, releases them, and takes over those of workers that died.

An instance belongs to one session, the *claims session*, which holds the *lease* under which its items are claimed: one
advisory lock (db/migrations/0023_lease.sql). When the session is lost, the lease is lost too, and this object with it:
the next session gets a new one. A second session may do the writing, so that a settle and a claim need not wait for
each other.

**A claim** is argued in `reactor.postgres.claimer`.

**A settle** is one transaction for all that is ready. It may be written by another session than the one with the lease
because the fence is not the lock: every takeover (a sweep, an older worker's claim) clears `lease_no`, and a settle
that comes after it finds no row. See `reactor.postgres.settling`.

**A sweep** finds the orphans, PROCESSING rows whose lease no session holds. If the server refuses it, it is divided
until the row that is the cause stands alone, and that is set aside.

Every call is shielded from cancellation, because an interrupted statement costs the session and its lease; the
session's time-out bounds it. When the server refuses a statement, `RefusedError` is raised, and nothing has changed.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from uuid import UUID

import trio

from reactor.core.brake import Limit
from reactor.core.dispatch.in_flight import InFlight
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.errors import TransientError
from reactor.postgres import sweeping
from reactor.postgres.brakes import Brakes, Pulled
from reactor.postgres.claim import ClaimResult, Invariants, LockedItem, SetAside, SweepResult
from reactor.postgres.claimer import Claimer, rows
from reactor.postgres.connection.driver import Row, TrioConnection
from reactor.postgres.connection.session import Session, SessionLostError
from reactor.postgres.order import Order
from reactor.postgres.settling import by_workspace, is_bound, settle, transactions
from reactor.postgres.shares import with_census
from reactor.postgres.statements import statements

_ORPHANS = with_census(statements("outbox")["orphans"])
_GATE = statements("gate")

_BRAKE = Limit()
LOCKED_FOR = 60.0
"""Seconds after which we report a lock that another session holds."""
BLOCKED_FOR = 1.0
"""Seconds until we try a workspace's bindings again that wait for a lock which shows only when they are written."""
BLOCKED_TRIALS = 5
"""Workspaces that one settle may find still blocked; more wait for the next settle."""


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
        per_workspace: Items of one workspace that are sent soon. A claim brings so many for each that it looks at; what
            is more stays where other replicas find it.
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
        self.per_workspace = math.inf
        self._session = session
        self._writing = writing or session
        self._ceiling = max_attempts
        self._counted = counted
        self._in_flight = InFlight()
        self._claimer = Claimer(
            session,
            self._in_flight,
            max_attempts=max_attempts,
            batch=batch,
            brakes=Brakes(brake, on_pull),
            on_aside=on_aside,
            order=order or Order(),
        )
        self._blocked: dict[UUID, float] = {}

    @property
    def lease(self) -> int | None:
        """The number of the session's lease; None before the first claim."""
        return self._claimer.lease

    @property
    def in_flight(self) -> list[Item]:
        """The items that were claimed and not settled."""
        return list(self._in_flight)

    async def claim(self, *, slots: int, excluded: Collection[UUID] = ()) -> ClaimResult:
        """Claim items that are due, as `Claimer.claim`; `per_workspace` says how many of a workspace at most."""
        return await self._claimer.claim(slots=slots, excluded=excluded, per_workspace=self.per_workspace)

    async def locked_by_others(self, *, seconds: float = LOCKED_FOR) -> list[LockedItem]:
        """Return the items whose lock another session has had for that long, as `Claimer.locked_by_others`."""
        return await self._claimer.locked_by_others(seconds=seconds)

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
        ours = {each.item.id.int: each for each in settlements if self._in_flight.holds(each.item)}
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
            written = await self._writing.ask(write, transaction.settlements)
            results |= written.results
            still_blocked += transaction.blocked in written.blocked
            self._note_blocked(transaction.blocked, written.blocked)
            waiting = {number for number, each in written.results.items() if each is SettlementResult.WAITING}
            self._in_flight.wait(waiting)
            await self._end(written.results.keys() - waiting, asks)
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

    async def _end(self, numbers: Collection[int], asks: Callable[[], bool]) -> None:
        """Forget items that are settled, and find out whether something has waited for them."""
        if ended := self._in_flight.end(numbers):
            suspects = self._claimer.waits_for_ends or any(item.losses for item in ended)
            self.followed |= suspects or (asks() and await self._is_followed(ended))

    async def _is_followed(self, ended: list[Item]) -> bool:
        """Whether something due has waited for items that are settled; True if the database does not answer."""
        about = {
            "ids": [item.id for item in ended],
            "workspaces": [item.workspace_id for item in ended],
            "keys": [item.source_key for item in ended],
        }
        try:
            [[followed]] = await self._writing.ask(rows, "followed", about)
        except SessionLostError:
            raise
        except TransientError:
            return True
        return bool(followed)

    async def announce(self) -> None:
        """Notify the other replicas, so that they look.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        await self._writing.ask(_announce)

    async def sweep(self) -> SweepResult:
        """Take over the items of lost workers; their attempts may have had any effect.

        No writer notifies for items that are due again because of that: look for them.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        return await sweeping.sweep(self._session.ask, self._orphans, self._ceiling)

    async def _orphans(self, connection: TrioConnection, after: UUID) -> tuple[list[Row], bool]:
        """Read the items in flight here, when the session is ours, because a claim may have used it until now."""
        began = trio.current_time()
        params = {"lease": self.lease or 0, "held": _ids(item.id for item in self._in_flight), "after": after}
        found = await (await connection.execute(_ORPHANS, params)).fetchall()
        divisors, older, others_in_flight, *_ = found[0]
        self._counted(began, divisors, older)
        return [row[3:] for row in found if row[3] is not None], others_in_flight

    async def invariants(self) -> Invariants:
        """Check that the lease, the rows and the items in flight agree.

        Raises:
            RefusedError: The server refused.
            SessionLostError: The session is gone.
        """
        return await self._session.ask(self._invariants)

    async def _invariants(self, connection: TrioConnection) -> Invariants:
        wanted = self._in_flight.ids
        async with connection.transaction():
            [[processing, is_held]] = await rows(connection, "processing_items", {"lease": self.lease or 0})
            [[orphans]] = await rows(connection, "count_orphans", {})
            [[doubled]] = await rows(connection, "count_doubled_sources", {})
        # Items that were settled or claimed while we asked are no disagreement.
        steady, seen = wanted & self._in_flight.ids, set(processing)
        missing = len(steady) if steady and not is_held else len(steady - seen)
        return Invariants(len(self._in_flight), len(seen - wanted), missing, orphans, doubled)


class _Transaction:
    """Settlements that are written together; `blocked` is their workspace where a lock was in its way before."""

    def __init__(self, settlements: list[Settlement], blocked: UUID | None = None) -> None:
        self.settlements = settlements
        self.blocked = blocked


def _ids(ids: Iterable[UUID]) -> str:
    return f"{{{','.join(map(str, ids))}}}"


async def _announce(connection: TrioConnection) -> None:
    await connection.execute(_GATE["announce"])
