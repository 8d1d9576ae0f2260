"""Who may call the emulator, how often, and how a token is come by."""

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from google.auth import jwt
from google.auth.crypt import RSASigner
from hypothesis import given, strategies as st

from calendar_emulator import CLIENT_ID, CLIENT_SECRET, EVENTS_SCOPE, Emulator, Fault, Quota
from calendar_emulator.api import SCOPES
from calendar_emulator.errors import ApiError
from calendar_emulator.oauth.errors import ERRORS, OAuthError
from calendar_emulator.oauth.service_accounts import AUDIENCE
from tests.support.discovery import method_of
from tests.support.google_fixtures import USER, GoogleServer

EVENTS = "calendar/v3/calendars/primary/events"
TIMES = {"start": {"dateTime": "2026-12-01T09:00:00Z"}, "end": {"dateTime": "2026-12-01T10:00:00Z"}}
READONLY = "https://www.googleapis.com/auth/calendar.readonly"


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("operation", sorted(SCOPES))
def test_the_scopes_of_an_operation_are_those_of_the_discovery_document(operation: str) -> None:
    documented = {scope.removeprefix("https://www.googleapis.com/auth/") for scope in method_of(operation)["scopes"]}
    assert SCOPES[operation] == documented


async def test_a_call_without_a_token_is_asked_to_log_in(google: GoogleServer) -> None:
    async with httpx.AsyncClient(base_url=google.api_root) as client:
        answer = await client.get(EVENTS)
    assert answer.status_code == 401
    assert error_of(answer)["errors"][0]["reason"] == "required"


