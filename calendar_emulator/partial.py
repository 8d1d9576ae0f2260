"""Partial answers: the parameter `fields`, as every API of Google takes it.

`a,b` are two fields, `a/b` and `a(b,c)` go into an object or into each object of a list, `*` is every field. What is
not there is left out, so a tombstone answers with no more than it has. Source:
https://developers.google.com/workspace/calendar/api/guides/performance#partial-response
"""

import re
from functools import lru_cache
from typing import Any, Final

from calendar_emulator.errors import ApiError, invalid

Mask = dict[str, "Mask"]
"""The fields that are wanted, each with those that are wanted of it; an empty mask is everything."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_\-]+|[*/(),]")


def masked(value: Any, selection: str) -> Any:
    """What of an answer was asked for.

    Raises:
        ApiError: The selection cannot be read.
    """
    return _apply(value, _parse(selection))


def _apply(value: Any, mask: Mask) -> Any:
    if isinstance(value, list):
        return [_apply(each, mask) for each in value]
    if not mask or not isinstance(value, dict):
        return value
    everything = mask.get("*")
    return {
        name: _apply(each, mask.get(name, everything or {}))
        for name, each in value.items()
        if name in mask or everything is not None
    }


@lru_cache(maxsize=256)
def _parse(selection: str) -> Mask:
    tokens = _TOKEN.findall(selection)
    if "".join(tokens) != selection.replace(" ", ""):
        raise _unreadable(selection)
    mask = _fields(tokens, selection)
    if tokens:
        raise _unreadable(selection)
    return mask


def _fields(tokens: list[str], selection: str) -> Mask:
    """Read a list of fields off the tokens."""
    mask: Mask = {}
    while True:
        name = _name(tokens, selection)
        inner = mask.setdefault(name, {})
        while tokens and tokens[0] == "/":
            del tokens[0]
            inner = inner.setdefault(_name(tokens, selection), {})
        if tokens and tokens[0] == "(":
            del tokens[0]
            inner.update(_fields(tokens, selection))
            if not tokens or tokens.pop(0) != ")":
                raise _unreadable(selection)
        if not tokens or tokens[0] != ",":
            return mask
        del tokens[0]


def _name(tokens: list[str], selection: str) -> str:
    if not tokens or tokens[0] in "/(),":
        raise _unreadable(selection)
    return tokens.pop(0)


def _unreadable(selection: str) -> ApiError:
    return invalid(f"Invalid field selection {selection}", reason="invalidParameter", parameter="fields")
