"""Notices each look at the outbox that the database did not refuse: the sessions work, so the service is ready."""

from collections.abc import Callable

from reactor.core.refusals import RefusedWork
from reactor.loop import Observer


class LookObserver(Observer):
    """Calls a function after each look that the database did not refuse.

    Args:
        looked: The function.
    """

    def __init__(self, looked: Callable[[], None]) -> None:
        self._looked = looked

    def accepted(self, kind: RefusedWork) -> None:
        """Call the function if the work was a look."""
        if kind is RefusedWork.CLAIM:
            self._looked()
