"""What the sentences of an explanation name: ids, times and reasons of a chain, never an event's text."""

from collections.abc import Mapping

from reactor.core.explain.chain import Chain
from reactor.core.payload import Operation
from reactor.core.refusals import advice


def words(chain: Chain) -> Mapping[str, object]:
    """What the sentences name."""
    row, letter, blocker = chain.row, chain.letter, chain.replicas.blocker
    ended = row or letter
    session = row.session if row else None
    return {
        "workspace": chain.workspace_id,
        "floor": chain.floor,
        "what": _waiting(chain),
        "fate": _fate(chain),
        "item": row and row.id,
        "letter": letter and letter.id,
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
        "held": span(session.seconds if session else 0.0),
        "deletes": chain.stop and chain.stop.deletes,
        "events": chain.stop and chain.stop.events,
        "rebuild": chain.rebuild and chain.rebuild.id,
        "refused": chain.replicas.sqlstate,
        "refused_advice": advice(chain.replicas.sqlstate or ""),
        "blocker": blocker and blocker.text,
        "ahead": f"{chain.ahead:,}",
        "met": f"; rows of the workspace were given back because of: {', '.join(chain.met)}" if chain.met else "",
        "shown": chain.seen and chain.seen.seq,
        "problem": chain.seen and chain.seen.problem,
        "unread": chain.wanted.problem,
    }


def _waiting(chain: Chain) -> str:
    """The beginning of a sentence about a state that waits."""
    if chain.row and chain.row.operation == Operation.CANCEL_EVENT:
        return "The event is not removed yet"
    return (
        "The event's newest state is not in the calendar yet"
        if chain.is_shown
        else "The event is not in the calendar yet"
    )


def _fate(chain: Chain) -> str:
    """The beginning of a sentence about a dead letter."""
    if chain.letter and chain.letter.operation == Operation.CANCEL_EVENT:
        return "The event was not removed: that is a dead letter,"
    shown = "; the calendar shows the state before it" if chain.is_shown else ""
    return f"The event's newest state was not written{shown}: it is a dead letter,"


def span(seconds: float) -> str:
    """Seconds as a person says them, in the largest unit that has more than one."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"
