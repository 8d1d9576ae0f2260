"""Writes the outcomes of items.

One statement in one transaction writes them all. What happens if the statement fails:

- A deadlock or a failed serialization is tried again.
- A refusal because of one row must not delay the others: bad data, a violated constraint, whatever a trigger of the
  application raises, and a trigger that takes too long. Then the items are settled one by one. An item that still
  cannot be settled is written without its binding, because the application's table may have checks of its own. We still
  remember what the calendar shows, or a later rebuild would write the state before it. If that is refused too, the item
  is written without this memory, and in the end the row is set aside as it is, with the server's reason. Items for
  which there was no time are `WAITING`, and come again.
- A lock of another session must not delay the others either. The statement waits for a lock as long as its session
  says, a tenth of a second; then the locked items are left out (`WAITING`) and the rest is written. Rows, sources and
  bindings can be asked for their locks beforehand, and so can the application's table of bindings as a whole. The lock
  of a foreign key cannot: it shows when the binding is written. Then the workspaces are written one by one, and in the
  one that waits only items that write no binding.
- A refusal that has nothing to do with an item (a missing right, a read-only database) is the caller's to try again;
  the items stay in flight.

**A consent that failed.** The item is dead-lettered for AUTH and the connection marked invalid; when a person connects
again a trigger requeues such items. The two may happen at the same time. So we lock the connection's row first. Either
we are first: the person's update waits for our commit, and the trigger, which comes after, sees the dead letter. Or the
person is first: we skip the row, and the item becomes PENDING; or we read a token that is not the one that failed: the
connection stays valid and the item becomes PENDING too, as it does where the row is gone. The next claim decides what
holds it then. These items have a transaction of their own.

**A newer state at Google.** An item is put away because its event shows a newer place. If this claim is still ours, a
state that was written later than this one leaves a trace in the database: it has moved the floor, or it is an open row
or a dead letter. Without such a trace the place is from another time (db/migrations/0026_order.sql): a backup was
restored, or another database serves the same calendar. Then we move the sequence ahead of it. The item gets a place
beyond, but below all that writers draw from then on (db/migrations/0035_places_anew.sql). It is PENDING, to be written.
These items, too, have a transaction of their own.
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import psycopg
import trio
from psycopg import errors
from pydantic_core import to_json

from reactor.core.brake import is_removal
from reactor.core.item import AppliedReference, Settlement, SettlementResult
from reactor.core.outcome import FailureCode
from reactor.postgres.claim import set_aside
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.order import mend
from reactor.postgres.statements import statements

_SQL = statements("outbox")
_TRIES = 10  # deadlocks and failed serializations in a row
_APART_FOR = 2.0  # seconds of one call for items that are written one by one
_WAIT_FOR_CONNECTION = 1.0  # seconds until an item is tried again whose connection a person is changing


@dataclass(slots=True)
class SettleResult:
    """The result of a settle.

    Attributes:
        results: The result of each item, by its id's number: that is hashed ten times faster than the UUID.
        blocked: Workspaces whose bindings wait for a lock that shows only when they are written.
    """

    results: dict[int, SettlementResult] = field(default_factory=dict)
    blocked: set[UUID] = field(default_factory=set)

    def add(self, other: "SettleResult") -> None:
        """Add the result of another transaction."""
        self.results |= other.results
        self.blocked |= other.blocked


def transactions(settlements: Iterable[Settlement]) -> list[list[Settlement]]:
    """Divide settlements into transactions, each in the order of the ids."""
    ordered = sorted(settlements, key=lambda settlement: settlement.item.id.int)
    refused = [settlement for settlement in ordered if settlement.dead_token_version is not None]
    late = [settlement for settlement in ordered if settlement.newer is not None]
    plain = [each for each in ordered if each.dead_token_version is None and each.newer is None]
    return [group for group in (plain, refused, late) if group]


def is_bound(settlement: Settlement) -> bool:
    """Whether it writes a binding, and so may meet the lock of a row that the binding refers to."""
    return settlement.binding is not None


async def settle(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    """Write one of the `transactions`; if data or a lock is in the way, in smaller ones.

    Args:
        connection: In autocommit mode; not necessarily the one that holds the lease.
        settlements: The items with their outcomes.

    Raises:
        psycopg.Error: The server refused; all of it may be written again.
    """
    refusal: psycopg.Error
    for _ in range(_TRIES):
        try:
            return await _together(connection, settlements)
        except (errors.DeadlockDetected, errors.SerializationFailure) as error:
            refusal = error
        except errors.LockNotAvailable:
            return await _past_locks(connection, settlements)
        except psycopg.Error as error:
            refusal = error
            break
    return await _one_by_one(connection, settlements, refusal)


async def _one_by_one(connection: TrioConnection, settlements: list[Settlement], error: psycopg.Error) -> SettleResult:
    """Write each by itself, in any order; those for which there is no time now come again."""
    if connection.closed:
        raise error
    await connection.execute(_SQL["settle"], {"input": "[]"})  # if it is refused without any item, no item is the cause
    result, until = SettleResult(), trio.current_time() + _APART_FOR
    for each in random.sample(settlements, len(settlements)):
        if trio.current_time() < until:
            result.add(await _alone(connection, each))
        else:
            result.add(_waiting([each]))
    return result


async def _alone(connection: TrioConnection, settlement: Settlement) -> SettleResult:
    """Write one; if that is refused, without its binding, then without its payload; in the end set it aside."""
    refusal: psycopg.Error
    try:
        return await _hurried(connection, [settlement])
    except errors.LockNotAvailable:
        return _waiting([settlement], blocked=True)
    except psycopg.Error as error:
        text = f"Settled, but the database refused its record: {error.sqlstate}."
    unbound = replace(settlement, binding=None, unbind=False, last_error=text)
    for bare in [unbound] if unbound.applied is None else [unbound, replace(unbound, applied=None)]:
        try:
            return await _hurried(connection, [bare])
        except errors.LockNotAvailable:
            return _waiting([settlement])
        except psycopg.Error as error:
            if connection.closed:
                raise
            refusal = error
    await set_aside(connection, settlement.item.id, refusal)
    return SettleResult({settlement.item.id.int: SettlementResult.LOST})


async def _hurried(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    async with connection.transaction():
        await connection.execute(_SQL["hurry"])
        return await _together(connection, settlements)


async def _past_locks(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    """Write what is not locked; if a lock shows only when a binding is written, one workspace after another."""
    async with connection.transaction():
        await connection.execute(_SQL["open_tables"])
    if not await _bindings_are_open(connection):
        bound = [each for each in settlements if is_bound(each) or each.unbind]
        result = _waiting(bound)
        result.add(await _unbound(connection, [each for each in settlements if each not in bound]))
        return result
    try:
        return await _free(connection, settlements)
    except errors.LockNotAvailable:
        return await by_workspace(connection, settlements)


async def by_workspace(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    """Write one workspace after another, because a lock is in the way that shows only when a binding is written.

    Arguments and errors as for `settle`.
    """
    result, unbound, until = SettleResult(), list[Settlement](), trio.current_time() + _APART_FOR
    workspaces = dict.fromkeys(each.item.workspace_id for each in settlements)
    for workspace in random.sample(list(workspaces), len(workspaces)):
        own = [each for each in settlements if each.item.workspace_id == workspace]
        try:
            if trio.current_time() > until:
                result.add(_waiting(own))
            else:
                result.add(await _free(connection, own))
        except errors.LockNotAvailable:
            result.add(_waiting(own, blocked=True))
            unbound += [each for each in own if not is_bound(each)]
    result.add(await _unbound(connection, unbound))
    return result


async def _bindings_are_open(connection: TrioConnection) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(_SQL["open_bindings"])
    except errors.LockNotAvailable:
        return False
    return True


async def _unbound(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    if not settlements:
        return SettleResult()
    try:
        return await _free(connection, settlements)
    except errors.LockNotAvailable as error:
        return await _one_by_one(connection, settlements, error)


async def _free(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    """Write what no other session has locked, as far as can be seen beforehand."""
    try:
        async with connection.transaction():
            await connection.execute(_SQL["hurry"])
            document = to_json([_input(each) | _about(each) for each in settlements]).decode()
            cursor = await connection.execute(_SQL["lockable"], {"input": document})
            lockable = {item_id for (item_id,) in await cursor.fetchall()}
            result = _waiting([each for each in settlements if each.item.id not in lockable])
            if lockable:
                result.add(await _together(connection, [each for each in settlements if each.item.id in lockable]))
    except errors.LockNotAvailable:
        raise
    except psycopg.Error as error:
        return await _one_by_one(connection, settlements, error)
    return result


def _about(settlement: Settlement) -> dict[str, Any]:
    return {"workspace_id": str(settlement.item.workspace_id), "source_key": settlement.item.source_key}


def _waiting(settlements: list[Settlement], *, blocked: bool = False) -> SettleResult:
    workspaces = {each.item.workspace_id for each in settlements if blocked and is_bound(each)}
    return SettleResult(dict.fromkeys((each.item.id.int for each in settlements), SettlementResult.WAITING), workspaces)


async def _together(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    if settlements[0].newer is not None:
        async with connection.transaction():
            return await _write(connection, await _in_order(connection, settlements))
    if settlements[0].dead_token_version is None:
        return await _write(connection, settlements)
    async with connection.transaction():
        cursor = await connection.execute(
            _SQL["lock_connections"], {"workspaces": [each.item.workspace_id for each in settlements]}
        )
        stored: dict[UUID, str] = dict(await cursor.fetchall())
        failed = {
            each.item.workspace_id
            for each in settlements
            if stored.get(each.item.workspace_id) == each.dead_token_version
        }
        await connection.execute(_SQL["invalidate_connections"], {"workspaces": list(failed)})
        return await _write(connection, [_by_stored_token(each, stored) for each in settlements])


async def _in_order(connection: TrioConnection, settlements: list[Settlement]) -> list[Settlement]:
    """The outcomes of items that met a newer place at Google, by whether that place is known in this database."""
    document = json.dumps([_about(each) | _met(each) for each in settlements])
    cursor = await connection.execute(_SQL["unknown"], {"input": document})
    unknown: dict[UUID, int] = dict(await cursor.fetchall())
    if not unknown:
        return settlements
    await mend(connection, "GOOGLE", max(unknown.values()))
    moved = [each.item for each in settlements if each.item.id in unknown]
    ids, leases = [item.id for item in moved], [item.lease_no for item in moved]
    await connection.execute(_SQL["move_up"], {"ids": ids, "leases": leases})
    return [_to_be_written(each) if each.item.id in unknown else each for each in settlements]


def _met(settlement: Settlement) -> dict[str, Any]:
    item = settlement.item
    return {"id": str(item.id), "lease_no": item.lease_no, "newer": settlement.newer}


def _to_be_written(settlement: Settlement) -> Settlement:
    return replace(settlement, status="PENDING", failure_code=None, moves_floor=False, newer=None)


def _by_stored_token(settlement: Settlement, stored: dict[UUID, str]) -> Settlement:
    """The settlement as it is, or as it must be where another token is stored or a person is changing it now."""
    token = stored.get(settlement.item.workspace_id)
    if token == settlement.dead_token_version:
        return settlement
    return _replaced(settlement, delay=_WAIT_FOR_CONNECTION if token is None else 0.0)


def _replaced(settlement: Settlement, *, delay: float) -> Settlement:
    """The settlement where the token that failed is not the stored one any more: the item is to be tried again."""
    if settlement.status != "DEAD_LETTER" or settlement.failure_code != FailureCode.AUTH:
        return settlement
    return replace(
        settlement,
        status="PENDING",
        attempts=settlement.item.attempts,
        delay=delay,
        failure_code=None,
        last_error=None,
        moves_floor=False,
    )


async def _write(connection: TrioConnection, settlements: list[Settlement]) -> SettleResult:
    document = to_json([_input(settlement) for settlement in settlements]).decode()
    cursor = await connection.execute(_SQL["settle"], {"input": document})
    results = dict.fromkeys([each.item.id.int for each in settlements], SettlementResult.LOST)
    results |= dict.fromkeys([item_id.int for (item_id,) in await cursor.fetchall()], SettlementResult.WRITTEN)
    return SettleResult(results)


def _input(settlement: Settlement) -> dict[str, Any]:
    """The settlement as the statement reads it; null, false and empty fields are left out, as each costs both sides."""
    entry: dict[str, Any] = {
        "id": settlement.item.id,
        "lease_no": settlement.item.lease_no,
        "status": settlement.status,
        "attempts": settlement.attempts,
    }
    if settlement.delay:
        entry["delay"] = settlement.delay
    if settlement.failure_code is not None:
        entry["failure_code"] = settlement.failure_code
    if settlement.last_error is not None:
        entry["last_error"] = _text(settlement.last_error)
    if settlement.moves_floor or settlement.memory is not None or settlement.applied is not None:
        entry |= _remembered(settlement)
    if settlement.applied is AppliedReference.ROW:
        entry["applied"] = "row"
    elif settlement.applied is not None:
        entry |= {"applied": "given", "applied_payload": settlement.applied}
    entry |= _binding(settlement)
    return entry


def _remembered(settlement: Settlement) -> dict[str, Any]:
    # Without a new memory the old one is written again: it may come from a binding, and this row will hide that.
    item, memory = settlement.item, settlement.memory or settlement.item.memory
    entry: dict[str, Any] = {
        "remember": True,
        "source_key": item.source_key,
        "floor": item.seq if settlement.moves_floor else 0,
        "generation": memory.generation,
        "event_id": _text(memory.event_id),
        "calendar_id": _text(memory.calendar_id),
        "etag": _text(memory.etag),
    }
    if memory.cancelled:
        entry["cancelled"] = True
    if memory.reopen:
        entry["reopen"] = True
    if memory.possible_calendars:
        entry["strays"] = [_text(stray) for stray in memory.possible_calendars]
    if is_removal(item, memory):
        entry["removed"] = True
    return entry


def _binding(settlement: Settlement) -> dict[str, Any]:
    binding = settlement.binding
    if binding is not None:
        return {
            "bind": "write",
            "bound_event_id": _text(binding.event_id),
            "bound_calendar_id": _text(binding.calendar_id),
            "source_type": binding.source_type,
            "source_id": binding.source_id,
            "event_type": binding.event_type,
            "title": _text(binding.title),
            "starts": binding.start,
            "ends": binding.end,
        }
    source_type, colon, source_id = settlement.item.source_key.partition(":")
    if settlement.unbind and colon:
        return {"bind": "remove", "source_type": source_type, "source_id": source_id}
    return {}


def _text(text: str | None) -> str | None:
    """Remove what Postgres cannot store: NUL and halves of characters."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()
