"""Nonsense of every kind: the emulator refuses it in Google's words and never fails."""

import json
from typing import Any

from hypothesis import example, given, strategies as st

from calendar_emulator import Emulator
from calendar_emulator.calls import Request, parse_query, read_call
from calendar_emulator.errors import ApiError
from tests.support.google_fixtures import USER

_FIELDS = st.sampled_from(
    ["id", "start", "end", "date", "dateTime", "timeZone", "recurrence", "reminders", "overrides", "useDefault",
     "method", "minutes", "extendedProperties", "private", "shared", "status", "summary", "description", "location",
     "colorId", "sequence", "iCalUID", "attendees", "eventType"]
)  # fmt: skip
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
_VALUES = _PLAIN | st.sampled_from(
    ["2026-12-01", "2026-12-01T09:00:00Z", "2026-12-01T09:00:00", "0000-00-00", "0001-01-01T00:00:00+23:59", "UTC",
     "9999-12-31T23:59:59-23:59", "9999-12-31", "Europe/Berlin", "../etc/passwd", "cancelled", "confirmed", "aaaaa"]
)  # fmt: skip
_BODIES = st.recursive(
    _VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=6), max_leaves=25
)
_VALID = {"start": {"dateTime": "2026-12-01T09:00:00Z"}, "end": {"dateTime": "2026-12-01T10:00:00Z"}}
_QUERIES = st.dictionaries(
    st.sampled_from(
        ["syncToken", "pageToken", "maxResults", "orderBy", "timeMin", "timeMax", "updatedMin", "showDeleted", "q",
         "privateExtendedProperty", "singleEvents", "destination", "quotaUser", "alt"]
    ),
    st.text(max_size=12) | st.sampled_from(["true", "startTime", "a=b", "1", "e30", "W10", "eyJjIjogImFkYSJ9"]),
    max_size=4,
)  # fmt: skip


def perform(method: str, path: str, body: Any, query: dict[str, str]) -> None:
    emulator = Emulator(clock=lambda: 1_800_000_000.0)
    emulator.add_user(USER)
    emulator.calendar(USER).insert(_VALID | {"id": "aaaaa"}, who=USER, new_id="", now=0)
    headers = {"authorization": f"Bearer {emulator.issue_access_token(USER)}"}
    content = b"" if body is None else json.dumps(body).encode()
    request = Request(method, f"/calendar/v3/{path}", {k: [v] for k, v in query.items()}, headers, content)
    try:
        answer, _ = emulator.api.perform(read_call(request), emulator.clock())
    except ApiError as error:
        json.dumps(error.body())
    else:
        answer.body()


@given(
    st.sampled_from(["POST", "PUT", "PATCH"]),
    st.sampled_from(["events", "events/aaaaa", "events/import", "events/aaaaa/move"]),
    _BODIES | st.dictionaries(_FIELDS, _BODIES, max_size=4).map(lambda more: _VALID | more),
)
@example("POST", "events", {"start": {"dateTime": "9999-12-31T23:59:59-23:59"}, "end": {"date": "9999-12-31"}})
@example("POST", "events", {side: {"dateTime": "9999-12-31T23:59:59-23:59"} for side in ("start", "end")})
@example("PUT", "events/aaaaa", {side: {"dateTime": "0001-01-01T00:00:00+23:59"} for side in ("start", "end")})
def test_any_body(method: str, path: str, body: Any) -> None:
    perform(method, f"calendars/primary/{path}", body, {})


@given(st.sampled_from(["GET", "DELETE", "POST"]), st.sampled_from(["events", "events/aaaaa"]), _QUERIES)
def test_any_query(method: str, path: str, query: dict[str, str]) -> None:
    perform(method, f"calendars/primary/{path}", None, query)


@given(st.text(max_size=40).map(lambda text: text.replace("?", "")), st.text(max_size=40))
def test_any_path(path: str, query: str) -> None:
    perform("GET", path, None, {name: values[0] for name, values in parse_query(query).items()})
