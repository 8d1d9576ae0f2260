"""Lines of recurrence (RFC 5545, 3.8.5), so that two spellings of one rule are one rule.

Names are written in capitals or not, the parts of a rule and the members of a list in any order, an interval of one or
not at all, and dates of exceptions on one line or on several.
"""

from collections.abc import Iterable

Rules = frozenset[tuple[str, ...]]


def rules(lines: object) -> Rules:
    """The rules that some lines say, in no order; what is no text is none."""
    texts = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    return frozenset(rule for text in texts for rule in _rules(text))


def _rules(line: str) -> Iterable[tuple[str, ...]]:
    head, _, value = line.strip().partition(":")
    name, *parameters = head.upper().split(";")
    if name in ("RRULE", "EXRULE"):
        parts = (part.upper().partition("=") for part in value.split(";") if part)
        return [(name, *sorted(f"{key}={_list(of)}" for key, _, of in parts if (key, of) != ("INTERVAL", "1")))]
    return [(name, *sorted(parameters), each) for each in value.upper().split(",")]


def _list(values: str) -> str:
    return ",".join(sorted(values.split(",")))
