"""Carries out rebuilds: lists the calendars, and lets the database make an item for each event.

First we read everything: the calendars that may hold events of the workspace, one after another, by our one private
property. Then we count how many events would be deleted; too many stop the workspace before anything is written
(`reactor.core.brake`). Then we write the items in portions (`reactor.postgres.rebuilds` argues them): events that must
exist, events that are remembered and must not exist, and events that no source is known for. Last we put away the
children of older rebuilds that no child replaces. That is last because a rebuild that fails half-way must leave these
children their work.

We pass over a calendar that cannot be listed because it is gone or not visible: none of its events counts as removed,
and the children that are about it end as dead letters. If it is the calendar that the rebuild names, the rebuild is the
dead letter, and not each of its children. A calendar that was listed under its other name is not listed again.

The portions use a pool of their own. In the claims session every claim would wait for them, and in the pool that stores
rotated tokens the tokens would; we cannot know how long the application's view takes.

**What the database refuses.** While a rebuild is due, nothing else of its workspace is claimed. So each refusal makes
the rebuild wait, longer every time (`reactor.core.policy`), and edits pass in between. We count an attempt if the
application's own view is the cause: it takes too long, it divides by zero, one of its tables is gone. After the last
attempt the rebuild is a dead letter that says so. We count no attempt for what an operator mends for all rebuilds (a
grant, a read-only server, a full disk), nor, at first, for a lock, because migrations take a while and end. A lock
counts after ten minutes, and after a day everything but the grant does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from uuid import UUID

import structlog

from reactor.core.brake import Limit
from reactor.core.calendar.prune import ListedEvent, SourceFacts, by_source, plan_prune
from reactor.core.item import Item
from reactor.core.outcome import Dead, Expanded, FailureCode, Outcome, Retry, RetryKind
from reactor.core.payload import Rebuild
from reactor.core.policy import AGE_BOUND
from reactor.core.refusals import RefusedWork
from reactor.errors import ClaimLostError, RefusedError, TransientError
from reactor.google.client import AccessTokens, GoogleCalendar
from reactor.loop import Observer
from reactor.postgres.brakes import Pulled
from reactor.postgres.connection.pool import Pool
from reactor.postgres.rebuilds import PORTION, Expansion, UncountedError

log = structlog.get_logger(__name__)

GRANTS = {
    "view": "GRANT SELECT ON public.calendar_source_events TO calendar_sync_reactor",
    "function": "GRANT EXECUTE ON FUNCTION public.calendar_source_events(uuid) TO calendar_sync_reactor",
    "memory": "python -m reactor migrate",
}
"""The command that lets a rebuild read the state, by the state's source."""
_INSIDE = "let it run with its owner's rights, or grant that too"
_STOPPED = Retry("the brake has stopped the workspace: see `python -m reactor brake list`", counts=False)
_LOST = Retry("the claim was lost while the rebuild was carried out", counts=False, asked=False)
_AWAY = Retry("the database could not be reached for the rebuild", counts=False, asked=False)
_ABSENT = frozenset({FailureCode.CALENDAR_GONE, FailureCode.FORBIDDEN})

REBUILD_LOCK_TIMEOUT = 1.0
"""Seconds that a rebuild's statement waits for a lock; nothing else of its workspace is sent meanwhile."""
LOCK_PATIENCE = 600.0
"""Seconds; a rebuild of this age may be refused for a lock without counting an attempt."""

# What PostgreSQL says, https://www.postgresql.org/docs/current/errcodes-appendix.html.
_NO_RIGHT = "42501"
_OF_THE_SERVER = ("25", "40", "53", "57", "58", "F0")


@dataclass(frozen=True, slots=True)
class RebuildService:
    """Carries rebuilds out.

    Attributes:
        pool: Connections to the database, for rebuilds alone.
        calendar: Lists the calendars.
        brake: What may be deleted without a question.
        observer: Notified of what the database refuses.
        on_pull: Called when the brake stops a workspace.
    """

    pool: Pool
    calendar: GoogleCalendar
    brake: Limit
    observer: Observer = field(default_factory=Observer)
    on_pull: Callable[[Pulled], object] = lambda _: None

    async def expand(self, item: Item, payload: Rebuild, tokens: AccessTokens) -> Outcome:
        """Turn a rebuild into an item for each event. What it has written stays when it is cancelled."""
        run = _RebuildAttempt(self, item, payload)
        try:
            outcome = await run.expand(tokens)
        except ClaimLostError:
            return _LOST
        except RefusedError as error:
            if is_of_the_server(error.sqlstate):
                self.observer.refused(RefusedWork.REBUILD, error.sqlstate)
            return run.refused(error.sqlstate)
        except TransientError:
            return _AWAY
        self.observer.accepted(RefusedWork.REBUILD)
        return outcome


def is_of_the_server(sqlstate: str) -> bool:
    """Whether a refusal is about the server or a right, and not about one workspace's view or data."""
    return sqlstate == _NO_RIGHT or sqlstate.startswith(_OF_THE_SERVER)


def _holds_nothing(found: Outcome) -> bool:
    """Whether an answer is about a calendar that is gone, or about a name that no calendar has."""
    if isinstance(found, Retry):
        return found.kind is RetryKind.QUESTION
    return isinstance(found, Dead) and found.code in _ABSENT


