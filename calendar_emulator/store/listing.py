"""Listing a calendar: filters, pages and sync tokens.

Pure. A page token remembers where the page ended and the revision at which the *first* page was read; the sync token of
the last page carries that revision, so nothing that changes between two pages is ever missed. Tokens are opaque to
clients and bound to the parameters they were made with.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from calendar_emulator.errors import ApiError, Json, invalid
from calendar_emulator.store.bodies import bounds, instant, rfc3339
from calendar_emulator.store.calendars import Calendar, Record

Parameters = Mapping[str, list[str]]
Position = tuple[str, int]
"""Sort key and number of the last event of a page."""

_NOT_WITH_SYNC: Final = (
    "iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMax", "timeMin", "updatedMin",
)  # fmt: skip
_PER_PAGE: Final = frozenset(
    {"pageToken", "syncToken", "maxResults", "fields", "prettyPrint", "quotaUser", "alt", "key"}
)
_LARGEST_PAGE: Final = 2_500
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a list call asks for."""

    deleted: bool
    changed_after: int
    time_min: datetime | None
    time_max: datetime | None
    updated_min: datetime | None
    private: list[tuple[str, str]]
    shared: list[tuple[str, str]]
    ical_uid: str | None
    text: str

    def matches(self, record: Record) -> bool:
        event = record.event
        if record.revision <= self.changed_after or (record.cancelled and not self.deleted):
            return False
        if self.private and not _has(event, "private", self.private):
            return False
        if self.shared and not _has(event, "shared", self.shared):
            return False
        if self.ical_uid is not None and event.get("iCalUID") != self.ical_uid:
            return False
        if self.text and not any(self.text in str(event.get(k, "")).lower() for k in ("summary", "description")):
            return False
        return self._in_time(event)

    def _in_time(self, event: Json) -> bool:
        if self.updated_min and datetime.fromisoformat(event["updated"]) < self.updated_min:
            return False
        if not (self.time_min or self.time_max):
            return True
        if "start" not in event:
            return False
        start, end = bounds(event)
        return not ((self.time_min and end <= self.time_min) or (self.time_max and start >= self.time_max))


def page(calendar: Calendar, query: Parameters, *, role: str, empty_pages: bool = False) -> Json:
    """Answer a list call.

    Args:
        calendar: The calendar to list.
        query: The decoded query parameters.
        role: The caller's role, answered as `accessRole`.
        empty_pages: Whether the first page of every listing is empty although more follow, as the API allows itself.

    Raises:
        ApiError: A parameter is wrong (400), or the sync token has expired (410).
    """
    size, order = _size(query), _order(query)
    fingerprint = _fingerprint(query)
    where: Position = "", -1
    since, upto = 0, calendar.revision
    if text := _one(query, "syncToken"):
        since = _sync_revision(calendar, query, text, fingerprint)
    if text := _one(query, "pageToken"):
        token = _decode(text)
        if token is None or token.get("f") != fingerprint or "w" not in token:
            raise invalid("Invalid page token value.", parameter="pageToken")
        where, since, upto = (token["w"][0], token["w"][1]), token["s"], token["u"]
    wanted = _filter(query, since)
    if empty_pages and "pageToken" not in query:
        size = 0
    items, last, more = _take(_walk(calendar, order, where), wanted, where, size)
    answer: Json = {
        "kind": "calendar#events",
        "etag": calendar.etag,
        "summary": calendar.id,
        "updated": rfc3339(datetime.fromtimestamp(calendar.updated, calendar.zone)),
        "timeZone": calendar.zone.key,
        "accessRole": role,
        "defaultReminders": [{"method": "popup", "minutes": 30}],
        "items": items,
    }
    if more:
        answer["nextPageToken"] = _encode({"f": fingerprint, "w": last, "s": since, "u": upto})
    else:
        answer["nextSyncToken"] = _encode({"f": fingerprint, "c": calendar.id, "r": upto})
    return answer


def _take(
    records: Iterator[tuple[str, Record]], wanted: _Filter, where: Position, size: int
) -> tuple[list[Json], Position, bool]:
    """The next page of events, the position behind it, and whether more follow."""
    items: list[Json] = []
    for key, record in records:
        if not wanted.matches(record):
            continue
        if len(items) == size:
            return items, where, True
        items.append(record.event)
        where = key, record.number
    return items, where, False


