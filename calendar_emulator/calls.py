"""HTTP requests as values, and the calls of the API that they are."""

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from calendar_emulator.errors import ApiError, Json

API_PATH: Final = "/calendar/v3/"

_COLLECTION: Final = {"GET": "list", "POST": "insert"}
_EVENT: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(slots=True)
class Request:
    """An HTTP request, from the wire or from a part of a batch.

    Attributes:
        method: Upper case.
        path: Still percent-encoded.
        query: Decoded.
        headers: Names in lower case.
        body: What was sent.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Json:
        """The body as a JSON object; no body is an empty one.

        Raises:
            ApiError: It is neither.
        """
        try:
            value: Any = json.loads(self.body) if self.body else {}
        except ValueError as error:
            raise ApiError("parseError") from error
        if not isinstance(value, dict):
            raise ApiError("parseError")
        return value


@dataclass(slots=True)
class Call:
    """A call of the API.

    Attributes:
        operation: The method's name in the discovery document (outside `events` with its resource), or `unknown`.
        calendar: The calendar's id as it was sent, decoded; `primary` is not resolved.
        event: The event's id, decoded, or for an insert the one in the body; empty for none.
        request: What it was made of.
        body: The JSON body.
        error: What is wrong with it already, None if it can be carried out.
    """

    operation: str
    request: Request
    calendar: str = ""
    event: str = ""
    body: Json = field(default_factory=dict)
    error: ApiError | None = None


@dataclass(slots=True)
class Answer:
    """An answer before it is written.

    Attributes:
        status: The HTTP status.
        payload: JSON, or bytes with a content type of their own, or None for no body.
        headers: Further headers.
        content_type: What the payload is.
    """

    status: int
    payload: Json | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=UTF-8"

    def body(self) -> bytes:
        """The payload as bytes."""
        if self.payload is None:
            return b""
        if isinstance(self.payload, bytes):
            return self.payload
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":")).encode()


def reason_phrase(status: int) -> str:
    """The words beside a status code."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def parse_query(text: str) -> dict[str, list[str]]:
    """Decode a query string into each parameter's values; a parameter without a value has an empty one."""
    return parse_qs(text, keep_blank_values=True) if text else {}


def read_call(request: Request) -> Call:
    """Tell which call of the API a request is. Never raises: what is wrong with it is in the call."""
    call = _route(request)
    if call.operation == "unknown":
        call.error = ApiError("notFound")
    elif request.method in ("POST", "PUT", "PATCH") and call.operation != "move":
        try:
            call.body = request.json()
        except ApiError as error:
            call.error = error
        if call.operation in ("insert", "import") and isinstance(call.body.get("id"), str):
            call.event = call.body["id"]
    return call


def _route(request: Request) -> Call:
    segments = [unquote(segment) for segment in request.path.removeprefix(API_PATH).split("/")]
    method = request.method
    match segments:
        case ["calendars", calendar, "events"] if method in _COLLECTION:
            return Call(_COLLECTION[method], request, calendar)
        case ["calendars", calendar, "events", "import"] if method == "POST":
            return Call("import", request, calendar)
        case ["calendars", calendar, "events", event] if method in _EVENT:
            return Call(_EVENT[method], request, calendar, event)
        case ["calendars", calendar, "events", event, "move"] if method == "POST":
            return Call("move", request, calendar, event)
        case ["calendars", calendar] if method == "GET":
            return Call("calendars.get", request, calendar)
        case ["users", "me", "calendarList"] if method == "GET":
            return Call("calendarList.list", request)
        case ["users", "me", "calendarList", calendar] if method == "GET":
            return Call("calendarList.get", request, calendar)
        case _:
            return Call("unknown", request)
