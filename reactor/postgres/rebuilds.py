"""A rebuild in the database: what the current state is, and portions of the items that make the calendar agree with it.

There are three places to read the state from: a view `calendar_source_events`, a function of that name which gets the
workspace, or, where the application has neither, what was applied last (`sync_sources`). The first two are *complete*:
an event that is not in them must not exist. The memory is not: an event that only an older worker made has a binding
and nothing else, and is left alone.

**One order for everything.** A complete state is read by one statement, together with the outbox. All that its snapshot
shows of a source is older than the state: edits that wait or back off, dead letters that a person may put back later.
All that it does not show is newer. So a child's place lies just beyond the newest row of its source that the statement
sees, and without such a row it is the source's floor. Once the child is applied the floor rises to its place. Then
older rows are superseded, even if they are put back afterwards, by hand or by a new consent. Until then they are not
lost: should the child be refused for its content, the newest edit before it is the best there is. Two kinds of rows
have no child that would supersede them, and end: children of older rebuilds, and upserts of sources that are neither in
the state nor remembered.

What was applied last is not complete: it is older than the edits that wait, and than those that were given up. So an
edit that was given up (it has moved the floor, and is a dead letter or was put back) takes the place of what was
applied: the child has its state, and lies beyond it. Edits above the floor are newer than the child.

**Why no edit is lost.** An edit that the statement does not see lies above all that it sees: either it is still open,
and the statement read the state before it, or it comes later. So it lies above the child, and wins over it, whether it
is sent before or after: once the edit is applied the floor has risen, and the child is superseded. The two never have
the same place, because the sequence of the places goes on by twos, and a child takes one between. Nothing has to be
locked for that, and it does not matter how long an expansion takes.

**Why a removal of ours is not taken for a person's.** We prune an event that belongs to a source, although that source
may later write an event with this very id: an earlier attempt, whose response we never got, made the event in a
calendar that the state does not name. The next write there would meet its tombstone, and we would believe that a person
has deleted the event. So we mark the source: a tombstone may be ours (`reopen`), unless it has an event that it
remembers.

**Why nothing is made twice.** A child's id follows from its parent and its source. An expansion that is killed and
begins again from the start writes the same ids, and those that exist stay as they are.

**Why it may be killed at any moment.** Each portion is a transaction that first locks the rebuild's row and checks
whether the claim is still ours. So it runs on any connection: should the claims session be lost during a portion, the
worker that takes the rebuild over waits for the portion or finds it undone. A portion of a thousand takes some 100 ms.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from reactor.core.calendar.prune import PruneTarget, SourceFacts
from reactor.core.item import Item
from reactor.core.payload import Cancel, Rebuild, source_key
from reactor.errors import ClaimLostError
from reactor.postgres.brakes import SQL as BRAKES
from reactor.postgres.connection.driver import Row
from reactor.postgres.statements import statements

_SQL = statements("rebuilds")

PORTION = 1_000  # children in one transaction
LONGEST_CALENDAR = 1_024  # characters of a calendar's id, as in the contract: a longer one holds nothing of ours

Connection = psycopg.Connection[Row]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a rebuild will do, counted before it begins.

    Attributes:
        events: Events that are remembered.
        deletes: How many of them must be deleted.
        left_alone: How many bindings have no source state (an older worker wrote them); they are not touched.
        cancels: How many cancels will be made.
    """

    events: int
    deletes: int
    left_alone: int
    cancels: int = 0


class UncountedError(Exception):
    """More would be cancelled than the last survey counted: the state has changed. Nothing was written."""


