"""The table of answers: one test for every row, named after it, and the order of the rows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from calendar_emulator.errors import ApiError
from reactor.core.calendar import answers, reasons
from reactor.core.calendar.answers import TABLE, AnswerKind, classify, matching_rule, read_error_body
from reactor.core.calendar.messages import Method, NoResponse, Response
from reactor.core.outcome import Dead, FailureCode, Retry, Scope

EVERYWHERE = [step for step in Method if step is not Method.BATCH]


def refusal(
    status: int, reason: str = "", message: str = "m", *, front_end: bool = False, headers: dict[str, str] | None = None
) -> Response:
    """An error as Google writes it; the front end names its reasons in `details`."""
    error: dict[str, Any] = {"code": status, "message": message}
    if front_end:
        error |= {"status": "PERMISSION_DENIED", "details": [info(reason)]}
    else:
        error["errors"] = [{"domain": "global", "reason": reason, "message": message}]
    return Response(status, headers or {}, json.dumps({"error": error}).encode())


def info(reason: str, domain: str = "googleapis.com") -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain, "metadata": {}}


def beside(reason: str, status: int = 403, coarse: str = "forbidden", domain: str = "googleapis.com") -> Response:
    """An ErrorInfo beside a reason that says less."""
    error = {"code": status, "message": "m", "errors": [{"domain": "global", "reason": coarse, "message": "m"}]}
    return Response(status, {}, json.dumps({"error": error | {"details": [info(reason, domain)]}}).encode())


def page(status: int) -> Response:
    return Response(status, {"content-type": "text/html"}, b"<html>Error</html>")


def retry(means: object) -> Retry:
    assert isinstance(means, Retry)
    return means


def dead(means: object) -> Dead:
    assert isinstance(means, Dead)
    return means


@pytest.mark.parametrize("step", Method)
def test_success(step: Method) -> None:
    assert classify(step, Response(200)) is classify(step, Response(204)) is AnswerKind.SUCCESS


@pytest.mark.parametrize("step", Method)
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
def test_server_error(step: Method, status: int) -> None:
    for answer in (page(status), refusal(status, "backendError"), Response(status)):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.outage, means.after) == (True, Scope.ITEM, True, None)


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("reason", sorted(reasons.QUOTAS))
def test_quota_used_up(status: int, reason: str) -> None:
    for step in Method:
        means = retry(classify(step, refusal(status, reason)))
        assert (means.counts, means.scope, means.after) == (False, Scope.LANE, 3600.0)


@pytest.mark.parametrize("step", Method)
def test_rate_limit_429(step: Method) -> None:
    for answer in (refusal(429, "rateLimitExceeded"), page(429)):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.outage) == (False, Scope.LANE, False)


@pytest.mark.parametrize("step", Method)
@pytest.mark.parametrize("status", [100, 302, 400, 401, 403, 404, 407, 409, 410, 412])
def test_not_google(step: Method, status: int) -> None:
    """A proxy's page costs no connection, deletes nothing and calls nothing gone."""
    for answer in (page(status), Response(status), Response(status, {}, b'{"error":"access_denied"}')):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.outage) == (True, Scope.ITEM, True)


@pytest.mark.parametrize("step", Method)
def test_rate_limit_403(step: Method) -> None:
    assert classify(step, refusal(403, "userRateLimitExceeded")) == answers.RATE
    assert classify(step, refusal(403, "rateLimitExceeded")) == answers.RATE
    assert classify(step, refusal(403, "RATE_LIMIT_EXCEEDED", front_end=True)) == answers.RATE


@pytest.mark.parametrize("step", Method)
def test_api_disabled(step: Method) -> None:
    for answer in (
        refusal(403, "accessNotConfigured"),
        refusal(403, "SERVICE_DISABLED", front_end=True),
        refusal(403, "BILLING_DISABLED", front_end=True),
    ):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.after, means.outage) == (False, Scope.ALL, None, False)


@pytest.mark.parametrize("step", Method)
def test_insufficient_scope(step: Method) -> None:
    for answer in (
        refusal(403, "insufficientPermissions"),
        refusal(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", front_end=True),
    ):
        means = dead(classify(step, answer))
        assert (means.code, means.scope, means.connection_invalid) == (FailureCode.AUTH, Scope.LANE, True)


@pytest.mark.parametrize("step", Method)
def test_deployment_refused(step: Method) -> None:
    """Everybody would meet the same, and no item is to blame."""
    suspended = [beside("CONSUMER_SUSPENDED"), refusal(403, "CONSUMER_SUSPENDED", front_end=True)]
    for answer in (*suspended, beside("API_KEY_INVALID", 400, "badRequest"), refusal(403, "ipRefererBlocked")):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.outage) == (False, Scope.ALL, False)


