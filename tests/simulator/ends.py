"""Ends in the model: the outcome of an item that is settled, or has lost its worker (postgres/sql/outbox.sql)."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from uuid import UUID

from reactor.core.brake import is_removal
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.outcome import FailureCode
from tests.simulator.stored import FREE_LOSSES, REBUILD, Bound, Row, Source, Stored


class Ends(Stored):
    """The tables, as a settle and a sweep see and change them."""

    def settle(self, settlement: Settlement, now: float) -> SettlementResult:
        """Write how one item ends."""
        item = settlement.item
        row = self.rows.get(item.id)
        if row is None or not self.fits(row, item):
            return SettlementResult.LOST
        if self.waits(settlement):
            return SettlementResult.WAITING
        if row.refusal:
            return SettlementResult.LOST
        settlement = self._under_consent(settlement, now)
        was = row.status
        row.status, row.attempts = settlement.status, min(settlement.attempts, row.max_attempts)
        if row.status == "FAILED" or (row.status == "PENDING" and settlement.delay > 0):
            row.due = now + settlement.delay
        row.code = settlement.failure_code.value if settlement.failure_code else None
        row.error, row.lease_no = settlement.last_error, None
        if row.status != "PENDING" or row.error is not None:
            row.losses = 0
        self.calls |= row.status == "PENDING" != was
        self._remember(settlement, row, now)
        self._bind(settlement)
        return SettlementResult.WRITTEN

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
        moves_floor = settlement.moves_floor
        return moves_floor or settlement.memory is not None or settlement.applied is not None

    def _under_consent(self, settlement: Settlement, now: float) -> Settlement:
        """How an item ends whose token was refused, seeing which token is stored."""
        del now
        if settlement.dead_token_version is None:
            return settlement
        workspace = settlement.item.workspace_id
        stored = self.connections.get(workspace)
        is_locked = ("connection", workspace) in self.locked
        if stored is not None and not is_locked and stored.token == settlement.dead_token_version:
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

    def _remember(self, settlement: Settlement, row: Row, now: float) -> None:
        item, memory = settlement.item, settlement.memory or settlement.item.memory
        moves_floor = settlement.moves_floor
        if not self._remembers(settlement):
            return
        source = self.sources.setdefault((item.workspace_id, item.source_key), Source())
        floor = max(source.memory.floor_seq, item.seq if moves_floor else 0)
        source.memory = replace(memory, floor_seq=floor)
        if memory.event_id is not None:
            source.removed_at = None
        elif is_removal(item, memory):
            source.removed_at = now
        if memory.cancelled:
            source.document = None
        elif settlement.applied is not None:
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

    def sweep(self, now: float, ceiling: int, *, lease_no: int = 0, held: Collection[UUID] = ()) -> tuple[int, int]:
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
            possible = (
                memory.possible_calendars
                if calendar is None or calendar in memory.possible_calendars
                else (*memory.possible_calendars, calendar)
            )
            memory = replace(memory, reopen=memory.reopen or reopen, possible_calendars=possible)
        source.memory = memory
