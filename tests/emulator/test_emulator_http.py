"""The emulator as a client meets it: over a socket, with tokens, alone and in batches."""

from typing import Any

import httpx
import pytest

from calendar_emulator import Fault, WriteKind
from tests.support.emulator_batches import batch_of, parts_of
from tests.support.google_fixtures import USER, GoogleServer

EVENTS = "calendar/v3/calendars/primary/events"
BODY = {"summary": "Review", "start": {"dateTime": "2026-12-01T09:00:00Z"}, "end": {"dateTime": "2026-12-01T10:00:00Z"}}
EVENT_ID = "a1b2c3d4e5"


def reason(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["errors"][0]["reason"])


async def test_an_event_lives_and_dies(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    inserted = await google_http.post(EVENTS, json={"id": EVENT_ID, **BODY})
    assert inserted.status_code == 200
    path = f"{EVENTS}/{EVENT_ID}"
    assert (await google_http.get(path)).json() == inserted.json()
    updated = await google_http.put(path, json={**BODY, "summary": "Later"})
    assert updated.json()["summary"] == "Later"
    assert updated.json()["etag"] != inserted.json()["etag"]
    patched = await google_http.patch(path, json={"location": "Room 1"})
    assert (patched.json()["summary"], patched.json()["location"]) == ("Later", "Room 1")
    deleted = await google_http.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await google_http.get(path)).json()["status"] == "cancelled"
    assert (await google_http.get(EVENTS)).json()["items"] == []
    kinds = [write.kind for write in google.emulator.history(USER, EVENT_ID)]
    assert kinds == [WriteKind.INSERT, WriteKind.UPDATE, WriteKind.UPDATE, WriteKind.DELETE]


async def test_the_token_endpoint_refreshes(google: GoogleServer) -> None:
    form = {
        "grant_type": "refresh_token",
        "refresh_token": google.refresh_token,
        "client_id": google.client_id,
        "client_secret": google.client_secret,
    }
    async with httpx.AsyncClient() as client:
        token = (await client.post(google.token_uri, data=form)).json()
        assert token["token_type"] == "Bearer"
        answer = await client.get(
            google.api_root + EVENTS, headers={"Authorization": f"Bearer {token['access_token']}"}
        )
    assert answer.status_code == 200


async def test_a_call_is_carried_out_and_its_answer_is_lost(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    google.emulator.fault(Fault(operation="insert", effect="drop", commit=1.0, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await google_http.post(EVENTS, json={"id": EVENT_ID, **BODY})
    again = await google_http.post(EVENTS, json={"id": EVENT_ID, **BODY})
    assert (again.status_code, reason(again)) == (409, "duplicate")
    assert len(google.emulator.events(USER)) == 1


async def test_a_batch_is_answered_in_the_order_of_its_parts(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", EVENTS, {"id": f"event{number:02}", **BODY}) for number in range(20)
    ]
    content, headers = batch_of(*calls, ("DELETE", f"{EVENTS}/never", None))
    answer = await google_http.post("batch/calendar/v3", content=content, headers=headers)
    parts = parts_of(answer)
    assert [part.content_id for part in parts] == [f"<response-item{number}>" for number in range(21)]
    assert [part.status for part in parts] == [200] * 20 + [404]
    created = [event["id"] for event in google.emulator.events(USER)]
    assert created != sorted(created), "the parts were carried out in order"
    assert sorted(created) == [f"event{number:02}" for number in range(20)]
