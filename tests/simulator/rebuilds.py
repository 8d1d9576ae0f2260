"""A rebuild in the model's database: what `reactor.postgres.rebuilds.Expansion` is in PostgreSQL.

The application has a view, so the state is complete. Each method is one transaction that sees whether the claim is
still ours; the real `reactor.rebuild.Rebuilds` drives it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import trio

from reactor.core.calendar.prune import PruneTarget, SourceFacts
from reactor.core.item import Item
from reactor.core.payload import Cancel, Rebuild, source_key
from reactor.errors import ClaimLostError
from reactor.postgres.rebuilds import Survey
from tests.simulator.server import Refused
from tests.simulator.stored import WAITS, Row, Source, Stop

if TYPE_CHECKING:
    from tests.simulator.world import World

GIVEN_UP = (*WAITS, "DEAD_LETTER")
PORTION = 3
"""Children in one transaction: small, so that an expansion has many places to be broken off."""


class ModelExpansion:
    """One rebuild, while its claim is ours."""

    def __init__(self, item: Item, payload: Rebuild) -> None:
        self.source = "view"
        self.is_readable = True
        self._item = item
        self._payload = payload

    def open(self, world: "World") -> None:
        """Find the state."""

    def calendars(self, world: "World") -> list[str]:
        workspace = self._item.workspace_id
        names = {calendar for _, calendar, _ in world.application.current(workspace)}
        names |= {calendar for _, (_, calendar) in self._known(world).items() if calendar}
        for (of, _), source in world.tables.sources.items():
            if of == workspace:
                names |= set(source.memory.possible_calendars)
        names.add(world.tables.connections[workspace].calendar_id)
        return sorted(names - {self._payload.calendar_id})

    def _known(self, world: "World") -> dict[str, tuple[str | None, str | None]]:
        """What has an event, as far as we remember, or may have one."""
        workspace, tables = self._item.workspace_id, world.tables
        known: dict[str, tuple[str | None, str | None]] = {}
        for (of, key), source in tables.sources.items():
            if of == workspace and ":" in key and (source.memory.event_id or source.memory.possible_calendars):
                known[key] = source.memory.event_id, source.memory.calendar_id
        for (of, key), bound in tables.bindings.items():
            memory = tables.sources.get((of, key), Source()).memory
            if of == workspace and key not in known and not memory.cancelled:
                known[key] = bound.event_id, bound.calendar_id
        return known

    def _state(self, world: "World") -> dict[str, tuple[str, dict[str, Any]]]:
        current = world.application.current(self._item.workspace_id)
        return {key: (calendar, payload) for key, calendar, payload in current}

    def survey(self, world: "World") -> Survey:
        known, state = self._known(world), self._state(world)
        events = sum(event_id is not None for event_id, _ in known.values())
        deletes = sum(event_id is not None and key not in state for key, (event_id, _) in known.items())
        return Survey(events, deletes, 0)

    def facts(self, world: "World", keys: Iterable[str]) -> dict[str, SourceFacts]:
        state, facts = self._state(world), {}
        for key in keys:
            about = self._item.workspace_id, key
            memory = world.tables.sources.get(about, Source()).memory
            bound = None if memory.cancelled else world.tables.bindings.get(about)
            event_id = memory.event_id or (bound.event_id if bound else None)
            calendar = memory.calendar_id if memory.event_id else (bound.calendar_id if bound else None)
            facts[key] = SourceFacts(state[key][0] if key in state else None, event_id, calendar, memory.generation)
        return facts

    def pull_brake(self, world: "World", *, deletes: int, events: int, least: int) -> bool:
        workspace, brakes = self._item.workspace_id, world.tables.brakes
        stop = brakes.get(workspace)
        if stop is None or (
            stop.released
            and not (stop.cause == "REBUILD" and stop.passes >= self._item.seq and deletes <= stop.deletes + least)
        ):
            brakes[workspace] = Stop("REBUILD", deletes, events, stop.passes if stop else 0)
        return not brakes[workspace].released

    def upserts(self, world: "World", after: str) -> tuple[str | None, int]:
        self._fence(world)
        state = self._state(world)
        page = sorted(key for key in state if key > after)[:PORTION]
        self._have(world, chain.from_iterable(self._older(world, key) for key in page))
        recreate = {"recreate": True} if self._payload.recreate else {}
        made = sum(self._child(world, key, key, "UPSERT_EVENT", {**state[key][1], **recreate}) for key in page)
        return self._over(world, page, made)

    def cancels(self, world: "World", after: str) -> tuple[str | None, int]:
        self._fence(world)
        known, state = self._known(world), self._state(world)
        page = sorted(key for key in known if key > after)[:PORTION]
        self._have(world, chain.from_iterable(self._older(world, key) for key in page if key not in state))
        made = sum(
            self._child(world, key, key, "CANCEL_EVENT", self._cancel(key, known[key][1]))
            for key in page
            if key not in state
        )
        return self._over(world, page, made)

    def _cancel(self, key: str, calendar: str | None) -> dict[str, Any]:
        source_type, _, source_id = key.partition(":")
        return {
            "operation": "CANCEL_EVENT",
            "workspaceId": str(self._item.workspace_id),
            "calendarId": calendar or self._payload.calendar_id,
            "sourceType": source_type,
            "sourceId": source_id,
        }

    def removals(self, world: "World", removals: Sequence[Cancel | PruneTarget]) -> int:
        self._fence(world)
        state, made = self._state(world), 0
        keys = [source_key(each.source_type, each.source_id) for each in removals if isinstance(each, Cancel)]
        self._have(world, chain.from_iterable(self._older(world, key) for key in keys))
        for each in removals:
            if isinstance(each, PruneTarget):
                made += self._child(world, f"{each.calendar_id} {each.event_id}", None, "CANCEL_EVENT", each.as_json())
                self._reopen(world, each)
                continue
            key = source_key(each.source_type, each.source_id)
            if key not in state:
                made += self._child(world, key, key, "CANCEL_EVENT", each.model_dump(mode="json", by_alias=True))
        return self._over(world, [], made)[1]

    def _reopen(self, world: "World", stray: PruneTarget) -> None:
        """Its source may meet the tombstone."""
        if stray.source is None:
            return
        source = world.tables.sources.setdefault((self._item.workspace_id, stray.source), Source())
        if source.memory.event_id is None:
            source.memory = replace(source.memory, reopen=True)

    def put_away(self, world: "World", after: UUID) -> UUID | None:
        self._fence(world)
        assert after.int == 0, "all comes in one portion"
        workspace, needed = self._item.workspace_id, {*self._state(world), *self._known(world)}
        self._end(
            world,
            [
                row
                for row in world.tables.rows.values()
                if row.status in GIVEN_UP
                and row.workspace == workspace
                and (
                    row.parent not in (None, self._item.id)
                    if row.parent is not None
                    else row.operation == "UPSERT_EVENT" and row.key not in needed
                )
            ],
        )
        return None

    def _end(self, world: "World", rows: Sequence[Row]) -> None:
        """End what a child takes the place of, or what is not wanted; refused where somebody has one of them."""
        self._have(world, rows)
        for row in rows:
            if not row.refusal:
                row.status, row.code, row.error = "COMPLETED", "SUPERSEDED", None

    @staticmethod
    def _have(world: "World", rows: Iterable[Row]) -> None:
        if any(row.id in world.tables.locked for row in rows):
            raise Refused("55P03")

    def _older(self, world: "World", key: str) -> list[Row]:
        """The children of older rebuilds that one of ours takes the place of."""
        return [row for row in self._rows(world, key) if row.parent not in (None, self._item.id)]

    def _place(self, world: "World", key: str) -> int:
        """The floor, or just beyond the newest row that the state is newer than."""
        about = self._item.workspace_id, key
        floor = world.tables.sources.get(about, Source()).memory.floor_seq
        seen = [row.seq for row in self._rows(world, key) if row.parent is None and row.seq >= floor]
        return max(seen) + 1 if seen else floor

    def _rows(self, world: "World", key: str) -> list[Row]:
        rows = world.tables.rows.values()
        mine = [row for row in rows if row.workspace == self._item.workspace_id and row.key == key]
        return [row for row in mine if row.status in GIVEN_UP and row.operation != "REBUILD_ALL"]

    def _fence(self, world: "World") -> None:
        row = world.tables.rows.get(self._item.id)
        if row is None or row.status != "PROCESSING" or row.claim_no != self._item.claim_no:
            raise ClaimLostError

    def _over(self, world: "World", page: list[str], made: int) -> tuple[str | None, int]:
        if made:
            row = world.tables.rows[self._item.id]
            row.attempts = 0
        return (page[-1] if page else None), made

    def _child(self, world: "World", name: str, key: str | None, operation: str, payload: dict[str, Any]) -> bool:
        child = uuid5(UUID(int=self._item.id.int), name)
        if child in world.tables.rows:
            return False
        if key is not None:
            self._end(world, self._older(world, key))
        now = world.server.now()
        row = Row(
            id=child,
            workspace=self._item.workspace_id,
            operation=operation,
            text=json.dumps(payload).encode(),
            document=payload,
            seq=0 if key is None else self._place(world, key),
            due=now,
            created=now,
            max_attempts=self._item.max_attempts,
            parent=self._item.id,
        )
        world.tables.insert([row], trio.current_time())
        return True
