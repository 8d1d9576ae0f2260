"""The calls of the API, carried out: who may do what, at what cost, to which event.

The order of the checks is Google's: token, scope, quota, calendar, role, and the body last.
"""

import random
from collections.abc import Iterable
from typing import Final

from calendar_emulator.calls import Answer, Call
from calendar_emulator.errors import ApiError, Json, bad_token, invalid, login_required
from calendar_emulator.oauth.endpoints import Access, OAuth
from calendar_emulator.partial import masked
from calendar_emulator.quota import Quota
from calendar_emulator.settings import Settings
from calendar_emulator.store import conference, listing
from calendar_emulator.store.calendars import ROLES, Calendar, Ticker

_PREFIX: Final = "https://www.googleapis.com/auth/"
WRITES: Final = frozenset({"insert", "import", "update", "patch", "delete", "move"})
_WRITE_SCOPES: Final = frozenset({"calendar", "calendar.events", "calendar.events.owned", "calendar.app.created"})
_READ_SCOPES: Final = _WRITE_SCOPES | {
    "calendar.readonly", "calendar.events.readonly", "calendar.events.freebusy", "calendar.events.owned.readonly",
    "calendar.events.public.readonly",
}  # fmt: skip
_LIST_SCOPES: Final = frozenset({
    "calendar", "calendar.readonly", "calendar.calendarlist", "calendar.calendarlist.readonly",
})  # fmt: skip
SCOPES: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("insert", "import", "update", "patch", "delete"), _WRITE_SCOPES),
    **dict.fromkeys(("get", "list"), _READ_SCOPES),
    "move": _WRITE_SCOPES - {"calendar.app.created"},
    "calendars.get": frozenset({
        "calendar", "calendar.readonly", "calendar.app.created", "calendar.calendars", "calendar.calendars.readonly",
    }),
    "calendarList.list": _LIST_SCOPES,
    "calendarList.get": _LIST_SCOPES | {"calendar.app.created"},
}  # fmt: skip
"""Any one of these scopes, without their common prefix, allows the operation."""

_PATCH_COST: Final = 3
_LONGEST_QUOTA_USER: Final = 40


