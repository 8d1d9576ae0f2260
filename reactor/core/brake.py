"""The brake: a workspace that is about to lose most of its events is stopped until a person says that it is meant.

A wrong `DELETE`, a view that suddenly shows nothing (a policy of row level security, a join that broke), a restored
backup: each looks to the reactor like somebody's wish, and within seconds people's calendars would be empty. Too late
is what cannot be repaired here; a question is cheap. So it is asked before the first event goes.

**When.** A rebuild, when it has counted and before it has written anything. A burst, when cancels are claimed: a few of
them (a quarter of `Limit.least`) make the replica count in the database, then each time that a quarter more has come.
So a claim without cancels costs nothing, one with some costs a look into a dictionary, and a burst of n costs log n
counts. Counted are the sources whose newest waiting row is a cancel and that have an event, and what this replica
itself has claimed within `WINDOW`, so that a burst which trickles in is one as well. Children of a rebuild are not
counted again.

**How much.** More than half of the events by default: whoever clears half of a calendar at once is rare enough to be
asked. And never fewer than twenty events: a workspace of three loses two of them every other day, and what twenty are
worth a person can write again. Both are settings.

**What stops.** Claims of that workspace, in every replica at once: the statement that claims reads the stopped
workspaces. What was claimed is given back as it was, so the order of each source stays what it is; what is under way
ends. Other workspaces notice nothing.

**Release** is for what waits: rows inserted up to then pass, whatever they delete, and are not counted any more. What
comes later is. A rebuild passes only if it deletes about as many as were shown when it was stopped. There is no release
of everything, none that lasts, and none of a workspace that is not stopped.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from reactor.core.item import Item
from reactor.core.payload import Operation

WINDOW = 600.0
"""Seconds within which cancels are one burst."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be deleted without a question.

    Attributes:
        share: The part of a workspace's events, from 0 to 1; with 1 the brake is off.
        least: Fewer deletes than that never stop a workspace.
    """

    share: float = 0.5
    least: int = 20

    def stops(self, deletes: int, events: int) -> bool:
        """Whether so many deletes, out of so many events, are too many."""
        return deletes >= self.least and deletes > self.share * events


@dataclass(slots=True)
class _Recent:
    """The cancels of one workspace, by item: when they were claimed, and their places."""

    items: dict[UUID, tuple[float, int]] = field(default_factory=dict)
    passes: int = 0
    count_at: int = 0


class Tally:
    """What cancels this replica has claimed lately, and when it is time to count in the database.

    Args:
        limit: The brake's.
    """

    def __init__(self, limit: Limit) -> None:
        self._first = max(1, limit.least // 4)
        self._workspaces: OrderedDict[UUID, _Recent] = OrderedDict()

    def __len__(self) -> int:
        return len(self._workspaces)

    def note(self, items: Iterable[Item], now: float) -> list[UUID]:
        """Take in what was claimed; say for which workspaces it is time to count."""
        touched: dict[UUID, _Recent] = {}
        for item in items:
            if item.operation == Operation.CANCEL_EVENT and not item.is_child and item.memory.event_id is not None:
                recent = self._workspaces.setdefault(item.workspace_id, _Recent(count_at=self._first))
                self._workspaces.move_to_end(item.workspace_id)
                if item.seq > recent.passes:
                    recent.items[item.id] = now, item.seq
                    touched[item.workspace_id] = recent
        self._forget(now - WINDOW)
        return [workspace for workspace, recent in touched.items() if len(recent.items) >= recent.count_at]

    def recent(self, workspace_id: UUID) -> dict[UUID, int]:
        """The items that were claimed within the window, and their places."""
        return {item_id: seq for item_id, (_, seq) in self._workspaces[workspace_id].items.items()}

    def counted(self, workspace_id: UUID, passes: int, *, stopped: bool) -> None:
        """Take in that the database was asked.

        Args:
            workspace_id: About whom.
            passes: Items up to here are not counted any more.
            stopped: Whether the workspace was stopped; then its items are given back, and counted when they come again.
        """
        recent = self._workspaces[workspace_id]
        if stopped or passes > recent.passes:
            recent.items.clear()
        recent.passes = passes
        recent.count_at = max(self._first, len(recent.items) + max(1, len(recent.items) // 4))

    def _forget(self, before: float) -> None:
        """Let go of what is too old to be part of a burst."""
        while self._workspaces:
            workspace_id, recent = next(iter(self._workspaces.items()))
            for item_id, (at, _) in list(recent.items.items()):
                if at >= before:
                    break
                del recent.items[item_id]
            if recent.items:
                return
            del self._workspaces[workspace_id]
