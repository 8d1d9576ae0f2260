"""Controls the emulator and asks its state over HTTP, from other processes.

Everything lies under `/emulator/` and speaks JSON. No token is asked for: every client that reaches the port controls
the emulator, which is why it listens on loopback. The routes are listed in docs/emulator.md.
"""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError

from calendar_emulator.calls import Answer, Request
from calendar_emulator.emulator import Emulator
from calendar_emulator.errors import ApiError, Json, invalid
from calendar_emulator.faults import Fault
from calendar_emulator.quota import Quota
from calendar_emulator.settings import Settings
from calendar_emulator.store.bodies import zone
from calendar_emulator.store.calendars import Write

PREFIX: Final = "/emulator"

_Handler = Callable[[Emulator, list[str], Request], Any]
_T = TypeVar("_T", Fault, Settings, Quota)
_DEFAULT_LIMIT: Final = 1_000


def answer(emulator: Emulator, request: Request) -> Answer:
    """Answer a request to the control surface."""
    path = [unquote(segment) for segment in request.path.removeprefix(PREFIX).strip("/").split("/")]
    name = path.pop(0)
    try:
        handler = _ROUTES.get((request.method, name))
        if handler is None:
            raise ApiError("notFound", f"There is no {request.method} {PREFIX}/{name}; see docs/emulator.md.")  # noqa: TRY301
        return Answer(200, {"result": handler(emulator, path, request)})
    except ApiError as error:
        return Answer(error.status, error.body())
    except ValueError as error:
        return Answer(400, invalid(str(error)).body())
    except LookupError as error:
        return Answer(404, ApiError("notFound", f"Unknown: {error}").body())


def _summary(emulator: Emulator, _: list[str], __: Request) -> Json:
    log = emulator.log
    return {
        "users": sorted(emulator.oauth.users),
        "calendars": {calendar_id: len(emulator.events(calendar_id)) for calendar_id in emulator.api.calendars},
        "requests": _counts(emulator),
        "peak": log.peak,
        "overlaps": log.overlaps,
        "settings": asdict(emulator.settings),
    }


def _counts(emulator: Emulator) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (operation, status), number in emulator.log.counts.items():
        counts.setdefault(operation, {})[str(status)] = number
    return counts


def _calendars(emulator: Emulator, path: list[str], request: Request) -> Any:
    match path:
        case []:
            return sorted(emulator.api.calendars)
        case [calendar_id]:
            if request.query.get("deleted") == ["true"]:
                return [record.event for record in emulator.calendar(calendar_id).ordered]
            return emulator.events(calendar_id)
        case [calendar_id, event_id]:
            return [_write(write) for write in emulator.history(calendar_id, event_id)]
        case _:
            raise ApiError("notFound")


def _write(write: Write) -> Json:
    return {"order": write.order, "at": write.at, "kind": write.kind, "event": write.event}


def _put_calendar(emulator: Emulator, path: list[str], request: Request) -> Json:
    """Create or change a calendar: time zone, roles, refusals."""
    (calendar_id,) = _exactly(path, 1)
    body = _body(
        request,
        {"timeZone", "roles", "refusalReason", "reviveRefusal", "sequenceRequired", "unchangedKeepsEtag"},
    )
    calendar = emulator.add_calendar(calendar_id, time_zone=zone(body.get("timeZone", "UTC")).key)
    for email, role in body.get("roles", {}).items():
        emulator.share(calendar_id, email, role)
    calendar.refusal_reason = body.get("refusalReason", calendar.refusal_reason)
    calendar.revive_refusal = body.get("reviveRefusal", calendar.revive_refusal)
    calendar.sequence_required = body.get("sequenceRequired", calendar.sequence_required)
    calendar.unchanged_keeps_etag = body.get("unchangedKeepsEtag", calendar.unchanged_keeps_etag)
    return {"id": calendar_id, "timeZone": calendar.zone.key, "roles": calendar.roles}


def _edit(emulator: Emulator, path: list[str], request: Request) -> Json:
    calendar_id, event_id = _exactly(path, 2)
    return emulator.edit_by_hand(calendar_id, event_id, request.json())


def _delete(emulator: Emulator, path: list[str], _: Request) -> None:
    match path:
        case [calendar_id, event_id]:
            emulator.delete_by_hand(calendar_id, event_id)
        case _:
            (calendar_id,) = _exactly(path, 1)
            emulator.remove_calendar(calendar_id)


