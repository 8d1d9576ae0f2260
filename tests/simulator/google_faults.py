"""Google's faults: a kind for each row of the table of answers, and for each way in which an answer is no answer.

None of them lies in a way that nobody could find out: "no such event", read again and again of one that is there, would
rightly end in a calendar that does not agree. `BY_ITSELF` says where the other rows of the table come from.
"""

from dataclasses import dataclass

from calendar_emulator import Fault
from calendar_emulator.faults import Effect

WRITES = ("insert", "update", "delete")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        faults: What the emulator is told; the calendar and the time are filled in.
        everybody: Whether it may befall everybody; otherwise it stays with a workspace that has faults of its own.
        rows: The rows of the table that answer it.
        recovery: Seconds that pauses and holds may last after its end.
    """

    faults: tuple[Fault, ...]
    everybody: bool = False
    rows: tuple[str, ...] = ()
    recovery: float = 80.0


def _error(
    reason: str, *operations: str, status: int = 0, times: int | None = None, **more: object
) -> tuple[Fault, ...]:
    return tuple(
        Fault(operation=operation, effect="error", reason=reason, status=status, times=times, **more)  # type: ignore[arg-type]
        for operation in operations or (*WRITES, "get", "list")
    )


def _damage(effect: Effect, commit: float | None, *operations: str, times: int | None = 3) -> tuple[Fault, ...]:
    return tuple(Fault(operation=o, effect=effect, commit=commit, times=times) for o in operations)


KINDS: dict[str, Kind] = {
    "503": Kind((*_error("backendError"), *_error("backendError", "batch")), everybody=True, rows=("server_error",)),
    "500 sometimes": Kind(_error("backendError", status=500, probability=0.5), everybody=True, rows=("server_error",)),
    "408": Kind(_error("backendError", status=408, times=4), everybody=True, rows=("server_error",)),
    "daily quota": Kind(_error("quotaExceeded", *WRITES, times=1), rows=("quota_used_up",), recovery=3800.0),
    "429": Kind(_error("rateLimitExceeded", status=429, times=6), everybody=True, rows=("rate_limit_429",)),
    "429 for 20 s": Kind(
        _error("rateLimitExceeded", "batch", *WRITES, status=429, times=2, retry_after="20"),
        everybody=True,
        rows=("rate_limit_429",),
    ),
    "403 rate": Kind(_error("userRateLimitExceeded", times=6), everybody=True, rows=("rate_limit_403",)),
    "a proxy's page": Kind(
        (Fault(effect="html", status=404, times=6), Fault(operation="batch", effect="html", status=403, times=3)),
        everybody=True,
        rows=("not_google",),
    ),
    "disabled": Kind(_error("accessNotConfigured", times=2), everybody=True, rows=("api_disabled",)),
    "suspended": Kind(_error("CONSUMER_SUSPENDED", status=403, times=2), everybody=True, rows=("deployment_refused",)),
    "suspended for a while": Kind(_error("keyExpired", status=400), everybody=True, rows=("deployment_refused",)),
    "no account": Kind(_error("notACalendarUser", *WRITES, status=403, times=1), rows=("account_unusable",)),
    "policy": Kind(_error("ORG_RESTRICTION_VIOLATION", status=403), rows=("refused_by_policy",)),
    "a new 403": Kind(_error("somethingNew", status=403, times=4), rows=("unknown_403",)),
    "scope": Kind(_error("insufficientPermissions", *WRITES, times=1), rows=("insufficient_scope",)),
    "an old token": Kind(_error("ACCESS_TOKEN_EXPIRED", times=1), everybody=True, rows=("token_refused",)),
    "a new word in front": Kind(
        _error("SOMETHING_NEW", status=403, times=4, front_end=True), rows=("unknown_in_front",)
    ),
    "401": Kind(_error("authError", times=1), everybody=True, rows=("unauthorized",)),
    "401 again and again": Kind(_error("authError", *WRITES), rows=("unauthorized",)),
    "batches refused": Kind(_error("badRequest", "batch", status=413), everybody=True, rows=("batch_refused",)),
    "conflict": Kind(_error("conflict", *WRITES, times=4), everybody=True, rows=("conflict",)),
    "conflict for ever": Kind(_error("conflict", *WRITES), rows=("conflict",)),
    "stale": Kind(_error("conditionNotMet", "update", "delete", times=4), everybody=True, rows=("stale_etag",)),
    "stale for ever": Kind(_error("conditionNotMet", "update", "delete"), rows=("stale_etag",)),
    "calendar gone": Kind(_error("notFound", "insert"), rows=("insert_without_calendar",)),
    "list without calendar": Kind(_error("notFound", "list", times=1), rows=("list_without_calendar",)),
    "read-only": Kind(_error("requiredAccessLevel", *WRITES), rows=("read_only_calendar",)),
    "forbidden": Kind(_error("forbiddenForNonOrganizer", "insert", "update", times=3), rows=("forbidden",)),
    "bad sequence": Kind(
        _error("invalid", "update", status=400, times=1, message="Invalid sequence value."), rows=("bad_sequence",)
    ),
    "bad question": Kind(_error("invalid", "get", "list", "delete", status=400, times=3), rows=("bad_question",)),
    "gone, in an update": Kind(_error("deleted", "update", times=2), everybody=True, rows=("event_deleted",)),
    "418": Kind(_error("teapot", *WRITES, status=418, times=5), rows=("anything_else",)),
    "lost before": Kind(_damage("drop", 0.0, *WRITES, "get"), everybody=True),
    "lost after": Kind(_damage("drop", 1.0, *WRITES, times=4), everybody=True),
    "cut off": Kind(_damage("truncate", 1.0, *WRITES, "get", "batch"), everybody=True),
    "not HTTP": Kind(_damage("malformed", 1.0, *WRITES, "batch", times=2), everybody=True),
    "garbage": Kind(_damage("garbage", 1.0, *WRITES, times=2), everybody=True),
    "half a batch": Kind(_damage("drop", 0.5, "batch", times=2), everybody=True),
    "parts missing": Kind((Fault(in_batch=True, times=6, probability=0.4, effect="drop", commit=0.5),), everybody=True),
    "late answers": Kind(
        tuple(Fault(operation=o, latency_after=8.0, times=4, in_batch=False) for o in (*WRITES, "batch")),
        everybody=True,
    ),
    # Not of a batch's parts: those that follow would be carried out when the client has given up, as a request is that
    # is held up on its way.
    "no answers": Kind(
        tuple(Fault(operation=o, latency_after=40.0, times=3, in_batch=False) for o in (*WRITES, "batch")),
        everybody=True,
    ),
    "unreachable": Kind(tuple(Fault(operation=o, latency_after=100.0, effect="error", status=503) for o in WRITES)),
    "token 503": Kind(_error("internal_failure", "token", status=503), everybody=True),
    "token busy": Kind(_error("rate_limit_exceeded", "token", status=429, times=2), everybody=True),
    "token lost": Kind(_damage("drop", None, "token", times=2), everybody=True),
    "a proxy's page for a token": Kind((Fault(operation="token", effect="html", status=404, times=2),), everybody=True),
    "a token code that is new": Kind(_error("something_new", "token", status=400, times=2), everybody=True),
    # Held for 75 s at most, and then perhaps again by the source that tries, which remembers for as long.
    "wrong client secret": Kind(_error("invalid_client", "token", status=401), everybody=True, recovery=160.0),
}

BY_ITSELF = {
    "delete_of_nothing": "where a person deleted the event; told of an event whose version is another one it is a lie",
    "insert_duplicate": "after an insert whose answer was lost, and where a cancelled event comes back",
    "revive_of_nothing": "where a person emptied the trash",
    "revive_refused": "where a person emptied the trash",
    "event_missing": "before a revival, which looks for a next generation; twice of an event that is there is a lie",
    "bad_request": "from content that Google refuses",
}
