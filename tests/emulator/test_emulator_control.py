"""The emulator's controls over HTTP, for tests that run the reactor in another process."""

from typing import Any

import httpx
import pytest

from tests.support.google_fixtures import USER, GoogleServer

EVENTS = "calendar/v3/calendars/primary/events"
BODY: dict[str, Any] = {"id": "aaaaa", "start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}}


async def ask(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    answer = await client.request(method, f"emulator/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def test_what_a_calendar_holds_and_how_often_it_was_written(google_http: httpx.AsyncClient) -> None:
    await google_http.post(EVENTS, json=BODY)
    await google_http.put(f"{EVENTS}/aaaaa", json=BODY | {"summary": "x"})
    events = await ask(google_http, "GET", f"calendars/{USER}")
    assert [event["summary"] for event in events] == ["x"]
    await ask(google_http, "PATCH", f"calendars/{USER}/aaaaa", {"summary": "by hand"})
    await ask(google_http, "DELETE", f"calendars/{USER}/aaaaa")
    assert await ask(google_http, "GET", f"calendars/{USER}") == []
    assert len(await ask(google_http, "GET", f"calendars/{USER}?deleted=true")) == 1
    assert await ask(google_http, "GET", "writes") == {USER: {"aaaaa": {"insert": 1, "update": 2, "delete": 1}}}
    history = await ask(google_http, "GET", f"calendars/{USER}/aaaaa")
    assert [write["kind"] for write in history] == ["insert", "update", "update", "delete"]
    await ask(google_http, "POST", f"purge/{USER}/aaaaa", {"status": 410})
    assert (await google_http.put(f"{EVENTS}/aaaaa", json=BODY)).status_code == 410
    summary = await ask(google_http, "GET", "")
    assert summary["requests"] == {"insert": {"200": 1}, "update": {"200": 1, "410": 1}}


async def test_a_service_account_is_made_and_deleted(google_http: httpx.AsyncClient) -> None:
    email = "robot@emulator.iam.gserviceaccount.com"
    document = await ask(google_http, "POST", "service-accounts", {"email": email})
    assert (document["type"], document["client_email"]) == ("service_account", email)
    assert await ask(google_http, "GET", f"calendars/{email}") == []
    await ask(google_http, "DELETE", f"service-accounts/{email}")
    assert (await google_http.delete(f"emulator/service-accounts/{email}")).status_code == 404


async def test_a_fault_is_set_counted_and_cleared(google_http: httpx.AsyncClient) -> None:
    rule = {"operation": "list", "effect": "error", "status": 503, "times": 1}
    await ask(google_http, "POST", "faults", rule)
    assert [(await google_http.get(EVENTS)).status_code for _ in range(2)] == [503, 200]
    (counted,) = await ask(google_http, "GET", "faults")
    assert (counted["seen"], counted["fired"], counted["fault"]["status"]) == (2, 1, 503)
    await ask(google_http, "DELETE", "faults")
    assert await ask(google_http, "GET", "faults") == []


async def test_requests_can_be_read_on_from_where_one_was(google_http: httpx.AsyncClient) -> None:
    for _ in range(3):
        await google_http.get(EVENTS)
    await google_http.post(EVENTS, json=BODY)
    listed = await ask(google_http, "GET", "requests?operation=list&since=1&limit=5")
    assert [entry["number"] for entry in listed] == [2, 3]
    (inserted,) = await ask(google_http, "GET", "requests?operation=insert")
    assert (inserted["body"], inserted["user"], inserted["event"]) == (BODY, USER, "aaaaa")
    await ask(google_http, "DELETE", "requests")
    assert await ask(google_http, "GET", "requests") == []


async def test_accounts_and_calendars_are_made(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    made = await ask(google_http, "POST", "users", {"email": "eve@example.com", "calendars": ["shared@example.com"]})
    assert made["refresh_token"].startswith("1//")
    roles = {"timeZone": "Europe/Berlin", "roles": {USER: "reader"}, "refusalReason": "forbidden"}
    await ask(google_http, "PUT", "calendars/new@example.com", roles)
    answer = await google_http.post("calendar/v3/calendars/new@example.com/events", json=BODY)
    assert answer.json()["error"]["errors"][0]["reason"] == "forbidden"
    token = (await ask(google_http, "POST", "access-tokens", {"email": "eve@example.com"}))["access_token"]
    calendar = "calendar/v3/calendars/shared@example.com/events"
    assert (await google_http.get(calendar, headers={"Authorization": f"Bearer {token}"})).status_code == 200
    await ask(google_http, "DELETE", "access-tokens")
    assert (await google_http.get(EVENTS)).status_code == 401
    await ask(google_http, "DELETE", "calendars/new@example.com")
    assert "new@example.com" not in google.emulator.api.calendars


async def test_switches_and_quota_are_replaced_and_reset(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    await google_http.post(EVENTS, json=BODY)
    assert (await ask(google_http, "PUT", "settings", {"empty_pages": True}))["empty_pages"]
    assert (await google_http.get(EVENTS)).json()["items"] == []
    await ask(google_http, "PUT", "quota", {"user": 1})
    assert [(await google_http.get(EVENTS)).status_code for _ in range(2)] == [200, 403]
    await ask(google_http, "POST", "reset")
    answer = await google_http.get(EVENTS)
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    assert google.emulator.log.count("list") == 1
    assert not google.emulator.settings.empty_pages


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("GET", "calendars/nowhere", None, 404),
        ("PATCH", "calendars/nowhere", {}, 404),
        ("POST", "faults", {"effect": "explode"}, 400),
        ("POST", "faults", {"efect": "drop"}, 400),
        ("PUT", "settings", {"latency": "slow"}, 400),
        ("POST", "users", {"mail": "x"}, 400),
        ("POST", "users", {}, 400),
        ("GET", "requests?since=then", None, 400),
        ("PUT", "calendars/new", {"timeZone": "Mars/Base"}, 400),
        ("PUT", "calendars/new", {"roles": {"eve": "king"}}, 400),
    ],
)
async def test_what_makes_no_sense_is_explained(
    google_http: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = await google_http.request(method, f"emulator/{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
