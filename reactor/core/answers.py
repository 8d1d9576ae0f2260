"""What an answer means: one table, read from the top, the first row that fits decides.

Google's own account of its errors is https://developers.google.com/workspace/calendar/api/guides/errors. Three things
make a table necessary. One status says several things (403 is at least five), so the `reason` in the body decides, not
the status alone. One answer means different things after different requests (404 after a delete is what was wanted,
after an insert it is the calendar that is missing). And not every answer is Google's: a proxy's page must never cost a
workspace its connection, nor pass for "no such event".

A row's name is the name of its test (`tests/test_answers.py`) and of its line in `docs/google.md`.
"""

import json
import re
from collections.abc import Container
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from reactor.core.messages import Answer, NoAnswer, Reply, Step
from reactor.core.outcome import Dead, FailureCode, Retry, Scope

_HOUR = 3600.0
_LONGEST_WAIT = 86_400.0  # a Retry-After beyond a day is taken for a mistake
_SECONDS = re.compile(r"[0-9]{1,9}")


class Means(Enum):
    """What the exchange goes on from; everything else ends it."""

    SUCCESS = auto()
    TAKEN = auto()
    """The id exists already: perhaps by our own lost answer, perhaps as a tombstone."""
    ABSENT = auto()
    """What should be removed is not there."""
    MISSING = auto()
    """No such event, or no such calendar: Google does not say which."""
    GONE = auto()
    """The event was deleted."""
    UNUSABLE = auto()
    """The deleted event cannot be brought back under its id."""
    STALE = auto()
    """It is not the version that we know."""
    BAD_SEQUENCE = auto()
    """Google wants the event's current sequence."""
    UNAUTHORIZED = auto()
    """The access token is not good (any more)."""
    CONFLICT = auto()
    """It got in the way of something else; by itself it may pass."""
    SINGLY = auto()
    """The batch was refused as such; its parts say more when they are sent one by one."""


Meaning = Means | Retry | Dead


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error's body says.

    Attributes:
        google: Whether it has the shape of Google's errors at all.
        reasons: Every `reason` in it, of both of the shapes that Google uses.
        messages: Every message in it.
    """

    google: bool = False
    reasons: frozenset[str] = frozenset()
    messages: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: what follows, and when. A condition that is not given always holds.

    Attributes:
        name: The row's name.
        means: What follows.
        statuses: With which statuses.
        steps: After which requests.
        reasons: With at least one of these reasons in the body.
        message: With exactly this message in the body.
        stranger: Only where the body is not Google's.
    """

    name: str
    means: Meaning
    statuses: Container[int]
    steps: Container[Step] = frozenset(Step)
    reasons: frozenset[str] | None = None
    message: str | None = None
    stranger: bool = False

    def fits(self, step: Step, status: int, complaint: Complaint) -> bool:
        """Whether this is the row of an answer."""
        return (
            status in self.statuses
            and step in self.steps
            and (self.reasons is None or not self.reasons.isdisjoint(complaint.reasons))
            and (self.message is None or self.message in complaint.messages)
            and not (self.stranger and complaint.google)
        )


def _dead(code: FailureCode, reason: str, scope: Scope = Scope.ITEM, *, invalid: bool = False) -> Dead:
    return Dead(code, reason, scope, connection_invalid=invalid)


NO_CALENDAR = _dead(FailureCode.CALENDAR_GONE, "the calendar does not exist or is not shared any more", Scope.LANE)
EVENT_GONE = _dead(FailureCode.EVENT_GONE, "somebody deleted the event in the calendar")
BAD_REQUEST = _dead(FailureCode.BAD_REQUEST, "Google refuses the event's content")
REVOKED = _dead(FailureCode.AUTH, "even a fresh access token is refused", Scope.LANE, invalid=True)
SCOPE = _dead(FailureCode.AUTH, "the consent does not cover calendar events", Scope.LANE, invalid=True)
READ_ONLY = _dead(FailureCode.FORBIDDEN, "the account may not write this calendar", Scope.LANE)
FORBIDDEN = _dead(FailureCode.FORBIDDEN, "the account may not write this event")

RATE = Retry("rate limited", counts=False, scope=Scope.LANE)
QUOTA = Retry("the quota is used up", counts=False, scope=Scope.LANE, after=_HOUR)
DISABLED = Retry("the Calendar API is disabled for the project", counts=False, scope=Scope.ALL, after=_HOUR)
STRANGER = Retry("answered by something that is not Google", counts=True, outage=True)
SERVER = Retry("Google failed", counts=True, outage=True)
UNSENT = Retry("the request could not be sent", counts=False, scope=Scope.LANE, outage=True)
LOST = Retry("no answer came; it may have been carried out", counts=True, outage=True)
UNREADABLE = Retry("the answer cannot be read; it may have been carried out", counts=True)
CONFLICTING = Retry("in conflict with another request, sent alone too", counts=True)
CHANGING = Retry("the event changes faster than it can be written", counts=True)
UNEXPECTED = Retry("an answer that does not belong to the request", counts=True)


