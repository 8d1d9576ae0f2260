"""What the SQL does to the reactor's tables, as a contract in Python: one method for each statement.

Everything is a value: `now` comes in, rows change, what is returned is what the statement returns. Nothing waits; who
may be told, and which leases are held, is decided outside (`tests.simulator.server`). `test_conformance.py` gives the
same operations to this and to PostgreSQL.
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from reactor.core.brake import WINDOW, Limit
from tests.simulator.claims import Claims
from tests.simulator.ends import Ends
from tests.simulator.stored import WAITS, Connection, Count, Row, Stop


class Tables(Claims, Ends):
    """The tables, with what the application, the operator and the brake do to them."""

    # The application

    def next_seq(self) -> int:
        """A number of `sync_outbox_seq`, which goes on by twos."""
        self._seq += 2
        return self._seq

    def insert(self, rows: Iterable[Row], at: float) -> None:
        """Commit rows, at a time of the observer's clock."""
        for row in rows:
            row.committed_at = at
            self.rows[row.id] = row
            self.calls = True

    def requeue(self, now: float, but: Collection[str] = ()) -> int:
        """What an operator does to dead letters."""
        dead = [row for row in self.rows.values() if row.status == "DEAD_LETTER" and row.code not in but]
        for row in dead:
            row.attempts = 0
            self._reopen(row, now)
        return len(dead)

    def connect(self, workspace: UUID, token: str, calendar_id: str, now: float) -> None:
        """A person connects; what died for want of that is due again."""
        old = self.connections.get(workspace)
        self.connections[workspace] = Connection(token, calendar_id)
        if old is None or not old.valid or old.token != token:
            for row in self.rows.values():
                if row.workspace == workspace and row.status == "DEAD_LETTER" and row.code == "AUTH":
                    row.attempts, row.error = 0, None
                    self._reopen(row, now)
            self.calls = True

    def _reopen(self, row: Row, now: float) -> None:
        row.status, row.code, row.due = "PENDING", None, now
        self.calls = True

    def hurry(self, now: float, beyond: float = 0.0) -> None:
        """Make due what waits for longer than that, also what waits for ever."""
        for row in self.rows.values():
            if row.status in WAITS and (row.due is None or row.due > now + beyond):
                row.due = now
                self.calls = True

    # The brake

    def claimed_deletes(self, workspace: UUID, now: float) -> tuple[bool, int]:
        """Whether a workspace is stopped, and how many of its events are gone within the window or in hand, at most."""
        stop = self.brakes.get(workspace)
        passes = stop.passes if stop else 0
        in_hand = sum(row.status == "PROCESSING" and _deletes(row, workspace, passes) for row in self.rows.values())
        return stop is not None and not stop.released, self._gone(workspace, passes, now) + in_hand

    def _gone(self, workspace: UUID, passes: int, now: float) -> int:
        return sum(
            of == workspace
            and source.removed_at is not None
            and now - WINDOW <= source.removed_at
            and source.memory.floor_seq > passes
            for (of, _), source in self.sources.items()
        )

    def count(self, workspace: UUID, limit: Limit, now: float, *, waiting: bool) -> Count:
        """Count what is deleted of a workspace, and stop it where that is too much."""
        stop = self.brakes.get(workspace)
        passes = stop.passes if stop else 0
        newest: dict[str, Row] = {}
        for row in self.rows.values():
            if waiting and row.workspace == workspace and row.status in WAITS:
                head = newest.get(row.key)
                newest[row.key] = row if head is None or row.seq > head.seq else head
        in_hand = [row for row in self.rows.values() if row.status == "PROCESSING"]
        going = {row.key for row in [*newest.values(), *in_hand] if _deletes(row, workspace, passes)}
        gone = self._gone(workspace, passes, now)
        deletes = gone + sum(self._has_event(workspace, key) for key in going)
        remembered = sum(w == workspace and s.memory.event_id is not None for (w, _), s in self.sources.items())
        bound = sum(w == workspace for w, _ in self.bindings)
        events = gone + max(remembered, bound)
        is_too_much = limit.stops(deletes, events)
        is_pulled = is_too_much and (stop is None or stop.released)
        if is_pulled:
            self.brakes[workspace] = Stop("BURST", deletes, events, passes)
        return Count(deletes, events, is_too_much, is_pulled)

    def _has_event(self, workspace: UUID, key: str) -> bool:
        source = self.sources.get((workspace, key))
        return (workspace, key) in self.bindings or (source is not None and source.memory.event_id is not None)

    def release(self, workspace: UUID) -> bool:
        """Let pass what waits in a stopped workspace."""
        stop = self.brakes.get(workspace)
        if stop is None or stop.released:
            return False
        stop.released, stop.passes, self.calls = True, self.next_seq(), True
        return True


def _deletes(row: Row, workspace: UUID, passes: int) -> bool:
    """Whether the row is a cancel that the brake looks at."""
    return row.workspace == workspace and row.operation == "CANCEL_EVENT" and row.parent is None and row.seq > passes
