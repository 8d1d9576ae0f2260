"""The two forms of the API's error responses.

Errors of Calendar itself carry only `errors`, `code` and `message`. Errors of the layer in front of it (authentication,
rates) also carry `status` and `details`. Clients meet both, so we imitate both; one table says which reason comes in
which form. Source: bodies quoted in public bug reports and
https://developers.google.com/workspace/calendar/api/guides/errors.
"""

from dataclasses import dataclass
from typing import Any, Final

from calendar_emulator.front_end import IN_FRONT, domain_of

Json = dict[str, Any]

CONSUMER: Final = "project_number:123456789012"
_SERVICE: Final = "calendar-json.googleapis.com"


@dataclass(frozen=True, slots=True)
class KnownReason:
    """A reason, with what usually comes with it in the API's responses.

    Attributes:
        status: The HTTP status it usually comes with.
        message: The text it usually comes with.
        domain: Who says it.
        rpc: The status name of the front-end shape, empty for Calendar's own shape.
        info: The reason inside the front-end's `details`, empty for none.
        long: The outer message where it differs from the inner one.
        coarse: The reason outside of `details` where that is another word.
    """

    status: int
    message: str
    domain: str = "global"
    rpc: str = ""
    info: str = ""
    long: str = ""
    coarse: str = ""


_QUERIES = f"Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service '{_SERVICE}'"
_NOT_USED = (
    "Google Calendar API has not been used in project 123456789012 before or it is disabled. Enable it and then retry."
)

_DEFAULT_REASON = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    410: "deleted",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
}
_RPC = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}

KNOWN: Final[dict[str, KnownReason]] = {
    "invalid": KnownReason(400, "Invalid Value"),
    "invalidParameter": KnownReason(400, "Invalid value."),
    "badRequest": KnownReason(400, "Bad Request"),
    "required": KnownReason(400, "Required"),
    "parseError": KnownReason(400, "Parse Error"),
    "timeRangeEmpty": KnownReason(400, "The specified time range is empty.", "calendar"),
    "cannotUseDefaultRemindersAndSpecifyOverride": KnownReason(
        400, "Cannot specify both default reminders and overrides at the same time.", "calendar"
    ),
    "authError": KnownReason(
        401,
        "Invalid Credentials",
        rpc="UNAUTHENTICATED",
        long="Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential.",
    ),
    "userRateLimitExceeded": KnownReason(403, "User Rate Limit Exceeded", "usageLimits"),
    "rateLimitExceeded": KnownReason(
        403, f"{_QUERIES} for consumer '{CONSUMER}'.", "usageLimits", "PERMISSION_DENIED", "RATE_LIMIT_EXCEEDED"
    ),
    "quotaExceeded": KnownReason(403, "Calendar usage limits exceeded.", "usageLimits"),
    "dailyLimitExceeded": KnownReason(403, "Daily Limit Exceeded", "usageLimits"),
    "accessNotConfigured": KnownReason(403, _NOT_USED, "usageLimits", "PERMISSION_DENIED", "SERVICE_DISABLED"),
    "insufficientPermissions": KnownReason(
        403,
        "Insufficient Permission",
        rpc="PERMISSION_DENIED",
        info="ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        long="Request had insufficient authentication scopes.",
    ),
    "forbidden": KnownReason(403, "Forbidden"),
    "requiredAccessLevel": KnownReason(403, "You need to have writer access to this calendar.", "calendar"),
    "forbiddenForNonOrganizer": KnownReason(
        403, "Shared properties can only be changed by the organizer of the event.", "calendar"
    ),
    "forbiddenForServiceAccounts": KnownReason(
        403, "Service accounts cannot invite attendees without Domain-Wide Delegation of Authority.", "calendar"
    ),
    "notFound": KnownReason(404, "Not Found"),
    "methodNotAllowed": KnownReason(405, "Method Not Allowed"),
    "duplicate": KnownReason(409, "The requested identifier already exists."),
    "conflict": KnownReason(409, "Conflict"),
    "deleted": KnownReason(410, "Resource has been deleted"),
    "fullSyncRequired": KnownReason(410, "Sync token is no longer valid, a full sync is required.", "calendar"),
    "updatedMinTooLongAgo": KnownReason(
        410, "The requested minimum modification time lies too far in the past.", "calendar"
    ),
    "conditionNotMet": KnownReason(412, "Precondition Failed"),
    "backendError": KnownReason(503, "Backend Error"),
} | {
    reason: KnownReason(
        status,
        "The request was refused before it was looked at.",
        "usageLimits" if status == 429 else "global",
        _RPC[status],
        info=reason,
        coarse=_DEFAULT_REASON[status],
    )
    for reason, status in IN_FRONT.items()
}


class ApiError(Exception):
    """The API refuses a call.

    Attributes:
        status: The HTTP status.
        reason: The machine-readable reason; clients must decide by it.
        retry_after: The value of a Retry-After header, None for no header.
    """

    def __init__(
        self,
        reason: str = "",
        message: str = "",
        *,
        status: int = 0,
        location: tuple[str, str] | None = None,
        front_end: bool | None = None,
        retry_after: str | None = None,
    ) -> None:
        self.reason = reason or _DEFAULT_REASON.get(status, "backendError")
        known = KNOWN.get(self.reason) or KnownReason(status or 400, "Error", info=self.reason)
        self.status = status or known.status
        self.retry_after = retry_after
        super().__init__(message or known.message)
        self._known = known
        self._location = location
        self._message = message
        self._front_end = bool(known.rpc) if front_end is None else front_end

    def body(self) -> Json:
        """The answer's JSON."""
        known = self._known
        short = self._message or known.message
        error: Json = {"domain": known.domain, "reason": known.coarse or self.reason, "message": short}
        if self._location:
            error["locationType"], error["location"] = self._location
        outer: Json = {"errors": [error], "code": self.status, "message": self._message or known.long or short}
        if self._front_end:
            outer["status"] = _RPC.get(self.status) or known.rpc or "UNAVAILABLE"
            if known.info:
                metadata = {"service": _SERVICE, "consumer": f"projects/{CONSUMER}"}
                kind = "type.googleapis.com/google.rpc.ErrorInfo"
                outer["details"] = [
                    {"@type": kind, "reason": known.info, "domain": domain_of(known.info), "metadata": metadata}
                ]
        return {"error": outer}


def login_required() -> ApiError:
    """The call carries no token at all."""
    return ApiError("required", "Login Required.", status=401, location=("header", "Authorization"))


def bad_token() -> ApiError:
    """The call's token is unknown, expired or revoked."""
    return ApiError("authError", location=("header", "Authorization"))


def stale() -> ApiError:
    """The call's If-Match names another version than the stored one."""
    return ApiError("conditionNotMet", location=("header", "If-Match"))


def invalid(message: str, *, reason: str = "invalid", parameter: str = "") -> ApiError:
    """The call's body or query breaks a rule.

    Args:
        message: The text to answer.
        reason: The reason to answer.
        parameter: The query parameter that is to blame, empty where it is the body.
    """
    return ApiError(reason, message, status=400, location=("parameter", parameter) if parameter else None)
