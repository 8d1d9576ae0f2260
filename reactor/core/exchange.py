"""Entry points: `exchange` picks the dialogue for an item, `inventory` lists a calendar for a rebuild."""

from reactor.core import messages
from reactor.core.answers import CHANGING, NOBODYS, UNREADABLE
from reactor.core.dialogue import Dialogue, End, ask
from reactor.core.messages import Remote
from reactor.core.outcome import Dead, Outcome, Retry, Superseded
from reactor.core.payload import Cancel, Upsert
from reactor.core.removal import cancel, remove_stray
from reactor.core.stray import Stray
from reactor.core.upsert import upsert
from reactor.core.work import Work

_PAGES = 1_000  # of 2,500 events each


def exchange(work: Work, *, itself: bool = False) -> Dialogue[Outcome]:
    """Make Google agree with an item.

    Args:
        work: The item.
        itself: Whether it is done as a service account that acts for nobody. Then an event in `primary` would be one
            that no person ever sees; what is in there already may go.
    """
    payload = work.payload
    if itself and isinstance(payload, Upsert) and payload.calendar_id == messages.PRIMARY:
        return NOBODYS
    try:
        if isinstance(payload, Cancel):
            return (yield from cancel(work, payload))
        if isinstance(payload, Stray):
            return (yield from remove_stray(payload))
        assert isinstance(payload, Upsert), "a rebuild is carried out elsewhere"  # noqa: S101
        return (yield from upsert(work, payload))
    except End as end:
        return end.outcome


def inventory(calendar_id: str, workspace_id: str) -> Dialogue[list[Remote] | Superseded | Retry | Dead]:
    """Every event of a workspace that a calendar holds, each once.

    Exceptions of recurring events are left out: they inherit our properties and live and die with their event.
    """
    events: list[Remote] = []
    page: str | None = None
    try:
        for _ in range(_PAGES):
            _, answer = yield from ask(messages.listing(calendar_id, workspace_id, page))
            found = messages.page(answer)
            if found is None:
                return UNREADABLE
            events += (e for e in found.events if not (e.instance or e.cancelled) and e.workspace_id == workspace_id)
            page = found.next_page
            if page is None:
                return events
    except End as end:
        return end.outcome
    return CHANGING