def _purge(emulator: Emulator, path: list[str], request: Request) -> None:
    calendar_id, event_id = _exactly(path, 2)
    emulator.purge(calendar_id, event_id, status=_body(request, {"status"}).get("status", 403))


def _writes(emulator: Emulator, path: list[str], _: Request) -> Json:
    wanted = path or list(emulator.api.calendars)
    return {calendar_id: emulator.writes(calendar_id) for calendar_id in wanted}


def _requests(emulator: Emulator, _: list[str], request: Request) -> list[Json]:
    query = {name: values[-1] for name, values in request.query.items()}
    operation, since = query.get("operation"), int(query.get("since", "0"))
    found = [entry for entry in emulator.log.entries if entry.number > since and operation in (None, entry.operation)]
    return [entry.as_json() for entry in found[-int(query.get("limit", _DEFAULT_LIMIT)) :]]


def _forget_requests(emulator: Emulator, _: list[str], __: Request) -> None:
    emulator.log.clear()


def _add_user(emulator: Emulator, _: list[str], request: Request) -> Json:
    body = _body(request, {"email", "calendars", "scopes"}, required="email")
    return {"refresh_token": emulator.add_user(**body)}


def _add_service_account(emulator: Emulator, _: list[str], request: Request) -> Json:
    body = _body(request, {"email", "delegated"}, required="email")
    return emulator.add_service_account(**body)


def _delete_service_account(emulator: Emulator, path: list[str], _: Request) -> None:
    (email,) = _exactly(path, 1)
    del emulator.oauth.service_accounts.known[email]


def _access_token(emulator: Emulator, _: list[str], request: Request) -> Json:
    body = _body(request, {"email", "scopes", "lifetime"}, required="email")
    return {"access_token": emulator.issue_access_token(**body)}


def _expire_tokens(emulator: Emulator, _: list[str], __: Request) -> None:
    emulator.oauth.expire_access_tokens()


def _faults(emulator: Emulator, _: list[str], __: Request) -> list[Json]:
    return [asdict(rule) for rule in emulator.faults.rules]


def _add_fault(emulator: Emulator, _: list[str], request: Request) -> Json:
    return asdict(emulator.fault(_read(Fault, request)))


def _clear_faults(emulator: Emulator, _: list[str], __: Request) -> None:
    emulator.faults.clear()


def _settings(emulator: Emulator, _: list[str], request: Request) -> Json:
    """Replace the settings; what is not given gets its default."""
    emulator.configure(_read(Settings, request))
    return asdict(emulator.settings)


def _quota(emulator: Emulator, _: list[str], request: Request) -> None:
    """Replace the quota; what is not given is unlimited."""
    emulator.quota = _read(Quota, request)


def _reset(emulator: Emulator, _: list[str], __: Request) -> None:
    emulator.reset()


def _exactly(path: list[str], length: int) -> list[str]:
    if len(path) != length:
        raise ApiError("notFound")
    return path


def _body(request: Request, known: set[str], *, required: str = "") -> Json:
    body = request.json()
    if required and required not in body:
        raise invalid(f"{required} is required.")
    if unknown := body.keys() - known:
        raise invalid(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}.")
    return body


def _read(kind: type[_T], request: Request) -> _T:
    known = {field.name for field in fields(kind) if field.init}
    try:
        return TypeAdapter(kind).validate_python(_body(request, known))
    except ValidationError as error:
        raise invalid(str(error)) from error


_ROUTES: Final[dict[tuple[str, str], _Handler]] = {
    ("GET", ""): _summary,
    ("GET", "calendars"): _calendars,
    ("PUT", "calendars"): _put_calendar,
    ("PATCH", "calendars"): _edit,
    ("DELETE", "calendars"): _delete,
    ("POST", "purge"): _purge,
    ("GET", "writes"): _writes,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget_requests,
    ("POST", "users"): _add_user,
    ("POST", "service-accounts"): _add_service_account,
    ("DELETE", "service-accounts"): _delete_service_account,
    ("POST", "access-tokens"): _access_token,
    ("DELETE", "access-tokens"): _expire_tokens,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("PUT", "settings"): _settings,
    ("PUT", "quota"): _quota,
    ("POST", "reset"): _reset,
}