async def test_a_token_that_is_unknown_expired_or_revoked_is_refused_alike(google: GoogleServer) -> None:
    emulator = google.emulator
    expired = emulator.issue_access_token(USER, lifetime=0)
    form = {"refresh_token": google.refresh_token, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    revoked = emulator.oauth.token(form | {"grant_type": "refresh_token"}, emulator.clock())["access_token"]
    emulator.oauth.revoke(google.refresh_token)
    async with httpx.AsyncClient(base_url=google.api_root) as client:
        for token in ("never-issued", expired, revoked):
            answer = await client.get(EVENTS, headers=bearer(token))
            error = error_of(answer)
            assert (answer.status_code, error["status"]) == (401, "UNAUTHENTICATED")
            assert error["errors"][0] | {"message": ""} == {
                "domain": "global",
                "reason": "authError",
                "message": "",
                "locationType": "header",
                "location": "Authorization",
            }


async def test_a_token_without_the_scope_is_refused(google: GoogleServer) -> None:
    token = google.emulator.issue_access_token(USER, scopes=[READONLY])
    async with httpx.AsyncClient(base_url=google.api_root, headers=bearer(token)) as client:
        assert (await client.get(EVENTS)).status_code == 200
        answer = await client.post(EVENTS, json=TIMES)
    error = error_of(answer)
    assert (answer.status_code, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["errors"][0]["reason"] == "insufficientPermissions"
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


@pytest.mark.parametrize("reason", ["requiredAccessLevel", "forbidden"])
async def test_a_calendar_may_be_read_only(google: GoogleServer, google_http: httpx.AsyncClient, reason: str) -> None:
    google.emulator.share("team@example.com", USER, "reader").refusal_reason = reason
    path = "calendar/v3/calendars/team%40example.com/events"
    assert (await google_http.get(path)).json()["accessRole"] == "reader"
    answer = await google_http.post(path, json=TIMES)
    assert (answer.status_code, error_of(answer)["errors"][0]["reason"]) == (403, reason)


async def test_a_calendar_that_is_not_shared_does_not_exist(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    google.emulator.add_user("eve@example.com")
    for calendar_id in ("eve%40example.com", "nowhere"):
        answer = await google_http.post(f"calendar/v3/calendars/{calendar_id}/events", json=TIMES)
        assert (answer.status_code, error_of(answer)["errors"][0]["reason"]) == (404, "notFound")
    google.emulator.share(USER, USER, None)
    assert (await google_http.get(EVENTS)).status_code == 404


async def test_the_calendars_of_a_user_are_listed(google: GoogleServer) -> None:
    emulator = google.emulator
    emulator.share("team@example.com", USER, "reader")
    token = emulator.issue_access_token(USER, scopes=[READONLY])
    async with httpx.AsyncClient(base_url=google.api_root, headers=bearer(token)) as client:
        listed = (await client.get("calendar/v3/users/me/calendarList")).json()["items"]
        one = (await client.get("calendar/v3/users/me/calendarList/team%40example.com")).json()
        calendar = (await client.get("calendar/v3/calendars/primary")).json()
    assert {entry["id"]: entry["accessRole"] for entry in listed} == {USER: "owner", "team@example.com": "reader"}
    assert one in listed
    assert calendar["id"] == USER


# Quotas


async def test_a_users_quota_is_a_sliding_window(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    now = [1_800_000_000.0]
    google.emulator.clock = lambda: now[0]
    google_http.headers["Authorization"] = f"Bearer {google.emulator.issue_access_token(USER)}"
    google.emulator.quota = Quota(user=4)
    for _ in range(2):
        assert (await google_http.get(EVENTS)).status_code == 200
    now[0] += 30
    patch = await google_http.patch(f"{EVENTS}/never", json={})
    assert patch.status_code == 403, "a patch costs three"
    error = error_of(patch)
    assert (error["status"], error["errors"][0]["domain"]) == ("PERMISSION_DENIED", "usageLimits")
    assert error["details"][0]["reason"] == "RATE_LIMIT_EXCEEDED"
    now[0] += 30
    assert (await google_http.patch(f"{EVENTS}/never", json={})).status_code == 404
    other = await google_http.patch(f"{EVENTS}/never", params={"quotaUser": "other"}, json={})
    assert other.status_code == 404, "quotaUser has a window of its own"


@pytest.mark.parametrize(
    ("quota", "status", "reason"),
    [
        (Quota(project=0), 403, "rateLimitExceeded"),
        (Quota(user=0, reason="userRateLimitExceeded"), 403, "userRateLimitExceeded"),
        (Quota(user=0, status=429, retry_after="7"), 429, "rateLimitExceeded"),
        (Quota(calendar_writes=0, reason="quotaExceeded"), 403, "quotaExceeded"),
    ],
)
async def test_an_exhausted_quota_is_told_in_the_chosen_way(
    google: GoogleServer, google_http: httpx.AsyncClient, quota: Quota, status: int, reason: str
) -> None:
    google.emulator.quota = quota
    answer = await google_http.post(EVENTS, json=TIMES)
    assert (answer.status_code, error_of(answer)["errors"][0]["reason"]) == (status, reason)
    assert answer.headers.get("retry-after") == quota.retry_after
    assert google.emulator.events(USER) == []


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 3)), max_size=60), st.integers(1, 10))
def test_no_window_ever_holds_more_than_the_limit(calls: list[tuple[float, int]], limit: int) -> None:
    quota, now = Quota(user=limit), 0.0
    granted: list[tuple[float, int]] = []
    for pause, cost in calls:
        now += pause
        before = sum(n for at, n in granted if at > now - 60)
        try:
            quota.spend(now, user="a", calendar="", cost=cost, write=False)
        except ApiError:
            assert before + cost > limit
        else:
            assert before + cost <= limit
            granted.append((now, cost))


# The token endpoint


