"""Logs: one line per event on standard error, for a person or for a machine.

Events have a name and values, never sentences with values inside. Libraries' records come out in the same form, from
warnings upwards: httpx writes a line with every URL at a lower level, and the id of a calendar is somebody's address.
Tracebacks come without local variables, which may hold secrets.
"""

import logging
import sys
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

Format = Literal["json", "console", "auto"]
Level = Literal["debug", "info", "warning", "error"]


def configure(form: Format, stream: TextIO | None = None, *, level: Level = "info") -> None:
    """Set up logging for the process.

    Args:
        form: `json`, `console`, or `auto` for console on a terminal and JSON elsewhere.
        stream: Where lines go; standard error by default.
        level: The least of our own lines.
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
        [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("reactor").setLevel(level.upper())
