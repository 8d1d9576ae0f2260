"""Observers whose errors cannot stop the loop: nothing depends on what they do, so nothing may fail because of them.

They are called for every item, and a call that fails once often fails always. So for each method of each observer we
report one failure a minute, and count all. A method that an observer only inherits from `Observer` is not called.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any
from uuid import UUID

import trio

from reactor.core.calendar.messages import Method
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.item import Item, Settlement
from reactor.core.refusals import RefusedWork
from reactor.core.stats import Stats
from reactor.loop.ports import Observer

REPORT_EVERY = 60.0
"""Seconds between two failures of one method that are reported."""

_Call = Callable[..., Any]


class Guarded(Observer):
    """Several observers behind a guard; one that fails costs the others nothing.

    Args:
        observers: The observers, called one after another; each also gets the failures of the others (`crashed`).
        stats: Counts the observers' failures.
    """

    def __init__(self, observers: Sequence[Observer], stats: Stats) -> None:
        self._stats = stats
        self._reported: dict[_Call, float] = {}
        self._calls = {name: _own(observers, name) for name in vars(Observer) if not name.startswith("_")}

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        """A request is about to leave."""
        return self._sending(items) if self._calls["sending"] else nullcontext()

    @contextmanager
    def _sending(self, items: Sequence[tuple[Item, float]]) -> Iterator[None]:
        with ExitStack() as stack:
            for call in self._calls["sending"]:
                stack.enter_context(self._entered(call, items))
            yield

    @contextmanager
    def _entered(self, call: _Call, items: Sequence[tuple[Item, float]]) -> Iterator[None]:
        """Enter what one observer returns, and leave it; an error in either is only reported."""
        entered: AbstractContextManager[object] | None = None
        with self._guard(call):
            manager = call(items)
            manager.__enter__()
            entered = manager
        try:
            yield
        finally:
            if entered is not None:
                error = sys.exc_info()
                with self._guard(call):
                    entered.__exit__(*error)

    def requested(self, method: Method, code: str, seconds: float) -> None:
        """A request was answered, or was not."""
        self._notify("requested", method, code, seconds)

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """The end of an item was written, or was not."""
        self._notify("ended", settlement, seconds=seconds, written=written)

    def abandoned(self) -> None:
        """The claims session is over."""
        self._notify("abandoned")

    def breaker(self, workspace_id: UUID | None, before: BreakerState, after: BreakerState) -> None:
        """A breaker has changed its state."""
        self._notify("breaker", workspace_id, before, after)

    def everybody_held(self, problem: str) -> None:
        """Nothing leaves for a while."""
        self._notify("everybody_held", problem)

    def refused(self, kind: RefusedWork, sqlstate: str) -> None:
        """The database refused a kind of work."""
        self._notify("refused", kind, sqlstate)

    def accepted(self, kind: RefusedWork) -> None:
        """The database accepts a kind of work."""
        self._notify("accepted", kind)

    def crashed(self, error: Exception) -> None:
        """An unexpected error was met."""
        self._stats.crashes += 1
        for call in self._calls["crashed"]:
            with suppress(Exception):
                call(error)

    def _notify(self, method: str, *args: object, **kwargs: object) -> None:
        for call in self._calls[method]:
            try:  # for every item, so without a context manager of Python's
                call(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  # whatever it is
                self._failed(call, error)

    @contextmanager
    def _guard(self, call: _Call) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever it is
            self._failed(call, error)

    def _failed(self, call: _Call, error: Exception) -> None:
        now = trio.current_time()
        if now - self._reported.get(call, -REPORT_EVERY) >= REPORT_EVERY:
            self._reported[call] = now
            self.crashed(error)
        else:
            self._stats.crashes += 1


def _own(observers: Sequence[Observer], method: str) -> tuple[_Call, ...]:
    """A method of those observers that have one of their own."""
    return tuple(
        getattr(each, method) for each in observers if getattr(type(each), method) is not vars(Observer)[method]
    )
