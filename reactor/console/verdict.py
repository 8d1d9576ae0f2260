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
"""Seconds after which what a waiting item has met is said: most of it is over by then."""


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
        return Verdict(VerdictKind.WELL, f"All is well: {_at_work(status)}.", ())
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
    yield from _of_dead_letters(status["dead_letters"], any_parked=status["parked"]["invalid"] > 0)


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
    return bool(met["waited"] >= LONG) and not met["error"].startswith(_USUAL)


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
    stopped, parked = status["stopped"], [each for each in status["parked"]["workspaces"] if each["waiting"]]
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
            "Invite the person who can connect them again, by a link; what has waited is sent then.",
            "/connections",
        )


def _waiting(parked: Sequence[Mapping[str, Any]]) -> str:
    """How many items wait in them; of each no more than `COUNT` are counted."""
    total = sum(min(each["waiting"], COUNT) for each in parked)
    if any(each["waiting"] > COUNT for each in parked):
        return f"over {min(total, CAP):,} items"
    return many(total, CAP, "item")


def _of_dead_letters(dead: Mapping[str, Any], *, any_parked: bool) -> Iterator[VerdictFinding]:
    total = sum(dead["codes"].values())
    if any_parked and set(dead["codes"]) == {"AUTH"}:
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"{many(total, CAP, 'dead letter')}{_share(total, total)} AUTH.",
            "They are put back by themselves when their workspaces are connected again.",
            "/connections",
        )
    elif total:
        worst = max(dead["codes"], key=lambda code: dead["codes"][code])
        share, code = _share(dead["codes"][worst], total), clean(worst or "without a code")
        yield VerdictFinding(
            VerdictKind.PERSON,
            f"{many(total, CAP, 'dead letter')}{share} {code}.",
            "These items were given up. Look at their causes, mend what they have met, and put them back.",
            "/dead",
        )


def _share(number: int, total: int) -> str:
    if number < total:
        return ", most of them"
    return ":" if total == 1 else ", all of them"
