"""Requests to Google Calendar and its answers, as values: nothing here knows how they travel.

The calls are those of https://developers.google.com/workspace/calendar/api/v3/reference/events. Every id is
percent-encoded whole; every write asks for no e-mails (`sendUpdates=none`); `fields` keeps answers to what is read.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum, auto
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import from_json, to_json

from reactor.core.calendar.event import SEQ, SOURCE, WORKSPACE
from reactor.core.value import value

PRIMARY = "primary"
"""The name by which an account calls its own calendar; every account may call it by that account's address."""
_OF_NO_ACCOUNT = ".calendar.google.com"  # how the ids of calendars end that are no account's own
_CALENDAR = "organizer(email,self)"
_EVENT_FIELDS = f"id,status,etag,sequence,recurringEventId,extendedProperties/private,{_CALENDAR}"
_READ = urlencode({"fields": _EVENT_FIELDS})
_WRITE = urlencode({"sendUpdates": "none", "fields": f"id,status,etag,{_CALENDAR}"})
_ETAG = re.compile(r'(?:W/)?"[!#-~]*"')
_JSON = {"content-type": "application/json; charset=utf-8"}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
PAGE = 2_500
"""Events on one page of a list; the most that Google gives."""


class Method(StrEnum):
    """The kinds of requests; the kind and the answer together decide what the answer means."""

    INSERT = auto()
    UPDATE = auto()
    REVIVE = auto()
    """An update of an event that is cancelled."""
    DELETE = auto()
    GET = auto()
    LIST = auto()
    BATCH = auto()


@value(frozen=True, slots=True)
class EventRef:
    """Names an event: its id, and its calendar, because ids of events are unique only in a calendar."""

    calendar_id: str = field(repr=False)  # may be a person's e-mail address
    event_id: str


@value(frozen=True, slots=True)
class ApiRequest:
    """One request, without its authorization.

    Attributes:
        api_method: The kind of request.
        http_method: The HTTP method.
        target: Path and query, relative to the API's root, percent-encoded.
        headers: Beyond those that every request has.
        body: The body, empty where there is none.
        resource: What it works on: two requests with the same resource never travel in one batch.
    """

    api_method: Method
    http_method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    resource: str = field(default="", repr=False)


@value(frozen=True, slots=True)
class Response:
    """An answer of Google, or of a proxy in front of it; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@value(frozen=True, slots=True)
class NoResponse:
    """No answer came.

    Attributes:
        reason: A short fixed phrase.
        sent: Whether the request may have reached Google, and so may have been carried out.
    """

    reason: str
    sent: bool = True


Reply = Response | NoResponse


@value(frozen=True, slots=True)
class RemoteEvent:
    """An event as Google holds it, as far as it matters here.

    Attributes:
        event_id: Google's id of the event.
        etag: Its version, for `If-Match`; None only where it is cancelled, because Google promises little about those.
        cancelled: Whether it is deleted (Google keeps what was deleted and calls it cancelled).
        sequence: iCalendar's revision number.
        workspace_id: The workspace that it belongs to, None where it is not ours.
        source_key: The source that it represents, None where it is not ours.
        seq: The state of the source that it shows, None where it is not ours.
        instance: Whether it is an exception of a recurring event, and not an event of its own.
        calendar: What the calendar that it is in calls itself, whatever name it was asked by; None where the event does
            not say. An event that was made in a calendar has the calendar as its organizer.
        resource: The whole event, where the answer was for this event alone; otherwise empty.
    """

    event_id: str
    etag: str | None
    cancelled: bool = False
    sequence: int = 0
    workspace_id: str | None = None
    source_key: str | None = None
    seq: int | None = None
    instance: bool = False
    calendar: str | None = field(default=None, repr=False)  # may be a person's e-mail address
    resource: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@value(frozen=True, slots=True)
class EventPage:
    """One page of a list of events."""

    events: tuple[RemoteEvent, ...]
    next_page: str | None = field(default=None, repr=False)


def insert(place: EventRef, body: Mapping[str, Any]) -> ApiRequest:
    """Create an event under an id of ours."""
    return _write(Method.INSERT, place, {**body, "id": place.event_id})


def update(place: EventRef, body: Mapping[str, Any], *, etag: str) -> ApiRequest:
    """Replace an event that is alive, if it still is the version that we know."""
    return _write(Method.UPDATE, place, body, etag)


def patch(place: EventRef, changes: Mapping[str, Any], *, etag: str) -> ApiRequest:
    """Change some fields of an event that is alive, if it still is the version that we know; None removes one."""
    return _write(Method.UPDATE, place, changes, etag, method="PATCH")


def revive(place: EventRef, body: Mapping[str, Any], *, etag: str) -> ApiRequest:
    """Replace an event that is cancelled, if it still is, and make it confirmed."""
    return _write(Method.REVIVE, place, {**body, "status": "confirmed"}, etag)


def delete(place: EventRef, *, etag: str) -> ApiRequest:
    """Remove an event, if it still is the version that we know."""
    event = _event(place)
    return ApiRequest(Method.DELETE, "DELETE", f"{event}?sendUpdates=none", {"if-match": etag}, resource=event)


def get(place: EventRef, *, whole: bool = False) -> ApiRequest:
    """Read an event, cancelled or not: what matters of it here, or all that it holds."""
    event = _event(place)
    return ApiRequest(Method.GET, "GET", event if whole else f"{event}?{_READ}", resource=event)


def listing(calendar_id: str, workspace_id: str, page: str | None = None) -> ApiRequest:
    """List what a calendar holds of a workspace, without what is cancelled.

    Exactly one property is asked for: Google's pages disagree on what several would mean.
    """
    query = {
        "privateExtendedProperty": f"{WORKSPACE}={workspace_id}",
        "maxResults": str(PAGE),
        "showDeleted": "false",
        "fields": f"nextPageToken,items({_EVENT_FIELDS})",
    }
    if page is not None:
        query["pageToken"] = page
    return ApiRequest(Method.LIST, "GET", f"{_events(calendar_id)}?{urlencode(query)}")


def probe_calendar(calendar_id: str) -> ApiRequest:
    """Ask whether a calendar can be seen at all; the cheapest question that the scope `calendar.events` allows."""
    return ApiRequest(
        Method.LIST, "GET", f"{_events(calendar_id)}?{urlencode({'maxResults': 1, 'fields': 'nextPageToken'})}"
    )


def remote(answer: Response) -> RemoteEvent | None:
    """The event in an answer, None where the answer holds none that can be understood."""
    found = _decoded(answer.body)
    return _remote(found, resource=found)


def page(answer: Response) -> EventPage | None:
    """The page in an answer to `listing`, None where the answer holds none that can be understood."""
    found = _decoded(answer.body)
    if not isinstance(found, dict) or not isinstance(items := found.get("items", []), list):
        return None
    events = [_remote(item) for item in items]
    following = found.get("nextPageToken")
    if None in events or not isinstance(following, str | None):
        return None
    return EventPage(tuple(event for event in events if event), following)


def may_be_primary(calendar_id: str) -> bool:
    """Whether a calendar may be an account's own, going by its id."""
    return not calendar_id.endswith(_OF_NO_ACCOUNT)


