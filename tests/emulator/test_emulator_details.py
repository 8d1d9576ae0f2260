"""Recurrence rules, partial answers, conferences and attachments, as Google has them."""

from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from calendar_emulator.errors import ApiError
from calendar_emulator.partial import masked
from calendar_emulator.store.recurrence import is_recurrence
from tests.support.google_fixtures import USER, GoogleServer

EVENTS = "calendar/v3/calendars/primary/events"
TIMES = {"start": {"dateTime": "2026-12-01T09:00:00Z"}, "end": {"dateTime": "2026-12-01T10:00:00Z"}}


@pytest.mark.parametrize(
    "line",
    [
        "RRULE:FREQ=DAILY",
        "RRULE:freq=weekly;count=3",
        "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;WKST=SU;UNTIL=20261231T235959Z",
        "RRULE:FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20261231",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=-1,15;COUNT=12",
        "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU",
        "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "RRULE:FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "EXRULE:FREQ=DAILY;COUNT=2",
        "EXDATE:20261202",
        "EXDATE;TZID=Europe/Berlin:20261202T090000,20261203T090000",
        "RDATE;VALUE=DATE:20261224",
        "RDATE;VALUE=PERIOD:20261224T090000Z/PT1H",
    ],
)
def test_a_line_of_rfc_5545_is_taken(line: str) -> None:
    assert is_recurrence(line)


@pytest.mark.parametrize(
    "line",
    [
        "RRULE:",
        "RRULE:FREQ=NEVER",
        "RRULE:COUNT=3",
        "RRULE:FREQ=DAILY;COUNT=3;UNTIL=20261231",
        "RRULE:FREQ=DAILY;FREQ=DAILY",
        "RRULE:FREQ=DAILY;COUNT=0",
        "RRULE:FREQ=DAILY;INTERVAL=-1",
        "RRULE:FREQ=DAILY;UNTIL=2026-12-31",
        "RRULE:FREQ=DAILY;UNTIL=20261331",
        "RRULE:FREQ=DAILY;UNTIL=2026-12-31T00:00:00+08:00",
        "RRULE:FREQ=WEEKLY;BYDAY=XX",
        "RRULE:FREQ=WEEKLY;BYDAY=2MO",
        "RRULE:FREQ=WEEKLY;BYMONTHDAY=1",
        "RRULE:FREQ=MONTHLY;BYDAY=54MO",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=32",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=0",
        "RRULE:FREQ=MONTHLY;BYYEARDAY=1",
        "RRULE:FREQ=MONTHLY;BYWEEKNO=1",
        "RRULE:FREQ=YEARLY;BYMONTH=13",
        "RRULE:FREQ=MONTHLY;BYSETPOS=1",
        "RRULE:FREQ=DAILY;WKST=1MO",
        "RRULE:FREQ=DAILY;COLOUR=RED",
        "RRULE=WEEKLY;UNTIL=20190716",
        "RRULE;FREQ=DAILY",
        "DTSTART:20261201",
        "EXDATE:tomorrow",
        "EXDATE:20261202,",
        "RDATE;TZID:20261202",
        "RRULE:FREQ=DAILY;BYDAY=" + "MO," * 9_000 + "MO",
    ],
)
def test_any_other_line_is_refused(line: str) -> None:
    assert not is_recurrence(line)


@given(st.text(alphabet="RULE:FQ=DAIYWK;,0123-+BMOSTPN\u0660", max_size=40))
def test_any_line_is_taken_or_refused(text: str) -> None:
    is_recurrence(text)
    is_recurrence(f"RRULE:{text}")
    is_recurrence(f"EXDATE:{text}")


