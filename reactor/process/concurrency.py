"""Helpers around Trio: threads with a time limit, groups of errors, tasks that are restarted after an error."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
import trio

from reactor.core.backoff import Pauses
from reactor.errors import ReactorError, TransientError

RESTART_FIRST = 1.0  # seconds
RESTART_CAP = 20.0  # seconds; a task that must report within a minute is not late after such a pause

T = TypeVar("T")
P = ParamSpec("P")

log = structlog.get_logger(__name__)


async def in_thread(work: Callable[[], T], *, seconds: float) -> T:
    """Run a blocking function in a thread; the thread is abandoned when it takes too long or the task is cancelled.

    Raises:
        TransientError: The function took longer than `seconds`.
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
    """Turn a group that has only errors of the expected kind into the first of them.

    Every other group is raised as it is, because it contains a bug.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        if group.split(expected)[1] is not None:
            raise
        error = first_of(group)
        raise error from error.__cause__


async def pause(pauses: Pauses, *, unless: trio.Event) -> None:
    """Wait for the next of the growing pauses, or until an event is set."""
    with trio.move_on_after(pauses.after_failure(random.random())):
        await unless.wait()


async def keep_running(task: str, run: Callable[[], Awaitable[object]], *, failed: Callable[[], object] = int) -> None:
    """Run a background task for ever: restart it after an unexpected error.

    We log the error in one line and call `run` again after 1 s, the next time after 2 s, and so on up to 20 s, so a
    task that always fails at once costs three lines a minute. Errors of our own are raised, because they mean something
    to the caller. Tasks that do the work itself are not run here: their errors must end the work.

    Args:
        task: The task's name in the log.
        run: The task; called again and again.
        failed: Called after each failure.

    Raises:
        ReactorError: `run` raised it (in an exception group).
    """
    pauses, never = Pauses(first=RESTART_FIRST, cap=RESTART_CAP), trio.Event()
    while True:
        began = trio.current_time()
        try:
            await run()
        except* ReactorError:
            raise
        except* Exception as errors:
            log.error("task_crashed", task=task, exc_info=errors)  # noqa: TRY400  (the logger is structlog's)
            failed()
        if trio.current_time() - began > RESTART_CAP:
            pauses.reset()
        await pause(pauses, unless=never)


def harmless(callback: Callable[P, object]) -> Callable[P, None]:
    """Wrap a callback on which nothing depends: an unexpected error in it is logged, and not raised."""

    @wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            log.exception("callback_crashed", callback=callback.__qualname__)

    return call
