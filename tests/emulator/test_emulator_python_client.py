"""Google's own Python client, pointed at the emulator: it does not know that it is not Google."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httplib2
import pytest
import trio
from google.auth.exceptions import RefreshError
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

from calendar_emulator import EVENTS_SCOPE, Fault, WriteKind
from tests.support.discovery import document
from tests.support.google_fixtures import USER, GoogleServer

Json = dict[str, Any]


def body(event_id: str = "", **more: Any) -> Json:
    times = {"start": {"dateTime": "2026-12-01T09:00:00+01:00"}, "end": {"dateTime": "2026-12-01T10:00:00+01:00"}}
    return {"summary": "Review", **times, **({"id": event_id} if event_id else {}), **more}


def user_credentials(google: GoogleServer) -> Credentials:
    return Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=google.refresh_token,
        token_uri=google.token_uri,
        client_id=google.client_id,
        client_secret=google.client_secret,
        scopes=[EVENTS_SCOPE],
    )


@contextmanager
def calendar_api(google: GoogleServer, credentials: Any) -> Iterator[Any]:
    described = copy.deepcopy(document())
    described["rootUrl"] = google.api_root  # the batch address is made of it too
    http = httplib2.Http(timeout=30)
    try:
        with build_from_document(described, http=AuthorizedHttp(credentials, http=http)) as service:
            yield service
    finally:
        http.close()


async def test_events_are_written_read_and_deleted(google: GoogleServer) -> None:
    def work() -> None:
        with calendar_api(google, user_credentials(google)) as api:
            events = api.events()
            inserted = events.insert(
                calendarId="primary", body=body("aaaaa", colorId="5"), sendUpdates="none"
            ).execute()
            assert inserted["start"] == {"dateTime": "2026-12-01T08:00:00Z", "timeZone": "UTC"}
            updated = events.update(calendarId=USER, eventId="aaaaa", body=body(summary="Moved")).execute()
            assert (updated["summary"], "colorId" in updated) == ("Moved", False)
            patched = events.patch(calendarId=USER, eventId="aaaaa", body={"description": "Why"}).execute()
            assert (patched["summary"], patched["description"]) == ("Moved", "Why")
            assert events.get(calendarId=USER, eventId="aaaaa").execute() == patched
            assert events.delete(calendarId=USER, eventId="aaaaa").execute() == ""
            with pytest.raises(HttpError) as twice:
                events.delete(calendarId=USER, eventId="aaaaa").execute()
            assert (twice.value.resp.status, twice.value.error_details[0]["reason"]) == (410, "deleted")
            with pytest.raises(HttpError) as taken:
                events.insert(calendarId=USER, body=body("aaaaa")).execute()
            assert taken.value.resp.status == 409

    await trio.to_thread.run_sync(work)
    assert google.emulator.writes(USER)["aaaaa"] == {WriteKind.INSERT: 1, WriteKind.UPDATE: 2, WriteKind.DELETE: 1}


async def test_listing_pages_and_then_follows_changes(google: GoogleServer) -> None:
    def work() -> None:
        with calendar_api(google, user_credentials(google)) as api:
            events = api.events()
            for number in range(7):
                marks = {"private": {"workspace": "w1" if number % 2 else "w2"}}
                new = body(f"event{number}", extendedProperties=marks)
                events.insert(calendarId="primary", body=new).execute()
            pages = []
            request = events.list(calendarId="primary", maxResults=3)
            while request is not None:
                pages.append(request.execute())
                request = events.list_next(request, pages[-1])
            assert [len(page["items"]) for page in pages] == [3, 3, 1]
            assert ["nextSyncToken" in page for page in pages] == [False, False, True]
            token = pages[-1]["nextSyncToken"]
            events.delete(calendarId="primary", eventId="event2").execute()
            events.insert(calendarId="primary", body=body("event8")).execute()
            changes = events.list(calendarId="primary", syncToken=token).execute()
            assert [(e["id"], e["status"]) for e in changes["items"]] == [
                ("event2", "cancelled"),
                ("event8", "confirmed"),
            ]
            marked = events.list(calendarId="primary", privateExtendedProperty="workspace=w1").execute()
            assert [event["id"] for event in marked["items"]] == ["event1", "event3", "event5"]

    await trio.to_thread.run_sync(work)


async def test_a_batch_reports_each_part(google: GoogleServer) -> None:
    answers: dict[str, tuple[Any, HttpError | None]] = {}

    def keep(request_id: str, response: Any, failure: HttpError | None) -> None:
        answers[request_id] = response, failure

    def work() -> None:
        with calendar_api(google, user_credentials(google)) as api:
            api.events().list(calendarId=USER).execute()  # a batch that refreshes leaves a socket open
            batch = api.new_batch_http_request(callback=keep)
            for number in range(30):
                batch.add(api.events().insert(calendarId=USER, body=body(f"event{number:02}")), request_id=f"n{number}")
            batch.add(api.events().delete(calendarId=USER, eventId="never"), request_id="gone")
            batch.add(api.events().get(calendarId="someone@else.example", eventId="never"), request_id="hidden")
            batch.execute()

    await trio.to_thread.run_sync(work)
    for number in range(30):
        assert answers[f"n{number}"][0]["id"] == f"event{number:02}"
    for name in ("gone", "hidden"):
        failure = answers[name][1]
        assert failure is not None
        assert failure.resp.status == 404
    assert google.emulator.log.count("batch") == 1
    assert len(google.emulator.events(USER)) == 30


async def test_the_client_refreshes_a_token_that_was_refused(google: GoogleServer) -> None:
    credentials = user_credentials(google)

    def work() -> None:
        with calendar_api(google, credentials) as api:
            api.events().list(calendarId="primary").execute()
            google.emulator.oauth.expire_access_tokens()
            api.events().list(calendarId="primary").execute()

    await trio.to_thread.run_sync(work)
    assert google.emulator.log.count("token") == 2
    assert google.emulator.log.count("list", 401) == 1


async def test_a_rotated_refresh_token_is_taken_over_and_a_revoked_one_is_refused(google: GoogleServer) -> None:
    google.emulator.settings.rotate = True
    credentials = user_credentials(google)

    def work() -> None:
        with calendar_api(google, credentials) as api:
            api.events().list(calendarId="primary").execute()
            assert credentials.refresh_token not in (None, google.refresh_token)
            google.emulator.oauth.revoke(credentials.refresh_token)
            with pytest.raises(RefreshError) as refused:
                api.events().list(calendarId="primary").execute()
            assert refused.value.args[1]["error"] == "invalid_grant"

    await trio.to_thread.run_sync(work)


async def test_a_service_account_acts_for_a_user_where_it_may(google: GoogleServer) -> None:
    email = "robot@emulator.iam.gserviceaccount.com"
    add = google.emulator.oauth.service_accounts.add
    other = await trio.to_thread.run_sync(lambda: add("other@emulator.iam.gserviceaccount.com", google.token_uri))
    key_file = await trio.to_thread.run_sync(lambda: add(email, google.token_uri, delegated=[EVENTS_SCOPE]))

    def work() -> None:
        load = service_account.Credentials.from_service_account_info
        robot = load(key_file, scopes=[EVENTS_SCOPE])  # type: ignore[no-untyped-call]
        with calendar_api(google, robot.with_subject(USER)) as api:
            api.events().insert(calendarId="primary", body=body("aaaaa")).execute()
        with (
            calendar_api(google, robot.with_subject("nobody@example.com")) as api,
            pytest.raises(RefreshError, match="Invalid email"),
        ):
            api.events().list(calendarId="primary").execute()
        google.emulator.share(USER, email, "writer")
        with calendar_api(google, robot) as api, pytest.raises(HttpError) as invited:
            api.events().insert(calendarId=USER, body=body(attendees=[{"email": "eve@example.com"}])).execute()
        assert invited.value.error_details[0]["reason"] == "forbiddenForServiceAccounts"
        stolen = key_file | {"private_key": other["private_key"]}
        forged = load(stolen, scopes=[EVENTS_SCOPE])  # type: ignore[no-untyped-call]
        with calendar_api(google, forged) as api, pytest.raises(RefreshError, match="Invalid JWT Signature"):
            api.events().list(calendarId=USER).execute()
        wide = robot.with_scopes(["https://www.googleapis.com/auth/calendar"]).with_subject(USER)
        with calendar_api(google, wide) as api, pytest.raises(RefreshError, match="unauthorized_client"):
            api.events().list(calendarId="primary").execute()

    await trio.to_thread.run_sync(work)
    assert [event["id"] for event in google.emulator.events(USER)] == ["aaaaa"]


async def test_the_client_retries_what_google_calls_retriable(google: GoogleServer) -> None:
    google.emulator.fault(Fault(operation="list", effect="error", reason="rateLimitExceeded", nth=1))
    google.emulator.fault(Fault(operation="list", effect="error", status=503, nth=2))

    def work() -> None:
        with calendar_api(google, user_credentials(google)) as api:
            request = api.events().list(calendarId="primary")
            request._sleep = lambda _: None
            request._rand = lambda: 0.0
            request.execute(num_retries=3)

    await trio.to_thread.run_sync(work)
    assert [entry.status for entry in google.emulator.log.entries if entry.operation == "list"] == [403, 503, 200]