async def ask(google: GoogleServer, **form: str) -> httpx.Response:
    known = {"client_id": google.client_id, "client_secret": google.client_secret}
    async with httpx.AsyncClient() as client:
        return await client.post(google.token_uri, data=known | form)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token", "client_id": "unknown"}, 401, "invalid_client"),
        ({"grant_type": "refresh_token", "client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "authorization_code", "code": "unknown"}, 400, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}, 400, "invalid_grant"),
    ],
)
async def test_a_token_request_is_refused(google: GoogleServer, form: dict[str, str], status: int, error: str) -> None:
    answer = await ask(google, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description"}


async def test_a_refresh_answers_what_google_answers(google: GoogleServer) -> None:
    answer = await ask(google, grant_type="refresh_token", refresh_token=google.refresh_token)
    assert answer.json().keys() == {"access_token", "expires_in", "scope", "token_type"}
    assert answer.json()["scope"] == EVENTS_SCOPE
    wider = await ask(google, grant_type="refresh_token", refresh_token=google.refresh_token, scope=READONLY)
    assert wider.json()["error"] == "invalid_scope"


async def test_a_token_of_another_client_is_refused(google: GoogleServer) -> None:
    google.emulator.oauth.clients["other"] = "secret"
    other = google.emulator.oauth.grant(USER, client_id="other")
    answer = await ask(google, grant_type="refresh_token", refresh_token=other)
    assert answer.json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("error", sorted(ERRORS))
async def test_every_error_of_the_token_endpoint_can_be_had(google: GoogleServer, error: str) -> None:
    google.emulator.fault(Fault(operation="token", effect="error", reason=error))
    answer = await ask(google, grant_type="refresh_token", refresh_token=google.refresh_token)
    body = answer.json()
    assert answer.status_code == ERRORS[error][0]
    assert body.get("error_subtype", body["error"]) == error


def test_the_hundred_and_first_refresh_token_kills_the_oldest(emulator: Emulator) -> None:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    tokens = [emulator.oauth.grant("bob@example.com") for _ in range(101)]
    with pytest.raises(OAuthError, match="expired or revoked"):
        emulator.oauth.token(form | {"refresh_token": tokens[0]}, emulator.clock())
    assert emulator.oauth.token(form | {"refresh_token": tokens[1]}, emulator.clock())["access_token"]


async def test_a_token_can_be_revoked_over_http(google: GoogleServer) -> None:
    async with httpx.AsyncClient(base_url=google.api_root) as client:
        assert (await client.post("revoke", data={"token": google.refresh_token})).status_code == 200
        assert (await client.post("revoke", data={"token": "unknown"})).json()["error"] == "invalid_token"
    answer = await ask(google, grant_type="refresh_token", refresh_token=google.refresh_token)
    assert answer.json() == {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}


ROBOT = "robot@emulator.iam.gserviceaccount.com"
NOW = 1_800_000_000
CLAIMS = {"iss": ROBOT, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3_600, "scope": EVENTS_SCOPE, "sub": USER}


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({}, ""),
        ({"sub": None}, ""),
        ({"exp": NOW}, "short-lived"),
        ({"exp": NOW + 3_601}, "short-lived"),
        ({"iat": NOW + 301}, "short-lived"),
        ({"iat": None}, "iat and exp"),
        ({"aud": "http://127.0.0.1/token"}, "audience"),
        ({"scope": ""}, "scope"),
        ({"scope": "calendar.events"}, "Invalid OAuth scope"),
        ({"sub": 7}, "Invalid impersonation"),
        ({"iss": ["x"]}, "Bad Request"),
        ({"scope": READONLY}, "unauthorized to retrieve"),
        ({"sub": "nobody@example.com"}, "Invalid email"),
        ({"iss": "stranger@emulator.iam.gserviceaccount.com"}, "account not found"),
    ],
)
def test_an_assertion_is_held_to_its_claims(emulator: Emulator, change: dict[str, Any], refusal: str) -> None:
    key_file = emulator.add_service_account(ROBOT, delegated=[EVENTS_SCOPE])
    signer = RSASigner.from_service_account_info(key_file)  # type: ignore[no-untyped-call]
    assertion = jwt.encode(signer, CLAIMS | change).decode()  # type: ignore[no-untyped-call]
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    if refusal:
        with pytest.raises(OAuthError, match=refusal):
            emulator.oauth.token(form, NOW)
    else:
        access = emulator.oauth.check(emulator.oauth.token(form, NOW)["access_token"], NOW)
        assert access is not None
        assert (access.email, access.bare_service_account) == (change.get("sub", USER) or ROBOT, "sub" in change)


