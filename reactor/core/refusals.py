"""What the database refuses, how long it has done so, and what to do about it.

A refusal is no outage: the session works, and one statement is refused. One refusal means nothing, because the work is
tried again. Many in a row are a fault of the deployment (a right, a full disk, a database that may only be read); if we
did not report them, the replica would look well and do nothing. It is over with the first success of the same kind of
work.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

REPORT_AFTER = 5.0
"""Seconds of refusals after which they are reported: a deadlock, or a migration's lock, is over before that."""
LOG_EVERY = 60.0
"""Seconds until the same refusal is logged again."""
FORGET_AFTER = 120.0
"""Seconds without a refusal after which we forget the last one: the work was not tried again, so its outcome is not
known. What is tried regularly pauses for a minute at most."""


class RefusedWork(StrEnum):
    """Kinds of work that the database may refuse."""

    CLAIM = "claim"
    SETTLE = "settle"
    SWEEP = "sweep"
    REBUILD = "rebuild"
    HOUSEKEEPING = "housekeeping"
    PULSE = "pulse"


_VITAL = (RefusedWork.CLAIM, RefusedWork.SETTLE, RefusedWork.SWEEP)

_DOING = {
    RefusedWork.CLAIM: "to claim items",
    RefusedWork.SETTLE: "to write the outcome of items",
    RefusedWork.SWEEP: "to take over the items of lost workers",
    RefusedWork.REBUILD: "to expand rebuilds",
    RefusedWork.HOUSEKEEPING: "housekeeping",
    RefusedWork.PULSE: "to write how the replica stands",
}

# By SQLSTATE, or by its class.
_ADVICE = {
    "25006": "it may only be read: look whether this is the primary, and whether its disk is full",
    "42501": "a right is missing: `python -m reactor check` names it",
    "53100": "its disk is full: make room",
    "53200": "it is out of memory, or of locks: see who holds so many, or raise max_locks_per_transaction",
    "55P03": "another session holds a lock: see `python -m reactor locks`, and pg_stat_activity for open transactions",
    "57014": "it takes too long: look for load, and for locks in pg_stat_activity",
    "22": "a value in a row is at fault: see its log, and mend the row",
    "23": "a constraint of the application's forbids what is written: see its log, and mend the row or the constraint",
    "40": "transactions meet again and again: look for long ones in pg_stat_activity",
    "42": "the schema is not what this version needs: `python -m reactor check`, then `python -m reactor migrate`",
    "53": "it is short of a resource: see its log",
    "P0": "a trigger or a function of the application's raises an error: see its log, and mend it",
}


def advice(sqlstate: str) -> str:
    """What to do about a refusal, as the rest of a sentence about the database."""
    return _ADVICE.get(sqlstate) or _ADVICE.get(sqlstate[:2]) or "see its log, which says why"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of work that the database refuses.

    Attributes:
        kind: The kind of work.
        sqlstate: The SQLSTATE of the last refusal.
        since: When the first refusal came, in seconds of the clock that `now` is from.
        last: When the last refusal came.
    """

    kind: RefusedWork
    sqlstate: str
    since: float
    last: float


class Refusals:
    """The refusals that are not over."""

    def __init__(self) -> None:
        self._standing: dict[RefusedWork, Refusal] = {}
        self._logged: dict[tuple[RefusedWork, str], float] = {}

    def refused(self, kind: RefusedWork, sqlstate: str, now: float) -> bool:
        """Note a refusal; return whether to log it."""
        self._forget(now)
        before = self._standing.get(kind, Refusal(kind, sqlstate, now, now))
        self._standing[kind] = replace(before, sqlstate=sqlstate, last=now)
        logged = self._logged.get((kind, sqlstate))
        if logged is not None and now - logged < LOG_EVERY:
            return False
        self._logged[kind, sqlstate] = now
        return True

    def accepted(self, kind: RefusedWork) -> Refusal | None:
        """Note that work of a kind was done, or that none is left; return the refusal that is over now, if any."""
        over = self._standing.pop(kind, None)
        if over is not None:
            self._logged = {key: logged for key, logged in self._logged.items() if key[0] is not kind}
        return over

    def standing(self, now: float) -> list[Refusal]:
        """Return the refusals that are not over."""
        self._forget(now)
        return list(self._standing.values())

    def lasting(self, now: float) -> list[Refusal]:
        """Return the refusals that have lasted for `REPORT_AFTER` seconds."""
        return [each for each in self.standing(now) if now - each.since >= REPORT_AFTER]

    def seconds(self, now: float) -> dict[str, float]:
        """Return for every kind of work for how long it has been refused; 0 where it is not."""
        return dict.fromkeys(map(str, RefusedWork), 0.0) | {
            each.kind.value: now - each.since for each in self.standing(now)
        }

    def problems(self, now: float) -> tuple[str, ...]:
        """Return why a replica does not do its work, a sentence each."""
        return tuple(
            f"The database has refused {_DOING[each.kind]} for {now - each.since:.0f} s (SQLSTATE {each.sqlstate}): "
            f"{advice(each.sqlstate)}."
            for each in self.lasting(now)
            if each.kind in _VITAL
        )

    def _forget(self, now: float) -> None:
        for each in [each for each in self._standing.values() if now - each.last > FORGET_AFTER]:
            self.accepted(each.kind)
