"""The server's side of batches: what it takes, what it refuses."""

import contextlib
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from calendar_emulator.calls import Answer, Request
from calendar_emulator.errors import ApiError
from calendar_emulator.http import batch
from tests.support.emulator_batches import batch_of, parts_of
from tests.support.google_fixtures import USER, GoogleServer

BATCH = "batch/calendar/v3"
EVENTS = "calendar/v3/calendars/primary/events"
BODY: dict[str, Any] = {"start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}}


def outer(body: bytes, content_type: str = "multipart/mixed; boundary=b", **headers: str) -> Request:
    return Request("POST", "/batch/calendar/v3", {}, {"content-type": content_type, **headers}, body)


PART = b"Content-Type: application/http\r\n\r\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/json", b"{}", id="not multipart"),
        pytest.param("multipart/mixed", b"--b\r\n", id="no boundary"),
        pytest.param("multipart/mixed; boundary=b", b"", id="empty"),
        pytest.param("multipart/mixed; boundary=b", b"--b--\r\n", id="no parts"),
        pytest.param(
            "multipart/mixed; boundary=b", b"--c\r\n" + PART + b"GET /x HTTP/1.1\r\n\r\n--c--", id="other boundary"
        ),
        pytest.param("multipart/mixed; boundary=b", b"--b\r\n" + PART + b"GET /x HTTP/1.1\r\n\r\n", id="not closed"),
        pytest.param("multipart/mixed; boundary=b", b"--b\r\n\r\nGET /x HTTP/1.1\r\n\r\n--b--", id="no content type"),
        pytest.param("multipart/mixed; boundary=b", b"--b\r\n" + PART + b"GET\r\n\r\n--b--", id="no path"),
        pytest.param(
            "multipart/mixed; boundary=b", b"--b\r\n" + PART + b"GET http://h/x HTTP/1.1\r\n\r\n--b--", id="a host"
        ),
        pytest.param(
            "multipart/mixed; boundary=b",
            b"--b\r\n" + PART + b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}\r\n--b--",
            id="body shorter than announced",
        ),
    ],
)
async def test_a_malformed_batch_is_refused_as_a_whole(
    google_http: httpx.AsyncClient, content_type: str, body: bytes
) -> None:
    answer = await google_http.post(BATCH, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] == "badRequest"


def test_outer_headers_and_parameters_hold_for_parts_that_do_not_say_otherwise() -> None:
    own = b"PUT /x?b=3 HTTP/1.1\r\nAuthorization: Bearer own\r\nContent-Type: application/json\r\n\r\n{}"
    body = b"--b\r\n" + PART + b"GET /x HTTP/1.1\r\n\r\n\r\n--b\r\n" + PART + own + b"\r\n--b--"
    request = outer(body, authorization="Bearer outer", **{"x-goog-quota-user": "u"})
    request.query = {"a": ["1"], "b": ["2"]}
    first, second = (part.request for part in batch.read(request))
    assert first.headers == {"authorization": "Bearer outer", "x-goog-quota-user": "u"}
    assert first.query == {"a": ["1"], "b": ["2"]}
    assert second.headers["authorization"] == "Bearer own"
    assert second.query == {"a": ["1"], "b": ["3"]}
    assert second.body == b"{}"


async def test_parts_are_independent_of_each_other(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    content, headers = batch_of(
        ("POST", EVENTS, {"id": "aaaaa", **BODY}),
        ("POST", EVENTS, {"id": "NO", **BODY}),
        ("GET", "calendar/v3/nowhere", None),
        ("GET", "drive/v3/files", None),
        ("DELETE", f"{EVENTS}/never", None),
        ("POST", EVENTS, {"id": "bbbbb", **BODY}),
    )
    parts = parts_of(await google_http.post(BATCH, content=content, headers=headers))
    assert [part.status for part in parts] == [200, 400, 404, 404, 404, 200]
    assert {event["id"] for event in google.emulator.events(USER)} == {"aaaaa", "bbbbb"}
    assert [entry.batch for entry in google.emulator.log.entries] == [1, 1, 1, 1, 1, 1, None]


async def test_a_batch_has_a_largest_size(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.settings.batch_limit = 2
    content, headers = batch_of(*[("GET", EVENTS, None)] * 3)
    assert (await google_http.post(BATCH, content=content, headers=headers)).status_code == 400
    content, headers = batch_of(*[("GET", EVENTS, None)] * 2)
    assert (await google_http.post(BATCH, content=content, headers=headers)).status_code == 200


async def test_two_calls_for_one_event_in_one_batch_are_noticed(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    calls = [("POST", EVENTS, {"id": "aaaaa", **BODY}), ("PUT", f"{EVENTS}/aaaaa", BODY), ("GET", EVENTS, None)]
    content, headers = batch_of(*calls)
    await google_http.post(BATCH, content=content, headers=headers)
    assert google.emulator.log.overlaps == [("primary", "aaaaa")]
    await google_http.delete(f"{EVENTS}/aaaaa")
    assert len(google.emulator.log.overlaps) == 1


_NAME = st.text(st.characters(codec="ascii", exclude_characters="<>\r\n\x00", categories=["L", "N", "P"]), min_size=1)
_JSON = st.dictionaries(st.text(max_size=9), st.text(max_size=30), max_size=4)


@given(st.lists(st.tuples(_NAME, _JSON), min_size=1, max_size=8), st.sampled_from(["\r\n", "\n"]))
def test_what_is_sent_is_what_is_read(parts: list[tuple[str, dict[str, str]]], newline: str) -> None:
    out = []
    for name, body in parts:
        text = json.dumps(body)
        out.append(f"--b{newline}Content-Type: application/http{newline}Content-ID: <{name}>{newline}{newline}")
        out.append(f"PUT /x?n=1 HTTP/1.1{newline}Content-Length: {len(text)}{newline}{newline}{text}{newline}")
    read = batch.read(outer("".join([*out, f"--b--{newline}"]).encode()))
    assert [part.content_id for part in read] == [f"<{name}>" for name, _ in parts]
    assert [part.request.json() for part in read] == [body for _, body in parts]


@given(st.binary(max_size=300) | st.text(st.sampled_from("-b\r\n: /HTP1.Contet-Typ"), max_size=300).map(str.encode))
def test_whatever_is_sent_is_read_or_refused(body: bytes) -> None:
    for text in (body, b"--b\r\n" + PART + body + b"\r\n--b--"):
        with contextlib.suppress(ApiError):
            batch.read(outer(text))


@given(st.lists(st.tuples(_NAME, _JSON), max_size=8))
def test_what_is_answered_can_be_read_by_the_standard_library(parts: list[tuple[str, dict[str, str]]]) -> None:
    written = batch.write([(f"<{name}>", Answer(200, body), "") for name, body in parts], "frontier")
    headers = {"content-type": "multipart/mixed; boundary=frontier"}
    if parts:
        read = parts_of(httpx.Response(200, content=written, headers=headers))
        assert [part.json for part in read] == [body for _, body in parts]
