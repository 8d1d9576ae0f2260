"""What the token endpoint's answers mean, a test for each row of the table."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from calendar_emulator.oauth.errors import ERRORS, OAuthError
from reactor.core.calendar.token_answers import UNKNOWN, AccessToken, Answer, GrantType, read_answer, refusal
from reactor.core.outcome import Dead, FailureCode, Retry, Scope

EVERY = pytest.mark.parametrize("grant", GrantType)
ROBOTS = pytest.mark.parametrize("grant", [GrantType.DELEGATION, GrantType.SERVICE_ACCOUNT])


def answer(
    content: object, status: int = 400, grant: GrantType = GrantType.USER, retry_after: float | None = None
) -> Answer:
    return read_answer(status, json.dumps(content).encode(), grant, retry_after)


def refused(
    code: str, description: str = "", *, status: int = 400, grant: GrantType = GrantType.USER, **more: str
) -> Answer:
    return answer({"error": code, "error_description": description, **more}, status, grant)


def is_the_persons(outcome: Answer) -> bool:
    """Dead, and the connection with it."""
    return isinstance(outcome, Dead) and (outcome.code, outcome.scope, outcome.connection_invalid) == (
        FailureCode.AUTH,
        Scope.LANE,
        True,
    )


def is_the_deployments(outcome: Answer) -> bool:
    """Everything is held, no attempt is counted, no breaker opens."""
    return isinstance(outcome, Retry) and (outcome.scope, outcome.counts, outcome.outage) == (Scope.ALL, False, False)


def is_ours(outcome: Answer) -> bool:
    """The workspace is held, no attempt is counted, no connection is marked, no breaker opens."""
    return isinstance(outcome, Retry) and (outcome.scope, outcome.counts, outcome.outage) == (Scope.LANE, False, False)


def is_an_outage(outcome: Answer) -> bool:
    return isinstance(outcome, Retry) and (outcome.scope, outcome.counts, outcome.outage) == (Scope.LANE, True, True)


# 200


def test_granted() -> None:
    granted = answer({"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer", "scope": "s"}, 200)
    assert granted == AccessToken("ya29.x", 3599.0)


def test_granted_with_a_rotated_refresh_token() -> None:
    assert answer({"access_token": "a", "expires_in": 1, "refresh_token": "1//new"}, 200) == AccessToken(
        "a", 1, "1//new"
    )


@pytest.mark.parametrize(
    ("scope", "may_write"),
    [
        ("openid https://www.googleapis.com/auth/calendar.events", True),
        ("https://www.googleapis.com/auth/calendar", True),
        ("https://www.googleapis.com/auth/calendar.readonly", False),
        ("openid", False),
        ("", True),
        (None, True),
        (["openid"], True),
    ],
)
def test_what_a_token_is_for(scope: object, may_write: bool) -> None:  # noqa: FBT001
    """What the answer does not say is left to Google."""
    granted = answer({"access_token": "a", "scope": scope}, 200)
    assert isinstance(granted, AccessToken)
    assert granted.may_write is may_write


@pytest.mark.parametrize("refresh_token", [None, "", 7, "two words", "line\nbreak"])
def test_a_refresh_token_that_is_none_does_not_replace_ours(refresh_token: object) -> None:
    assert answer({"access_token": "a", "expires_in": 1, "refresh_token": refresh_token}, 200) == AccessToken("a", 1)


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        ("3599", 3599),
        (12.5, 12.5),
        (0, 0),
        (-5, 0),
        (10**400, 86_400),
        (float("inf"), 86_400),
        (None, 3600),
        ("soon", 3600),
        ("1" * 30, 3600),
        (True, 3600),
        ([], 3600),
        (float("nan"), 3600),
    ],
)
def test_a_lifetime_is_read_or_assumed(expires_in: object, lifetime: float) -> None:
    assert answer({"access_token": "a", "expires_in": expires_in}, 200) == AccessToken("a", lifetime)


@pytest.mark.parametrize(
    "content", [{}, {"access_token": None}, {"access_token": ""}, {"access_token": "a\r\nb"}, [], "a", 1]
)
def test_200_without_a_token(content: object) -> None:
    assert is_an_outage(answer(content, 200))


# Refused

REQUESTS = (
    "invalid_request",
    "unsupported_grant_type",
    "unsupported_response_type",
    "redirect_uri_mismatch",
    "origin_mismatch",
    "disallowed_useragent",
)
RFC_6749 = (
    *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),  # 5.2
    *(
        "access_denied",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
    ),  # 4.1.2.1
)
GOOGLE = (
    *("access_not_configured", "admin_policy_enforced", "deleted_client", "disabled_client", "disallowed_useragent"),
    *("internal_failure", "invalid_rapt", "org_internal", "origin_mismatch", "policy_enforced", "rate_limit_exceeded"),
    *("redirect_uri_mismatch", "restricted_client", "slow_down"),
)
"""Of https://developers.google.com/identity/protocols/oauth2 with its pages for each kind of client,
https://support.google.com/accounts/answer/16668185, and what google-auth takes for passing."""


