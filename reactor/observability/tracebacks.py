"""Describes an error for the log: its type and where it was raised, never its message.

The message of a foreign error may repeat the data: the text of an event, an address, a piece of a token (`KeyError:
'ada@example.com'`, a driver's "DETAIL: Key (title)=…"). We cannot know it for every library, so we leave out messages,
and also local variables, lines of code and notes. What is safe stays, because it says more than a type alone: the
sentences of our own errors, which never contain data (`reactor.errors`), an operating system's error by its name, a
database's by its SQLSTATE. With file, line and function that is enough to find a fault.
"""

import errno
import re
import traceback
from collections.abc import Iterator
from types import TracebackType

from reactor.errors import ReactorError

_OUTERMOST, _INNERMOST = 10, 30  # frames that are shown of an endless recursion
_DEEPEST = 10  # errors behind errors
_WIDEST = 10  # errors of a group
_PACKAGE = __file__.rpartition("reactor")[0]
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")


def described(error: BaseException) -> str:
    """Tell an error and those behind it, in the form of Python's tracebacks."""
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, shown: set[int]) -> Iterator[str]:
    shown.add(id(error))
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None and id(behind) not in shown and len(shown) <= _DEEPEST:
        yield from _lines(behind, shown)
        yield "which led to"
    yield "Traceback (most recent call last):"
    yield from _frames(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.") + _saying(error)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions[:_WIDEST]:
            yield from ("  " + line for line in _lines(each, set(shown)))
        if (more := len(error.exceptions) - _WIDEST) > 0:
            yield f"  and {more} more"


def _frames(trace: TracebackType | None) -> Iterator[str]:
    frames = list(traceback.walk_tb(trace))
    left_out = len(frames) - _OUTERMOST - _INNERMOST
    for number, (frame, line) in enumerate(frames):
        if left_out > 0 and _OUTERMOST <= number < _OUTERMOST + left_out:
            if number == _OUTERMOST:
                yield f"  {left_out} more"
            continue
        code = frame.f_code
        file = code.co_filename.rpartition("site-packages/")[2].removeprefix(_PACKAGE)
        yield f'  File "{file}", line {line}, in {code.co_qualname}'


def _saying(error: BaseException) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(error, ReactorError):
        return f": {error}"
    if isinstance(error, OSError) and (name := errno.errorcode.get(error.errno or 0)):
        return f": {name}"
    if isinstance(sqlstate, str) and _SQLSTATE.fullmatch(sqlstate):
        return f": {sqlstate}"
    return ""