@pytest.mark.parametrize("step", Method)
def test_account_unusable(step: Method) -> None:
    """One dead letter parks the workspace: whatever else is sent for it would meet the same."""
    for answer in (
        refusal(403, "notACalendarUser"),
        beside("USER_BLOCKED_BY_ADMIN"),
        beside("ACCOUNT_STATE_INVALID", 401, "authError"),
    ):
        means = dead(classify(step, answer))
        assert (means.code, means.scope, means.connection_invalid) == (FailureCode.AUTH, Scope.LANE, True)


@pytest.mark.parametrize("step", Method)
def test_refused_by_policy(step: Method) -> None:
    for answer in (beside("ORG_RESTRICTION_VIOLATION"), beside("LOCATION_ORG_POLICY_VIOLATED", 400, "badRequest")):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.outage) == (True, Scope.LANE, False)


@pytest.mark.parametrize("step", Method)
def test_unknown_403(step: Method) -> None:
    """It holds its lane: the next item leaves alone, after a pause, and not the whole backlog at once."""
    for answer in (refusal(403, "unheardOf"), refusal(403), beside("UNHEARD_OF", domain="example.com", coarse="new")):
        means = retry(classify(step, answer))
        assert (means.counts, means.scope, means.outage) == (True, Scope.LANE, False)


ROWS_OF_REASONS = {
    "quota_used_up": reasons.QUOTAS,
    "rate_limit_403": reasons.RATES,
    "api_disabled": reasons.DISABLED,
    "deployment_refused": reasons.DEPLOYMENT,
    "account_unusable": reasons.ACCOUNT,
    "insufficient_scope": reasons.SCOPES,
    "refused_by_policy": reasons.POLICIES,
    "token_refused": reasons.TOKENS,
}
PROTO = re.findall(
    r"\w+",
    """
ACCESS_TOKEN_EXPIRED ACCESS_TOKEN_SCOPE_INSUFFICIENT ACCESS_TOKEN_TYPE_UNSUPPORTED ACCOUNT_STATE_INVALID
ACCOUNT_TYPE_UNSUPPORTED API_KEY_ANDROID_APP_BLOCKED API_KEY_HTTP_REFERRER_BLOCKED API_KEY_INVALID
API_KEY_IOS_APP_BLOCKED API_KEY_IP_ADDRESS_BLOCKED API_KEY_SERVICE_BLOCKED BILLING_DISABLED CONSUMER_INVALID
CONSUMER_SUSPENDED CREDENTIALS_MISSING CREDENTIAL_ANDROID_APP_INVALID CREDENTIAL_TYPE_UNSUPPORTED
EMULATOR_QUOTA_EXCEEDED ENDPOINT_USAGE_RESTRICTION_VIOLATED GCP_SUSPENDED IAM_PERMISSION_DENIED JWT_TOKEN_INVALID
LOCATION_ORG_POLICY_VIOLATED LOCATION_POLICY_VIOLATED LOCATION_TAX_POLICY_VIOLATED MCP_SERVER_DISABLED MISSING_ORIGIN
ORG_RESTRICTION_HEADER_INVALID ORG_RESTRICTION_VIOLATION OVERLOADED_CREDENTIALS RATE_LIMIT_EXCEEDED
RESOURCE_PROJECT_INVALID RESOURCE_QUOTA_EXCEEDED RESOURCE_USAGE_RESTRICTION_VIOLATED SECURITY_POLICY_VIOLATED
SERVICE_DISABLED SERVICE_NOT_VISIBLE SESSION_COOKIE_INVALID SYSTEM_PARAMETER_UNSUPPORTED
TLS_CIPHER_RESTRICTION_VIOLATED TLS_ORG_POLICY_VIOLATED USER_BLOCKED_BY_ADMIN USER_PROJECT_DENIED
""",
)
"""Every reason of https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto (August 2026)."""
POLICY_DOMAINS = {
    "ENDPOINT_USAGE_RESTRICTION_VIOLATED": "googleapis.com/policies/endpointUsageRestriction",
    "TLS_CIPHER_RESTRICTION_VIOLATED": "googleapis.com/policies/tlsCipherRestriction",
}
"""The reasons that have another domain there."""
SHARED = re.findall(
    r"\w+",
    """
accessNotConfigured accountDeleted accountDisabled accountUnverified concurrentLimitExceeded dailyLimitExceeded
dailyLimitExceeded402 dailyLimitExceededUnreg domainPolicy insufficientAudience insufficientAuthorizedParty
insufficientPermissions keyExpired keyInvalid limitExceeded quotaExceeded quotaExceeded402 rateLimitExceeded
rateLimitExceededUnreg servingLimitExceeded sslRequired unknownAuth userRateLimitExceeded userRateLimitExceededUnreg
variableTermExpiredDailyExceeded variableTermLimitExceeded
""",
)
"""What https://developers.google.com/youtube/v3/docs/core_errors says of project, account, consent and limits."""


