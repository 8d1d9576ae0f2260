"""Turns signals into a stop: the first one drains, the second one ends the process at once.

The first SIGTERM or SIGINT asks: the service stops claiming, finishes what is in flight and releases the rest. The
second cancels everything. Because SIGINT is received here, no `KeyboardInterrupt` is raised inside tasks. A process
with id 1, as in a container, ignores a signal without a receiver, so the receiver starts before anything slow.
"""

import signal
from collections.abc import Callable

import structlog
import trio

log = structlog.get_logger(__name__)


async def watch_signals(
    stop: trio.Event, hard_stop: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Turn the first signal into `stop` and the second into a hard stop.

    Args:
        stop: Set at the first signal; where something else has set it, the first signal is a hard stop.
        hard_stop: Called once, at the second.
        task_status: Started once signals are received.
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
