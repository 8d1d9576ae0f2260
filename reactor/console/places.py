"""Where a page of a long list begins, as its address has it: the row before, by the values that sort the list.

A list is read by these values and not by a number of rows, so the tenth page costs as much as the first.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from reactor.errors import ConfigurationError

AFTER = "after"
"""The name of a place in an address."""
_BETWEEN = "~"


def as_place(place: tuple[Any, ...] | None) -> str | None:
    """A place as text; None for none."""
    if place is None:
        return None
    return _BETWEEN.join(each.isoformat() if isinstance(each, datetime) else str(each) for each in place)


def read_place(text: str | None, *kinds: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """Read a place; None for an address that names none.

    Args:
        text: What the address says.
        kinds: What reads each value: `int`, `UUID`, `truth`, `moment`.

    Raises:
        ConfigurationError: The text is no place.
    """
    if not text:
        return None
    parts = text.split(_BETWEEN)
    try:
        return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
    except ValueError:
        raise ConfigurationError("The address does not say where the page begins: open the first page.") from None


def truth(text: str) -> bool:
    """Read True or False."""
    if text not in ("True", "False"):
        raise ValueError(text)
    return text == "True"


def moment(text: str) -> datetime | str:
    """Read a time with its zone, or PostgreSQL's `infinity` and `-infinity`, which Python cannot hold."""
    if text in ("infinity", "-infinity"):
        return text
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found


def number(text: str) -> int:
    """Read a small whole number."""
    if not (text.isascii() and text.isdecimal() and len(text) < 5):
        raise ValueError(text)
    return int(text)


def pages_around(path: str, query: Mapping[str, str], place: tuple[Any, ...] | None) -> dict[str, str | None]:
    """The addresses of the first page of a list and of the next one, None where there is none.

    Args:
        path: The page's path.
        query: What the address has asked for; what is empty is left out.
        place: Where the next page begins; None at the end.
    """
    filters = {name: value for name, value in query.items() if name != AFTER and value}
    following = as_place(place)
    return {
        "first": address(path, filters) if query.get(AFTER) else None,
        "next": address(path, {**filters, AFTER: following}) if following else None,
    }


def address(path: str, query: Mapping[str, str]) -> str:
    """A path with what it asks for."""
    return f"{path}?{urlencode(query)}" if query else path
