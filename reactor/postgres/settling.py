"""Writes what becomes of items.

One statement in one transaction for all of them. What if the statement fails:

- A deadlock or a failed serialization is tried again.
- Bad data or a violated constraint must not hold back the others: they are settled one by one. An item that still
  cannot be settled goes without its binding: the application's table may have checks of its own. If that fails too the
  item is unlocked as it is, and the sweep counts an attempt.
- Anything else (a lock that was not to be had, a statement that took too long) is the caller's to try again; the items
  keep their locks.

**A consent that failed.** The item is dead-lettered for AUTH and the connection marked invalid; when a person connects
again a trigger requeues such items. The two may meet. So the connection's row is locked first. Either we are first: the
person's update waits for our commit, and the trigger, which comes after, sees the dead letter. Or the person is: we
wait, and then read a token that is not the one that failed; the connection stays valid and the item becomes PENDING.
Where the row is gone, or somebody has had it locked for longer than the session waits for a lock, the item becomes
PENDING too: what holds it then is decided at the next claim. These items have a transaction of their own, so that
nobody else waits.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
from psycopg import errors

from reactor.core.item import Applied, Settlement
from reactor.core.outcome import FailureCode
from reactor.postgres.driver import TrioConnection
from reactor.postgres.statements import statements

_SQL = statements("outbox")
_TRIES = 10  # deadlocks and failed serializations in a row
_WAIT_FOR_CONNECTION = 1.0  # seconds until an item is tried again whose connection somebody is changing


def transactions(settlements: Iterable[Settlement]) -> list[list[Settlement]]:
    """Divide settlements into what is to be written together, each in the order of the ids."""
    ordered = sorted(settlements, key=lambda settlement: settlement.item.id)
    plain = [settlement for settlement in ordered if settlement.invalid_consent is None]
    refused = [settlement for settlement in ordered if settlement.invalid_consent is not None]
    return [group for group in (plain, refused) if group]


async def settle(connection: TrioConnection, settlements: list[Settlement]) -> set[UUID]:
    """Write one of the `transactions`; where the data is to blame, one for each item.

    Args:
        connection: In autocommit mode; not necessarily the one that holds the locks.
        settlements: What becomes of which item.

    Returns:
        The ids of the items that were written; the others' claims are lost.

    Raises:
        psycopg.OperationalError: The server refused; all of it may be written again.
    """
    for _ in range(_TRIES):
        try:
            return await _together(connection, settlements)
        except (errors.DeadlockDetected, errors.SerializationFailure):
            continue
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            if len(settlements) > 1:
                written = [await settle(connection, [each]) for each in settlements]
                return set().union(*written)
            return await _without_binding(connection, settlements[0], error)
    return await _together(connection, settlements)


async def _without_binding(connection: TrioConnection, settlement: Settlement, error: psycopg.Error) -> set[UUID]:
    text = f"Settled, but the database refused its record: {error.sqlstate}."
    bare = replace(settlement, binding=None, unbind=False, applied=None, last_error=text)
    try:
        return await _together(connection, [bare])
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return set()


async def _together(connection: TrioConnection, settlements: list[Settlement]) -> set[UUID]:
    if settlements[0].invalid_consent is None:
        return await _write(connection, settlements)
    try:
        async with connection.transaction():
            cursor = await connection.execute(
                _SQL["lock_connections"], {"workspaces": [each.item.workspace_id for each in settlements]}
            )
            stored: dict[UUID, str] = dict(await cursor.fetchall())
            failed = {
                each.item.workspace_id
                for each in settlements
                if stored.get(each.item.workspace_id) == each.invalid_consent
            }
            await connection.execute(_SQL["invalidate_connections"], {"workspaces": list(failed)})
            return await _write(connection, [_under(each, stored) for each in settlements])
    except errors.LockNotAvailable:
        return await _write(connection, [_replaced(each, delay=_WAIT_FOR_CONNECTION) for each in settlements])


def _under(settlement: Settlement, stored: dict[UUID, str]) -> Settlement:
    """What becomes of the item, seeing which token is stored."""
    if stored.get(settlement.item.workspace_id) == settlement.invalid_consent:
        return settlement
    return _replaced(settlement, delay=0.0)


def _replaced(settlement: Settlement, *, delay: float) -> Settlement:
    """What becomes of the item if the token that failed is not the stored one any more."""
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


async def _write(connection: TrioConnection, settlements: list[Settlement]) -> set[UUID]:
    document = json.dumps([_input(settlement) for settlement in settlements])
    cursor = await connection.execute(_SQL["settle"], {"input": document})
    return {item_id for (item_id,) in await cursor.fetchall()}


def _input(settlement: Settlement) -> dict[str, Any]:
    """The settlement as the statement reads it; absent fields are null."""
    item, memory = settlement.item, settlement.memory or settlement.item.memory
    moves_floor = settlement.moves_floor and not item.is_child
    entry: dict[str, Any] = {
        "id": str(item.id),
        "claim_no": item.claim_no,
        "status": settlement.status,
        "attempts": settlement.attempts,
        "delay": settlement.delay,
        "failure_code": settlement.failure_code,
        "last_error": _text(settlement.last_error),
    }
    if moves_floor or settlement.memory is not None or settlement.applied is not None:
        # Without a new memory the old one is written again: it may come from a binding, and this row will hide that.
        entry |= {
            "remember": True,
            "source_key": item.source_key,
            "floor": item.seq if moves_floor else 0,
            "generation": memory.generation,
            "event_id": _text(memory.event_id),
            "calendar_id": _text(memory.calendar_id),
            "etag": _text(memory.etag),
            "cancelled": memory.cancelled,
            "reopen": memory.reopen,
            "strays": [_text(stray) for stray in memory.strays],
        }
    if settlement.applied is Applied.ROW:
        entry["applied"] = "row"
    elif settlement.applied is not None:
        entry |= {"applied": "given", "applied_payload": settlement.applied}
    return entry | _binding(settlement)


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
    """What Postgres can store: no NUL, no halves of characters."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()
