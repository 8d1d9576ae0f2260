"""What the sentences of an explanation name: ids, times and reasons of a chain, never an event's text."""

from collections.abc import Mapping
from shlex import quote

from reactor.core.explain.chain import Chain
from reactor.core.payload import Operation
from reactor.core.refusals import advice

_LONGEST_CALENDAR = 256  # characters; Google's ids have fewer, and a row may hold anything


def placeholders(chain: Chain) -> Mapping[str, object]:
    """The values for the placeholders in the sentences of an explanation."""
    row, letter, blocker = chain.row, chain.dead_letter, chain.replicas.blocker
    ended = row or letter
    session = row.session if row else None
    return {
        "workspace": chain.workspace_id,
        "to_connect": f"`python -m reactor connect --workspace {chain.workspace_id} --calendar {_calendar(chain)}`",
        "to_rebuild": f"`python -m reactor rebuild --workspace {chain.workspace_id}`",
        "to_show": f"`python -m reactor dead-letters show {letter and letter.id}`",
        "to_requeue": f"`python -m reactor dead-letters requeue --id {letter and letter.id}`",
        "floor": chain.floor,
        "what": _waiting(chain),
        "fate": _fate(chain),
        "item": row and row.id,
        "seq": row and row.seq,
        "error": (ended and ended.error) or "no reason was written",
        "attempts": ended and ended.attempts,
        "most": row and row.max_attempts,
        "due": span((row and row.due_in) or 0.0),
        "since": span(-((row and row.due_in) or 0.0)),
        "sqlstate": row and row.sqlstate,
        "advice": advice((row and row.sqlstate) or ""),
        "retry": span(row.retry_in if row else 0.0),
        "session": session.text if session else "an unknown session",
        "pid": (session and session.pid) or "pid",
        "held": span((session and session.seconds) or 0.0),
        "for_long": f" for {span(session.seconds)}" if session and session.seconds is not None else "",
        "deletes": chain.stop and chain.stop.deletes,
        "events": chain.stop and chain.stop.events,
        "rebuild": chain.rebuild and chain.rebuild.id,
        "refused": chain.replicas.sqlstate,
        "refused_advice": advice(chain.replicas.sqlstate or ""),
        "blocker": blocker and blocker.text,
        "blocker_pid": (blocker and blocker.pid) or "pid",
        "ahead": f"behind {_items(chain.ahead)} of its workspace" if chain.ahead else "the next of its workspace",
        "met": f"; its workspace's items met: {'; '.join(chain.met)}" if chain.met else "",
        "shown": chain.seen and chain.seen.seq,
        "problem": chain.seen and chain.seen.problem,
        "unread": chain.wanted.problem,
    }


def _items(number: int) -> str:
    return f"{number:,} item{'' if number == 1 else 's'}"


def _calendar(chain: Chain) -> str:
    """The calendar that the workspace is connected to, so that the command can be pasted; … where it is none."""
    known = chain.connection.calendar_id if chain.connection else ""
    return quote(known) if 0 < len(known) <= _LONGEST_CALENDAR else "…"


def _waiting(chain: Chain) -> str:
    """The beginning of a sentence about a state that waits."""
    if chain.row and chain.row.operation == Operation.CANCEL_EVENT:
        return "The event is not removed yet"
    if chain.row and chain.shows(chain.row):
        return "Google shows the event in its newest state, but its item is not done"
    return (
        "The event's newest state is not in the calendar yet"
        if chain.is_shown
        else "The event is not in the calendar yet"
    )


def _fate(chain: Chain) -> str:
    """The beginning of a sentence about a dead letter."""
    if chain.dead_letter and chain.dead_letter.operation == Operation.CANCEL_EVENT:
        return "The event was not removed: that is a dead letter,"
    if chain.is_shown:
        return "The event's newest state was not written (the calendar shows the one before it): it is a dead letter,"
    return "The event was not written: it is a dead letter,"


def span(seconds: float) -> str:
    """Seconds as a person says them, in the largest unit that has more than one."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"
