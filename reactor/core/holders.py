"""Who holds one of our locks for longer than any of us would.

Two locks are everybody's: the claim's, held for milliseconds by a session that claims, and the gate's, held exclusively
by a replica that sleeps and shared by a writer until it commits. A session that keeps the first stops all claims; one
that keeps the second keeps every replica awake, or has all writers notify. It need not be a session of ours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

LONG = 60.0
"""Seconds for which a lock is held before it is worth a word."""
SESSION_PREFIX = "calendar-sync-reactor"
"""What the names of the reactor's sessions begin with."""


class Lock(StrEnum):
    """Our locks."""

    CLAIM = "claim"
    GATE = "gate"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that holds the claim's lock or the gate's.

    Attributes:
        lock: Which.
        pid: The process id of its backend; None for a prepared transaction.
        transaction: Its transaction, as `pg_locks` names it.
        exclusive: Whether it shares the lock with nobody.
        application: The session's name.
        seconds: The age of its transaction; None where there is none, or our role may not know.
    """

    lock: Lock
    pid: int | None
    transaction: str
    exclusive: bool
    application: str
    seconds: float | None

    @property
    def sleeps(self) -> bool:
        """Whether it is a replica behind its gate, which on a quiet day is there for hours."""
        return self.lock is Lock.GATE and self.exclusive and self._is_ours

    @property
    def stands_out(self) -> bool:
        """Whether it is worth a word at first sight."""
        return not self.sleeps and (self._is_intruder or (self.seconds or 0.0) >= LONG)

    @property
    def key(self) -> tuple[object, ...]:
        """What stays the same while it holds the lock: the session, or the transaction where each takes it anew."""
        return (self.lock, self.pid) if self._is_intruder else (self.lock, self.pid, self.transaction)

    @property
    def _is_ours(self) -> bool:
        return self.application.startswith(SESSION_PREFIX)

    @property
    def _is_intruder(self) -> bool:
        """Only we take it so."""
        return self.exclusive and not self._is_ours


class Holders:
    """Remembers since when each is seen."""

    def __init__(self) -> None:
        self._since: dict[tuple[object, ...], float] = {}

    def look(self, seen: Iterable[Holder], now: float) -> list[tuple[Holder, float]]:
        """Take in who holds what; return those that have for long, with the seconds."""
        suspects = [holder for holder in seen if not holder.sleeps]
        self._since = {holder.key: self._since.get(holder.key, now) for holder in suspects}
        held = [(holder, max(now - self._since[holder.key], holder.seconds or 0.0)) for holder in suspects]
        return [(holder, seconds) for holder, seconds in held if seconds >= LONG]
