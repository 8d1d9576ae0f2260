"""A Trio loop in a thread of its own, for tests that cannot be asynchronous themselves: Hypothesis's state machines."""

import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

T = TypeVar("T")


class Background:
    """The loop, for the length of a block. What crashes in it is raised by the next call, or at the end."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trio", daemon=True)
        self._up = threading.Event()
        self._crash: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive() and self._crash is None:
            self.call(self._nursery.cancel_scope.cancel)
        self._thread.join()
        if self._crash is not None and error is None:
            raise self._crash

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the loop."""
        try:
            return trio.from_thread.run_sync(function, *args, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise self._crash or AssertionError("the loop is over") from None

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an asynchronous function in the loop to its end."""
        try:
            return trio.from_thread.run(function, *args, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise self._crash or AssertionError("the loop is over") from None

    def start(self, function: Callable[..., Awaitable[object]]) -> Any:
        """Start a task in the loop; return what it says when it has started."""
        return self.run(self._start, function)

    async def _start(self, function: Callable[..., Awaitable[object]]) -> Any:
        return await self._nursery.start(function)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001  (raised where somebody waits)
            self._crash = error
        finally:
            self._up.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._up.set()
            await trio.sleep_forever()