def _walk(calendar: Calendar, order: str, where: Position) -> Iterator[tuple[str, Record]]:
    """The records behind a position; without an order in the order of creation, which needs no sorting."""
    if not order:
        return (("", record) for record in islice(calendar.ordered, where[1] + 1, None))
    keyed = ((_sort_key(record.event, order), record) for record in calendar.ordered)
    return iter(sorted((p for p in keyed if (p[0], p[1].number) > where), key=lambda p: (p[0], p[1].number)))


def _sort_key(event: Json, order: str) -> str:
    if order == "updated":
        return str(event["updated"])
    return f"{bounds(event)[0].timestamp():020.3f}" if "start" in event else ""


def _sync_revision(calendar: Calendar, query: Parameters, text: str, fingerprint: int) -> int:
    for name in _NOT_WITH_SYNC:
        if name in query:
            raise invalid(f"The parameter {name} cannot be used together with syncToken.", parameter=name)
    if _flag(query, "showDeleted") is False:
        raise invalid("showDeleted cannot be false together with syncToken.", parameter="showDeleted")
    token = _decode(text)
    if token is None or token.get("c") != calendar.id:
        raise invalid("Invalid sync token value.", parameter="syncToken")
    revision = int(token["r"])
    if revision < calendar.oldest_sync or token["f"] != fingerprint:
        raise ApiError("fullSyncRequired", location=("parameter", "syncToken"))
    return revision


def _filter(query: Parameters, since: int) -> _Filter:
    updated_min = _time(query, "updatedMin")
    time_min, time_max = _time(query, "timeMin"), _time(query, "timeMax")
    if time_min and time_max and time_min >= time_max:
        raise invalid("The specified time range is empty.", reason="timeRangeEmpty", parameter="timeMax")
    syncing = "syncToken" in query
    return _Filter(
        deleted=bool(_flag(query, "showDeleted")) or syncing or updated_min is not None,
        changed_after=since,
        time_min=time_min,
        time_max=time_max,
        updated_min=updated_min,
        private=_pairs(query, "privateExtendedProperty"),
        shared=_pairs(query, "sharedExtendedProperty"),
        ical_uid=_one(query, "iCalUID"),
        text=(_one(query, "q") or "").lower(),
    )


def _has(event: Json, kind: str, pairs: list[tuple[str, str]]) -> bool:
    properties = event.get("extendedProperties", {}).get(kind, {})
    return all(properties.get(key) == value for key, value in pairs)


def _order(query: Parameters) -> str:
    order = _one(query, "orderBy") or ""
    if order not in ("", "startTime", "updated"):
        raise invalid(f"Invalid value: {order}", reason="invalidParameter", parameter="orderBy")
    if order == "startTime" and not _flag(query, "singleEvents"):
        raise invalid(
            "The requested ordering is not available for the particular query.",
            reason="badRequest",
            parameter="orderBy",
        )
    return order


def _size(query: Parameters) -> int:
    text = _one(query, "maxResults") or "250"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise invalid(f"Invalid value: {text}", reason="invalidParameter", parameter="maxResults")
    return min(int(text), _LARGEST_PAGE)


def _time(query: Parameters, name: str) -> datetime | None:
    text = _one(query, name)
    return instant(text) if text else None


def _flag(query: Parameters, name: str) -> bool | None:
    text = _one(query, name)
    if text is None:
        return None
    if text.lower() not in _BOOLEANS:
        raise invalid(f"Invalid value: {text}", reason="invalidParameter", parameter=name)
    return _BOOLEANS[text.lower()]


def _pairs(query: Parameters, name: str) -> list[tuple[str, str]]:
    pairs = []
    for text in query.get(name, []):
        key, equals, value = text.partition("=")
        if not equals:
            raise invalid("Invalid extended property constraint.", parameter=name)
        pairs.append((key, value))
    return pairs


def _one(query: Parameters, name: str) -> str | None:
    values = query.get(name)
    return values[-1] if values else None


def _fingerprint(query: Parameters) -> int:
    # The full listing hides deleted events and the incremental ones never do: showDeleted=true may join later.
    kept = {k: v for k, v in query.items() if k not in _PER_PAGE and k != "showDeleted"}
    return zlib.crc32(json.dumps(kept, sort_keys=True).encode())


def _encode(token: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")


def _decode(text: str) -> Json | None:
    try:
        token = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return None
    return token if isinstance(token, dict) else None