@EVERY
def test_every_code_of_the_standard_and_of_google_has_a_row(grant: GrantType) -> None:
    """In the code, in the document and in the emulator; and each is named in what is kept."""
    table = Path("docs/google.md").read_text().partition("| Answer of the token endpoint")[2].partition("\n\n")[0]
    for code in RFC_6749 + GOOGLE:
        assert f"`{code}`" in table, code
        error = OAuthError(code)
        status, _ = ERRORS[code]
        assert error.status == status
        outcome = read_answer(status, json.dumps(error.body()).encode(), grant)
        assert isinstance(outcome, Retry | Dead)
        assert outcome != UNKNOWN, code
        assert refused(code, grant=grant) != UNKNOWN, code
        assert code in outcome.said
        assert refusal(code) == refused(code)
    assert set(RFC_6749 + GOOGLE) == set(ERRORS)


@EVERY
def test_invalid_grant(grant: GrantType) -> None:
    assert is_the_persons(refused("invalid_grant", "Token has been expired or revoked.", grant=grant))


@pytest.mark.parametrize("subtype", ["invalid_rapt", "rapt_required"])
def test_invalid_grant_with_invalid_rapt(subtype: str) -> None:
    outcome = refused("invalid_grant", "reauth related error", error_subtype=subtype)
    assert is_the_persons(outcome)
    assert isinstance(outcome, Dead)
    assert "sign-in" in outcome.reason


@EVERY
def test_invalid_rapt(grant: GrantType) -> None:
    assert is_the_persons(refused("invalid_rapt", grant=grant))


@EVERY
def test_admin_policy_enforced(grant: GrantType) -> None:
    assert is_the_persons(refused("admin_policy_enforced", grant=grant))


DEAD_KEYS = ("Invalid JWT Signature.", "Invalid grant: account not found", "Robot is disabled.")
NO_SUBJECTS = ("Invalid email or User ID", "Not a valid email.", "The account has been deleted")
OURS = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat ...",
    "Invalid JWT: Failed audience check.",
)


@pytest.mark.parametrize("description", DEAD_KEYS)
@ROBOTS
def test_invalid_grant_for_the_key_or_the_service_account(description: str, grant: GrantType) -> None:
    """Only the workspace's own: its key is stored with it."""
    outcome = refused("invalid_grant", description, grant=grant)
    assert is_the_persons(outcome)
    assert isinstance(outcome, Dead)
    assert "service account" in outcome.reason


@pytest.mark.parametrize("description", OURS)
@ROBOTS
def test_invalid_grant_for_the_assertion_is_the_clocks_fault(description: str, grant: GrantType) -> None:
    assert is_ours(refused("invalid_grant", description, grant=grant))


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_request"])
@pytest.mark.parametrize("description", [*NO_SUBJECTS, 'Invalid impersonation "sub" field.'])
def test_the_user_to_act_for_does_not_exist(code: str, description: str) -> None:
    outcome = refused(code, description, grant=GrantType.DELEGATION)
    assert is_the_persons(outcome)
    assert isinstance(outcome, Dead)
    assert "subject" in outcome.reason


