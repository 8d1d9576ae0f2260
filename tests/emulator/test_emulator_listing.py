"""Listing a calendar of the emulator: filters, pages, sync tokens."""

from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from calendar_emulator import Emulator
from calendar_emulator.store.listing import page
from tests.support.google_fixtures import USER, GoogleServer

Json = dict[str, Any]
EVENTS = "calendar/v3/calendars/primary/events"


def put(emulator: Emulator, number: int, **more: Any) -> str:
    """Store the event that lasts one hour from `number` o'clock."""
    body = {
        "id": f"event{number:02}",
        "summary": f"Event {number}",
        "start": {"dateTime": f"2026-12-01T{number:02}:00:00Z"},
        "end": {"dateTime": f"2026-12-01T{number + 1:02}:00:00Z"},
        **more,
    }
    event = emulator.calendar(USER).insert(body, who=USER, new_id="", now=emulator.clock() + number)
    return str(event["id"])


async def ids(client: httpx.AsyncClient, **query: str) -> list[str]:
    answer = await client.get(EVENTS, params=query)
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json()["items"]]


async def test_deleted_events_are_hidden_unless_asked_for(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    put(google.emulator, 1)
    google.emulator.delete_by_hand(USER, put(google.emulator, 2))
    assert await ids(google_http) == ["event01"]
    assert await ids(google_http, showDeleted="true") == ["event01", "event02"]
    assert await ids(google_http, updatedMin="2020-01-01T00:00:00Z") == ["event01", "event02"]


async def test_time_bounds_are_exclusive_and_look_at_the_other_end(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    for number in range(1, 6):
        put(google.emulator, number)
    assert await ids(google_http, timeMin="2026-12-01T03:00:00Z") == ["event03", "event04", "event05"]
    assert await ids(google_http, timeMax="2026-12-01T03:00:00Z") == ["event01", "event02"]
    between = {"timeMin": "2026-12-01T04:30:00+01:00", "timeMax": "2026-12-01T03:30:01Z"}
    assert await ids(google_http, **between) == ["event03"]


async def test_private_properties_and_words_are_searched(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    for number in range(4):
        put(google.emulator, number, extendedProperties={"private": {"w": str(number % 2), "n": str(number)}})
    assert await ids(google_http, privateExtendedProperty="w=1") == ["event01", "event03"]
    both = httpx.QueryParams([("privateExtendedProperty", "w=1"), ("privateExtendedProperty", "n=3")])
    answer = await google_http.get(EVENTS, params=both)
    assert [event["id"] for event in answer.json()["items"]] == ["event03"]
    assert await ids(google_http, sharedExtendedProperty="w=1") == []
    assert await ids(google_http, q="EVENT 2") == ["event02"]
    assert await ids(google_http, iCalUID="event02@google.com") == ["event02"]


async def test_events_can_be_ordered(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    for number in (5, 3, 4):
        put(google.emulator, number)
    assert await ids(google_http) == ["event05", "event03", "event04"]
    by_start = {"orderBy": "startTime", "singleEvents": "true"}
    assert await ids(google_http, **by_start) == ["event03", "event04", "event05"]
    pages, token = [], None
    while token != "":
        more: dict[str, str] = {"pageToken": token} if token else {}
        answer = (await google_http.get(EVENTS, params=by_start | {"maxResults": "1"} | more)).json()
        pages.append([event["id"] for event in answer["items"]])
        token = answer.get("nextPageToken", "")
    assert pages == [["event03"], ["event04"], ["event05"]]
    assert await ids(google_http, orderBy="updated") == ["event03", "event04", "event05"]


@pytest.mark.parametrize(
    "query",
    [
        {"orderBy": "startTime"},
        {"orderBy": "name"},
        {"maxResults": "0"},
        {"maxResults": "many"},
        {"showDeleted": "perhaps"},
        {"timeMin": "2026-12-01T00:00:00"},
        {"timeMin": "yesterday"},
        {"timeMin": "2026-12-02T00:00:00Z", "timeMax": "2026-12-01T00:00:00Z"},
        {"privateExtendedProperty": "novalue"},
        {"pageToken": "invented"},
        {"syncToken": "invented"},
        {"alt": "xml"},
    ],
)
async def test_a_query_is_refused(google_http: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await google_http.get(EVENTS, params=query)).status_code == 400


async def test_a_page_token_belongs_to_its_query(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    for number in range(3):
        put(google.emulator, number)
    first = (await google_http.get(EVENTS, params={"maxResults": "1"})).json()
    other = await google_http.get(EVENTS, params={"pageToken": first["nextPageToken"], "q": "x"})
    assert other.status_code == 400


@pytest.mark.parametrize(
    "extra",
    [
        {"q": "x"},
        {"orderBy": "updated"},
        {"privateExtendedProperty": "a=b"},
        {"timeMin": "2026-12-01T00:00:00Z"},
        {"showDeleted": "false"},
    ],
)
async def test_a_sync_token_refuses_company(google_http: httpx.AsyncClient, extra: dict[str, str]) -> None:
    token = (await google_http.get(EVENTS)).json()["nextSyncToken"]
    assert (await google_http.get(EVENTS, params={"syncToken": token})).status_code == 200
    assert (await google_http.get(EVENTS, params={"syncToken": token} | extra)).status_code == 400


async def test_an_old_sync_token_asks_for_a_full_sync(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    token = (await google_http.get(EVENTS)).json()["nextSyncToken"]
    google.emulator.expire_sync_tokens(USER)
    answer = await google_http.get(EVENTS, params={"syncToken": token})
    assert answer.status_code == 410
    assert answer.json()["error"]["errors"][0]["reason"] == "fullSyncRequired"
    fresh = (await google_http.get(EVENTS)).json()["nextSyncToken"]
    assert await ids(google_http, syncToken=fresh) == []


async def test_a_listing_may_begin_with_an_empty_page(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    put(google.emulator, 1)
    google.emulator.settings.empty_pages = True
    first = (await google_http.get(EVENTS)).json()
    assert (first["items"], "nextPageToken" in first, "nextSyncToken" in first) == ([], True, False)
    assert await ids(google_http, pageToken=first["nextPageToken"]) == ["event01"]


async def test_what_changes_between_two_pages_is_told_by_the_sync_token(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    for number in range(3):
        put(google.emulator, number)
    query: dict[str, str] = {"maxResults": "1"}
    for number in range(2):
        query["pageToken"] = (await google_http.get(EVENTS, params=query)).json()["nextPageToken"]
        google.emulator.edit_by_hand(USER, f"event{number:02}", {"summary": "changed behind the reader's back"})
    last = (await google_http.get(EVENTS, params=query)).json()
    assert await ids(google_http, syncToken=last["nextSyncToken"]) == ["event00", "event01"]


@given(
    st.lists(st.tuples(st.sampled_from(["insert", "delete", "edit", "page"]), st.integers(0, 4)), max_size=40),
    st.integers(1, 3),
)
def test_whoever_follows_sync_tokens_knows_the_calendar(steps: list[tuple[str, int]], size: int) -> None:
    """Pages are read while the calendar changes; after one undisturbed sync the copy agrees with the calendar."""
    emulator = Emulator(clock=lambda: 0.0)
    emulator.share(USER, USER, "owner")
    for number in range(3):
        put(emulator, number)
    copy: dict[str, Json] = {}
    query: dict[str, list[str]] = {"maxResults": [str(size)]}

    def read() -> bool:
        answer = page(emulator.calendar(USER), query, role="owner")
        copy.update({event["id"]: event for event in answer["items"]})
        query.pop("pageToken", None)
        if "nextPageToken" in answer:
            query["pageToken"] = [answer["nextPageToken"]]
        else:
            query["syncToken"] = [answer["nextSyncToken"]]
        return "nextPageToken" in answer

    for step, number in steps:
        record = emulator.calendar(USER).records.get(f"event{number:02}")
        if step == "page":
            read()
        elif step == "insert" and record is None:
            put(emulator, number)
        elif step == "delete" and record and not record.cancelled:
            emulator.delete_by_hand(USER, f"event{number:02}")
        elif step == "edit" and record:
            emulator.edit_by_hand(USER, f"event{number:02}", {"location": str(len(record.writes))})
    while read():
        pass
    while read():
        pass
    known = {event_id: event for event_id, event in copy.items() if event["status"] != "cancelled"}
    assert known == {event["id"]: event for event in emulator.events(USER)}
