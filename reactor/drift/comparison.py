"""An event that is wanted beside the one that is there, field by field."""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reactor.drift import points
from reactor.drift.calendar_event import CalendarEvent
from reactor.drift.wanted import WORDS, Field, WantedEvent

DESCRIPTION_KEPT = 8_000
"""Characters of HTML after which a description is cut (docs/google.md)."""
_TAG = re.compile(r"</?[A-Za-z]")
_LONGEST_ENTITY = len("&quot;")  # none is cut in two, so this much less may be left


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field in which an event is not what is wanted.

    Attributes:
        field: The field.
        wanted: What the application wants, as people read it; of texts the length unless words are asked for.
        actual: What the calendar shows, likewise.
    """

    field: Field
    wanted: str
    actual: str


def differences(wanted: WantedEvent, actual: CalendarEvent, *, words: bool = False) -> tuple[FieldDifference, ...]:
    """Compare an event with what is wanted of it.

    Args:
        wanted: What the application wants.
        actual: What the calendar holds.
        words: Whether texts are shown, and not their lengths.
    """
    return tuple(
        FieldDifference(name, shown(name, value, words=words), shown(name, actual.fields[name], words=words))
        for name, value in wanted.fields.items()
        if not _AGREE.get(name, _is_equal)(value, actual.fields[name], wanted.fields)
    )


def shown(name: Field, value: Any, *, words: bool = False) -> str:
    """A value as people read it."""
    if name in WORDS and not words:
        return f"({len(value):,} character{'' if len(value) == 1 else 's'})"
    if isinstance(value, frozenset):
        return "; ".join(sorted(":".join((each[0], ";".join(each[1:]))) for each in value)) or "none"
    if value is None:
        return "the calendar's own" if name is Field.REMINDERS else "none"
    return points.shown(value) or "none"


def _is_equal(wanted: Any, actual: Any, _: Mapping[Field, Any]) -> bool:
    return bool(wanted == actual)


def _is_same_point(wanted: Any, actual: Any, _: Mapping[Field, Any]) -> bool:
    return points.same(wanted, actual)


def _is_same_zone(wanted: Any, actual: Any, all_of_it: Mapping[Field, Any]) -> bool:
    return points.same_zone(wanted, actual, all_of_it[Field.START])


def _is_same_description(wanted: str, actual: str, _: Mapping[Field, Any]) -> bool:
    """Google shows descriptions as HTML, and the application writes text: what holds a tag is of another hand."""
    if _TAG.search(actual):
        return False
    text = html.unescape(actual)
    if len(html.escape(wanted, quote=False)) <= DESCRIPTION_KEPT:
        return text == wanted
    return wanted.startswith(text) and len(actual) > DESCRIPTION_KEPT - _LONGEST_ENTITY


_AGREE: Mapping[Field, Callable[[Any, Any, Mapping[Field, Any]], bool]] = {
    Field.START: _is_same_point,
    Field.END: _is_same_point,
    Field.TIME_ZONE: _is_same_zone,
    Field.DESCRIPTION: _is_same_description,
}
