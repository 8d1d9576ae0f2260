"""Entry points: `exchange` picks the dialogue for an item, `inventory` lists a calendar for a rebuild."""

from dataclasses import replace

from reactor.core.backoff import HOLD_CAP
from reactor.core.calendar import messages
from reactor.core.calendar.answers import CHANGING, SERVICE_ACCOUNTS_PRIMARY, UNREADABLE
from reactor.core.calendar.dialogue import Dialogue, Finished, ask
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import RemoteEvent
from reactor.core.calendar.prune import PruneTarget
from reactor.core.calendar.removal import cancel, remove_target
from reactor.core.calendar.token_answers import GrantType
from reactor.core.calendar.upsert import upsert
from reactor.core.outcome import Dead, Outcome, Retry, Scope, Superseded
from reactor.core.payload import Cancel, Upsert

Ending = Superseded | Retry | Dead

_PAGES = 1_000  # of 2,500 events each


def exchange(work: SyncIntent, grant: GrantType = GrantType.USER) -> Dialogue[Outcome]:
    """Make Google agree with an item.

    A service account that acts as itself has a calendar `primary` that no person ever sees: nothing is written there.
    What is there already may go.

    Args:
        work: The item.
        grant: How its workspace gave its consent.
    """
    payload = work.payload
    itself = grant is GrantType.SERVICE_ACCOUNT
    if itself and isinstance(payload, Upsert) and payload.calendar_id == messages.PRIMARY:
        return SERVICE_ACCOUNTS_PRIMARY
    try:
        if isinstance(payload, Cancel):
            return (yield from cancel(work, payload))
        if isinstance(payload, PruneTarget):
            return (yield from remove_target(payload))
        assert isinstance(payload, Upsert), "a rebuild is carried out elsewhere"  # noqa: S101
        return (yield from upsert(work, payload))
    except Finished as end:
        return _whose(end.outcome, grant)


def _whose(outcome: Ending, grant: GrantType) -> Ending:
    """A refusal of the project holds all only if the project is the deployment's: a service account has its own."""
    if isinstance(outcome, Retry) and outcome.scope is Scope.ALL and grant is not GrantType.USER:
        return replace(outcome, scope=Scope.LANE, after=min(outcome.after or 0.0, HOLD_CAP))
    return outcome


def inventory(
    calendar_id: str, workspace_id: str, grant: GrantType = GrantType.USER
) -> Dialogue[list[RemoteEvent] | Superseded | Retry | Dead]:
    """Every event of a workspace that a calendar holds, each once.

    Exceptions of recurring events are left out: they inherit our properties and live and die with their event.
    """
    events: list[RemoteEvent] = []
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
    except Finished as end:
        return _whose(end.outcome, grant)
    return CHANGING
