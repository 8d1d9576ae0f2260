"""The policy under a guard: a bug that one item brings out costs that item an attempt, and nothing else.

What `reactor.core.policy` decides is decided for one item at a time. If it raises an unexpected error there, the error
is logged, and the item ends as one that failed unexpectedly.
"""

import random
from collections.abc import Callable
from contextlib import suppress

from reactor.core.calendar.intent import SyncIntent
from reactor.core.dispatch.lane import QueuedItem
from reactor.core.item import Item, Settlement
from reactor.core.outcome import Outcome
from reactor.core.policy import UNEXPECTED_ERROR, fail_unexpectedly, prepare, release_unknown, settle


class GuardedPolicy:
    """The rules for items, each guarded.

    Args:
        ceiling: Failed attempts after which every item is a dead letter, whatever its row allows.
        crashed: Called with each unexpected error.
    """

    def __init__(self, ceiling: int, crashed: Callable[[Exception], object]) -> None:
        self._ceiling = ceiling
        self._crashed = crashed

    def prepare(self, item: Item) -> SyncIntent | Settlement:
        """Say what is wanted from Google for an item, or how it ends without asking Google."""
        try:
            return prepare(item)
        except Exception as error:  # noqa: BLE001  # a bug that one item brings out
            return self._fail(item, None, error)

    def settle(self, entry: QueuedItem, outcome: Outcome) -> Settlement:
        """Say how an item ends after an attempt."""
        item, work, chance = entry.item, entry.work, random.random()
        try:
            return settle(item, work, outcome, answered=entry.answered, random=chance, ceiling=self._ceiling)
        except Exception as error:  # noqa: BLE001  # a bug that one item brings out
            return self._fail(item, work, error)

    def release_unknown(self, entry: QueuedItem) -> Settlement:
        """Release an item with a note of what its attempt may have done."""
        try:
            return release_unknown(entry.item, entry.work)
        except Exception as error:  # noqa: BLE001  # a bug that one item brings out
            return self._fail(entry.item, entry.work, error)

    def not_written(self, settlement: Settlement, error: Exception) -> Settlement:
        """Say what to write of an item where writing its end met an unexpected error.

        What was to be remembered of its source may be what fails, so it is not written. If that fails too, the error is
        raised: the session ends, and sweeps count how often the item loses its worker.
        """
        if settlement.last_error == UNEXPECTED_ERROR:
            raise error
        return self._fail(settlement.item, None, error)

    def _fail(self, item: Item, work: SyncIntent | None, error: Exception) -> Settlement:
        """Log an unexpected error in the handling of an item, and say how the item ends."""
        self._crashed(error)
        with suppress(Exception):  # the note of what it may have left behind may be what fails
            return fail_unexpectedly(item, work, random=random.random(), ceiling=self._ceiling)
        return fail_unexpectedly(item, None, random=random.random(), ceiling=self._ceiling)
