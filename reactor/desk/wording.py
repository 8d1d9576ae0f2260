"""How values are worded for a person, in a terminal as on a page.

The texts come from a database that others write. A terminal obeys control characters, and marks of the writing
direction turn a line around, so `clean` takes both out.
"""

import json
import re
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONGEST = 10_000  # characters of one value


def clean(value: Any) -> str:
    """A value as a person reads it, without control characters that a terminal would obey."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return _local(value).isoformat(" ", "seconds")
        case timedelta():
            return duration(value.total_seconds())
        case int():
            return f"{value:,}"
        case _:
            return _CONTROLS.sub(" ", _bounded(str(value)))


def visible(text: str) -> str:
    """A text as it is; in quotation marks where an end of it, or a character, could not be seen."""
    return text if text == text.strip() and text.isprintable() else repr(text)


def duration(seconds: float) -> str:
    """Seconds as a person says them, in the two largest units."""
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    said = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(said[:2]) or "0 s"


def count(number: int, noun: str) -> str:
    """A number with its noun, in the singular or the plural."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def at_least(count: int, cap: int) -> str:
    """A count that was not followed beyond a cap."""
    return f"over {cap:,}" if count > cap else f"{count:,}"


def many(number: int, cap: int, noun: str) -> str:
    """A number with its noun, of a count that was not followed beyond a cap."""
    return f"over {cap:,} {noun}s" if number > cap else count(number, noun)


def as_json(document: Any) -> str:
    """A result for programs: times in ISO 8601, durations in seconds."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=_plain)


def _local(moment: datetime) -> datetime:
    with suppress(OverflowError):  # the first and the last day that there is
        return moment.astimezone()
    return moment


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
    raise TypeError(type(value).__name__)
