"""The ring: the workspaces that have something due, and which of them a claim looks at next.

The ring is read from the database now and then, not on every claim: a thousand workspaces cost some 6 ms. In between it
only gets shorter, by workspaces in which nothing was left to claim. A workspace that is not in it waits for the next
reading. So it is read again after `PERIOD` (or after twenty times what the last reading took, if that is more), and
whenever it has been used up. We may say that there is nothing to claim only if the ring was read, and used up, after
the look began.

Workspaces take turns: each claim looks at the next few, and takes the first item of each before the second of any.

*Workspaces with a backlog.* A claim that takes six items from each of 32 workspaces makes requests of six items, which
cost five times what requests of 50 do. So a workspace of which more rows were due than a claim looked at is
*backlogged*. Claims go in turn to the next 32 workspaces that are not, and to as few backlogged ones as fill the claim
with whole batches. Each kind has its own place in the ring. A new item of a workspace waits for one or two claims,
however many workspaces have a backlog.

*By key.* The oldest due rows of a workspace may all belong to sources that cannot be claimed, because a newer state of
theirs is being sent or backs off. Such a workspace is then searched by source key too, a part at a time. The place
where the last claim stopped is kept, so that what lies behind a hot source gets its turn; the workspace is finished
when the keys were searched from the first to the last and nothing could be claimed.
"""

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

PERIOD = 0.25  # seconds: what a workspace's first item may have to wait for beside a backlog
WIDTH = 32  # workspaces looked at in one pass, some 50 microseconds each
READ_SHARE = 0.05  # the part of the time that reading the ring may take

Entry = tuple[UUID, float | None, float | None]
"""A workspace, seconds until its first item is due, None for never, and until the first that is not due yet."""
Looked = tuple[UUID, bool, str | None, bool]
"""A workspace, whether there may be more to claim, the last key that was looked at, None if that was the end, and
whether more rows were due than were looked at."""


@dataclass(slots=True)
class _Scan:
    """How far a workspace was looked through by key; `whole` when that began before the first."""

    after: str = ""
    whole: bool = True


class Ring:
    """The workspaces that have something due.

    Args:
        batch: Items that travel together.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._due: list[UUID] = []
        self._next_due: dict[UUID, float] = {}
        self._scans: dict[UUID, _Scan] = {}
        self._fresh_until = -math.inf
        self._backlogged: set[UUID] = set()
        self._to_backlogged = False
        self._last: dict[bool, UUID] = {}
        self._by_key: dict[UUID, str] = {}  # of the pass in progress

    @property
    def last_workspace(self) -> UUID | None:
        """The workspace of this turn's kind that was looked at last."""
        return self._last.get(self._to_backlogged)

    @property
    def due(self) -> int:
        """How many workspaces have something due, as far as is known."""
        return len(self._due)

    def is_stale(self, now: float) -> bool:
        """Whether it is time to read the ring again."""
        return now >= self._fresh_until

    def fill(self, entries: Iterable[Entry], *, began: float, now: float) -> None:
        """Replace the ring by what was read from the database, between two moments."""
        self._due = []
        self._next_due = {}
        for workspace, first_due_in, next_due_in in entries:
            if first_due_in is not None and first_due_in <= 0:
                self._due.append(workspace)
            if next_due_in is not None:
                self._next_due[workspace] = now + next_due_in
        self._due.sort()
        self._backlogged.intersection_update(self._due)
        for workspace in self._scans.keys() - set(self._due):
            del self._scans[workspace]
        self._fresh_until = now + max(PERIOD, (now - began) / READ_SHARE)

    def begin(self) -> None:
        """Begin a look: what earlier looks searched by key does not count any more."""
        for scan in self._scans.values():
            scan.whole = scan.after == ""

    def width(self, slots: int) -> int:
        """How many workspaces a claim looks at that reads the ring anew."""
        self._to_backlogged = bool(self._backlogged)
        return self._width(slots)

    def next_workspaces(self, slots: int, excluded: Collection[UUID]) -> list[UUID]:
        """The next workspaces, of the kind whose turn it is."""
        # Both kinds take turns if both have due workspaces; otherwise the one that has some gets every turn.
        kinds = {workspace in self._backlogged for workspace in self._due if workspace not in excluded}
        self._to_backlogged = not self._to_backlogged if len(kinds) > 1 else True in kinds
        # Go on behind the last workspace of this kind, and around the end to the first.
        start = bisect_right(self._due, self.last_workspace) if self.last_workspace else 0
        turn = self._due[start:] + self._due[:start]
        of_kind = (w for w in turn if w not in excluded and (w in self._backlogged) is self._to_backlogged)
        return list(islice(of_kind, self._width(slots)))

    def _width(self, slots: int) -> int:
        return max(1, min(slots, WIDTH) if not self._to_backlogged else min(slots // self._batch, WIDTH))

    def cursors(self, window: Iterable[UUID]) -> list[str | None]:
        """For each of the workspaces the key behind which to look, None where the due rows will do.

        To be called before each pass, with no workspaces before one that reads the ring: that one looks at no keys, and
        what it does not see must not count as looked through.
        """
        self._by_key = {workspace: scan.after for workspace in window if (scan := self._scans.get(workspace))}
        return [self._by_key.get(workspace) for workspace in window]

    def looked(self, looked: Sequence[Looked], *, successful: Collection[UUID]) -> None:
        """Update the ring with what a claim saw.

        Args:
            looked: What it saw in each workspace of its window.
            successful: The workspaces in which something was claimed, superseded or set aside.
        """
        for workspace, more, last_key, full in looked:
            if full:
                self._backlogged.add(workspace)
            else:
                self._backlogged.discard(workspace)
            scan = self._scans.get(workspace)
            if not more:
                self._finish(workspace)
            elif scan is None:
                if workspace not in successful:  # its oldest due rows cannot be claimed, so search by key from now on
                    self._scans[workspace] = _Scan()
            elif workspace not in self._by_key:
                pass  # this pass did not search its keys; the next one does
            elif last_key is not None:
                scan.after = last_key
            elif scan.whole and workspace not in successful:  # searched from the first key to the last in vain
                self._finish(workspace)
            else:
                self._scans[workspace] = _Scan()
            self._last[self._to_backlogged] = workspace

    def _finish(self, workspace: UUID) -> None:
        self._backlogged.discard(workspace)
        self._scans.pop(workspace, None)
        if workspace in self._due:
            self._due.remove(workspace)

    def has_due(self, excluded: Collection[UUID]) -> bool:
        """Whether any workspace has something due."""
        return any(workspace not in excluded for workspace in self._due)

    def due_in(self, excluded: Collection[UUID], now: float) -> float:
        """Seconds until something that is not due yet will be."""
        times = (due_at for workspace, due_at in self._next_due.items() if workspace not in excluded)
        return max(0.0, min(times, default=math.inf) - now)