TABLE: tuple[Rule, ...] = (
    Rule("server_error", SERVER, {408, *range(500, 600)}),
    Rule("quota_used_up", QUOTA, {403, 429}, reasons=frozenset({"quotaExceeded", "dailyLimitExceeded"})),
    Rule("rate_limit_429", RATE, {429}),
    Rule("not_google", STRANGER, range(100, 500), stranger=True),
    Rule(
        "rate_limit_403",
        RATE,
        {403},
        reasons=frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}),
    ),
    Rule(
        "api_disabled",
        DISABLED,
        {403},
        reasons=frozenset({"accessNotConfigured", "SERVICE_DISABLED", "BILLING_DISABLED"}),
    ),
    Rule(
        "insufficient_scope",
        SCOPE,
        {403},
        reasons=frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}),
    ),
    Rule("unauthorized", Means.UNAUTHORIZED, {401}),
    Rule("batch_refused", Means.SINGLY, {400, *range(404, 429)}, {Step.BATCH}),
    Rule("conflict", Means.CONFLICT, {409}, reasons=frozenset({"conflict"})),
    Rule("insert_duplicate", Means.TAKEN, {409}, {Step.INSERT}),
    Rule("insert_without_calendar", NO_CALENDAR, {404}, {Step.INSERT}),
    Rule("list_without_calendar", NO_CALENDAR, {404}, {Step.LIST}),
    Rule("delete_of_nothing", Means.ABSENT, {404, 410}, {Step.DELETE}),
    Rule("revive_of_nothing", Means.UNUSABLE, {404, 410}, {Step.REVIVE}),
    Rule(
        "revive_refused",
        Means.UNUSABLE,
        {403},
        {Step.REVIVE},
        reasons=frozenset({"forbidden", "requiredAccessLevel"}),
    ),
    Rule("event_missing", Means.MISSING, {404}, {Step.UPDATE, Step.GET}),
    Rule("event_deleted", Means.GONE, {410}, {Step.UPDATE, Step.GET}),
    Rule("stale_etag", Means.STALE, {412}, {Step.UPDATE, Step.REVIVE, Step.DELETE}),
    Rule("read_only_calendar", READ_ONLY, {403}, reasons=frozenset({"requiredAccessLevel"})),
    Rule(
        "forbidden",
        FORBIDDEN,
        {403},
        reasons=frozenset({"forbidden", "forbiddenForNonOrganizer", "forbiddenForServiceAccounts"}),
    ),
    Rule("bad_sequence", Means.BAD_SEQUENCE, {400}, {Step.UPDATE, Step.REVIVE}, message="Invalid sequence value."),
    Rule("bad_request", BAD_REQUEST, {400}),
    Rule("anything_else", UNEXPECTED, range(1000)),
)


def meaning(step: Step, reply: Reply) -> Meaning:
    """What the reply to a request means."""
    if isinstance(reply, NoAnswer):
        return LOST if reply.sent else UNSENT
    if 200 <= reply.status < 300:
        return Means.SUCCESS
    means = row(step, reply).means
    if isinstance(means, Retry) and (asked := _retry_after(reply)) is not None:
        return replace(means, after=max(asked, means.after or 0.0))
    return means


def row(step: Step, answer: Answer) -> Rule:
    """The row of the table that decides about an answer that is no success."""
    complaint = read_complaint(answer.body)
    return next(rule for rule in TABLE if rule.fits(step, answer.status, complaint))


def read_complaint(body: bytes) -> Complaint:
    """Read an error's body, of the calendar's own shape or of the one that Google's front end uses."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return Complaint()
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return Complaint()
    entries = [error, *_dicts(error.get("errors")), *_dicts(error.get("details"))]
    return Complaint(google=True, reasons=_texts(entries, "reason"), messages=_texts(entries, "message"))


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _texts(entries: list[dict[str, Any]], name: str) -> frozenset[str]:
    return frozenset(value for entry in entries if isinstance(value := entry.get(name), str))


def _retry_after(answer: Answer) -> float | None:
    """Seconds that the other side asked to wait; a date is read against the answer's own clock (RFC 9110, 10.2.3)."""
    asked = answer.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(asked):
        return min(float(asked), _LONGEST_WAIT)
    try:
        until, now = (parsedate_to_datetime(text) for text in (asked, answer.headers.get("date", "")))
        seconds = (until - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)
