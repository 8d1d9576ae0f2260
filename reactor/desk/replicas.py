"""The replicas: their sessions, what each reported last, in which settings they differ, and who keeps a lock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reactor.desk.locks import held
from reactor.desk.pulses import differing, lanes, replicas
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

CAP = 10_000
"""Items of a session that are counted."""
LISTED = 50
"""Locks that are listed."""
LONG = 10.0
"""Seconds for which an item is held before it is listed: one that is sent takes a second or two."""

_STATUS = statements("status")

Document = dict[str, Any]


def replica_status(admin: AdminSession, now: datetime) -> Document:
    """Return the replicas as a document.

    `replicas` are those with a session that claims, each with its last `pulse`, which is None until the first one;
    `gone` reported something within the last hour and have no such session any more.
    """
    pulses = replicas(admin)
    sessions = admin.rows(_STATUS["replicas"], cap=CAP)
    held_locks = held(admin)
    locks = [row for row in held_locks.rows if row["item"] is None or (row["age"] or 0.0) >= LONG]
    return {
        "replicas": _with_pulses(sessions, pulses),
        "sessions": sessions,
        "gone": [_of_pulse(each) for each in pulses if not each["lives"]],
        "versions": dict(sorted(Counter(each["version"] for each in pulses if each["lives"]).items())),
        "settings": differing(pulses),
        "lanes": lanes(admin, pulses, now),
        "locks": locks[:LISTED],
        "locks_capped": len(locks) > LISTED,
    }


def _with_pulses(sessions: Sequence[Mapping[str, Any]], pulses: Sequence[Mapping[str, Any]]) -> list[Document]:
    by_pid = {each["pid"]: _of_pulse(each) for each in pulses if each["lives"]}
    return [
        {
            "pid": session["pid"],
            "client": session["client"],
            "since": session["since"],
            "items": session["items"],
            "quota_divisor": session["quota_divisor"],
            "refused": session["refused"],
            "pulse": by_pid.get(session["pid"]),
        }
        for session in sessions
        if session["application"].endswith(" claims")
    ]


def _of_pulse(pulse: Mapping[str, Any]) -> Document:
    return {name: value for name, value in pulse.items() if name not in ("lanes", "lives", "pid", "settings")}
