"""A rebuild in the database: what the current state is, and portions of the items that make the calendar agree with it.

Three places to read the state from: a view `calendar_source_events`, a function of that name which is given the
workspace, or, where the application has neither, what was applied last (`sync_sources`). The first two are *complete*:
what is not in them is not to be there. The memory is not: an event that only an older worker made has a binding and
nothing else, and is left alone.

**One order for everything.** A complete state is read by one statement, together with the outbox. All that its snapshot
shows of a source is older than the state: edits that wait or back off, dead letters that somebody may put back later.
All that it does not show is newer. So a child's place lies just beyond the newest row of its source that the statement
sees, and where there is none it is the source's floor. Once it is applied the floor rises to its place: what is older
is superseded then, also if it is put back afterwards, by hand or by a new consent. Until then it is not lost: should
the child be refused for its content, the newest edit before it is the best there is. Two things have no child that
would supersede them, and end: children of older rebuilds, and upserts of sources that the state does not have and of
which nothing is remembered.

What was applied last is not complete: it is older than what waits, and than what was given up. So an edit that was
given up (it has moved the floor, and is a dead letter or was put back) takes the place of what was applied: the child
has its state, and lies beyond it. Edits above the floor are newer than the child.

**Why no edit is lost.** An edit that the statement does not see lies above all that it sees: one that is still open,
and whose old state it read, or one that comes later. So it lies above the child, and beats it, before it is sent or
after: once the edit is applied the floor has risen, and the child is superseded. The two never have the same place, as
the sequence of the places goes on by twos, and a child takes one between. Nothing has to be locked for that, and it
does not matter how long an expansion takes.

**Why a removal of ours is not taken for a person's.** A stray is an event of a source that may go on to this very id
later: an attempt that nobody heard of made it, in a calendar that the state does not name. The next write there would
meet its tombstone, and believe that a person has deleted the event. So the source is told that a tombstone may be ours
(`reopen`), unless it has an event that it remembers.

**Why nothing is made twice.** A child's id follows from its parent and its source. What is killed and begins again from
the start writes the same ids, and those that are there stay as they are.

**Why it may be killed at any moment.** Each portion is a transaction that first locks the rebuild's row and sees
whether the claim is still ours. So it runs on any connection: should the claims session be lost while a portion is
under way, whoever takes the rebuild over waits for the portion or finds it undone. A portion of a thousand takes some
100 ms.
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
    """What a rebuild is about to do.

    Attributes:
        events: Events that are remembered.
        deletes: How many of them are not to be there.
        left_alone: How many bindings have no source state (an older worker wrote them); they are not touched.
        cancels: How many cancels are to be made.
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
        payload: What it says.

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
        """Find the state."""
        [[self.source, self.is_readable]] = connection.execute(_SQL["source"]).fetchall()
        self._params["complete"] = self.source != "memory"

    def calendars(self, connection: Connection) -> list[str]:
        """Every calendar that may hold something, without the one that the rebuild names."""
        rows = self._read(connection, _SQL["known"] + _SQL["calendars"], longest=LONGEST_CALENDAR)
        own = self._params["calendar"]
        return sorted(name for (name,) in rows if name.strip(".") and name != own)

    def survey(self, connection: Connection) -> Survey:
        """Count; so many cancels may be made then."""
        [row] = self._read(connection, _SQL["known"] + _SQL["survey"])
        survey = Survey(*row)
        self._uncancelled = survey.cancels
        return survey

    def facts(self, connection: Connection, keys: Iterable[str]) -> dict[str, SourceFacts]:
        """What is known of some sources."""
        rows = self._read(connection, _SQL["facts"], keys=list(keys))
        return {key: SourceFacts(*of_key) for key, *of_key in rows}

    def is_stopped(self, connection: Connection, *, deletes: int, events: int, least: int) -> bool:
        """Pull the brake, unless it was released for this; say whether the workspace is stopped."""
        params = {"rebuild": self._item.id, "seq": self._item.seq, "deletes": deletes, "events": events, "least": least}
        connection.execute(BRAKES["pull"], self._params | params)
        [[stopped]] = connection.execute(BRAKES["is_stopped"], self._params).fetchall()
        return bool(stopped)

    def upserts(self, connection: Connection, after: str) -> tuple[str | None, int]:
        """Write the portion after a source; return its last source, None at the end, and how many are new."""
        return self._portion(connection, "upserts", after=after)

    def cancels(self, connection: Connection, after: str) -> tuple[str | None, int]:
        """As `upserts`, for what is not to be there.

        Raises:
            UncountedError: That is more than was counted.
        """
        last, made = self._portion(connection, "cancels", most=self._uncancelled, after=after)
        self._uncancelled -= made
        return last, made

    def removals(self, connection: Connection, removals: Sequence[Cancel | PruneTarget]) -> int:
        """Write a portion of what was found in calendars; return how many are new."""
        document = json.dumps([_removal(each) for each in removals])
        _, made = self._portion(connection, "removals", removals=document)
        return made

    def put_away(self, connection: Connection, after: UUID) -> UUID | None:
        """End a portion of what no child stands for, after an item; return its last item, None at the end."""
        last: UUID | None
        last, _ = self._write(connection, _SQL["known"] + _SQL["left_over"], after=after)
        return last

    def _portion(
        self, connection: Connection, of: LiteralString, *, most: int | None = None, **more: Any
    ) -> tuple[str | None, int]:
        """Write children; a portion is chosen, each gets its place, and then it is made."""
        statement = _SQL["known"] + _SQL[of] + _SQL["places"] + _SQL["make_" + of] + _SQL["made"]
        return self._write(connection, statement, most=most, **more)

    def _read(self, connection: Connection, statement: LiteralString, **more: Any) -> list[Row]:
        return connection.execute(self._state + statement, self._params | more).fetchall()

    def _write(
        self, connection: Connection, statement: LiteralString, *, most: int | None = None, **more: Any
    ) -> tuple[Any, int]:
        """Write a portion: where it ends, and how many children are new, which must not be more than `most`."""
        with connection.transaction():
            if [row[0] for row in connection.execute(_SQL["fence"], self._params)] != ["PROCESSING"]:
                raise ClaimLostError
            [[last, covered, made]] = connection.execute(self._state + statement, self._params | more).fetchall()
            if most is not None and made > most:
                raise UncountedError
            if covered:
                connection.execute(_SQL["put_away"], {"ids": covered})
            if made:
                connection.execute(_SQL["progressed"], self._params)
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
