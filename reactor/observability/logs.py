"""Logs: one line per event on standard error, for a person or for a machine.

Events have a name and values, never sentences with values inside. Libraries' records have the same form, from warnings
upwards: httpx logs every URL at a lower level, and a calendar's id is a person's address. Of an error a line holds the
type and the traceback, and nothing that may be a secret or an event's text (`reactor.observability.tracebacks`); it
stays one line.
"""

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog

from reactor.observability.tracebacks import described

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

Format = Literal["json", "console", "auto"]
Level = Literal["debug", "info", "warning", "error"]

log = structlog.get_logger(__name__)


def configure(form: Format, stream: TextIO | None = None, *, level: Level = "info") -> None:
    """Set up logging for the process.

    Args:
        form: `json`, `console`, or `auto` for console on a terminal and JSON elsewhere.
        stream: Where lines go; standard error by default.
        level: The lowest level at which our own lines are written.
    """
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper("iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),  # what is not wanted costs next to nothing
        cache_logger_on_first_use=True,
    )
    console = form == "console" or (form == "auto" and out.isatty())
    last: list[Processor] = (
        [_traceback_aside, structlog.dev.ConsoleRenderer(colors=out.isatty())]
        if console
        else [_traceback, structlog.processors.JSONRenderer()]
    )
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("reactor").setLevel(level.upper())


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's)
        """Tell in one line that a line could not be made (a library's, with values that do not fit its text)."""
        if record.name != __name__:
            log.error("log_line_lost", of=record.name, exc_info=sys.exception())


def _traceback(_: Any, __: str, event: "EventDict") -> "EventDict":
    error = event.pop("exc_info", None)
    if error is True or isinstance(error, tuple):
        error = sys.exc_info()[1] if error is True else error[1]
    if isinstance(error, BaseException):
        event["exception"] = described(error)
    return event


def _traceback_aside(logger: Any, method: str, event: "EventDict") -> "EventDict":
    """For the console, which prints what is called `exception` over many lines."""
    event = _traceback(logger, method, event)
    if "exception" in event:
        event["traceback"] = " | ".join(line.strip() for line in event.pop("exception").splitlines())
    return event