def refusal(sqlstate: str, where: str, *, age: float, patience: float) -> Retry:
    """Say what a refusal of the database means for a rebuild.

    Args:
        sqlstate: What the database said.
        where: What the rebuild reads.
        age: The rebuild's, in seconds.
        patience: Seconds that a statement may take.
    """
    match sqlstate:
        case "42501":
            reason, counts = f"{where} reads what calendar_sync_reactor may not: {_INSIDE}", False
        case "57014":
            reason, counts = f"{where} took longer than {patience:g} s", True
        case "55P03":
            reason, counts = f"another session locks what {where} needs", age > LOCK_PATIENCE
        case _ if sqlstate.startswith("23"):
            reason, counts = f"the rebuild's items cannot be inserted: SQLSTATE {sqlstate}", True
        case _:
            reason = f"{where} cannot be read: SQLSTATE {sqlstate or 'unknown'}"
            counts = not sqlstate.startswith(_OF_THE_SERVER) or age > AGE_BOUND
    return Retry(reason, counts=counts, asked=False)


class _RebuildAttempt:
    """One attempt at one rebuild."""

    def __init__(self, parts: RebuildService, item: Item, payload: Rebuild) -> None:
        self._parts = parts
        self._item = item
        self._payload = payload
        self._expansion = Expansion(item, payload)
        self._run = parts.pool.run
        self._made = 0

    @property
    def where(self) -> str:
        return "what was applied last" if self._expansion.source == "memory" else "calendar_source_events"

    def refused(self, sqlstate: str) -> Retry:
        """Log a refusal, and return the outcome."""
        patience = self._parts.pool.statement_timeout
        return self._logged(refusal(sqlstate, self.where, age=self._item.age, patience=patience), sqlstate)

    def _unreadable(self) -> Retry:
        grant = GRANTS[self._expansion.source]
        return self._logged(Retry(f"{self.where} may not be read; run: {grant}", counts=False, asked=False), _NO_RIGHT)

    def _logged(self, retry: Retry, sqlstate: str) -> Retry:
        log.warning(
            "rebuild_refused",
            rebuild=str(self._item.id),
            workspace_id=str(self._item.workspace_id),
            sqlstate=sqlstate,
            problem=retry.text,
            counts=retry.counts,
        )
        return retry

    async def expand(self, tokens: AccessTokens) -> Outcome:
        expansion, run = self._expansion, self._run
        await run(expansion.open)
        if not expansion.is_readable:
            return self._unreadable()
        listed = await self._list(await run(expansion.calendars), tokens)
        if not isinstance(listed, dict):
            return listed
        facts = await run(partial(expansion.facts, keys=list(listed)))
        survey = await run(expansion.survey)
        unknown = sum(facts[key].is_nothing for key in listed)
        if await self._pull_brake(survey.deletes + unknown, survey.events + unknown):
            return _STOPPED
        await self._portions(expansion.upserts)
        if not await self._cancel(unknown):
            return _STOPPED
        await self._remove(listed, facts)
        last: UUID | None = UUID(int=0)
        while last is not None:
            last = await run(partial(expansion.put_away, after=last))
        log.info(
            "rebuild_expanded",
            rebuild=str(self._item.id),
            workspace_id=str(self._item.workspace_id),
            state=expansion.source,
            children=self._made,
            listed=sum(map(len, listed.values())),
            left_alone=survey.left_alone,
        )
        return Expanded(self._made, survey.left_alone)

    async def _list(self, others: list[str], tokens: AccessTokens) -> dict[str, list[ListedEvent]] | Outcome:
        """What Google holds, by source."""
        calendars = []
        listed: set[str | None] = set()
        for calendar_id in (self._payload.calendar_id, *others):
            if calendar_id in listed:
                continue
            found = await self._parts.calendar.list_events(calendar_id, self._payload.workspace_id, tokens)
            if isinstance(found, list):
                calendars.append((calendar_id, found))
                listed.update(event.calendar for event in found)
            elif not (calendars and _holds_nothing(found)):
                return found
        return by_source(calendars)

    async def _pull_brake(self, deletes: int, events: int) -> bool:
        brake = self._parts.brake
        if not brake.stops(deletes, events):
            return False
        pull = partial(self._expansion.pull_brake, deletes=deletes, events=events, least=brake.least)
        stopped = await self._run(pull)
        if stopped:
            self._parts.on_pull(Pulled(self._item.workspace_id, "REBUILD", deletes, events))
        return stopped

    async def _portions(self, write: Callable[..., tuple[str | None, int]]) -> None:
        after: str | None = ""
        while after is not None:
            after, made = await self._run(partial(write, after=after))
            self._made += made

    async def _cancel(self, unknown: int) -> bool:
        """Write cancels; False where the state has changed meanwhile, and the brake stops what would go by now."""
        while True:
            try:
                await self._portions(self._expansion.cancels)
            except UncountedError:
                survey = await self._run(self._expansion.survey)
                if await self._pull_brake(survey.deletes + unknown, survey.events + unknown):
                    return False
            else:
                return True

    async def _remove(self, listed: dict[str, list[ListedEvent]], facts: dict[str, SourceFacts]) -> None:
        workspace_id = self._payload.workspace_id
        removals = (
            each for key, events in listed.items() for each in plan_prune(workspace_id, key, events, facts[key])
        )
        while portion := list(islice(removals, PORTION)):
            self._made += await self._run(partial(self._expansion.removals, removals=portion))
