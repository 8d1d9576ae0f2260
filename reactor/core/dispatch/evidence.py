"""Tells an item that Google cannot process from an outage: were other requests answered meanwhile?

A 500 and a request without an answer look the same in both cases. The other requests tell the cases apart: in an outage
none is answered, and beside a bad item all are. Breakers cannot tell. One replica of several, or one with a single
item, sees too few failures to open one, and would charge the item for the outage. And the breaker of a lane opens for a
single bad item, which could then never be charged.

So a failure that may be an outage costs an item an attempt only with evidence against the item: between its previous
failure and the moment when its request left, another item's request was answered. Then the other side was up again, as
far as one can know, and the item was tried again and failed again. What fails for a whole workspace (its token cannot
be had) needs the answer of another workspace.

- *An outage costs nothing*, however few items there are. The first failure of an item is free, and then no request is
  answered until the outage is over. In an outage that comes and goes, an item that fails before and after the answer to
  another one is charged once for it.
- *Nor does it over restarts and replicas.* A failure that this process has not seen is no previous failure: each
  process has a first one that is free. A restart, or a replica more, can only charge less.
- *A bad item ends.* Beside others that succeed each of its failures but the first is charged, so it is a dead letter
  after one failure more than it has attempts, for each process that tries it. Breakers only make it slower.
- *A bad item does not keep its neighbours waiting.* Its lane's breaker opens for it, and then one item at a time is
  tried. An item that failed is due a second later at least, and one that was given back to make room for it is due at
  once. So at the next opening every neighbour that waits comes before it, and the first that is answered closes the
  breaker.
- *Where nothing else is ever tried* there is no evidence, and the item is tried once a minute, for nothing. Its age
  decides nothing: it may have waited for days before its first attempt, and then meet an outage of a minute.

Memory is bounded. Of the answers we keep the last one, and the last one that was for another item, or another
workspace, than that one: these answer the question for every item. Failures are kept for as many items as `CAPACITY`;
what is forgotten is free once more. The question is asked when the request leaves (`QueuedItem.answered`), because
answers that come while the request is under way do not count: it may have met the end of the outage that they come
after.
"""

from collections import OrderedDict
from enum import IntEnum
from itertools import count

from reactor.core.item import Item
from reactor.core.outcome import Dead, Outcome, Retry, Scope

CAPACITY = 20_000
"""Items whose failure is remembered, at about 200 bytes each."""


class Answered(IntEnum):
    """Which requests were answered since an item failed; each value includes those before it."""

    NONE = 0
    """No request was answered, or the item has not failed in this process."""
    NEIGHBOUR = 1
    """A request of another item of the same workspace was answered."""
    WORKSPACE = 2
    """A request of another workspace was answered."""

    def suffices(self, scope: Scope) -> bool:
        """Whether a failure of this scope is the item's own fault."""
        return self >= (Answered.NEIGHBOUR if scope is Scope.ITEM else Answered.WORKSPACE)


class _Latest:
    """When a request was answered last, for which item (or workspace), and when last for another one.

    They are known by the numbers of their ids: to compare and to hash a UUID is Python, and this is done for each item.
    """

    def __init__(self) -> None:
        self._who: int | None = None
        self._at = self._others_at = 0

    def answered(self, who: int, at: int) -> None:
        if who != self._who:
            self._who, self._others_at = who, self._at
        self._at = at

    def but(self, who: int) -> int:
        """When another one than this was answered last; 0 for never."""
        return self._others_at if who == self._who else self._at


class AnswerHistory:
    """The failures and answers that this process has seen, in their order.

    Args:
        capacity: Items whose failure is remembered, the latest.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._ticks = count(1)
        self._failed: OrderedDict[int, int] = OrderedDict()
        self._items = _Latest()
        self._workspaces = _Latest()

    def __len__(self) -> int:
        return len(self._failed)

    def since_failure(self, item: Item) -> Answered:
        """Which requests were answered since the item failed last; call it when the item is sent."""
        failed = self._failed.get(item.id.int)
        if failed is None:
            return Answered.NONE
        if self._workspaces.but(item.workspace_id.int) > failed:
            return Answered.WORKSPACE
        return Answered.NEIGHBOUR if self._items.but(item.id.int) > failed else Answered.NONE

    def take_in(self, item: Item, outcome: Outcome) -> None:
        """Note the outcome of a request for an item.

        A retry that is no outage and holds back more than the item may repeat what is remembered: it proves nothing.
        Neither does an item that died before a request was sent. An answer is evidence against what failed before it,
        so while no failure is remembered there is nothing to note.
        """
        if isinstance(outcome, Retry) and outcome.outage:
            self._failed[item.id.int] = next(self._ticks)
            self._failed.move_to_end(item.id.int)
            if len(self._failed) > self._capacity:
                self._failed.popitem(last=False)
        elif self._failed:
            self._answered(item, outcome)

    def _answered(self, item: Item, outcome: Outcome) -> None:
        if not isinstance(outcome, Retry):
            self._failed.pop(item.id.int, None)
            if isinstance(outcome, Dead) and not outcome.asked:
                return
        elif outcome.scope is not Scope.ITEM:
            return
        at = next(self._ticks)
        self._items.answered(item.id.int, at)
        self._workspaces.answered(item.workspace_id.int, at)
