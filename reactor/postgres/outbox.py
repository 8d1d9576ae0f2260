"""The outbox: items are claimed here, settled, given back, and taken over from workers that died.

An instance belongs to one session, the *claims session*, which holds the advisory lock of every item in flight. When
the session is lost so are the locks, and with them this object: the next session gets a new one. Nobody else may use
the session's advisory locks. A second session may do the writing, so that a settle and a claim need not wait for each
other; it holds nothing.

**A claim** is one call of a function (db/migrations/0021_claim.sql argues its races). One claimer at a time in a
database: a peer that is claiming makes this one `BUSY`, to be tried again in a few milliseconds. A call of `claim` may
take several passes; only if none found anything, and the ring of workspaces was read meanwhile and gone through, is the
answer `NOTHING`. The gate's promise that no writer has to notify rests on that.

**A settle** is one transaction for all that is ready, and then the unlocks: an item that is still PROCESSING to others
when its lock is free would look like an orphan. See `reactor.postgres.settling`. It may be written by another session
than the one with the locks because the fence is not the lock: every takeover (a sweep, an older worker's claim) changes
`claim_no`, and a settle that comes after it finds no row.

**A sweep** finds the orphans, PROCESSING rows whose lock nobody holds, and counts the lost attempt.

Every call is shielded from cancellation: an interrupted statement costs the session and all its locks. The session's
time-out bounds it. When the server refuses a statement, `TransientError` comes out, and nothing has changed.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import trio

from reactor.core.brake import Limit
from reactor.core.gate import Found, Look
from reactor.core.item import Item, Settlement
from reactor.errors import TransientError
from reactor.postgres.brakes import Brakes, Pulled
from reactor.postgres.claiming import claim
from reactor.postgres.driver import Row, TrioConnection
from reactor.postgres.errors import as_ours
from reactor.postgres.reports import Claimed, Invariants, Refused, Swept
from reactor.postgres.ring import Ring
from reactor.postgres.session import Session, SessionLostError
from reactor.postgres.settling import settle, transactions
from reactor.postgres.statements import statements

T = TypeVar("T")
_SQL = statements("outbox")
_GATE = statements("gate")

_KEYS = 512  # sources looked at by key in one pass, 16 microseconds each
_BRAKE = Limit()
REFUSED_FOR = 60.0  # seconds until a lock that somebody else holds is worth a word


class Outbox:
    """The outbox, by way of one session.

    Args:
        session: The claims session.
        writing: The session that settles; without one it is the claims session.
        max_attempts: Most attempts for any item, whatever its row says.
        batch: Items of a workspace that travel together; a claim takes so many from one that has them.
        brake: How much of a workspace may be deleted at once (`reactor.core.brake`).
        on_pull: Told of each workspace that is stopped here.

    Attributes:
        followed: Whether something that is due has waited for the items that were settled last.
    """

    def __init__(
        self,
        session: Session,
        writing: Session | None = None,
        *,
        max_attempts: int = 5,
        batch: int = 50,
        brake: Limit = _BRAKE,
        on_pull: Callable[[Pulled], object] = lambda _: None,
    ) -> None:
        self.followed = False
        self._session = session
        self._writing = writing or session
        self._ceiling = max_attempts
        self._brakes = Brakes(brake, on_pull)
        self._ring = Ring(batch)
        self._in_flight: dict[UUID, Item] = {}
        self._held: dict[UUID, str] = {}  # their ids as text: adapting 3,000 UUIDs is a twentieth of a claim's CPU
        self._refused: dict[UUID, float] = {}

    @property
    def in_flight(self) -> list[Item]:
        """The items that were claimed and not settled."""
        return list(self._in_flight.values())

    async def claim(self, *, slots: int, excluded: Collection[UUID] = ()) -> Claimed:
        """Claim items that are due.

        Args:
            slots: At most so many. With none it only sees whether something is left for others.
            excluded: Workspaces to leave alone. Those without a valid connection need not be named.

        Raises:
            TransientError: The server refused; nothing was claimed.
            SessionLostError: The session is gone.
        """
        ring, excluded = self._ring, frozenset(excluded)
        if slots <= 0:
            return await self._full(excluded | self._brakes.stopped)
        ring.begin()
        read = False
        began = trio.current_time()
        while True:
            stopped = self._brakes.stopped
            barred = excluded | stopped
            refresh = not read and ring.is_stale(began)
            window = [] if refresh else ring.window(slots, barred)
            if not window and read:
                due_in = ring.due_in(barred, trio.current_time())
                return Claimed(look=Look(Found.NOTHING, due_in=due_in))
            items, report = await self._pass(slots, window, barred)
            if report.get("busy"):
                return Claimed(look=Look(Found.BUSY))
            read = read or not window
            if items or report["superseded"] or stopped - self._brakes.stopped:  # released: it was not looked at
                look = Look(Found.WORK, left_behind=ring.has_due(barred))
                return await self._braked(items, look, report["superseded"])

    async def _braked(self, items: list[Item], look: Look, superseded: int) -> Claimed:
        """Set aside what the brake stops; where the database cannot count, what would have to be counted."""
        suspects = self._brakes.suspects(items)
        barred = set(suspects)
        if suspects:
            with suppress(TransientError):
                pulled = await self._run(self._brakes.count, suspects, list(self._in_flight))
                self._brakes.pulled(pulled)
                barred = {each.workspace_id for each in pulled}
        kept = [item for item in items if item.workspace_id not in barred]
        held = [item for item in items if item.workspace_id in barred]
        return Claimed(kept, look, superseded, held)

    async def _pass(self, slots: int, window: list[UUID], excluded: Collection[UUID]) -> tuple[list[Item], Any]:
        """Look at some workspaces; at the first of a ring read anew where none are named."""
        began = trio.current_time()
        width = len(window) or self._ring.width(slots)
        items, report, stopped = await self._run(
            claim,
            {
                "workspaces": window or None,
                "cursors": self._ring.cursors(window) or None,
                "past": self._ring.past,
                "width": width,
                "excluded": [] if window else list(excluded),
                "slots": slots,
                "due_rows": 2 * slots,
                "key_rows": _KEYS,
                "held": self._held_ids(),
                "ceiling": self._ceiling,
            },
        )
        if report.get("busy"):
            return items, report
        self._brakes.stopped = frozenset(stopped)
        self._in_flight.update((item.id, item) for item in items)
        self._held.update((item.id, str(item.id)) for item in items)
        now = trio.current_time()
        if not window:
            self._ring.fill(((UUID(w), first, then) for w, first, then in report["ring"]), began=began, now=now)
        successful = {item.workspace_id for item in items} | {UUID(w) for w in report["tidied"]}
        looked = [(UUID(w), more, key, full) for w, more, key, full in report["looked"]]
        self._ring.looked(looked, successful=successful)
        self._note_refused([UUID(i) for i in report["refused"]], (item.id for item in items), now)
        return items, report

    async def _full(self, excluded: Collection[UUID]) -> Claimed:
        began = trio.current_time()
        if self._ring.is_stale(began):
            rows = await self._run(_rows, "ring", {})
            self._ring.fill(((w, first, then) for w, first, then in rows), began=began, now=trio.current_time())
        return Claimed(look=Look(Found.FULL, left_behind=self._ring.has_due(excluded)))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write what becomes of items, and give their locks back.

        Returns:
            For each whether it was written; if not, the claim was lost, and whatever was done in its name is dropped.

        Raises:
            TransientError: The server refused; items that are still `in_flight` are to be settled again.
            SessionLostError: The session is gone; what was written is not known.
        """
        # What is said of an item that is not in hand must not unlock it: it may be ours again, under another claim.
        ours = {each.item.id: each for each in settlements if self._holds(each.item)}
        written: set[UUID] = set()
        self.followed = False
        for transaction in transactions(ours.values()):
            written |= await self._ask(self._writing, settle, transaction)
            items = [each.item for each in transaction]
            ids = _ids(self._held[item.id] for item in items)
            await self._run(_rows, "unlock", {"ids": ids})
            for item in items:
                del self._in_flight[item.id], self._held[item.id]
            self.followed |= await self._is_followed(ids)
        return [each.item.id in written and ours[each.item.id] is each for each in settlements]

    async def _is_followed(self, ids: str) -> bool:
        """Whether something due has waited for items that are settled; where the database does not say, it may have."""
        try:
            [[followed]] = await self._ask(self._writing, _rows, "followed", {"ids": ids})
        except SessionLostError:
            raise
        except TransientError:
            return True
        return bool(followed)

    def _held_ids(self) -> str:
        return _ids(self._held.values())

    def _holds(self, item: Item) -> bool:
        held = self._in_flight.get(item.id)
        return held is not None and held.claim_no == item.claim_no

    async def give_back(self, items: Iterable[Item]) -> list[bool]:
        """Make items PENDING again, their attempts as they were: nothing was sent for them. As `settle`."""
        return await self.settle([Settlement(item, "PENDING", item.attempts) for item in items])

    async def announce(self) -> None:
        """Have the other replicas look.

        Raises:
            TransientError: The server refused.
            SessionLostError: The session is gone.
        """
        await self._ask(self._writing, _announce)

    async def sweep(self) -> Swept:
        """Take over what lost its worker: each such attempt counts, and may have had any effect.

        Items that are due again because of that were announced to nobody: look for them.

        Raises:
            TransientError: The server refused.
            SessionLostError: The session is gone.
        """
        params = {"held": self._held_ids(), "ceiling": self._ceiling}
        [[recovered, dead]] = await self._run(_rows, "sweep", params)
        return Swept(recovered, dead)

    async def refused(self, *, seconds: float = REFUSED_FOR) -> list[Refused]:
        """Tell which items were refused for that long at every look, and by whom; a line in the log for each.

        Raises:
            TransientError: The server refused.
            SessionLostError: The session is gone.
        """
        now = trio.current_time()
        waiting = {item_id: now - since for item_id, since in self._refused.items() if now - since >= seconds}
        if not waiting:
            return []
        holders = await self._run(_rows, "holders", {"ids": list(waiting)})
        for item_id in waiting.keys() - {item_id for item_id, _, _ in holders}:
            del self._refused[item_id]  # it is free now
        return [Refused(item_id, waiting[item_id], pid, name) for item_id, pid, name in holders]

    def _note_refused(self, refused: Iterable[UUID], claimed: Iterable[UUID], now: float) -> None:
        for item_id in refused:
            self._refused.setdefault(item_id, now)
        for item_id in claimed:
            self._refused.pop(item_id, None)

    async def invariants(self) -> Invariants:
        """Look whether locks and items agree.

        Raises:
            TransientError: The server refused.
            SessionLostError: The session is gone.
        """
        wanted, held, orphans, doubled = await self._run(_invariants, lambda: list(self._in_flight))
        return Invariants(len(self._in_flight), len(held - wanted), len(wanted - held), orphans, doubled)

    async def _run(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        try:
            return await self._ask(self._session, work, *args)
        except SessionLostError:
            raise
        except TransientError:
            # A claim may have failed after it took locks, and a session's locks survive a rollback.
            await self._ask(self._session, _unlock_strays, list(self._in_flight))
            raise

    async def _ask(self, session: Session, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        refusal: psycopg.Error
        with trio.CancelScope(shield=True):
            try:
                return await session.run(lambda connection: work(connection, *args))
            except psycopg.Error as error:
                refusal = error
        raise as_ours(refusal) from refusal


def _ids(texts: Iterable[str]) -> str:
    return f"{{{','.join(texts)}}}"


async def _rows(connection: TrioConnection, name: str, params: dict[str, Any]) -> list[Row]:
    cursor = await connection.execute(_SQL[name], params)
    return await cursor.fetchall()


async def _announce(connection: TrioConnection) -> None:
    await connection.execute(_GATE["announce"])


async def _invariants(
    connection: TrioConnection, in_flight: Callable[[], list[UUID]]
) -> tuple[set[int], set[int], int, int]:
    wanted = {key for (key,) in await _rows(connection, "item_keys", {"ids": in_flight()})}
    held = {key for (key,) in await _rows(connection, "own_locks", {})}
    [[orphans]] = await _rows(connection, "orphaned", {})
    [[doubled]] = await _rows(connection, "doubled", {})
    return wanted, held, orphans, doubled


async def _unlock_strays(connection: TrioConnection, in_flight: list[UUID]) -> None:
    wanted, held, _, _ = await _invariants(connection, lambda: in_flight)
    for key in held - wanted:
        await connection.execute(_SQL["unlock_key"], {"key": key})
