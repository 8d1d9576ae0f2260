"""What the parts of a process have in common: how they are stopped, and how long they pause between attempts.

The first SIGTERM or SIGINT asks: stop claiming, finish, give back. The second insists: everything is cancelled. With
SIGINT received here there is no `KeyboardInterrupt` inside tasks. As process 1 of a container a signal without a
receiver is ignored, so the receiver comes before anything slow.
"""

import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
import trio

from reactor.core.backoff import backoff
from reactor.errors import ReactorError, TransientError

KEPT_FIRST = 1.0  # seconds
KEPT_CAP = 20.0  # seconds; a task that has to beat within a minute is not late for a pause

T = TypeVar("T")
P = ParamSpec("P")

log = structlog.get_logger(__name__)


async def watch_signals(
    stop: trio.Event, hard_stop: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Turn the first signal into `stop` and the second into a hard stop.

    Args:
        stop: Set at the first signal; where something else has set it, the first signal is a hard stop.
        hard_stop: Called once, at the second.
        task_status: Told once signals are received.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                log.warning("stopping_at_once", signal=signal.Signals(number).name)
                hard_stop()
                return
            log.info("stopping", signal=signal.Signals(number).name)
            stop.set()


async def in_thread(work: Callable[[], T], *, seconds: float) -> T:
    """Run what blocks in a thread, which is left behind when it takes too long or the task is cancelled.

    Raises:
        TransientError: It took too long.
    """
    with trio.move_on_after(seconds):
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    raise TransientError(f"The database did not answer within {seconds:g} s.")


@asynccontextmanager
async def cancelled_by(event: trio.Event) -> AsyncIterator[None]:
    """Cancel the block when an event is set."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        yield
        nursery.cancel_scope.cancel()


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group of groups."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


@contextmanager
def one_error(expected: type[Exception]) -> Iterator[None]:
    """Turn a group that holds nothing but errors of an expected kind into the first of them.

    Everything else is a bug, and comes out as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        if group.split(expected)[1] is not None:
            raise
        error = first_of(group)
        raise error from error.__cause__


class Pauses:
    """The growing pauses of something that is tried again, with jitter.

    Args:
        first: Seconds; the first pause.
        cap: Seconds; the longest, before jitter.
    """

    def __init__(self, *, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap
        self._failures = 0

    def reset(self) -> None:
        """Begin with the first pause again: it worked."""
        self._failures = 0

    async def after_failure(self, unless: trio.Event) -> None:
        """Pause after one more failure, or until an event is set."""
        self._failures += 1
        pause = self._first * backoff(self._failures, random=random.random(), cap=self._cap / self._first)
        with trio.move_on_after(pause):
            await unless.wait()


async def kept(task: str, run: Callable[[], Awaitable[object]], *, failed: Callable[[], object] = int) -> None:
    """Run what goes on for ever and is not the work itself: an error that nobody expected does not end it.

    The error is one line of the log, and `run` is begun again after 1 s, after 2 s the next time, and so on up to 20 s:
    what fails at once and always costs three lines a minute. Errors of our own come out: they have a meaning for the
    caller.

    Args:
        task: What the log calls it.
        run: Called again and again.
        failed: Called after each failure.
    """
    pauses, never = Pauses(first=KEPT_FIRST, cap=KEPT_CAP), trio.Event()
    while True:
        began = trio.current_time()
        try:
            await run()
        except* ReactorError:
            raise
        except* Exception as errors:
            log.error("task_crashed", task=task, exc_info=errors)  # noqa: TRY400  (the logger is structlog's)
            failed()
        if trio.current_time() - began > KEPT_CAP:
            pauses.reset()
        await pauses.after_failure(never)


def harmless(callback: Callable[P, object]) -> Callable[P, None]:
    """A callback on which nothing depends: an error that nobody expected in it is one line of the log, and no more."""

    @wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            log.exception("callback_crashed", callback=callback.__qualname__)

    return call