def is_etag(value: object) -> bool:
    """Whether a value is an entity tag (RFC 9110, 8.8.3): only such a one may become a header."""
    return isinstance(value, str) and _ETAG.fullmatch(value) is not None


def _write(
    kind: Method, place: EventRef, body: Mapping[str, Any], etag: str | None = None, *, method: str = "PUT"
) -> ApiRequest:
    events = _events(place.calendar_id)
    event = f"{events}/{_segment(place.event_id)}"
    method, target = ("POST", events) if kind is Method.INSERT else (method, event)
    headers = _JSON if etag is None else {**_JSON, "if-match": etag}
    return ApiRequest(kind, method, f"{target}?{_WRITE}", headers, to_json(body), event)


def _event(place: EventRef) -> str:
    return f"{_events(place.calendar_id)}/{_segment(place.event_id)}"


@lru_cache(maxsize=1024)  # items of a calendar follow one another
def _events(calendar_id: str) -> str:
    return f"calendar/v3/calendars/{_segment(calendar_id)}/events"


def _segment(text: str) -> str:
    """One segment of a path. Only dots would mean another path, and so they are encoded too."""
    if text.isascii() and text.isalnum():  # as our own ids are
        return text
    encoded = quote(text, safe="", errors="surrogatepass")
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")


def _decoded(body: bytes) -> Any:
    """The JSON in a body, None where there is none; deep nesting is none."""
    try:
        return from_json(body)
    except ValueError:
        return None


def _remote(found: Any, resource: Mapping[str, Any] = _NOTHING) -> RemoteEvent | None:
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        return None
    etag, sequence, cancelled = found.get("etag"), found.get("sequence"), found.get("status") == "cancelled"
    if not is_etag(etag):
        if not cancelled:
            return None
        etag = None
    ours = _ours(found)
    return RemoteEvent(
        event_id=found["id"],
        etag=etag,
        cancelled=cancelled,
        sequence=sequence if isinstance(sequence, int) else 0,
        workspace_id=ours.get(WORKSPACE),
        source_key=ours.get(SOURCE),
        seq=_number(ours.get(SEQ)),
        instance="recurringEventId" in found,
        calendar=_calendar(found.get("organizer")),
        resource=resource,
    )


def _calendar(organizer: Any) -> str | None:
    """The calendar's own id, out of an event's organizer where that is the calendar itself."""
    if not isinstance(organizer, dict) or organizer.get("self") is not True:
        return None
    email = organizer.get("email")
    return email if isinstance(email, str) and email else None


def _ours(found: dict[str, Any]) -> dict[str, str]:
    extended = found.get("extendedProperties")
    private = extended.get("private") if isinstance(extended, dict) else None
    if not isinstance(private, dict):
        return {}
    return {name: value for name, value in private.items() if isinstance(value, str)}


def _number(text: str | None) -> int | None:
    """A `seq`; a bigint has at most 19 digits."""
    return int(text) if text and len(text) <= 19 and text.isascii() and text.isdigit() else None
