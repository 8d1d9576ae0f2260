"""Did anything else get through? Tells an item that Google cannot digest from an outage.

A 500 and a request without an answer look the same for both. What tells them apart is all the rest: in an outage
nothing gets through, and beside a bad item everything does. Breakers cannot tell. One replica of several, or one with a
single item, sees too few failures to open one, and would charge the item for the outage. And the breaker of a lane
opens for a single bad item, which could then never be charged.

So a failure that may be an outage costs an item an attempt only with evidence against the item: between its previous
failure and the moment when its request left, another item's request was answered. Then the other side was up again, as
far as one can know, and the item was tried again and failed again. What fails for a whole workspace (its token cannot
be had) needs the answer of another workspace.

- *An outage costs nothing*, however few items there are. The first failure of an item is free, and then nobody is
  answered until the outage is over. Where it comes and goes, an item that fails on both sides of somebody's answer is
  charged once for it.
- *Nor does it over restarts and replicas.* A failure that this process has not seen is no previous failure: each
  process has a first one that is free. A restart, or a replica more, can only charge less.
- *A bad item ends.* Beside others that fare well each of its failures but the first is charged, so it is a dead letter
  after one failure more than it has attempts, for each process that tries it. Breakers only make it slower.
- *It does not keep its neighbours waiting.* Its lane's breaker opens for it, and then one item at a time is tried. An
  item that failed is due a second later at least, and one that was given back to make room for it is due at once. So at
  the next opening every neighbour that waits comes before it, and the first that is answered closes the breaker.
- *Where nothing else is ever tried* there is no evidence, and the item is tried once a minute, for nothing. Its age
  decides nothing: it may have waited for days before its first attempt, and then meet an outage of a minute.

Memory is bounded. Of the answers only the last one is kept, and the last one of anybody else than that one's item, and
workspace: these two answer the question for every item. Failures are kept for as many items as `CAPACITY`; what is
forgotten is free once more. The question is asked when the request leaves (`Ready.answered`), since answers that come
while it is under way do not count: it may have met the end of the outage that they come after.
"""

from collections import OrderedDict
from enum import IntEnum
from itertools import count
from uuid import UUID

from reactor.core.item import Item
from reactor.core.outcome import Dead, Outcome, Retry, Scope

CAPACITY = 20_000
"""Items whose failure is remembered, at about 200 bytes each."""


class Answered(IntEnum):
    """Who got an answer since an item failed; each includes those before it."""

    NOBODY = 0
    """Nobody, or the item has not failed in this process."""
    NEIGHBOUR = 1
    """Another item of its workspace."""
    WORKSPACE = 2
    """An item of another workspace."""

    def suffices(self, scope: Scope) -> bool:
        """Whether a failure that holds back so much is the item's own."""
        return self >= (Answered.NEIGHBOUR if scope is Scope.ITEM else Answered.WORKSPACE)


class _Latest:
    """When somebody was answered last, and when somebody else was."""

    def __init__(self) -> None:
        self._who: UUID | None = None
        self._at = self._others_at = 0

    def answered(self, who: UUID, at: int) -> None:
        if who != self._who:
            self._who, self._others_at = who, self._at
        self._at = at

    def but(self, who: UUID) -> int:
        """When somebody else than this one was answered last; 0 for never."""
        return self._others_at if who == self._who else self._at


class Evidence:
    """What the process has seen of failures and answers, in the order in which it saw them.

    Args:
        capacity: Items whose failure is remembered, the latest.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._ticks = count(1)
        self._failed: OrderedDict[UUID, int] = OrderedDict()
        self._items = _Latest()
        self._workspaces = _Latest()

    def __len__(self) -> int:
        return len(self._failed)

    def since_failure(self, item: Item) -> Answered:
        """Who got an answer since the item failed last; to be asked when it is sent."""
        failed = self._failed.get(item.id) if self._failed else None  # nearly always empty, and a UUID is slow to hash
        if failed is None:
            return Answered.NOBODY
        if self._workspaces.but(item.workspace_id) > failed:
            return Answered.WORKSPACE
        return Answered.NEIGHBOUR if self._items.but(item.id) > failed else Answered.NOBODY

    def take_in(self, item: Item, outcome: Outcome) -> None:
        """Take in what a request came to for an item.

        A retry that is no outage and holds back more than the item may repeat what is remembered: it proves nothing.
        Nor does what died without a question.
        """
        if not isinstance(outcome, Retry):
            if self._failed:
                self._failed.pop(item.id, None)
            if isinstance(outcome, Dead) and not outcome.asked:
                return
        elif outcome.outage:
            self._failed[item.id] = next(self._ticks)
            self._failed.move_to_end(item.id)
            if len(self._failed) > self._capacity:
                self._failed.popitem(last=False)
            return
        elif outcome.scope is not Scope.ITEM:
            return
        at = next(self._ticks)
        self._items.answered(item.id, at)
        self._workspaces.answered(item.workspace_id, at)
