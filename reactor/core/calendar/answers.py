"""What an answer of Google means: one table is read from the top, and the first row that fits decides.

Google's own account of its errors is https://developers.google.com/workspace/calendar/api/guides/errors. Three things
make a table necessary. One status says several things (403 is at least five), so the `reason` in the body decides, not
the status alone. One answer means different things after different requests (404 after a delete is what was wanted,
after an insert it is the calendar that is missing). And not every answer is Google's: a proxy's page must never cost a
workspace its connection, nor pass for "no such event".

*The finer reason decides.* The front end of Google's APIs (who are you, which project, is it paid for) gives its reason
in an `ErrorInfo` of the domain googleapis.com. A coarser word beside it, often a bare `forbidden`, decides nothing
then, and nor does the status: the request has not come as far as to a calendar or an event, so neither is absent,
forbidden or badly written. That holds for a reason that is not known here too.

*Whose fault* it is follows from what a reason is about (`reactor.core.calendar.reasons`). The project, its key and how
we call Google are the same for every workspace, so all are held and nothing counts. An account is one workspace's: its
connection is marked, and a person has to mend it. What is about a resource, or is not known, may be either: it holds
the one workspace, and a single item tries whether it is over.

*What Google said* goes with what follows (`said`): status, reasons and location, each of which is a word of a small
alphabet, and of the messages those that are known. Other texts may quote an event.

A row's name is the name of its test (`tests/core/test_answers.py`) and of its line in `docs/google.md`.
"""

import json
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, TypeVar

from reactor.core.backoff import parse_retry_after
from reactor.core.calendar import reasons
from reactor.core.calendar.messages import Method, NoResponse, Reply, Response
from reactor.core.outcome import Dead, FailureCode, Retry, RetryKind, Scope

_HOUR = 3600.0
_WORD = re.compile(r"[A-Za-z0-9_.]{1,64}")
_LOCATION = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_MOST_WORDS = 4
_COMMON = re.compile(r"googleapis\.com(?:/policies/\w+)?")
"""The domain of the reasons that are the same for every API of Google; a policy may be named behind it."""

BAD_SEQUENCE = "Invalid sequence value."
MESSAGES = (
    BAD_SEQUENCE,
    "Invalid recurrence rule.",
    "Invalid resource id value.",
    "Invalid start time.",
    "Invalid end time.",
    "Missing end time.",
    "Missing time zone definition for start time.",
    "Missing time zone definition for end time.",
    "Start and end times must either both be date or both be dateTime.",
    "The specified time range is empty.",
)
"""Texts of Google's that say what its reason (`invalid`, `required`) leaves open, and quote nothing."""


class AnswerKind(Enum):
    """What the exchange goes on from; everything else ends it."""

    SUCCESS = auto()
    TAKEN = auto()
    """The id exists already: perhaps by our own lost answer, perhaps as a tombstone."""
    ABSENT = auto()
    """What should be removed is not there."""
    MISSING = auto()
    """No such event, or no such calendar: Google does not say which."""
    GONE = auto()
    """The event existed and was deleted."""
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