async def test_what_is_wrong_with_a_rule_is_said(google_http: httpx.AsyncClient) -> None:
    zoned = {side: point | {"timeZone": "Europe/Berlin"} for side, point in TIMES.items()}
    answer = await google_http.post(EVENTS, json=zoned | {"recurrence": ["RRULE:FREQ=DAILY;COUNT=2;UNTIL=20261231"]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Invalid recurrence rule.")


WHOLE = {"id": "e", "start": {"date": "d", "timeZone": "z"}, "items": [{"id": 1, "a": {"b": 2, "c": 3}}, {"id": 4}]}


@pytest.mark.parametrize(
    ("selection", "part"),
    [
        ("id", {"id": "e"}),
        ("*", WHOLE),
        ("start/date", {"start": {"date": "d"}}),
        ("start(date,timeZone),id", {"id": "e", "start": {"date": "d", "timeZone": "z"}}),
        ("items(id,a/b)", {"items": [{"id": 1, "a": {"b": 2}}, {"id": 4}]}),
        ("items/a(b), none", {"items": [{"a": {"b": 2}}, {}]}),
        ("items/*/c", {"items": [{"id": 1, "a": {"c": 3}}, {"id": 4}]}),
    ],
)
def test_a_part_of_an_answer_is_what_was_selected(selection: str, part: Any) -> None:
    assert masked(WHOLE, selection) == part


@pytest.mark.parametrize("selection", [",", "a,", "a(b", "a)b", "a//b", "a(b))", "(a)", "ä", "a b"])
def test_a_selection_that_cannot_be_read_is_refused(selection: str) -> None:
    with pytest.raises(ApiError) as refused:
        masked(WHOLE, selection)
    assert refused.value.status == 400


async def test_a_tombstone_answers_no_more_than_it_has(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    for event_id in ("aaaaa", "bbbbb"):
        await google_http.post(EVENTS, json={**TIMES, "id": event_id, "summary": "Review"})
    await google_http.delete(f"{EVENTS}/aaaaa")
    asked = {"fields": "id,status,summary,organizer(email,self)"}
    answer = await google_http.get(f"{EVENTS}/aaaaa", params=asked)
    organizer = {"email": USER, "self": True}
    assert answer.json() == {"id": "aaaaa", "status": "cancelled", "summary": "Review", "organizer": organizer}
    calendar = google.emulator.calendar(USER)
    calendar.remove(calendar.get("bbbbb"), google.emulator.clock())
    assert (await google_http.get(f"{EVENTS}/bbbbb", params=asked)).json() == {"id": "bbbbb", "status": "cancelled"}
    assert (await google_http.get(EVENTS, params={"fields": "items("})).status_code == 400


async def test_a_conference_is_made_on_request_and_kept(google_http: httpx.AsyncClient) -> None:
    """A client that says nothing of conferences and attachments neither writes nor removes any."""
    request = {"createRequest": {"requestId": "r1", "conferenceSolutionKey": {"type": "hangoutsMeet"}}}
    attachments = [{"fileUrl": "https://example.com/file", "title": "Plan"}]
    body = {**TIMES, "id": "aaaaa", "conferenceData": request, "attachments": attachments}
    plain = (await google_http.post(EVENTS, json=body | {"id": "bbbbb"})).json()
    assert not plain.keys() & {"conferenceData", "attachments", "hangoutLink"}
    knowing = {"conferenceDataVersion": "1", "supportsAttachments": "true"}
    made = (await google_http.post(EVENTS, json=body, params=knowing)).json()
    assert made["conferenceData"]["createRequest"]["status"] == {"statusCode": "success"}
    assert made["hangoutLink"] == made["conferenceData"]["entryPoints"][0]["uri"]
    for method, change in (("PUT", TIMES), ("PATCH", {"summary": "x", "conferenceData": None, "attachments": None})):
        kept = (await google_http.request(method, f"{EVENTS}/aaaaa", json=change)).json()
        for name in ("conferenceData", "attachments", "hangoutLink"):
            assert kept[name] == made[name]
    copied = (await google_http.put(f"{EVENTS}/aaaaa", json={**TIMES, **made}, params=knowing)).json()
    assert copied["conferenceData"] == made["conferenceData"]
    gone = (await google_http.put(f"{EVENTS}/aaaaa", json=TIMES, params=knowing)).json()
    assert not gone.keys() & {"conferenceData", "attachments", "hangoutLink"}
