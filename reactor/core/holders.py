"""Finds sessions that hold one of the reactor's locks for longer than the reactor itself would.

All replicas share two locks: the claim's, which a session that claims holds for milliseconds, and the gate's, which a
replica that sleeps holds exclusively and a writer shares until it commits. A session that keeps the first stops all
claims; one that keeps the second keeps every replica awake, or has all writers notify. Such a session need not be one
of the reactor's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

REPORT_AFTER = 60.0
"""Seconds for which a lock is held before it is reported."""
SESSION_PREFIX = "calendar-sync-reactor"
"""What the names of the reactor's sessions begin with."""
CLAIMS_SESSION = f"{SESSION_PREFIX} claims"
"""The name of the session that claims; each replica has one."""


class Lock(StrEnum):
    """The reactor's advisory locks."""

    CLAIM = "claim"
    GATE = "gate"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that holds the claim's lock or the gate's.

    Attributes:
        lock: The lock.
        pid: The process id of its backend; None for a prepared transaction.
        transaction: Its transaction, as `pg_locks` names it.
        exclusive: Whether it holds the lock exclusively.
        application: The session's name.
        seconds: The age of its transaction; None where there is none, or our role may not see it.
    """

    lock: Lock
    pid: int | None
    transaction: str
    exclusive: bool
    application: str
    seconds: float | None

    @property
    def sleeps(self) -> bool:
        """Whether it is a replica that sleeps behind its gate, on a quiet day for hours."""
        return self.lock is Lock.GATE and self.exclusive and self._is_ours

    @property
    def stands_out(self) -> bool:
        """Whether it is worth a report when it is seen for the first time."""
        return not self.sleeps and (self._is_intruder or (self.seconds or 0.0) >= REPORT_AFTER)

    @property
    def key(self) -> tuple[object, ...]:
        """What stays the same while it holds the lock: the session, or the transaction where each takes it anew."""
        return (self.lock, self.pid) if self._is_intruder else (self.lock, self.pid, self.transaction)

    @property
    def _is_ours(self) -> bool:
        return self.application.startswith(SESSION_PREFIX)

    @property
    def _is_intruder(self) -> bool:
        """Whether a foreign session holds the lock as only the reactor does."""
        return self.exclusive and not self._is_ours


class Holders:
    """Remembers when each holder was seen first."""

    def __init__(self) -> None:
        self._since: dict[tuple[object, ...], float] = {}

    def look(self, seen: Iterable[Holder], now: float) -> list[tuple[Holder, float]]:
        """Note the present holders; return those that have held their lock for long, each with the seconds."""
        suspects = [holder for holder in seen if not holder.sleeps]
        self._since = {holder.key: self._since.get(holder.key, now) for holder in suspects}
        held = [(holder, max(now - self._since[holder.key], holder.seconds or 0.0)) for holder in suspects]
        return [(holder, seconds) for holder, seconds in held if seconds >= REPORT_AFTER]