def test_every_reason_of_googles_front_end_has_a_row() -> None:
    """Whatever the status, whatever the request, and whatever coarser word stands beside it."""
    assert sorted(word for words in ROWS_OF_REASONS.values() for word in words if word.isupper()) == PROTO
    for name, words in ROWS_OF_REASONS.items():
        for reason in filter(str.isupper, words):
            domain = POLICY_DOMAINS.get(reason, "googleapis.com")
            for step in Method:
                for status, coarse in ((400, "badRequest"), (401, "authError"), (403, "forbidden"), (404, "notFound")):
                    assert matching_rule(step, beside(reason, status, coarse, domain)).name == name, reason
                assert matching_rule(step, beside(reason, 403, "requiredAccessLevel", domain)).name == name, reason


def test_every_reason_that_all_apis_share_has_a_row() -> None:
    assert set(SHARED) <= set().union(*ROWS_OF_REASONS.values())
    for name, words in ROWS_OF_REASONS.items():
        for reason in words:
            assert {
                matching_rule(step, refusal(status, reason)).name for step in Method for status in (400, 402, 403)
            } == {name}


def test_a_reason_is_about_one_thing() -> None:
    sets = [*ROWS_OF_REASONS.values(), reasons.EVENT]
    assert sum(map(len, sets)) == len(frozenset().union(*sets))


def test_the_emulator_knows_every_reason() -> None:
    """In the shape, with the domain and a status that Google has for it."""
    rows = {reason: name for name, words in ROWS_OF_REASONS.items() for reason in words if reason.isupper()}
    for reason in PROTO:
        error = ApiError(reason)
        answer = Response(error.status, {}, json.dumps(error.body()).encode())
        assert read_error_body(answer.body).words[0] == reason
        expected = "rate_limit_429" if reason == "RATE_LIMIT_EXCEEDED" else rows[reason]
        assert {matching_rule(step, answer).name for step in Method} == {expected}, reason
        [found] = error.body()["error"]["details"]
        assert found["domain"] == POLICY_DOMAINS.get(reason, "googleapis.com")


def test_the_finer_reason_decides() -> None:
    """What stands beside an ErrorInfo blames nobody; in another domain the same word means something else."""
    assert matching_rule(Method.UPDATE, beside("CONSUMER_SUSPENDED", domain="example.com")).name == "forbidden"
    assert (
        matching_rule(Method.UPDATE, beside("CONSUMER_SUSPENDED", domain="googleapis.com.example.com")).name
        == "forbidden"
    )
    assert matching_rule(Method.UPDATE, beside("RATE_LIMIT_EXCEEDED", coarse="quotaExceeded")).name == "rate_limit_403"
    assert matching_rule(Method.UPDATE, beside("UNHEARD_OF", coarse="rateLimitExceeded")).name == "rate_limit_403"


@pytest.mark.parametrize("step", Method)
@pytest.mark.parametrize(
    ("status", "coarse"),
    [(400, "badRequest"), (402, "user402"), (403, "forbidden"), (403, "requiredAccessLevel"), (404, "notFound")],
)
def test_unknown_in_front(step: Method, status: int, coarse: str) -> None:
    """No content is blamed for it, nothing is called absent, and it holds its lane as any unknown 403 does."""
    for domain in ("googleapis.com", "googleapis.com/policies/unheardOf"):
        means = retry(classify(step, beside("UNHEARD_OF", status, coarse, domain)))
        assert means == answers.UNKNOWN
        assert "UNHEARD_OF" in means.said
    assert (answers.UNKNOWN.counts, answers.UNKNOWN.scope, answers.UNKNOWN.outage) == (True, Scope.LANE, False)


