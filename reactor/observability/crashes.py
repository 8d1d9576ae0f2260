"""The end of an error that nobody expected: one line of the log, whichever command it was in, and exit code 1.

The line comes in the form that LOG_FORMAT asks for, also where the error was quicker than the settings. Errors of
threads, and those that Python can raise to nobody (in a destructor), are lines too; these do not end the process.
"""

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def watch() -> None:
    """Have errors of threads, and those without a receiver, told in the log."""
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def report(error: BaseException) -> None:
    """Tell what ended the process."""
    log = _log()
    log.error("crashed", exc_info=error)


def _in_thread(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None and hook.exc_type is not SystemExit:
        log = _log()
        log.error("thread_crashed", exc_info=hook.exc_value)


def _unraisable(hook: "UnraisableHookArgs") -> None:
    if hook.exc_value is not None:
        log = _log()
        log.error("error_without_receiver", exc_info=hook.exc_value)


def _log() -> Any:
    """The log; set up by LOG_FORMAT, where it is a format, if no command has done that yet."""
    import structlog  # noqa: PLC0415  (takes a tenth of a second, and most commands do not log)

    from reactor.observability import logs  # noqa: PLC0415  (as above)

    if not structlog.is_configured():
        asked = os.environ.get("LOG_FORMAT")
        logs.configure(next((form for form in get_args(logs.Format) if form == asked), "auto"))
    return structlog.get_logger(__name__)
