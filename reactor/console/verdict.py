"""Is it well, and what needs a person? A function of the document of `status`, and one sentence.

What comes first is worst: while no reactor runs, nothing else matters. A list that was cut is "over" so many.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from reactor.core.refusals import advice
from reactor.desk.met import WALKED
from reactor.desk.outbox_status import CAP, COUNT, LISTED, PARKED
from reactor.desk.wording import at_least, clean, count, duration, many
from reactor.desk.workspaces import LATE

LONG = 60.0
"""Seconds after which what a waiting item has met needs a person's look: most of it is over by then."""
ADVICE = {
    "AUTH": "The consent does not work any more. A person connects the workspace again, and then these are put back by "
    "themselves: Connections, invite.",
    "BAD_PAYLOAD": "The row contradicts itself or the contract. Mend what writes it; the next change is sent as usual.",
    "BAD_REQUEST": "Google refused the content of the event. Mend what writes it; the next change is sent as usual.",
    "EVENT_GONE": "A person deleted the event in the calendar, and that is respected. If it should be there, "
    "start a rebuild: that brings it back, and a requeue does not.",
    "CALENDAR_GONE": "The calendar is gone, or not shared with the account any more. Have it shared again, then put "
    "these back.",
    "FORBIDDEN": "The account may not write to the calendar. Have it shared with the right to make changes, then put "
    "these back.",
    "EXHAUSTED": "Every attempt failed: the error is the last reason. Mend that, then put these back.",
    "WORKER_LOST": "The process died while it sent them. Find out of what first, then put these back.",
}
"""What to do about dead letters of each code, as docs/operations.md says it."""


class VerdictKind(Enum):
    """How it is, the best first."""

    WELL = "well"
    PERSON = "person"
    TROUBLE = "trouble"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class VerdictFinding:
    """Something that needs a person.

    Attributes:
        kind: How bad it is.
        what: What is the matter, a sentence.
        remedy: What to do, a sentence.
        page: The page of the console for it.
    """

    kind: VerdictKind
    what: str
    remedy: str
    page: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, and what needs a person.

    Attributes:
        kind: How bad the worst of it is.
        sentence: The verdict in one sentence.
        reasons: What needs a person, the worst first.
    """

    kind: VerdictKind
    sentence: str
    reasons: tuple[VerdictFinding, ...]


def judge_status(status: Mapping[str, Any], met: Sequence[Mapping[str, Any]] = ()) -> Verdict:
    """Judge the document of `status`.

    Args:
        status: The document.
        met: What waiting items have met (`reactor.desk.met`).
    """
    reasons = tuple(_reasons(status, met))
    if not reasons:
        return Verdict(VerdictKind.WELL, _well(status, met), ())
    worst = max(reasons, key=lambda each: _ORDER.index(each.kind)).kind
    [first, *others] = [each for each in reasons if each.kind is worst] + [
        each for each in reasons if each.kind is not worst
    ]
    return Verdict(worst, _BEGINS[worst] + _sentence(first.what, len(others)), (first, *others))


_ORDER = list(VerdictKind)
_BEGINS = {
    VerdictKind.STOPPED: "Nothing is sent: ",
    VerdictKind.TROUBLE: "Something is wrong: ",
    VerdictKind.PERSON: "It works, and needs a person: ",
}


def _sentence(what: str, others: int) -> str:
    first = what[0].lower() + what[1:].rstrip(".")
    return f"{first}." if not others else f"{first}; and {count(others, 'other thing')}."


def _well(status: Mapping[str, Any], met: Sequence[Mapping[str, Any]]) -> str:
    """Nothing lasts; what goes by is named, so that the page does not say less than its visitor sees elsewhere."""
    passing = [each for each in met if not _is_usual(each)]
    begins = "Nothing needs a person so far" if passing else "All is well"
    why = "".join(f"; when tried: {clean(each['error'])}" for each in [*passing, *met][:1] if status["items"]["open"])
    return f"{begins}: {_at_work(status)}{why}."


def _at_work(status: Mapping[str, Any]) -> str:
    items, backlog = status["items"], status["backlog"]
    if not items["open"]:
        return "nothing waits"
    waiting = f"{at_least(items['open'], CAP)} {'item waits' if items['open'] == 1 else 'items wait'}"
    return (
        f"{waiting}, the oldest due for {duration(backlog['oldest_due_seconds'])}" if backlog["workspaces"] else waiting
    )


def _reasons(status: Mapping[str, Any], met: Sequence[Mapping[str, Any]]) -> Iterator[VerdictFinding]:
    yield from _of_the_service(status)
    yield from _of_waiting_items(met)
    yield from _of_the_database(status)
    yield from _of_workspaces(status)
    yield from _of_dead_letters(status)


def _of_the_service(status: Mapping[str, Any]) -> Iterator[VerdictFinding]:
    if not status["replicas"]:
        yield VerdictFinding(
            VerdictKind.STOPPED,
            "No reactor is connected.",
            "Start one: `python -m reactor`. If one runs, look at its log.",
            "/replicas",
        )
    waited = status["backlog"]["oldest_due_seconds"]
    if waited > LATE:
        yield VerdictFinding(
            VerdictKind.TROUBLE,
            f"The oldest due item has waited for {duration(waited)}.",
            "Look at the workspaces that wait longest, and at what Google answers.",
            "/w",
        )


def _of_waiting_items(met: Sequence[Mapping[str, Any]]) -> Iterator[VerdictFinding]:
    for each in met:
        if lasts(each):
            one = each["workspaces"] == 1
            whose = "a workspace" if one else f"{many(each['workspaces'], WALKED, 'workspace')}"
            yield VerdictFinding(
                VerdictKind.TROUBLE,
                f"Items of {whose} have waited for {duration(each['waited'])}: {clean(each['error'])}.",
                next((says for reason, says in _REMEDIES.items() if each["error"].startswith(reason)), _ELSE),
                f"/w/{each['workspace']}" if one else "/w",
            )


def lasts(met: Mapping[str, Any]) -> bool:
    """Whether what items have met is worth a person's look: it lasts, and is no limit of a rate, which is usual."""
    return bool(met["waited"] >= LONG) and not _is_usual(met)


