"""The brake: a workspace that is about to lose most of its events is stopped until a person says that it is meant.

A wrong `DELETE`, a view that suddenly shows nothing (a policy of row level security, a join that broke), a restored
backup: each looks to the reactor like a wish of the application, and within seconds people's calendars would be empty.
Deleted events cannot be restored from here, and asking is cheap, so we ask before the first delete is sent.

**When.** A rebuild, when it has counted and before it has written anything. A burst, when cancels are claimed and
before the first of them is sent.

**How much.** More than half of the events by default: to clear half of a calendar at once is rare enough to be asked
about. And never fewer than twenty events: a workspace of three loses two of them every other day, and what twenty are
worth a person can write again. Both are settings.

**What a burst is.** The events of a workspace that are gone, or are about to go, within one window of ten minutes:

- *gone*: the database notes with a source when its event was removed (`sync_sources.removed_at`), in the transaction
  that ends the cancel. A source counts once, however often it was cancelled, and not at all once it has an event again.
- *in flight*: cancels that a replica has claimed and not ended.
- *waiting*: sources whose newest waiting row is a cancel, and that have an event.

The events that this is compared with are those that there are, and those that are gone within the window. The window
ends ten minutes after each removal, so a workspace that loses an event a minute never has more than ten gone in it.

**Where it is counted.** In the database alone, by its clock. A replica remembers nothing, so neither the number of
replicas nor a restart changes what is counted, there is nothing to forget, and the database keeps one time for a
source. What is gone and what is in flight are counted at each claim that brings a cancel of a known event: two look-ups
in indexes, for all workspaces of the claim at once. A claim without such a cancel costs nothing. What waits takes
longer to count (up to 50 ms), so it is counted when the first few have come (a quarter of `Limit.least`), and then each
time that a quarter more has.

**Why two replicas do not pass together.** Claims follow one another (db/migrations/0021_claim.sql), a claim is
committed before its replica counts, and only what was counted is sent. An end moves a cancel from *in flight* to *gone*
in one transaction, and one snapshot sees it in one of the two. Hence each count sees every cancel that was claimed
before its own, and of two claims that are made at the same time the later one is counted with both. So what is let
through within a window is never more than the limit, however many replicas there are: the overshoot is zero. A replica
that counts early may see the later claim too; then both are stopped and both are released. A request that removed an
event and whose answer was lost is seen when it is claimed again, which is soon.

A replica of an older release counts for itself what it claims. What it has in flight or has removed is seen by the
others (a trigger notes it, db/triggers.sql), but it does not see theirs: so during an upgrade n of those may let
through a limit each, unless a newer one claims a cancel of that workspace meanwhile, which stops all.

**What is not counted.** Children of a rebuild: they were counted before they were made, the removals of extra events
among them. (The state may change while it is read; a portion with more cancels than were counted is not written, and
all is counted anew.) Cancels of sources without an event. An item that is released, requeued, or tried again is one
cancel of one source, and counts once.

**What stops.** Claims of that workspace, in every replica at once: the statement that claims reads the stopped
workspaces. What was claimed is released as it was, so the order of each source stays what it is; what is under way
ends. Other workspaces notice nothing. Where the database cannot count, the workspace waits.

**Release** is for what waits: rows inserted up to then pass, whatever they delete, and are not counted any more, nor is
what was gone by then. What comes later is. A rebuild passes only if it deletes about as many as were shown when it was
stopped. There is no release of everything, none that lasts, and none of a workspace that is not stopped.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from reactor.core.item import Item, SourceState
from reactor.core.payload import Operation

WINDOW = 600.0
"""Seconds within which removals are one burst."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be deleted without a question.

    Attributes:
        share: The part of a workspace's events, from 0 to 1; with 1 the brake is off.
        least: Fewer deletes than that never stop a workspace.
    """

    share: float = 0.5
    least: int = 20

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever too much: no more can go than there is."""
        return self.share >= 1

    def stops(self, deletes: int, events: int) -> bool:
        """Whether so many deletes, out of so many events, are too many."""
        return deletes >= self.least and deletes > self.share * events

    def asks_what_waits(self, before: int, after: int) -> bool:
        """Whether it is time to count what waits as well.

        It depends on nothing but these numbers, so that the replicas together ask as often as one.

        Args:
            before: Deletes that were gone or in flight before a claim.
            after: The same with the claim.
        """
        mark = max(1, self.least // 4)
        while mark <= before:
            mark += max(1, mark // 4)
        return mark <= after


def deletes(items: Iterable[Item]) -> Counter[UUID]:
    """How many of the claimed items are counted, by workspace."""
    return Counter(item.workspace_id for item in items if item.operation == Operation.CANCEL_EVENT and is_counted(item))


def is_counted(item: Item) -> bool:
    """Whether it counts when this item removes its source's event."""
    return not item.is_child and item.memory.event_id is not None


def is_removal(item: Item, memory: SourceState) -> bool:
    """Whether an event is gone, and counts, once this is remembered of the item's source."""
    return memory.cancelled and memory.event_id is None and is_counted(item)