Meaning = AnswerKind | Retry | Dead
Refusal = TypeVar("Refusal", bound=Retry | Dead)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error's body says.

    Attributes:
        google: Whether it has the shape of Google's errors at all.
        reasons: Every `reason` in it that decides, of both of the shapes that Google uses.
        in_front: Whether the reason is from the front end of Google's APIs; it may be a word that we do not know.
        messages: Every message in it.
        words: What of it may be written down: the reasons, the finest first, the location, a message that is known.
    """

    google: bool = False
    reasons: frozenset[str] = frozenset()
    in_front: bool = False
    messages: frozenset[str] = field(default=frozenset(), repr=False)
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """A row of the table: what follows, and when. A condition that is not given always holds.

    Attributes:
        name: The row's name.
        means: How the dialogue goes on or ends.
        statuses: The statuses that the row is for.
        methods: The kinds of requests that the row is for.
        reasons: With at least one of these reasons in the body.
        message: With exactly this message in the body.
        not_google: Only where the body is not Google's.
        in_front: Only where the front end of Google's APIs refuses.
    """

    name: str
    means: Meaning
    statuses: Container[int]
    methods: Container[Method] = frozenset(Method)
    reasons: frozenset[str] | None = None
    message: str | None = None
    not_google: bool = False
    in_front: bool = False

    def fits(self, method: Method, status: int, body: ErrorBody) -> bool:
        """Whether this is the row of an answer."""
        return (
            status in self.statuses
            and method in self.methods
            and (self.reasons is None or not self.reasons.isdisjoint(body.reasons))
            and (self.message is None or self.message in body.messages)
            and not (self.not_google and body.google)
            and (body.in_front or not self.in_front)
        )


def _dead(code: FailureCode, reason: str, scope: Scope = Scope.ITEM, *, invalid: bool = False) -> Dead:
    return Dead(code, reason, scope, connection_invalid=invalid)


NO_CALENDAR = _dead(FailureCode.CALENDAR_GONE, "the calendar does not exist or is not shared any more", Scope.LANE)
LEFT_BEHIND = _dead(
    FailureCode.CALENDAR_GONE, "an event of it may be left in a calendar that does not exist or is not shared any more"
)
SERVICE_ACCOUNTS_PRIMARY = Dead(
    FailureCode.CALENDAR_GONE,
    "`primary` is the service account's own calendar, which no person sees; name the shared one, or add a subject",
    Scope.LANE,
    asked=False,
)
EVENT_GONE = _dead(FailureCode.EVENT_GONE, "a person deleted the event in the calendar")
BAD_REQUEST = _dead(FailureCode.BAD_REQUEST, "Google refuses the event's content")
# With `invalid=True` the workspace is parked: its connection is marked, and nothing is claimed until it connects again.
NO_ACCOUNT = _dead(
    FailureCode.AUTH, "the account cannot use Google Calendar: suspended, or not signed up", Scope.LANE, invalid=True
)
REVOKED = _dead(FailureCode.AUTH, "even a fresh access token is refused", Scope.LANE, invalid=True)
SCOPE = _dead(FailureCode.AUTH, "the consent does not cover calendar events", Scope.LANE, invalid=True)
READ_ONLY = _dead(FailureCode.FORBIDDEN, "the account may not write this calendar", Scope.LANE)
FORBIDDEN = _dead(FailureCode.FORBIDDEN, "the account may not write this event")

RATE = Retry("rate limited", counts=False, scope=Scope.LANE, kind=RetryKind.RATE)
QUOTA = Retry("the quota is used up", counts=False, scope=Scope.LANE, after=_HOUR, kind=RetryKind.QUOTA)
DISABLED = Retry("the Calendar API is disabled for the project", counts=False, scope=Scope.ALL)
DEPLOYMENT_REFUSED = Retry(
    "Google refuses the deployment: its project, its key or its network", counts=False, scope=Scope.ALL
)
POLICY = Retry("a policy at Google forbids it", counts=True, scope=Scope.LANE)
UNKNOWN = Retry("Google forbids it for a reason that is not known", counts=True, scope=Scope.LANE)
BAD_QUESTION = Retry("Google refuses a request that carries no content", counts=True, kind=RetryKind.QUESTION)
NOT_GOOGLE = Retry("answered by something that is not Google", counts=True, outage=True)
SERVER = Retry("Google failed", counts=True, outage=True)
UNSENT = Retry("the request could not be sent", counts=False, scope=Scope.LANE, outage=True)
LOST = Retry("no answer came; it may have been carried out", counts=True, outage=True)
UNREADABLE = Retry("the answer cannot be read; it may have been carried out", counts=True)
CONFLICTING = Retry("in conflict with another request, sent alone too", counts=True)
CHANGING = Retry("the event changes faster than it can be written", counts=True)
UNEXPECTED = Retry("an answer that does not belong to the request", counts=True)

_WRITES = frozenset({Method.INSERT, Method.UPDATE, Method.REVIVE})
_IN_FRONT_STATUSES = frozenset({400, 401, 402, 403, 404})
"""Statuses with which the front end of Google's APIs refuses."""


