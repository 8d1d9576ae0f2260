"""What the emulator lets an event be, and how an event changes."""

from typing import Any

import httpx
import pytest

from calendar_emulator import Emulator, WriteKind
from tests.support.google_fixtures import USER, GoogleServer

Json = dict[str, Any]
EVENTS = "calendar/v3/calendars/primary/events"
START, END = {"dateTime": "2026-12-01T09:00:00Z"}, {"dateTime": "2026-12-01T10:00:00Z"}
BODY: Json = {"summary": "Review", "start": START, "end": END}
ID = "a1b2c3d4e5"
PATH = f"{EVENTS}/{ID}"


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, reason and message of a refusal."""
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["errors"][0]["reason"], error["errors"][0]["message"]


@pytest.fixture
def event(emulator: Emulator) -> Json:
    """An event that is already there."""
    return emulator.calendar(USER).insert({"id": ID, **BODY}, who=USER, new_id="", now=emulator.clock())


ZONE = "Missing time zone definition for start time."
FORMAT = "Invalid value for: Invalid format:"


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        pytest.param({"id": "short"[:4]}, "invalid", "Invalid resource id value.", id="id too short"),
        pytest.param({"id": "UPPER"}, "invalid", "Invalid resource id value.", id="id upper case"),
        pytest.param({"id": "a-b-c-d"}, "invalid", "Invalid resource id value.", id="id with hyphens"),
        pytest.param({"id": "wxyz1"}, "invalid", "Invalid resource id value.", id="id in ordinary base32"),
        pytest.param({"id": "a" * 1_025}, "invalid", "Invalid resource id value.", id="id too long"),
        pytest.param({"id": "aaaaa", "iCalUID": "x"}, "invalid", "Only one of", id="id and iCalUID"),
        pytest.param({"start": None}, "required", "Missing start time.", id="no start"),
        pytest.param({"end": None}, "required", "Missing end time.", id="no end"),
        pytest.param({"end": {"timeZone": "UTC"}}, "required", "Missing end time.", id="end without a time"),
        pytest.param({"start": "2026"}, "invalid", "Invalid start time.", id="start is text"),
        pytest.param({"start": START | {"date": "2026-12-01"}}, "invalid", "Invalid start time.", id="both kinds"),
        pytest.param({"end": {"date": "2026-12-02"}}, "invalid", "must either both be", id="mixed kinds"),
        pytest.param({"start": {"dateTime": "2026-12-01"}}, "invalid", FORMAT, id="dateTime is a date"),
        pytest.param({"start": {"dateTime": "2026-13-01T09:00:00Z"}}, "invalid", FORMAT, id="month 13"),
        pytest.param(
            {"start": {"date": "2026-2-1"}, "end": {"date": "2026-12-02"}}, "invalid", FORMAT, id="short date"
        ),
        pytest.param(
            {"start": {"date": "2026-02-30"}, "end": {"date": "2026-12-02"}}, "invalid", FORMAT, id="no such day"
        ),
        pytest.param({"start": {"dateTime": "2026-12-01T09:00:00"}}, "required", ZONE, id="no offset and no zone"),
        pytest.param({"start": START | {"timeZone": "Mars/Base"}}, "invalid", "Invalid time zone", id="no such zone"),
        pytest.param({"recurrence": ["RRULE:FREQ=DAILY"]}, "required", ZONE, id="recurrence without a zone"),
        pytest.param({"end": START}, "timeRangeEmpty", "The specified time range is empty.", id="empty range"),
        pytest.param(
            {"start": {"date": "2026-12-01"}, "end": {"date": "2026-12-01"}},
            "timeRangeEmpty",
            "",
            id="end day inclusive",
        ),
        pytest.param({"colorId": "12"}, "invalid", "", id="colour 12"),
        pytest.param({"colorId": 5}, "invalid", "", id="colour is a number"),
        pytest.param({"status": "done"}, "invalid", "", id="unknown status"),
        pytest.param({"summary": "x" * 1_025}, "invalid", "", id="summary too long"),
        pytest.param({"description": "x" * 8_193}, "invalid", "", id="description too long"),
        pytest.param(
            {"reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": 1}] * 6}},
            "invalid",
            "",
            id="six reminders",
        ),
        pytest.param(
            {"reminders": {"useDefault": True, "overrides": [{"method": "popup", "minutes": 1}]}},
            "cannotUseDefaultRemindersAndSpecifyOverride",
            "",
            id="default reminders and others",
        ),
        pytest.param(
            {"extendedProperties": {"private": {f"k{n}": "v" for n in range(301)}}}, "invalid", "", id="301 properties"
        ),
        pytest.param(
            {"extendedProperties": {"private": {f"k{n}": "v" * 1_024 for n in range(33)}}}, "invalid", "", id="33 kB"
        ),
    ],
)
async def test_a_body_is_refused(google_http: httpx.AsyncClient, change: Json, reason: str, message: str) -> None:
    answer = await google_http.post(EVENTS, json=BODY | change)
    status, got, text = refusal(answer)
    assert (status, got) == (400, reason)
    assert message in text
    assert set(answer.json()["error"]) == {"errors", "code", "message"}, "not the shape of Calendar's own errors"


async def test_a_missing_end_is_told_before_a_missing_zone(google_http: httpx.AsyncClient) -> None:
    answer = await google_http.post(EVENTS, json={"start": START, "recurrence": ["RRULE:FREQ=DAILY"]})
    assert refusal(answer)[2] == "Missing end time."


@pytest.mark.parametrize("line", ["DTSTART:20261201", "FREQ=DAILY", "rrule:FREQ=DAILY"])
async def test_a_recurrence_line_of_another_kind_is_refused(google_http: httpx.AsyncClient, line: str) -> None:
    zoned = {"start": START | {"timeZone": "UTC"}, "end": END | {"timeZone": "UTC"}}
    assert refusal(await google_http.post(EVENTS, json=zoned | {"recurrence": [line]}))[1] == "invalid"


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
async def test_a_body_that_is_no_json_object_is_a_parse_error(google_http: httpx.AsyncClient, content: bytes) -> None:
    assert refusal(await google_http.post(EVENTS, content=content))[1] == "parseError"


async def test_instants_are_answered_in_the_calendars_zone(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    google.emulator.add_calendar("berlin@example.com", time_zone="Europe/Berlin")
    google.emulator.share("berlin@example.com", USER, "writer")
    path = "calendar/v3/calendars/berlin%40example.com/events"
    local = {"dateTime": "2026-07-01T18:30:00", "timeZone": "America/New_York"}
    answer = (await google_http.post(path, json={"start": local, "end": END})).json()
    assert answer["start"] == {"dateTime": "2026-07-02T00:30:00+02:00", "timeZone": "America/New_York"}
    assert answer["end"] == {"dateTime": "2026-12-01T11:00:00+01:00", "timeZone": "Europe/Berlin"}


async def test_private_properties_are_shortened_without_a_word(google_http: httpx.AsyncClient) -> None:
    marks = {"k" * 44: "kept", "k" * 45: "dropped", "long": "v" * 2_000}
    answer = (await google_http.post(EVENTS, json=BODY | {"extendedProperties": {"private": marks}})).json()
    assert answer["extendedProperties"]["private"] == {"k" * 44: "kept", "long": "v" * 1_024}


async def test_fields_that_only_the_server_sets_are_ignored(google_http: httpx.AsyncClient) -> None:
    forged = {"id": ID, "etag": '"1"', "created": "1999-01-01T00:00:00Z", "htmlLink": "x", "creator": {"email": "x@y"}}
    answer = (await google_http.post(EVENTS, json=BODY | forged)).json()
    assert answer["creator"] == {"email": USER, "self": True}
    assert all(answer[key] != forged[key] for key in ("etag", "created", "htmlLink"))


async def test_an_update_replaces_everything(google_http: httpx.AsyncClient, event: Json) -> None:
    marks = {"extendedProperties": {"private": {"seq": "1"}}, "location": "Room 1", "colorId": "3"}
    await google_http.put(PATH, json=BODY | marks)
    bare = (await google_http.put(PATH, json={"start": START, "end": END})).json()
    assert not bare.keys() & {"summary", "location", "colorId", "extendedProperties"}
    assert bare["created"] == event["created"]
    assert bare["iCalUID"] == event["iCalUID"]
    assert refusal(await google_http.put(PATH, json={"summary": "x"}))[1] == "required"
    assert refusal(await google_http.put(PATH, json=BODY | {"id": "other"}))[0] == 400


@pytest.mark.usefixtures("event")
async def test_a_patch_merges_objects_replaces_arrays_and_drops_nulls(google_http: httpx.AsyncClient) -> None:
    overrides = [{"method": "popup", "minutes": 5}, {"method": "email", "minutes": 10}]
    private = {"a": "1", "b": "2"}
    full = {"reminders": {"useDefault": False, "overrides": overrides}, "extendedProperties": {"private": private}}
    await google_http.patch(PATH, json=full | {"location": "Room 1"})
    change = {
        "reminders": {"overrides": overrides[:1]},
        "extendedProperties": {"private": {"a": None, "c": "3"}},
        "location": None,
    }
    patched = (await google_http.patch(PATH, json=change)).json()
    assert patched["reminders"] == {"useDefault": False, "overrides": overrides[:1]}
    assert patched["extendedProperties"]["private"] == {"b": "2", "c": "3"}
    assert "location" not in patched
    assert patched["summary"] == BODY["summary"]


@pytest.mark.parametrize(("method", "expected"), [("GET", 404), ("PUT", 404), ("PATCH", 404), ("DELETE", 404)])
async def test_what_never_existed_is_not_found(google_http: httpx.AsyncClient, method: str, expected: int) -> None:
    answer = await google_http.request(method, f"{EVENTS}/never", json=BODY if method in ("PUT", "PATCH") else None)
    assert refusal(answer) == (expected, "notFound", "Not Found")


@pytest.mark.usefixtures("event")
async def test_a_deleted_id_stays_taken_for_ever(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    await google_http.delete(PATH)
    again = await google_http.post(EVENTS, json={"id": ID, **BODY})
    assert refusal(again) == (409, "duplicate", "The requested identifier already exists.")
    assert refusal(await google_http.delete(PATH))[:2] == (410, "deleted")
    tombstone = (await google_http.get(PATH)).json()
    assert (tombstone["status"], tombstone["summary"]) == ("cancelled", "Review")
    assert google.emulator.events(USER) == []


@pytest.mark.usefixtures("event")
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_tombstone_is_revived(google: GoogleServer, google_http: httpx.AsyncClient, method: str) -> None:
    await google_http.delete(PATH)
    body = BODY | {"status": "confirmed"} if method == "PUT" else {"status": "confirmed"}
    assert (await google_http.request(method, PATH, json=body)).json()["status"] == "confirmed"
    assert google.emulator.writes(USER)[ID][WriteKind.REVIVE] == 1
    assert (await google_http.delete(PATH)).status_code == 204


@pytest.mark.usefixtures("event")
async def test_a_patch_that_names_no_status_leaves_a_tombstone_dead(google_http: httpx.AsyncClient) -> None:
    await google_http.delete(PATH)
    assert (await google_http.patch(PATH, json={"summary": "x"})).json()["status"] == "cancelled"


@pytest.mark.usefixtures("event")
@pytest.mark.parametrize(("status", "reason"), [(403, "forbidden"), (404, "notFound"), (410, "deleted")])
@pytest.mark.parametrize("where", ["calendar", "event"])
async def test_a_purged_tombstone_is_not_revived(
    google: GoogleServer, google_http: httpx.AsyncClient, status: int, reason: str, where: str
) -> None:
    await google_http.delete(PATH)
    if where == "calendar":
        google.emulator.calendar(USER).revive_refusal = status
    else:
        google.emulator.purge(USER, ID, status=status)
    for method in ("PUT", "PATCH"):
        answer = await google_http.request(method, PATH, json=BODY | {"status": "confirmed"})
        assert refusal(answer)[:2] == (status, reason)
    assert refusal(await google_http.post(EVENTS, json={"id": ID, **BODY}))[0] == 409


@pytest.mark.usefixtures("event")
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_the_status_cancelled_deletes(google: GoogleServer, google_http: httpx.AsyncClient, method: str) -> None:
    body = BODY | {"status": "cancelled"} if method == "PUT" else {"status": "cancelled"}
    assert (await google_http.request(method, PATH, json=body)).json()["status"] == "cancelled"
    assert google.emulator.writes(USER)[ID][WriteKind.DELETE] == 1
    assert refusal(await google_http.delete(PATH))[0] == 410


async def test_a_write_is_held_to_the_version_it_names(google_http: httpx.AsyncClient, event: Json) -> None:
    old = {"If-Match": event["etag"]}
    first = await google_http.put(PATH, json=BODY, headers=old)
    assert first.status_code == 200
    for method in ("PUT", "PATCH", "DELETE"):
        json = None if method == "DELETE" else BODY
        answer = await google_http.request(method, PATH, json=json, headers=old)
        assert refusal(answer)[:2] == (412, "conditionNotMet")
        assert answer.json()["error"]["errors"][0]["location"] == "If-Match"
    assert (await google_http.patch(PATH, json={}, headers={"If-Match": "*"})).status_code == 200


async def test_an_unchanged_version_is_not_sent_again(google_http: httpx.AsyncClient, event: Json) -> None:
    same = await google_http.get(PATH, headers={"If-None-Match": event["etag"]})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", event["etag"])
    other = await google_http.get(PATH, headers={"If-None-Match": '"1"'})
    assert other.status_code == 200


@pytest.mark.usefixtures("event")
async def test_the_sequence_grows_with_the_time_and_never_falls(
    google: GoogleServer, google_http: httpx.AsyncClient
) -> None:
    later = BODY | {"end": {"dateTime": "2026-12-01T11:00:00Z"}}
    assert (await google_http.put(PATH, json=BODY | {"summary": "x"})).json()["sequence"] == 0
    assert (await google_http.put(PATH, json=later)).json()["sequence"] == 1
    assert (await google_http.put(PATH, json=later | {"sequence": 7})).json()["sequence"] == 7
    stale = await google_http.put(PATH, json=later | {"sequence": 6})
    assert refusal(stale) == (400, "invalid", "Invalid sequence value.")
    google.emulator.calendar(USER).sequence_required = True
    assert refusal(await google_http.put(PATH, json=later))[2] == "Invalid sequence value."
    assert (await google_http.put(PATH, json=later | {"sequence": 7})).status_code == 200


@pytest.mark.usefixtures("event")
async def test_an_event_moves_to_another_calendar(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.share("team@example.com", USER, "writer")
    moved = await google_http.post(f"{PATH}/move", params={"destination": "team@example.com"})
    assert moved.json()["organizer"]["email"] == "team@example.com"
    assert [event["id"] for event in google.emulator.events("team@example.com")] == [ID]
    left = (await google_http.get(PATH)).json()
    assert (left["status"], "summary" in left) == ("cancelled", False)
    assert refusal(await google_http.post(f"{PATH}/move", params={"destination": "team@example.com"}))[0] == 410
    assert refusal(await google_http.post(f"{PATH}/move"))[1] == "required"


async def test_an_import_is_a_copy_known_by_its_ical_uid(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    first = await google_http.post(f"{EVENTS}/import", json=BODY | {"iCalUID": "x@example.com"})
    second = await google_http.post(f"{EVENTS}/import", json=BODY | {"iCalUID": "x@example.com", "summary": "New"})
    assert first.json()["id"] == second.json()["id"]
    assert [event["summary"] for event in google.emulator.events(USER)] == ["New"]
    assert refusal(await google_http.post(f"{EVENTS}/import", json=BODY))[1] == "required"


async def test_history_shows_every_version_in_order(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    for seq in range(5):
        body = BODY | {"extendedProperties": {"private": {"seq": str(seq)}}}
        await google_http.request("PUT" if seq else "POST", PATH if seq else EVENTS, json={"id": ID, **body})
    history = google.emulator.history(USER, ID)
    assert [write.event["extendedProperties"]["private"]["seq"] for write in history] == list("01234")
    assert [write.order for write in history] == sorted(write.order for write in history)
    assert len({write.event["etag"] for write in history}) == 5