class CalendarApi:
    """Calendars behind their access rules.

    Attributes:
        calendars: All of them, by id.
        oauth: Who tokens belong to.
        quota: What calls cost.
    """

    def __init__(self, oauth: OAuth, quota: Quota, settings: Settings, rng: random.Random) -> None:
        self.calendars: dict[str, Calendar] = {}
        self.oauth = oauth
        self.quota = quota
        self.ticker = Ticker()
        self._settings = settings
        self._rng = rng

    def perform(self, call: Call, now: float) -> tuple[Answer, str]:
        """Carry out a call.

        Returns:
            The answer and the e-mail address of the caller.

        Raises:
            ApiError: It is refused; nothing was changed.
        """
        if call.operation == "unknown":
            raise call.error or ApiError("notFound")
        access = self._access(call, now)
        self.quota.spend(
            now,
            user=self._quota_user(call, access),
            calendar=call.calendar,
            cost=_PATCH_COST if call.operation == "patch" else 1,
            write=call.operation in WRITES,
        )
        if call.error:
            raise call.error
        if call.request.query.get("alt", ["json"])[-1] != "json":
            raise invalid("Invalid value for alt.", reason="invalidParameter", parameter="alt")
        answer = self._answer(call, access, now)
        if isinstance(answer.payload, dict) and (selection := call.request.query.get("fields", [""])[-1]):
            answer.payload = masked(answer.payload, selection)
        return answer, access.email

    def _answer(self, call: Call, access: Access, now: float) -> Answer:
        if call.operation == "calendarList.list":
            entries = [self._entry(c, c.roles[access.email]) for c in self._visible(access.email)]
            return Answer(200, {"kind": "calendar#calendarList", "etag": '"0"', "items": entries})
        calendar = self.find(call.calendar, access.email)
        role = calendar.roles[access.email]
        match call.operation:
            case "list":
                _need(calendar, role, "reader")
                query = call.request.query
                return Answer(200, listing.page(calendar, query, role=role, empty_pages=self._settings.empty_pages))
            case "get":
                _need(calendar, role, "reader")
                return self._get(call, calendar)
            case "calendars.get":
                return Answer(200, _resource(calendar))
            case "calendarList.get":
                return Answer(200, self._entry(calendar, role))
        _need(calendar, role, "writer")
        event = self._write(call, calendar, access, now)
        return Answer(204) if event is None else Answer(200, event, {"ETag": event["etag"]})

    def find(self, calendar_id: str, email: str) -> Calendar:
        """Return a calendar that a user can see.

        Raises:
            ApiError: There is none: 404, as for a calendar that is not shared with the user.
        """
        calendar = self.calendars.get(email if calendar_id == "primary" else calendar_id)
        if calendar is None or email not in calendar.roles:
            raise ApiError("notFound")
        return calendar

    def _access(self, call: Call, now: float) -> Access:
        kind, _, token = call.request.headers.get("authorization", "").partition(" ")
        if not token:
            kind, token = "bearer", call.request.query.get("oauth_token", [""])[-1]
        if not token:
            raise login_required()
        access = self.oauth.check(token.strip(), now) if kind.lower() == "bearer" else None
        if access is None:
            raise bad_token()
        if not any(scope.removeprefix(_PREFIX) in SCOPES[call.operation] for scope in access.scopes):
            raise ApiError("insufficientPermissions")
        return access

    @staticmethod
    def _quota_user(call: Call, access: Access) -> str:
        header = call.request.headers.get("x-goog-quota-user", "")
        return call.request.query.get("quotaUser", [header])[-1][:_LONGEST_QUOTA_USER] or access.email

    def _visible(self, email: str) -> Iterable[Calendar]:
        return (calendar for calendar in self.calendars.values() if email in calendar.roles)

    @staticmethod
    def _get(call: Call, calendar: Calendar) -> Answer:
        event = calendar.get(call.event).event
        headers = {"ETag": event["etag"]}
        if call.request.headers.get("if-none-match") == event["etag"]:
            return Answer(304, None, headers)
        return Answer(200, event, headers)

    def _write(self, call: Call, calendar: Calendar, access: Access, now: float) -> Json | None:
        if access.bare_service_account and call.body.get("attendees"):
            raise ApiError("forbiddenForServiceAccounts")
        if_match = call.request.headers.get("if-match")
        body, unknown = conference.supported(call.body, call.request.query, self._rng)
        match call.operation:
            case "insert":
                new_id = "" if body.get("id") else self._new_id()
                return calendar.insert(body, who=access.email, new_id=new_id, now=now)
            case "import":
                return self._import(calendar, body, access, now)
            case "update":
                return calendar.update(call.event, body, if_match=if_match, now=now, kept=unknown)
            case "patch":
                return calendar.patch(call.event, body, if_match=if_match, now=now)
            case "move":
                return self._move(call, calendar, access, now)
            case _:
                calendar.delete(call.event, if_match=if_match, now=now)
                return None

    def _import(self, calendar: Calendar, body: Json, access: Access, now: float) -> Json:
        """Add a private copy of an event; the same iCalUID again updates the copy that is there."""
        uid = body.get("iCalUID")
        if not uid:
            raise invalid("Missing iCalUID.", reason="required")
        if body.get("eventType", "default") != "default":
            raise invalid("Invalid Value")
        for record in calendar.ordered:
            if record.event.get("iCalUID") == uid:
                return calendar.update(record.event["id"], {**body, "id": None}, if_match=None, now=now)
        return calendar.insert({**body, "id": None}, who=access.email, new_id=self._new_id(), now=now)

    def _move(self, call: Call, calendar: Calendar, access: Access, now: float) -> Json:
        destination = call.request.query.get("destination", [""])[-1]
        if not destination:
            raise invalid("Required parameter: destination", reason="required", parameter="destination")
        target = self.find(destination, access.email)
        _need(target, target.roles[access.email], "writer")
        record = calendar.get(call.event)
        if record.cancelled:
            raise ApiError("deleted")
        if call.event in target.records:
            raise ApiError("duplicate")
        moved = target.insert({**record.event, "iCalUID": None}, who=access.email, new_id=self._new_id(), now=now)
        calendar.remove(record, now)
        return moved

    def _new_id(self) -> str:
        digits = "0123456789abcdefghijklmnopqrstuv"
        bits = self._rng.getrandbits(130)
        return "".join(digits[bits >> shift & 31] for shift in range(0, 130, 5))

    @staticmethod
    def _entry(calendar: Calendar, role: str) -> Json:
        entry = _resource(calendar) | {"kind": "calendar#calendarListEntry", "accessRole": role, "selected": True}
        return entry | {"defaultReminders": [{"method": "popup", "minutes": 30}]}


def _resource(calendar: Calendar) -> Json:
    return {
        "kind": "calendar#calendar",
        "etag": calendar.etag,
        "id": calendar.id,
        "summary": calendar.id,
        "timeZone": calendar.zone.key,
    }


def _need(calendar: Calendar, role: str, least: str) -> None:
    if ROLES.index(role) < ROLES.index(least):
        raise ApiError(calendar.refusal_reason if least == "writer" else "forbidden")