@pytest.mark.parametrize("description", [*DEAD_KEYS, *NO_SUBJECTS, *OURS])
def test_a_refresh_token_is_not_judged_by_descriptions(description: str) -> None:
    assert is_the_persons(refused("invalid_grant", description))
    assert is_the_deployments(refused("invalid_request", description))


@ROBOTS
def test_an_invalid_grant_of_a_service_account_without_a_description_known_here(grant: GrantType) -> None:
    for outcome in (
        refused("invalid_grant", "Bad Request", grant=grant),
        answer({"error": "invalid_grant"}, 400, grant),
    ):
        assert is_the_persons(outcome)


def test_invalid_client() -> None:
    assert is_the_deployments(refused("invalid_client", "The OAuth client was not found.", status=401))


def test_deleted_client() -> None:
    assert is_the_deployments(refused("deleted_client", status=401))


def test_disabled_client() -> None:
    assert is_the_deployments(refused("disabled_client", status=401))


@pytest.mark.parametrize("code", ["invalid_client", "deleted_client", "disabled_client", "restricted_client"])
@ROBOTS
def test_the_client_of_a_service_account_is_the_account(code: str, grant: GrantType) -> None:
    assert is_the_persons(refused(code, status=401, grant=grant))


def test_invalid_request() -> None:
    assert is_the_deployments(refused("invalid_request"))


def test_unsupported_grant_type() -> None:
    assert is_the_deployments(refused("unsupported_grant_type"))


def test_invalid_scope() -> None:
    assert is_the_deployments(refused("invalid_scope"))


@pytest.mark.parametrize("code", [*REQUESTS, "invalid_scope"])
@ROBOTS
def test_a_request_for_a_service_account_that_is_refused_holds_its_workspace(code: str, grant: GrantType) -> None:
    """Refresh tokens ask in another way; their workspaces go on."""
    assert is_ours(refused(code, "Bad Request", grant=grant))


def test_unauthorized_client_of_a_user_token() -> None:
    """One workspace with the token of a former client must not hold the others, nor a wrong client id end them all."""
    assert is_ours(refused("unauthorized_client", "Unauthorized", status=401))


@pytest.mark.parametrize("code", ["unauthorized_client", "access_denied"])
@ROBOTS
def test_unauthorized_client_of_a_delegation(code: str, grant: GrantType) -> None:
    outcome = refused(code, "Client is unauthorized ...", status=401, grant=grant)
    assert is_the_persons(outcome)
    assert isinstance(outcome, Dead)
    assert ("domain-wide delegation" in outcome.reason) == (grant is GrantType.DELEGATION)


@EVERY
def test_access_denied(grant: GrantType) -> None:
    """A dead consent, not an error to be tried until the attempts are used up."""
    assert is_the_persons(refused("access_denied", "Account restricted", status=403, grant=grant))


@EVERY
def test_org_internal(grant: GrantType) -> None:
    assert is_the_persons(refused("org_internal", status=403, grant=grant))


def test_unsupported_response_type() -> None:
    assert is_the_deployments(refused("unsupported_response_type"))


@EVERY
def test_access_not_configured(grant: GrantType) -> None:
    assert is_the_persons(refused("access_not_configured", grant=grant))


@EVERY
def test_policy_enforced(grant: GrantType) -> None:
    assert is_the_persons(refused("policy_enforced", grant=grant))


def test_restricted_client() -> None:
    assert is_the_deployments(refused("restricted_client", status=403))


def test_redirect_uri_mismatch() -> None:
    assert is_the_deployments(refused("redirect_uri_mismatch"))


