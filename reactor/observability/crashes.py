"""Logs an unexpected error that ends the process: one line, whatever the command was, and exit code 1.

The line has the form that LOG_FORMAT asks for, even if the error came before the settings were read. We also log errors
of threads, and those that Python cannot raise (in a destructor); these do not end the process.
"""

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def watch() -> None:
    """Log errors of threads, and errors that Python cannot raise."""
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def report(error: BaseException) -> None:
    """Log the error that ended the process."""
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