@pytest.mark.parametrize("step", Method)
def test_token_refused(step: Method) -> None:
    """As a 401 whatever the status is: another access token may do."""
    for status in (400, 401, 403):
        assert classify(step, beside("ACCESS_TOKEN_EXPIRED", status)) is AnswerKind.UNAUTHORIZED
        assert classify(step, beside("JWT_TOKEN_INVALID", status)) is AnswerKind.UNAUTHORIZED


@pytest.mark.parametrize("step", Method)
def test_unauthorized(step: Method) -> None:
    assert classify(step, refusal(401, "authError")) is AnswerKind.UNAUTHORIZED
    assert classify(step, refusal(401, "required")) is AnswerKind.UNAUTHORIZED


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 412, 413, 415])
def test_batch_refused(status: int) -> None:
    assert classify(Method.BATCH, refusal(status, "badRequest")) is AnswerKind.SINGLY


@pytest.mark.parametrize("step", EVERYWHERE)
def test_conflict(step: Method) -> None:
    assert classify(step, refusal(409, "conflict")) is AnswerKind.CONFLICT


def test_insert_duplicate() -> None:
    assert classify(Method.INSERT, refusal(409, "duplicate")) is AnswerKind.TAKEN
    assert classify(Method.INSERT, refusal(409)) is AnswerKind.TAKEN


def test_insert_without_calendar() -> None:
    means = dead(classify(Method.INSERT, refusal(404, "notFound")))
    assert (means.code, means.scope, means.connection_invalid) == (FailureCode.CALENDAR_GONE, Scope.LANE, False)


def test_list_without_calendar() -> None:
    assert classify(Method.LIST, refusal(404, "notFound")) == answers.NO_CALENDAR


def test_delete_of_nothing() -> None:
    assert classify(Method.DELETE, refusal(404, "notFound")) is AnswerKind.ABSENT
    assert classify(Method.DELETE, refusal(410, "deleted")) is AnswerKind.ABSENT


def test_revive_of_nothing() -> None:
    assert classify(Method.REVIVE, refusal(404, "notFound")) is AnswerKind.UNUSABLE
    assert classify(Method.REVIVE, refusal(410, "deleted")) is AnswerKind.UNUSABLE


def test_revive_refused() -> None:
    assert classify(Method.REVIVE, refusal(403, "forbidden")) is AnswerKind.UNUSABLE
    assert classify(Method.REVIVE, refusal(403, "requiredAccessLevel")) is AnswerKind.UNUSABLE


@pytest.mark.parametrize("step", [Method.UPDATE, Method.GET])
def test_event_missing(step: Method) -> None:
    assert classify(step, refusal(404, "notFound")) is AnswerKind.MISSING


@pytest.mark.parametrize("step", [Method.UPDATE, Method.GET])
def test_event_deleted(step: Method) -> None:
    assert classify(step, refusal(410, "deleted")) is AnswerKind.GONE


@pytest.mark.parametrize("step", [Method.UPDATE, Method.REVIVE, Method.DELETE])
def test_stale_etag(step: Method) -> None:
    assert classify(step, refusal(412, "conditionNotMet")) is AnswerKind.STALE


@pytest.mark.parametrize("step", [step for step in EVERYWHERE if step is not Method.REVIVE])
def test_read_only_calendar(step: Method) -> None:
    means = dead(classify(step, refusal(403, "requiredAccessLevel")))
    assert (means.code, means.scope, means.connection_invalid) == (FailureCode.FORBIDDEN, Scope.LANE, False)


@pytest.mark.parametrize("reason", sorted(reasons.EVENT))
def test_forbidden(reason: str) -> None:
    for step in (Method.INSERT, Method.UPDATE, Method.DELETE, Method.GET, Method.LIST):
        means = dead(classify(step, refusal(403, reason)))
        assert (means.code, means.scope, means.connection_invalid) == (FailureCode.FORBIDDEN, Scope.ITEM, False)


@pytest.mark.parametrize("step", [Method.UPDATE, Method.REVIVE])
def test_bad_sequence(step: Method) -> None:
    assert classify(step, refusal(400, "invalid", "Invalid sequence value.")) is AnswerKind.BAD_SEQUENCE


@pytest.mark.parametrize("reason", ["invalid", "badRequest", "required", "parseError", "timeRangeEmpty"])
@pytest.mark.parametrize("step", [Method.INSERT, Method.UPDATE, Method.REVIVE])
def test_bad_request(step: Method, reason: str) -> None:
    means = dead(classify(step, refusal(400, reason)))
    assert (means.code, means.scope) == (FailureCode.BAD_REQUEST, Scope.ITEM)


