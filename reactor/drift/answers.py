"""What Google's answer to a read means (https://developers.google.com/workspace/calendar/api/guides/errors)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_LIMITED_FOR_LONG = frozenset({"quotaExceeded", "dailyLimitExceeded"})  # till tomorrow
_NOT_SHARED = frozenset({"forbidden", "requiredAccessLevel"})
_CODE = re.compile(r"[A-Za-z_]{1,64}")


class DriftAnswer(Enum):
    """The kinds of answers, by what the reader does next."""

    FOUND = auto()
    ABSENT = auto()
    """There is no such calendar or event, or the account may not see it."""
    RENEW = auto()
    """Another access token may do."""
    LIMITED = auto()
    """Too fast: wait, then ask again."""
    LATER = auto()
    """Google or the way to it has failed: ask again."""
    REFUSED = auto()
    """Another request would be refused too."""


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """An answer of Google, classified.

    Attributes:
        means: What the reader does next.
        document: The JSON of the answer, if something was found.
        codes: The status and Google's reasons, for people.
    """

    means: DriftAnswer
    document: dict[str, Any] = field(default_factory=dict, repr=False)
    codes: str = ""


def read(status: int, body: bytes) -> ReadAnswer:
    """Classify a response by its status and its reasons."""
    document = _document(body)
    if document is None:
        return ReadAnswer(DriftAnswer.LATER, codes=f"{status} without Google's JSON")
    if status < 300:
        return ReadAnswer(DriftAnswer.FOUND, document)
    reasons = list(dict.fromkeys(_reasons(document.get("error"))))
    return ReadAnswer(_means(status, frozenset(reasons)), codes=" ".join([str(status), *reasons]))


def _means(status: int, reasons: frozenset[str]) -> DriftAnswer:
    if status == 401:
        return DriftAnswer.RENEW
    if status in (404, 410) or (status == 403 and reasons and reasons <= _NOT_SHARED):
        return DriftAnswer.ABSENT
    if reasons & _LIMITED_FOR_LONG:
        return DriftAnswer.REFUSED
    if status == 429 or (status == 403 and reasons & _LIMITS):
        return DriftAnswer.LIMITED
    return DriftAnswer.LATER if status >= 500 or status == 408 else DriftAnswer.REFUSED


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _reasons(error: object) -> Iterator[str]:
    """The machine-readable reasons; what is none of a small alphabet may quote anything, and is left out."""
    if not isinstance(error, dict):
        return
    for place in ("details", "errors"):
        several = error.get(place)
        for each in several if isinstance(several, list) else []:
            reason = each.get("reason") if isinstance(each, dict) else None
            if isinstance(reason, str) and _CODE.fullmatch(reason):
                yield reason
