"""Carries rebuilds out: asks Google what it holds, and lets the database make an item for each event.

First everything is read: the calendars that may hold something of the workspace, one after another, by our one private
property; then how much would go. What is too much stops the workspace before anything is written
(`reactor.core.brake`). Then come the portions (`reactor.postgres.rebuilds` argues them): what is to be there, what is
remembered and not to be there, what was found and is nobody's. At last the children of older rebuilds are put away;
not earlier, since a rebuild that fails half-way must leave them their work.

A calendar that cannot be listed because it is gone is passed over: what was in it is gone too. Unless it is the one
that the rebuild names; then the rebuild is the dead letter, and not each of its children.

The portions go through the pool, between other people's statements, and not through the claims session, where every
claim would wait for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import structlog

from reactor.core.backoff import REBUILD_CAP
from reactor.core.brake import Limit
from reactor.core.item import Item
from reactor.core.leftovers import Known, Listed, by_source, leftovers
from reactor.core.outcome import Dead, Expanded, FailureCode, Outcome, Retry, Scope
from reactor.core.payload import Rebuild
from reactor.core.refusals import Kind
from reactor.errors import RefusedError, TransientError
from reactor.google.client import AccessTokens, GoogleCalendar
from reactor.loop import Observer
from reactor.postgres.brakes import Pulled
from reactor.postgres.pool import Pool
from reactor.postgres.rebuilds import PORTION, ClaimLostError, Expansion

log = structlog.get_logger(__name__)

_GRANTS = {
    "view": "GRANT SELECT ON public.calendar_source_events TO calendar_sync_reactor",
    "function": "GRANT EXECUTE ON FUNCTION public.calendar_source_events(uuid) TO calendar_sync_reactor",
    "memory": "python -m reactor migrate",
}
_INSIDE = "let it run with its owner's rights, or grant that too"
_MINUTE = REBUILD_CAP  # seconds; what a person has to mend is tried again so soon
_STOPPED = Retry("the brake has stopped the workspace: see `python -m reactor brake list`", counts=False)
_LOST = Retry("the claim was lost while the rebuild was carried out", counts=False)
_REFUSED = Retry("the database refused a portion of the rebuild", counts=False, scope=Scope.LANE)
_SERVER = ("25006", "40", "53", "54", "55", "57", "58")  # SQLSTATEs of what is not the rebuild's own fault
_ABSENT = frozenset({FailureCode.CALENDAR_GONE, FailureCode.FORBIDDEN})


def tell_pulled(pulled: Pulled) -> None:
    """Say in the log that a workspace was stopped, and what to do."""
    log.error(
        "brake_pulled",
        workspace_id=str(pulled.workspace_id),
        cause=pulled.cause,
        deletes=pulled.deletes,
        events=pulled.events,
        release=f"python -m reactor brake release --workspace {pulled.workspace_id}",
    )


@dataclass(frozen=True, slots=True)
class Rebuilds:
    """Carries rebuilds out.

    Attributes:
        pool: Connections to the database.
        calendar: Lists.
        brake: What may be deleted without a question.
        observer: Told what the database refuses.
    """

    pool: Pool
    calendar: GoogleCalendar
    brake: Limit
    observer: Observer = field(default_factory=Observer)

    async def expand(self, item: Item, payload: Rebuild, tokens: AccessTokens) -> Outcome:
        """Turn a rebuild into an item for each event. What it has written stays when it is cancelled."""
        run = _Run(self, item, payload)
        try:
            outcome = await run.expand(tokens)
        except ClaimLostError:
            return _LOST
        except RefusedError as error:
            self.observer.refused(Kind.REBUILD, error.sqlstate)
            log.warning("rebuild_refused", rebuild=str(item.id), sqlstate=error.sqlstate)
            return _refused(run.where, error.sqlstate)
        except TransientError:
            return _REFUSED
        self.observer.accepted(Kind.REBUILD)
        return outcome


def _refused(where: str, sqlstate: str) -> Retry:
    if sqlstate == "42501":
        return Retry(f"{where} reads what calendar_sync_reactor may not: {_INSIDE}", counts=False, after=_MINUTE)
    if sqlstate.startswith(_SERVER):
        return _REFUSED
    return Retry(f"{where} cannot be read: SQLSTATE {sqlstate}", counts=True)


class _Run:
    """One attempt at one rebuild."""

    def __init__(self, parts: Rebuilds, item: Item, payload: Rebuild) -> None:
        self._parts = parts
        self._item = item
        self._payload = payload
        self._expansion = Expansion(item, payload)
        self._run = parts.pool.run
        self._made = 0

    @property
    def where(self) -> str:
        return "what was applied last" if self._expansion.source == "memory" else "calendar_source_events"

    def unreadable(self) -> Retry:
        grant = _GRANTS[self._expansion.source]
        return Retry(f"{self.where} may not be read; run: {grant}", counts=False, after=_MINUTE)

    async def expand(self, tokens: AccessTokens) -> Outcome:
        expansion, run = self._expansion, self._run
        await run(expansion.open)
        if not expansion.is_readable:
            return self.unreadable()
        listed = await self._list(await run(expansion.calendars), tokens)
        if not isinstance(listed, dict):
            return listed
        facts = await run(partial(expansion.facts, keys=list(listed)))
        survey = await run(expansion.survey)
        unknown = sum(facts[key].is_nothing for key in listed)
        if await self._is_stopped(survey.deletes + unknown, survey.events + unknown):
            return _STOPPED
        await self._portions(expansion.upserts)
        await self._portions(expansion.cancels)
        await self._remove(listed, facts)
        while await run(expansion.put_away) == PORTION:
            pass
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

    async def _list(self, others: list[str], tokens: AccessTokens) -> dict[str, list[Listed]] | Outcome:
        """What Google holds, by source."""
        calendars = []
        for calendar_id in (self._payload.calendar_id, *others):
            found = await self._parts.calendar.list_events(calendar_id, self._payload.workspace_id, tokens)
            if isinstance(found, list):
                calendars.append((calendar_id, found))
            elif not (isinstance(found, Dead) and found.code in _ABSENT and calendars):
                return found
        return by_source(calendars)

    async def _is_stopped(self, deletes: int, events: int) -> bool:
        brake = self._parts.brake
        if not brake.stops(deletes, events):
            return False
        pull = partial(self._expansion.is_stopped, deletes=deletes, events=events, least=brake.least)
        stopped = await self._run(pull)
        if stopped:
            tell_pulled(Pulled(self._item.workspace_id, "REBUILD", deletes, events))
        return stopped

    async def _portions(self, write: Callable[..., tuple[str | None, int]]) -> None:
        after: str | None = ""
        while after is not None:
            after, made = await self._run(partial(write, after=after))
            self._made += made

    async def _remove(self, listed: dict[str, list[Listed]], facts: dict[str, Known]) -> None:
        workspace_id = self._payload.workspace_id
        removals = (each for key, events in listed.items() for each in leftovers(workspace_id, key, events, facts[key]))
        while portion := list(islice(removals, PORTION)):
            self._made += await self._run(partial(self._expansion.removals, removals=portion))