class Expansion:
    """One rebuild, while its claim is ours; every method runs in a thread, with any connection in autocommit mode.

    Args:
        item: The claimed item.
        payload: Its payload.

    Attributes:
        source: `view`, `function` or `memory`.
        is_readable: Whether our role may read it; known after `open`.
    """

    def __init__(self, item: Item, payload: Rebuild) -> None:
        self.source = "memory"
        self.is_readable = True
        self._uncancelled = 0
        self._item = item
        self._params: dict[str, Any] = {
            "parent": item.id,
            "lease": item.lease_no,
            "workspace": item.workspace_id,
            "calendar": payload.calendar_id,
            "recreate": payload.recreate,
            "max_attempts": item.max_attempts,
            "rows": PORTION,
        }

    @property
    def _state(self) -> LiteralString:
        return state_of(self.source)

    def open(self, connection: Connection) -> None:
        """Find where the state is read from, and whether our role may read it."""
        [[self.source, self.is_readable]] = connection.execute(_SQL["source"]).fetchall()
        self._params["complete"] = self.source != "memory"

    def calendars(self, connection: Connection) -> list[str]:
        """Return every calendar that may hold events of the workspace, without the one that the rebuild names."""
        rows = self._read(connection, _SQL["known_sources"] + _SQL["possible_calendars"], longest=LONGEST_CALENDAR)
        own = self._params["calendar"]
        return sorted(name for (name,) in rows if name.strip(".") and name != own)

    def survey(self, connection: Connection) -> Survey:
        """Count what the rebuild will do; from then on it may make that many cancels."""
        [row] = self._read(connection, _SQL["known_sources"] + _SQL["survey"])
        survey = Survey(*row)
        self._uncancelled = survey.cancels
        return survey

    def facts(self, connection: Connection, keys: Iterable[str]) -> dict[str, SourceFacts]:
        """Return what is known of some sources."""
        rows = self._read(connection, _SQL["source_facts"], keys=list(keys))
        return {key: SourceFacts(*of_key) for key, *of_key in rows}

    def pull_brake(self, connection: Connection, *, deletes: int, events: int, least: int) -> bool:
        """Stop the workspace, unless the brake was released for this rebuild; return whether it is stopped."""
        params = {"rebuild": self._item.id, "seq": self._item.seq, "deletes": deletes, "events": events, "least": least}
        connection.execute(BRAKES["pull"], self._params | params)
        [[stopped]] = connection.execute(BRAKES["is_stopped"], self._params).fetchall()
        return bool(stopped)

    def upserts(self, connection: Connection, after: str) -> tuple[str | None, int]:
        """Write the portion after a source; return its last source, None at the end, and how many are new."""
        return self._portion(connection, "upserts", after=after)

    def cancels(self, connection: Connection, after: str) -> tuple[str | None, int]:
        """As `upserts`, for events that must be deleted.

        Raises:
            UncountedError: That is more than was counted.
        """
        last, made = self._portion(connection, "cancels", most=self._uncancelled, after=after)
        self._uncancelled -= made
        return last, made

    def removals(self, connection: Connection, removals: Sequence[Cancel | PruneTarget]) -> int:
        """Write a portion of cancels for events found in calendars; return how many are new."""
        document = json.dumps([_removal(each) for each in removals])
        _, made = self._portion(connection, "removals", removals=document)
        return made

    def put_away(self, connection: Connection, after: UUID) -> UUID | None:
        """End a portion of the items that no child replaces, after an item; return its last item, None at the end."""
        last: UUID | None
        last, _ = self._write(connection, _SQL["known_sources"] + _SQL["items_without_child"], after=after)
        return last

    def _portion(
        self, connection: Connection, of: LiteralString, *, most: int | None = None, **more: Any
    ) -> tuple[str | None, int]:
        """Write children; a portion is chosen, each gets its place, and then it is made."""
        statement = (
            _SQL["known_sources"] + _SQL[of] + _SQL["places_of_children"] + _SQL["make_" + of] + _SQL["insert_children"]
        )
        return self._write(connection, statement, most=most, **more)

    def _read(self, connection: Connection, statement: LiteralString, **more: Any) -> list[Row]:
        return connection.execute(self._state + statement, self._params | more).fetchall()

    def _write(
        self, connection: Connection, statement: LiteralString, *, most: int | None = None, **more: Any
    ) -> tuple[Any, int]:
        """Write a portion: where it ends, and how many children are new, which must not be more than `most`."""
        with connection.transaction():
            if [row[0] for row in connection.execute(_SQL["lock_rebuild"], self._params)] != ["PROCESSING"]:
                raise ClaimLostError
            [[last, covered, made]] = connection.execute(self._state + statement, self._params | more).fetchall()
            if most is not None and made > most:
                raise UncountedError
            if covered:
                connection.execute(_SQL["end_items"], {"ids": covered})
            if made:
                connection.execute(_SQL["note_progress"], self._params)
        return last, int(made)


def state_of(source: str) -> LiteralString:
    """The beginning of every statement that reads the current state: from a `view`, a `function` or `memory`."""
    if source == "memory":
        return _SQL["state_of_memory"]
    return _SQL["state_of_view" if source == "view" else "state_of_function"] + _SQL["state_of_application"]


def _removal(removal: Cancel | PruneTarget) -> dict[str, Any]:
    if isinstance(removal, PruneTarget):
        name = f"{removal.calendar_id} {removal.event_id}"
        return {"name": name, "key": None, "about": removal.source, "payload": removal.as_json()}
    key = source_key(removal.source_type, removal.source_id)
    return {"name": key, "key": key, "payload": removal.model_dump(mode="json", by_alias=True)}