def test_an_assertion_is_held_to_its_signature(emulator: Emulator) -> None:
    accounts = emulator.oauth.service_accounts
    document = emulator.add_service_account(ROBOT)
    other = emulator.add_service_account("other@emulator.iam.gserviceaccount.com")

    def signed(claims: dict[str, Any] = CLAIMS | {"sub": None}, header: Any = None, **changes: str) -> str:
        signer = RSASigner.from_service_account_info(document | changes)  # type: ignore[no-untyped-call]
        return str(jwt.encode(signer, claims, header=header).decode())  # type: ignore[no-untyped-call]

    def refusal(assertion: str) -> str:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        try:
            return "" if emulator.oauth.token(form, NOW) else "nothing"
        except OAuthError as error:
            return str(error)

    good = signed()
    head, claims, signature = good.split(".")
    elsewhere = signed(CLAIMS).split(".")[1]
    assert refusal(good) == ""
    for assertion, said in (
        (signed(private_key=other["private_key"]), "Invalid JWT Signature."),
        (signed(private_key_id=other["private_key_id"]), "Invalid JWT Signature."),
        (f"{head}.{elsewhere}.{signature}", "Invalid JWT Signature."),
        (f"{head}.{claims}.", "Invalid JWT Signature."),
        (signed(header={"alg": "none"}), "Invalid grant: account not found"),
        (f"{head}.{claims}", "Bad Request"),
        ("a.b.c", "Bad Request"),
        ("", "Missing required parameter: assertion"),
    ):
        assert refusal(assertion) == said, assertion
    accounts.known[ROBOT].disabled = True
    assert refusal(good) == "Robot is disabled."
    emulator.add_service_account(ROBOT)
    assert refusal(good) == "Invalid JWT Signature."
    del accounts.known[ROBOT]
    assert refusal(good) == "Invalid grant: account not found"


# Consent in the browser

VERIFIER = "a-verifier-that-is-long-enough-for-the-standard-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
REDIRECT = "http://127.0.0.1:9999/callback"


async def consent(google: GoogleServer, **more: str) -> tuple[httpx.Response, dict[str, str]]:
    """Open the consent page; return its answer and what the redirect carries."""
    query = {
        "client_id": google.client_id,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": EVENTS_SCOPE,
        "state": "s1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "access_type": "offline",
        "prompt": "consent",
        **more,
    }
    async with httpx.AsyncClient(base_url=google.api_root) as client:
        answer = await client.get("o/oauth2/v2/auth", params=query)
    carried = parse_qs(urlsplit(answer.headers.get("location", "")).query)
    return answer, {name: values[0] for name, values in carried.items()}


async def test_a_consent_becomes_a_refresh_token(google: GoogleServer) -> None:
    answer, carried = await consent(google)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{REDIRECT}?")
    assert carried["state"] == "s1"
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    token = (await ask(google, **form, code=carried["code"])).json()
    again = await ask(google, **form, code=carried["code"])
    assert again.json()["error"] == "invalid_grant", "a code works once"
    refreshed = await ask(google, grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert refreshed.status_code == 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": "wrong"}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1/other"}, "redirect_uri_mismatch"),
        ({"client_secret": "wrong"}, "invalid_client"),
    ],
)
async def test_a_code_is_bound_to_its_request(google: GoogleServer, change: dict[str, str], error: str) -> None:
    _, carried = await consent(google)
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER} | change
    assert (await ask(google, code=carried["code"], **form)).json()["error"] == error


@pytest.mark.parametrize("less", [{"access_type": "online"}, {"prompt": ""}])
async def test_a_refresh_token_comes_only_where_it_is_asked_for(google: GoogleServer, less: dict[str, str]) -> None:
    """An account that has consented before is asked again, and answered with a refresh token, by `prompt=consent`."""
    _, carried = await consent(google, **less)
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    token = (await ask(google, **form, code=carried["code"])).json()
    assert "access_token" in token
    assert "refresh_token" not in token


async def test_consent_may_be_denied(google: GoogleServer) -> None:
    google.emulator.settings.deny_consent = True
    _, carried = await consent(google)
    assert carried == {"error": "access_denied", "state": "s1"}


async def test_a_wrong_authorization_request_is_not_redirected(google: GoogleServer) -> None:
    answer, _ = await consent(google, client_id="unknown")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    answer, _ = await consent(google, response_type="token")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