TABLE: tuple[AnswerRule, ...] = (
    AnswerRule("server_error", SERVER, {408, *range(500, 600)}),
    AnswerRule("quota_used_up", QUOTA, _IN_FRONT_STATUSES | {429}, reasons=reasons.QUOTAS),
    AnswerRule("rate_limit_429", RATE, {429}),
    AnswerRule("not_google", NOT_GOOGLE, range(100, 500), not_google=True),
    AnswerRule("rate_limit_403", RATE, _IN_FRONT_STATUSES, reasons=reasons.RATES),
    AnswerRule("api_disabled", DISABLED, _IN_FRONT_STATUSES, reasons=reasons.DISABLED),
    AnswerRule("deployment_refused", DEPLOYMENT_REFUSED, _IN_FRONT_STATUSES, reasons=reasons.DEPLOYMENT),
    AnswerRule("account_unusable", NO_ACCOUNT, _IN_FRONT_STATUSES, reasons=reasons.ACCOUNT),
    AnswerRule("insufficient_scope", SCOPE, _IN_FRONT_STATUSES, reasons=reasons.SCOPES),
    AnswerRule("refused_by_policy", POLICY, _IN_FRONT_STATUSES, reasons=reasons.POLICIES),
    AnswerRule("token_refused", AnswerKind.UNAUTHORIZED, _IN_FRONT_STATUSES, reasons=reasons.TOKENS),
    AnswerRule("unauthorized", AnswerKind.UNAUTHORIZED, {401}),
    AnswerRule("unknown_in_front", UNKNOWN, _IN_FRONT_STATUSES, in_front=True),
    AnswerRule("batch_refused", AnswerKind.SINGLY, {400, *range(404, 429)}, {Method.BATCH}),
    AnswerRule("conflict", AnswerKind.CONFLICT, {409}, reasons=frozenset({"conflict"})),
    AnswerRule("insert_duplicate", AnswerKind.TAKEN, {409}, {Method.INSERT}),
    AnswerRule("insert_without_calendar", NO_CALENDAR, {404}, {Method.INSERT}),
    AnswerRule("list_without_calendar", NO_CALENDAR, {404}, {Method.LIST}),
    AnswerRule("delete_of_nothing", AnswerKind.ABSENT, {404, 410}, {Method.DELETE}),
    AnswerRule("revive_of_nothing", AnswerKind.UNUSABLE, {404, 410}, {Method.REVIVE}),
    AnswerRule(
        "revive_refused",
        AnswerKind.UNUSABLE,
        {403},
        {Method.REVIVE},
        reasons=frozenset({"forbidden", "requiredAccessLevel"}),
    ),
    AnswerRule("event_missing", AnswerKind.MISSING, {404}, {Method.UPDATE, Method.GET}),
    AnswerRule("event_deleted", AnswerKind.GONE, {410}, {Method.UPDATE, Method.GET}),
    AnswerRule("stale_etag", AnswerKind.STALE, {412}, {Method.UPDATE, Method.REVIVE, Method.DELETE}),
    AnswerRule("read_only_calendar", READ_ONLY, {403}, reasons=frozenset({"requiredAccessLevel"})),
    AnswerRule("forbidden", FORBIDDEN, {403}, reasons=reasons.EVENT),
    AnswerRule("unknown_403", UNKNOWN, {403}),
    AnswerRule("bad_sequence", AnswerKind.BAD_SEQUENCE, {400}, {Method.UPDATE, Method.REVIVE}, message=BAD_SEQUENCE),
    AnswerRule("bad_request", BAD_REQUEST, {400}, _WRITES),
    AnswerRule("bad_question", BAD_QUESTION, {400}),
    AnswerRule("anything_else", UNEXPECTED, range(1000)),
)


def classify(method: Method, reply: Reply) -> Meaning:
    """What the reply to a request means."""
    if isinstance(reply, NoResponse):
        return LOST if reply.sent else UNSENT
    if 200 <= reply.status < 300:
        return AnswerKind.SUCCESS
    means = matching_rule(method, reply).means
    if isinstance(means, AnswerKind):
        return means
    if isinstance(means, Retry) and (asked := parse_retry_after(reply.headers)) is not None:
        means = replace(means, after=max(asked, means.after or 0.0))
    return quoting(means, reply)


def matching_rule(method: Method, answer: Response) -> AnswerRule:
    """The row of the table that decides about an answer that is no success."""
    body = read_error_body(answer.body)
    return next(rule for rule in TABLE if rule.fits(method, answer.status, body))


def quoting(outcome: Refusal, answer: Response) -> Refusal:
    """What follows from an answer, with what of the answer may be written down."""
    return replace(outcome, said=" ".join([str(answer.status), *read_error_body(answer.body).words]))


def read_error_body(body: bytes) -> ErrorBody:
    """Read an error's body, of the calendar's own shape or of the one that Google's front end uses."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorBody()
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return ErrorBody()
    entries = [error, *_dicts(error.get("errors"))]
    fine = _texts((each for each in _dicts(error.get("details")) if _is_common(each.get("domain"))), "reason")
    coarse = _texts(entries, "reason")
    messages = _texts(entries, "message")
    words = [text for text in (*fine, *coarse) if _WORD.fullmatch(text)][:_MOST_WORDS]
    words += [f"at {text}" for text in _texts(entries, "location") if _LOCATION.fullmatch(text)][:1]
    words += [text for text in messages if text in MESSAGES][:1]
    deciding = frozenset(fine) & reasons.IN_FRONT or frozenset([*fine, *coarse])
    return ErrorBody(
        google=True, reasons=deciding, in_front=bool(fine), messages=frozenset(messages), words=tuple(words)
    )


def _is_common(domain: object) -> bool:
    return isinstance(domain, str) and _COMMON.fullmatch(domain) is not None


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _texts(entries: Iterable[dict[str, Any]], name: str) -> list[str]:
    """The texts of that name, each once."""
    return list(dict.fromkeys(value for entry in entries if isinstance(value := entry.get(name), str)))