@pytest.mark.parametrize("step", [Method.GET, Method.LIST, Method.DELETE])
def test_bad_question(step: Method) -> None:
    """What carries no content cannot have bad content."""
    means = retry(classify(step, refusal(400, "invalid")))
    assert (means.counts, means.scope, means.outage) == (True, Scope.ITEM, False)


def test_anything_else() -> None:
    for answer in (refusal(418, "teapot"), refusal(451)):
        means = retry(classify(Method.UPDATE, answer))
        assert (means.counts, means.scope, means.outage) == (True, Scope.ITEM, False)
    assert classify(Method.LIST, refusal(410, "fullSyncRequired")) == answers.UNEXPECTED


def test_never_sent() -> None:
    means = retry(classify(Method.INSERT, NoResponse("no connection", sent=False)))
    assert (means.counts, means.scope, means.outage) == (False, Scope.LANE, True)


def test_no_answer() -> None:
    means = retry(classify(Method.INSERT, NoResponse("timeout")))
    assert (means.counts, means.scope, means.outage) == (True, Scope.ITEM, True)


def test_every_row_has_a_test_of_its_name() -> None:
    tests = set(re.findall(r"^def test_(\w+)", Path(__file__).read_text(), re.MULTILINE))
    assert {rule.name for rule in TABLE} <= tests


def test_every_row_can_be_reached() -> None:
    """Each row's own test names an answer that no earlier row takes away."""
    words = ["", "conflict", "forbidden", "quotaExceeded", "rateLimitExceeded", "accessNotConfigured"]
    words += ["insufficientPermissions", "requiredAccessLevel", "notACalendarUser", "keyInvalid"]
    words += ["IAM_PERMISSION_DENIED", "JWT_TOKEN_INVALID"]
    candidates = [
        (step, answer)
        for step in Method
        for status in (302, 400, 401, 403, 404, 409, 410, 412, 418, 429, 503)
        for answer in (
            page(status),
            refusal(status, "invalid", "Invalid sequence value."),
            beside("UNHEARD_OF", status),
            *(refusal(status, word) for word in words),
        )
    ]
    assert {matching_rule(step, answer).name for step, answer in candidates} == {rule.name for rule in TABLE}


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Tue, 01 Dec 2026 09:00:30 GMT"}, None),
        ({"retry-after": "Tue, 01 Dec 2026 09:00:30 GMT", "date": "Tue, 01 Dec 2026 09:00:00 GMT"}, 30.0),
        ({"retry-after": "Tue, 01 Dec 2026 08:00:00 GMT", "date": "Tue, 01 Dec 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 01 Dec 2026 09:00:30", "date": "Tue, 01 Dec 2026 09:00:00 GMT"}, 30.0),
    ],
)
def test_retry_after_is_honoured(headers: dict[str, str], after: float | None) -> None:
    for answer in (refusal(429, "rateLimitExceeded", headers=headers), refusal(503, "backendError", headers=headers)):
        assert retry(classify(Method.INSERT, answer)).after == after


def test_the_longer_wait_wins() -> None:
    assert retry(classify(Method.INSERT, refusal(403, "quotaExceeded", headers={"retry-after": "5"}))).after == 3600.0
    assert (
        retry(classify(Method.INSERT, refusal(403, "quotaExceeded", headers={"retry-after": "7200"}))).after == 7200.0
    )


def test_messages_of_errors_are_not_in_a_repr() -> None:
    assert "text-of-an-event" not in repr(read_error_body(refusal(400, "invalid", "text-of-an-event").body))


@given(st.sampled_from(Method), st.integers(100, 999), st.binary(max_size=40) | st.just(b"[" * 100_000))
def test_any_answer_means_something(step: Method, status: int, body: bytes) -> None:
    assert isinstance(classify(step, Response(status, {}, body)), AnswerKind | Retry | Dead)


NAMES = st.sampled_from(["error", "errors", "details", "reason", "message", "code"])
ERRORS = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.sampled_from(["conflict", "forbidden", "quotaExceeded"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4) | st.lists(inner, max_size=3),
)


@given(st.sampled_from(Method), st.sampled_from([400, 401, 403, 404, 409, 410, 412, 429, 500]), ERRORS)
def test_any_json_means_something(step: Method, status: int, found: Any) -> None:
    for body in (found, {"error": found}):
        means = classify(step, Response(status, {"retry-after": "x"}, json.dumps(body).encode()))
        assert isinstance(means, AnswerKind | Retry | Dead)