def _is_usual(met: Mapping[str, Any]) -> bool:
    return bool(met["error"].startswith(_USUAL))


_USUAL = ("rate limited", "the token endpoint limits the rate")
_ITSELF = "Nothing is lost, and it goes on by itself. Look at Google's status page and at the network"
_REMEDIES = {
    "the stored token cannot be decrypted": "The service lacks a key: put the one that Connections names behind the "
    "others in its `TOKEN_ENCRYPTION_KEYS`, and restart it.",
    "Google failed": f"{_ITSELF}.",
    "no answer came": f"{_ITSELF}.",
    "the request could not be sent": f"{_ITSELF}.",
    "the token endpoint cannot be reached": f"{_ITSELF}.",
}
_ELSE = "They are tried again by themselves; what is named has to be mended."


def _of_the_database(status: Mapping[str, Any]) -> Iterator[VerdictFinding]:
    for code in sorted({code for each in status["replicas"] for code in (each["refused"] or "").split()}):
        yield VerdictFinding(
            VerdictKind.TROUBLE,
            f"The database refuses the reactor's writes, with SQLSTATE {clean(code)}.",
            f"{advice(code)[:1].upper()}{advice(code)[1:]}.",
            "/replicas",
        )
    if status["held"]:
        yield VerdictFinding(
            VerdictKind.TROUBLE,
            f"{count(len(status['held']), 'session')} outside of the reactor {_hold(len(status['held']))} its locks.",
            "End these sessions or their transactions.",
            "/replicas",
        )
    aside = sum(each["n"] for each in status["set_aside"])
    if aside:
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"The database refuses to change {many(aside, CAP, 'item')}.",
            "Look at the constraint or the trigger that refuses it.",
            "/check",
        )


def _hold(sessions: int) -> str:
    return "holds" if sessions == 1 else "hold"


def _of_workspaces(status: Mapping[str, Any]) -> Iterator[VerdictFinding]:
    stopped, parked = status["stopped"], _parked(status)
    if stopped:
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"The brake has stopped {many(len(stopped), LISTED, 'workspace')}.",
            "Look at what would be deleted, and release it if that is meant.",
            "/brakes",
        )
    if parked:
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"{many(len(parked), PARKED, 'workspace')} without a valid connection, with {_waiting(parked)} waiting.",
            "Invite the person who can connect them again, by a link; what has waited is sent then"
            + (
                ", and dead letters AUTH are put back by themselves."
                if status["dead_letters"]["codes"].get("AUTH")
                else "."
            ),
            "/connections",
        )


def _parked(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in status["parked"]["workspaces"] if each["waiting"]]


def _waiting(parked: Sequence[Mapping[str, Any]]) -> str:
    """How many items wait in them; of each no more than `COUNT` are counted."""
    total = sum(min(each["waiting"], COUNT) for each in parked)
    if any(each["waiting"] > COUNT for each in parked):
        return f"over {min(total, CAP):,} items"
    return many(total, CAP, "item")


def _of_dead_letters(status: Mapping[str, Any]) -> Iterator[VerdictFinding]:
    codes, invalid = status["dead_letters"]["codes"], status["parked"]["invalid"] > 0
    total = sum(codes.values())
    if invalid and set(codes) == {"AUTH"}:
        if _parked(status):
            return  # the same consent, which is named already: one thing to do
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"{many(total, CAP, 'dead letter')}{_share(total, total)} AUTH.",
            "They are put back by themselves when their workspaces are connected again.",
            "/connections",
        )
    elif total:
        worst = max(codes, key=lambda code: codes[code])
        share, code = _share(codes[worst], total), clean(worst or "without a code")
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"{many(total, CAP, 'dead letter')}{share} {code}.",
            ADVICE.get(worst, _MEND) if len(codes) == 1 else _MEND,
            "/dead",
        )


_MEND = "These items were given up. Look at their causes, mend what they have met, and put them back."


def _share(number: int, total: int) -> str:
    if number < total:
        return ", most of them"
    return ":" if total == 1 else ", all of them"
