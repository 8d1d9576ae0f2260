"""An observer that cannot hurt: nothing depends on what it does, so nothing may fail with it.

It is called for every item, and what fails once often fails always; so of each of its methods one failure a minute is
told, and all are counted.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from uuid import UUID

import trio

from reactor.core.breaker import State
from reactor.core.item import Item, Settlement
from reactor.core.refusals import Kind
from reactor.core.stats import Stats
from reactor.loop.ports import Observer

TOLD_EVERY = 60.0
"""Seconds between two failures of one method that are told."""


class Guarded(Observer):
    """An observer behind a guard.

    Args:
        observer: Who is told what happens, and how it failed at that.
        stats: Counts.
    """

    def __init__(self, observer: Observer, stats: Stats) -> None:
        self._observer = observer
        self._stats = stats
        self._told: dict[str, float] = {}

    @contextmanager
    def _sending(self, items: Sequence[tuple[Item, float]]) -> Iterator[None]:
        entered: AbstractContextManager[object] | None = None
        with self._guard("sending"):
            manager = self._observer.sending(items)
            manager.__enter__()
            entered = manager
        try:
            yield
        finally:
            if entered is not None:
                error = sys.exc_info()
                with self._guard("sending"):
                    entered.__exit__(*error)

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        """A request is about to leave."""
        return self._sending(items)

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """What becomes of an item was written, or was not."""
        try:  # for every item, so without a context manager of Python's
            self._observer.ended(settlement, seconds=seconds, written=written)
        except Exception as error:  # noqa: BLE001  # whatever it is
            self._failed("ended", error)

    def breaker(self, workspace_id: UUID | None, before: State, after: State) -> None:
        """A breaker changed."""
        with self._guard("breaker"):
            self._observer.breaker(workspace_id, before, after)

    def everybody_held(self, problem: str) -> None:
        """Nothing leaves for a while."""
        with self._guard("everybody_held"):
            self._observer.everybody_held(problem)

    def refused(self, kind: Kind, sqlstate: str) -> None:
        """The database refused a kind of work."""
        with self._guard("refused"):
            self._observer.refused(kind, sqlstate)

    def accepted(self, kind: Kind) -> None:
        """The database accepts a kind of work."""
        with self._guard("accepted"):
            self._observer.accepted(kind)

    def crashed(self, error: Exception) -> None:
        """Something met what it did not expect."""
        self._stats.crashes += 1
        with suppress(Exception):
            self._observer.crashed(error)

    @contextmanager
    def _guard(self, method: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever it is
            self._failed(method, error)

    def _failed(self, method: str, error: Exception) -> None:
        now = trio.current_time()
        if now - self._told.get(method, -TOLD_EVERY) >= TOLD_EVERY:
            self._told[method] = now
            self.crashed(error)
        else:
            self._stats.crashes += 1
