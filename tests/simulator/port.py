"""The loop's `Outbox` over the model: what `reactor.postgres.outbox` is over PostgreSQL."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import trio

from reactor.core.brake import Limit, deletes
from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.trials import FREE_LOSSES, TrialDecision, Trials
from reactor.errors import RefusedError
from tests.simulator.server import Refused, Server, Session, refused
from tests.simulator.stored import Claim


@dataclass(frozen=True)
class Claimed:
    """What a claim came to."""

    items: list[Item] = field(default_factory=list)
    look: Look = field(default_factory=lambda: Look(LookResult.NOTHING))
    superseded: int = 0
    held: list[Item] = field(default_factory=list)


@dataclass(frozen=True)
class Swept:
    """What a sweep came to."""

    recovered: int = 0
    dead: int = 0
    again: bool = False


class ModelOutbox:
    """The outbox, by way of two sessions.

    Args:
        server: The database.
        claims: The session whose lease the items are claimed under.
        writing: The session that settles.
        ceiling: Most attempts for any item.
        limit: The brake's.
        ended: Told each settlement as it is written.
    """

    def __init__(
        self,
        server: Server,
        claims: Session,
        writing: Session,
        *,
        ceiling: int,
        limit: Limit,
        ended: Callable[[Settlement], None],
    ) -> None:
        self.followed = False
        self.busy = 0
        self._server = server
        self._tables = server.tables
        self._claims = claims
        self._writing = writing
        self._ceiling = ceiling
        self._limit = limit
        self._ended = ended
        self._in_flight: dict[UUID, Item] = {}
        self._unwritten: set[UUID] = set()
        self._trials = Trials()
        self._after: UUID | None = None

    @property
    def lease_no(self) -> int:
        return self._claims.lease_no

    @property
    def in_flight(self) -> list[Item]:
        return list(self._in_flight.values())

    async def claim(self, *, slots: int, excluded: Collection[UUID] = ()) -> Claimed:
        turn = self._turn(excluded)
        if slots <= 0 or turn is TrialDecision.WAIT:
            left: bool = await self._ask(self._claims, "ring", lambda: self._has_due(excluded))
            return Claimed(look=Look(LookResult.FULL, left_behind=left))
        if isinstance(turn, UUID) and (claimed := await self._tried(turn)):
            return claimed
        claim: Claim | None = await self._ask(self._claims, "claim", partial(self._claim, slots, frozenset(excluded)))
        if claim is None:
            return Claimed(look=Look(LookResult.BUSY))
        self._trials.left_out(claim.trials, trio.current_time())
        items = self._take_in(claim)
        if not items and not claim.superseded:
            turn = self._turn(excluded)
            if isinstance(turn, UUID) and (claimed := await self._tried(turn)):
                return claimed
            return Claimed(look=Look(LookResult.NOTHING, due_in=claim.due_in))
        return await self._braked(items, Look(LookResult.WORK, left_behind=claim.left), claim.superseded)

    async def _tried(self, workspace: UUID) -> Claimed | None:
        self._trials.begin(workspace)
        claim: Claim | None = await self._ask(self._claims, "claim", partial(self._claim, 1, frozenset(), workspace))
        if claim is None:
            return Claimed(look=Look(LookResult.BUSY))
        self._trials.left_out(claim.trials, trio.current_time())
        self._trials.tried(workspace, trio.current_time(), found=bool(claim.rows))
        if not claim.rows:
            return None
        return await self._braked(self._take_in(claim), Look(LookResult.FULL, left_behind=True), claim.superseded)

    def _take_in(self, claim: Claim) -> list[Item]:
        now = self._server.now()
        items = [self._tables.item(row, now, self._ceiling) for row in claim.rows]
        self._in_flight.update((item.id, item) for item in items)
        if items:
            self._after = items[-1].workspace_id
        return items

    def _has_due(self, excluded: Collection[UUID]) -> bool:
        return self._tables.has_due(self._server.now(), excluded)

    async def _claim(self, slots: int, excluded: frozenset[UUID], trial: UUID | None = None) -> Claim | None:
        server = self._server
        if server.claiming:
            return None
        server.claiming = True
        try:
            await trio.sleep(server.rng.uniform(0.0005, 0.003))
            now = server.now()
            return self._tables.claim(
                now=now, lease_no=self.lease_no, slots=slots, excluded=excluded, after=self._after, trial=trial
            )
        finally:
            server.claiming = False

    @property
    def _is_busy(self) -> bool:
        return self._in_flight.keys() > self._unwritten

    def _turn(self, excluded: Collection[UUID]) -> TrialDecision | UUID:
        trying = any(self._in_flight[each].losses >= FREE_LOSSES for each in self._in_flight.keys() - self._unwritten)
        return self._trials.next(trio.current_time(), excluded, busy=self._is_busy, trying=trying)

    async def _braked(self, items: list[Item], look: Look, superseded: int) -> Claimed:
        stopped: set[UUID] = set()
        for workspace, claimed in deletes(items).items():
            try:
                if await self._ask(self._claims, "count", partial(self._is_too_much, workspace, claimed)):
                    stopped.add(workspace)
            except RefusedError:
                stopped.add(workspace)
        kept = [item for item in items if item.workspace_id not in stopped]
        held = [item for item in items if item.workspace_id in stopped]
        return Claimed(kept, look, superseded, held)

    def _is_too_much(self, workspace: UUID, claimed: int) -> bool:
        now, limit = self._server.now(), self._limit
        is_stopped, so_far = self._tables.claimed_deletes(workspace, now)
        asks = limit.asks_what_waits(so_far - claimed, so_far)
        if is_stopped or not (asks or so_far >= limit.least):
            return is_stopped
        return self._tables.count(workspace, limit, now, waiting=asks).is_too_much

    async def settle(
        self, settlements: Sequence[Settlement], *, asks: Callable[[], bool] = lambda: True
    ) -> list[SettlementResult]:
        self.followed = False
        ours = {each.item.id: each for each in settlements if self._holds(each.item)}
        written: dict[UUID, SettlementResult] = await self._ask(
            self._writing, "settle", lambda: self._settle(list(ours.values()))
        )
        self._unwritten |= {item_id for item_id, fate in written.items() if fate is SettlementResult.WAITING}
        over = [item_id for item_id, fate in written.items() if fate is not SettlementResult.WAITING]
        items = [self._in_flight.pop(item_id) for item_id in over if item_id in self._in_flight]
        self._unwritten.intersection_update(self._in_flight)
        if items:
            suspects = any(item.losses for item in items) or (self._trials.wait and not self._is_busy)
            self.followed = suspects or (asks() and await self._is_followed(items))
        return [
            written[each.item.id] if ours.get(each.item.id) is each else SettlementResult.LOST for each in settlements
        ]

    def _holds(self, item: Item) -> bool:
        held = self._in_flight.get(item.id)
        return held is not None and held.claim_no == item.claim_no

    def _settle(self, settlements: list[Settlement]) -> dict[UUID, SettlementResult]:
        now = self._server.now()
        written = {}
        for each in settlements:
            written[each.item.id] = fate = self._tables.settle(each, now)
            if fate is SettlementResult.WRITTEN:
                self._ended(each)
        return written

    async def _is_followed(self, items: list[Item]) -> bool:
        try:
            return bool(await self._ask(self._writing, "followed", lambda: self._follows(items)))
        except RefusedError:
            return True

    def _follows(self, items: list[Item]) -> bool:
        return self._tables.followed(items, self._server.now())

    async def announce(self) -> None:
        await self._ask(self._writing, "announce", lambda: self._server.notify(self._writing.pid))

    async def sweep(self) -> Swept:
        """Take over what lost its worker."""
        swept: Swept = await self._ask(self._claims, "sweep", self._sweep)
        return swept

    def _sweep(self) -> Swept:
        tables = self._tables
        recovered, dead = tables.sweep(
            self._server.now(), self._ceiling, lease_no=self.lease_no, held=frozenset(self._in_flight)
        )
        others = any(r.status == "PROCESSING" and r.lease_no != self.lease_no for r in tables.rows.values())
        return Swept(recovered, dead, again=others)

    async def _ask(self, session: Session, kind: str, effect: Callable[[], Any]) -> Any:
        """Shielded, as the adapter's statements are: an interrupted one would cost the session."""
        self.busy += 1
        try:
            with trio.CancelScope(shield=True):
                return await session.run(kind, effect)
        except Refused as error:
            raise refused(error) from None
        finally:
            self.busy -= 1
