"""The end of an error that nobody expected: one line of the log, whichever command it was in, and exit code 1.

The line comes in the form that LOG_FORMAT asks for, also where the error was quicker than the settings. Errors of
threads, and those that Python can raise to nobody (in a destructor), are lines too; these do not end the process.
"""

import os
import sys
import threading
from typing import TYPE_CHECKING, get_args

import structlog

from reactor import logs

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

log = structlog.get_logger(__name__)


def watch() -> None:
    """Have errors of threads, and those without a receiver, told in the log."""
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def report(error: BaseException, event: str = "crashed") -> None:
    """Tell an error that nobody expected."""
    if not structlog.is_configured():
        asked: logs.Format = os.environ.get("LOG_FORMAT", "auto")  # type: ignore[assignment]  # looked at below
        logs.configure(asked if asked in get_args(logs.Format) else "auto")
    log.error(event, exc_info=error)


def _in_thread(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None and hook.exc_type is not SystemExit:
        report(hook.exc_value, "thread_crashed")


def _unraisable(hook: "UnraisableHookArgs") -> None:
    if hook.exc_value is not None:
        report(hook.exc_value, "error_without_receiver")
