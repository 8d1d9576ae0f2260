"""The emulator as a client meets it: over a socket, with tokens, alone and in batches."""

import email.parser
import email.policy
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from reactor.emulator import Fault, WriteKind
from tests.google_fixtures import USER, GoogleServer

EVENTS = "calendar/v3/calendars/primary/events"
BODY = {"summary": "Review", "start": {"dateTime": "2026-12-01T09:00:00Z"}, "end": {"dateTime": "2026-12-01T10:00:00Z"}}
EVENT_ID = "a1b2c3d4e5"


@pytest.fixture
async def client(google: GoogleServer) -> AsyncIterator[httpx.AsyncClient]:
    token = google.emulator.issue_access_token(USER)
    async with httpx.AsyncClient(base_url=google.api_root, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def reason(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["errors"][0]["reason"])


async def test_an_event_lives_and_dies(google: GoogleServer, client: httpx.AsyncClient) -> None:
    inserted = await client.post(EVENTS, json={"id": EVENT_ID, **BODY})
    assert inserted.status_code == 200
    path = f"{EVENTS}/{EVENT_ID}"
    assert (await client.get(path)).json() == inserted.json()
    updated = await client.put(path, json={**BODY, "summary": "Later"})
    assert updated.json()["summary"] == "Later"
    assert updated.json()["etag"] != inserted.json()["etag"]
    patched = await client.patch(path, json={"location": "Room 1"})
    assert (patched.json()["summary"], patched.json()["location"]) == ("Later", "Room 1")
    deleted = await client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await client.get(path)).json()["status"] == "cancelled"
    assert (await client.get(EVENTS)).json()["items"] == []
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


async def test_a_call_is_carried_out_and_its_answer_is_lost(google: GoogleServer, client: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(operation="insert", effect="drop", commit=1.0, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(EVENTS, json={"id": EVENT_ID, **BODY})
    again = await client.post(EVENTS, json={"id": EVENT_ID, **BODY})
    assert (again.status_code, reason(again)) == (409, "duplicate")
    assert len(google.emulator.events(USER)) == 1


def batch_of(*requests: tuple[str, str, dict[str, Any] | None]) -> tuple[bytes, dict[str, str]]:
    """A batch request whose parts are named item0, item1, ..."""
    out = ""
    for number, (method, path, body) in enumerate(requests):
        text = json.dumps(body) if body is not None else ""
        head = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n" if text else ""
        out += f"--b\r\nContent-Type: application/http\r\nContent-ID: <item{number}>\r\n\r\n"
        out += f"{method} /{path} HTTP/1.1\r\n{head}\r\n{text}\r\n"
    return f"{out}--b--\r\n".encode(), {"Content-Type": "multipart/mixed; boundary=b"}


def parts_of(answer: httpx.Response) -> list[tuple[str, int, Any]]:
    """Content-ID, status and JSON of each part, read by the standard library's parser."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
    parts = []
    for part in message.iter_parts():
        inner = part.get_content()
        line, _, rest = inner.partition(b"\r\n")
        body = rest.partition(b"\r\n\r\n")[2]
        parts.append((part["content-id"], int(line.split()[1]), json.loads(body) if body.strip() else None))
    return parts


async def test_a_batch_is_answered_in_the_order_of_its_parts(google: GoogleServer, client: httpx.AsyncClient) -> None:
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", EVENTS, {"id": f"event{number:02}", **BODY}) for number in range(20)
    ]
    content, headers = batch_of(*calls, ("DELETE", f"{EVENTS}/never", None))
    answer = await client.post("batch/calendar/v3", content=content, headers=headers)
    parts = parts_of(answer)
    assert [part[0] for part in parts] == [f"<response-item{number}>" for number in range(21)]
    assert [part[1] for part in parts] == [200] * 20 + [404]
    created = [event["id"] for event in google.emulator.events(USER)]
    assert created != sorted(created), "the parts were carried out in order"
    assert sorted(created) == [f"event{number:02}" for number in range(20)]
