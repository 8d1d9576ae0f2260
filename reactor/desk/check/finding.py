"""A line of the report of `check`, and the line about a clock, which the database and Google get."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from reactor.desk.wording import duration

LATE = 5.0  # seconds by which clocks may differ before it is worth a word
WRONG = 300.0  # seconds; a service account's assertion is refused from here on


class CheckVerdict(StrEnum):
    """How a check ended: well, with a warning, or with a fault."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """A line of the report.

    Attributes:
        check: What was looked at.
        verdict: How it is.
        says: What was found and, where it is not well, what to do.
    """

    check: str
    verdict: CheckVerdict
    says: str


Findings = Iterator[CheckFinding]
Given = Mapping[str, Any]
"""Settings that are not taken from the environment, by their names."""


def clock(name: str, ahead: timedelta) -> CheckFinding:
    """Say whether another clock is so far `ahead` of this machine's that it matters."""
    seconds = abs(ahead.total_seconds())
    if seconds < LATE:
        return CheckFinding(name, CheckVerdict.OK, "agrees with this machine's")
    side = "ahead of" if ahead > timedelta() else "behind"
    text = f"{duration(seconds)} {side} this machine's: let NTP set both"
    return CheckFinding(name, CheckVerdict.FAIL if seconds > WRONG else CheckVerdict.WARN, text)
