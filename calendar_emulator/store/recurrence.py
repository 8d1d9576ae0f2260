"""Which lines of recurrence Google takes: those of RFC 5545, 3.3.10 and 3.8.5, without DTSTART and DTEND.

Pure. The occurrences of a rule are not computed; a wrong rule is refused, as the API does: an unknown part or one that
is there twice, a number out of its range, an end that is given in two ways, a day of the month for a weekly rule.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY", "HOURLY", "MINUTELY", "SECONDLY"})
_DAY: Final = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,3}")
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "BYSECOND": (0, 60),
    "BYMINUTE": (0, 59),
    "BYHOUR": (0, 23),
    "BYMONTH": (1, 12),
}
_SIGNED: Final[Mapping[str, int]] = {"BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}
_NOT_WITH: Final[Mapping[str, frozenset[str]]] = {
    "BYMONTHDAY": frozenset({"WEEKLY"}),
    "BYYEARDAY": frozenset({"DAILY", "WEEKLY", "MONTHLY"}),
    "BYWEEKNO": _FREQUENCIES - {"YEARLY"},
}
_DATES: Final = re.compile(r"(?P<name>RDATE|EXDATE)(?P<parameters>(;[A-Za-z-]+=[^;:]+)*):(?P<values>.+)")
_FORMS: Final = {8: "%Y%m%d", 15: "%Y%m%dT%H%M%S", 16: "%Y%m%dT%H%M%SZ"}
_LONGEST: Final = 16_384


def is_recurrence(line: str) -> bool:
    """Whether it is a line that Google takes."""
    if len(line) > _LONGEST:
        return False
    kind, colon, rule = line.partition(":")
    if kind in ("RRULE", "EXRULE") and colon:
        return _is_rule(rule.upper())
    dates = _DATES.fullmatch(line)
    return dates is not None and all(_is_time(value.partition("/")[0]) for value in dates["values"].split(","))


def _is_rule(rule: str) -> bool:
    parts = [part.partition("=") for part in rule.removesuffix(";").split(";")]
    given = {name: value for name, _, value in parts}
    if len(given) != len(parts) or given.get("FREQ") not in _FREQUENCIES or {"COUNT", "UNTIL"} <= given.keys():
        return False
    return all(_is_part(name, value, given) for name, value in given.items())


def _is_part(name: str, value: str, given: Mapping[str, str]) -> bool:
    if given["FREQ"] in _NOT_WITH.get(name, ()):
        return False
    match name:
        case "FREQ":
            return True
        case "UNTIL":
            return _is_time(value)
        case "COUNT" | "INTERVAL":
            return value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0
        case "WKST":
            return _DAY.fullmatch(value) is not None and len(value) == 2
        case "BYDAY":
            return all(_is_day(day, given) for day in value.split(","))
        case "BYSETPOS" if not any(each.startswith("BY") and each != "BYSETPOS" for each in given):
            return False
    numbers = [int(each) for each in value.split(",") if _NUMBER.fullmatch(each)]
    if len(numbers) != value.count(",") + 1:
        return False
    if name in _RANGES:
        least, most = _RANGES[name]
        return all(least <= number <= most for number in numbers)
    return name in _SIGNED and all(0 < abs(number) <= _SIGNED[name] for number in numbers)


def _is_day(text: str, given: Mapping[str, str]) -> bool:
    """Whether it is a weekday; its number only where there is a month or a year to count in."""
    day = _DAY.fullmatch(text)
    if day is None:
        return False
    if day[1] is None:
        return True
    return given["FREQ"] in ("MONTHLY", "YEARLY") and "BYWEEKNO" not in given and 0 < abs(int(day[1])) <= 53


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, _FORMS[len(text)]).replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return False
    return True