def test_origin_mismatch() -> None:
    assert is_the_deployments(refused("origin_mismatch"))


def test_disallowed_useragent() -> None:
    assert is_the_deployments(refused("disallowed_useragent", status=403))


@EVERY
def test_every_code_is_named(grant: GrantType) -> None:
    for outcome, said in (
        (refused("something_new", "quoted", grant=grant), "400 something_new"),
        (
            refused("invalid_grant", "quoted", error_subtype="invalid_rapt", grant=grant),
            "400 invalid_grant invalid_rapt",
        ),
        (refused("two words", grant=grant), "400"),
        (answer({"error": "internal_failure"}, 503, grant), "503 internal_failure"),
        (read_answer(502, b"<html>", grant), "502"),
    ):
        assert isinstance(outcome, Retry | Dead)
        assert outcome.said == said
        assert outcome.text == f"{outcome.reason} ({said})"


@EVERY
def test_a_code_that_is_not_known_touches_no_connection(grant: GrantType) -> None:
    outcome = refused("something_new", grant=grant)
    assert isinstance(outcome, Retry)
    assert (outcome.scope, outcome.counts, outcome.outage) == (Scope.LANE, True, False)


# Not now


@pytest.mark.parametrize("content", [{"error": "rate_limit_exceeded"}, {}, "busy"])
def test_429(content: object) -> None:
    outcome = answer(content, 429, retry_after=7.0)
    assert outcome == Retry("the token endpoint limits the rate", counts=False, scope=Scope.LANE, after=7.0)


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "slow_down"])
def test_rate_limit_exceeded_with_another_status(code: str) -> None:
    outcome = refused(code, status=403)
    assert isinstance(outcome, Retry)
    assert not outcome.counts
    assert not outcome.outage


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_5xx(status: int) -> None:
    outcome = answer({"error": "invalid_grant"}, status, retry_after=7.0)  # whatever it says
    assert is_an_outage(outcome)
    assert isinstance(outcome, Retry)
    assert outcome.after == 7.0


@pytest.mark.parametrize("code", ["internal_failure", "server_error", "temporarily_unavailable"])
def test_an_internal_failure_with_a_client_errors_status(code: str) -> None:
    assert is_an_outage(refused(code))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404])
@EVERY
def test_html(status: int, grant: GrantType) -> None:
    assert is_an_outage(read_answer(status, b"<!DOCTYPE html><title>Error 400 (Bad Request)</title>", grant))


@pytest.mark.parametrize("content", [{}, {"error": {"code": 400}}, {"error": None}, ["invalid_grant"], "invalid_grant"])
def test_json_that_is_not_the_endpoints(content: object) -> None:
    assert is_an_outage(answer(content))


# Anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = st.sampled_from(["error", "error_description", "error_subtype", "access_token", "expires_in", "refresh_token"])
BODIES = (
    st.binary()
    | JSON.map(lambda v: json.dumps(v).encode())
    | st.dictionaries(FIELDS, JSON).map(lambda v: json.dumps(v).encode())
)


@given(st.integers(100, 599), BODIES, st.sampled_from(GrantType))
def test_any_answer_has_a_meaning(status: int, body: bytes, grant: GrantType) -> None:
    outcome = read_answer(status, body, grant)
    assert isinstance(outcome, AccessToken | Retry | Dead)
    assert not isinstance(outcome, AccessToken) or status == 200


def test_a_deeply_nested_answer_has_a_meaning() -> None:
    assert is_an_outage(read_answer(400, b"[" * 65_536, GrantType.USER))


@given(st.text(min_size=6))
def test_no_description_is_ever_passed_on(description: str) -> None:
    for code in ("invalid_grant", "invalid_client", "new"):
        outcome = refused(code, "quoted:" + description)
        assert "quoted:" not in repr(outcome)


def test_what_was_granted_is_not_shown() -> None:
    shown = repr(AccessToken("ya29.secret", 1, "1//secret"))
    assert "secret" not in shown
