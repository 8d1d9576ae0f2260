"""Calendars and their events: what is stored, and what each write does to it.

Pure: every change takes `now`. Nothing is ever removed. A deleted event stays as a tombstone (status `cancelled`) that
keeps its id taken for ever; a full update or a patch with a live status revives it unless it was purged. Each record
keeps all its versions, so that a test can ask in which order states arrived.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from calendar_emulator.errors import ApiError, Json, invalid, stale
from calendar_emulator.store.bodies import check_id, check_sequence, content
from calendar_emulator.store.conference import link

CANCELLED: Final = "cancelled"
ROLES: Final = ("freeBusyReader", "reader", "writer", "owner")
"""What a user may be in a calendar, least first."""


class WriteKind(StrEnum):
    """What a write did to an event."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    REVIVE = "revive"


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted write.

    Attributes:
        order: Position among all writes of all calendars, from 1.
        at: When, in seconds of the emulator's clock.
        kind: What it did.
        event: The whole resource after it; never changed afterwards.
    """

    order: int
    at: float
    kind: WriteKind
    event: Json


@dataclass(slots=True)
class Record:
    """An event's identity, alive or not.

    Attributes:
        number: Position in the calendar, from 0.
        event: The resource as it is now.
        revision: The calendar's revision at the last write.
        writes: All versions, oldest first.
        refusal: The status that answers every attempt to revive it (403, 404, 410), None where that works.
    """

    number: int
    event: Json
    revision: int = 0
    writes: list[Write] = field(default_factory=list)
    refusal: int | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it is a tombstone."""
        return bool(self.event["status"] == CANCELLED)


class Ticker:
    """Numbers that only grow: the order of all writes, and etags."""

    def __init__(self) -> None:
        self.order = 0
        self._etag = 0

    def etag(self, now: float) -> str:
        """A new entity tag: a quoted number, as Google's are."""
        self._etag = max(self._etag + 2, 2 * int(now * 1_000_000))
        return f'"{self._etag}"'


class Calendar:
    """One calendar.

    Attributes:
        id: Its id, an e-mail address.
        roles: Who may do what: e-mail address to owner, writer, reader or freeBusyReader.
        refusal_reason: The reason that answers a writer without the role: requiredAccessLevel or forbidden.
        revive_refusal: The status that answers every revival in this calendar, None where reviving works.
        unchanged_keeps_etag: Whether a write that changes nothing leaves the event, and so its version, as it is.
        sequence_required: Whether a body without `sequence` counts as 0, as some reports say; else it keeps its value.
        records: All events that ever were, by id, in order of creation.
        revision: The number of writes so far.
        oldest_sync: Sync tokens older than this revision have expired.
    """

    def __init__(self, calendar_id: str, *, time_zone: str, ticker: Ticker, now: float) -> None:
        self.id = calendar_id
        self.zone = ZoneInfo(time_zone)
        self.roles: dict[str, str] = {}
        self.refusal_reason = "requiredAccessLevel"
        self.revive_refusal: int | None = None
        self.sequence_required = False
        self.unchanged_keeps_etag = False
        self.records: dict[str, Record] = {}
        self.ordered: list[Record] = []
        self.revision = 0
        self.oldest_sync = 0
        self._ticker = ticker
        self.etag = ticker.etag(now)
        self.updated = now

    def live(self) -> Iterator[Json]:
        """The events that a person sees."""
        return (record.event for record in self.ordered if not record.cancelled)

    def get(self, event_id: str) -> Record:
        """Return an event, alive or cancelled.

        Raises:
            ApiError: It never existed: 404.
        """
        if not (record := self.records.get(event_id)):
            raise ApiError("notFound")
        return record

    def insert(self, body: Json, *, who: str, new_id: str, now: float) -> Json:
        """Create an event.

        Args:
            body: The event as the client sent it.
            who: The caller's e-mail address.
            new_id: The id for a body without one.
            now: Seconds of the emulator's clock.

        Raises:
            ApiError: The body is wrong (400), or the id was used before, even by an event that is deleted now (409).
        """
        event_id = new_id
        if body.get("id"):
            event_id = check_id(body["id"])
            if body.get("iCalUID"):
                raise invalid("Only one of id and iCalUID may be supplied.")
        event = self._content(body)
        if event_id in self.records:
            raise ApiError("duplicate")
        record = Record(len(self.ordered), {})
        person = {"email": who, "self": True}
        event |= {
            "kind": "calendar#event",
            "id": event_id,
            "iCalUID": body.get("iCalUID") or f"{event_id}@google.com",
            "htmlLink": f"https://www.google.com/calendar/event?eid={event_id}",
            "created": datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creator": person,
            "organizer": {"email": self.id, "self": True},
            "sequence": check_sequence(body.get("sequence") or 0),
        }
        self._store(record, event, WriteKind.INSERT, now)
        self.records[event_id] = record
        self.ordered.append(record)
        return event

    def update(
        self, event_id: str, body: Json, *, if_match: str | None, now: float, kept: frozenset[str] = frozenset()
    ) -> Json:
        """Replace an event as a whole, but for the fields that are `kept`; a cancelled one is revived by it.

        Raises:
            ApiError: Unknown (404), another version (412), purged (its refusal), or the body is wrong (400).
        """
        record = self._matching(event_id, if_match)
        return self._replace(record, body | {name: record.event[name] for name in kept & record.event.keys()}, now)

    def patch(self, event_id: str, body: Json, *, if_match: str | None, now: float) -> Json:
        """Change the given fields of an event; null removes one, arrays are replaced whole.

        Raises:
            ApiError: As `update`.
        """
        record = self._matching(event_id, if_match)
        merged = merge({k: v for k, v in record.event.items() if k not in {"id", "iCalUID", "sequence"}}, body)
        return self._replace(record, merged, now)

    def delete(self, event_id: str, *, if_match: str | None, now: float) -> None:
        """Turn an event into a tombstone.

        Raises:
            ApiError: Never existed (404), already deleted (410), another version (412).
        """
        if self.get(event_id).cancelled:
            raise ApiError("deleted")
        record = self._matching(event_id, if_match)
        self._store(record, record.event | {"status": CANCELLED}, WriteKind.DELETE, now)

    def remove(self, record: Record, now: float) -> None:
        """Leave the bare tombstone that an event leaves behind when it moves to another calendar."""
        bare = {key: record.event[key] for key in ("kind", "id")}
        self._store(record, bare | {"status": CANCELLED}, WriteKind.DELETE, now)

    def _matching(self, event_id: str, if_match: str | None) -> Record:
        record = self.get(event_id)
        if if_match and if_match not in ("*", record.event["etag"]):
            raise stale()
        return record

    def _replace(self, record: Record, body: Json, now: float) -> Json:
        old = record.event
        if body.get("id") not in (None, old["id"]):
            raise invalid("Invalid resource id value.")
        event = self._content(body)
        dies = event["status"] == CANCELLED
        refusal = record.refusal or self.revive_refusal
        if record.cancelled and not dies and refusal:
            raise ApiError(status=refusal)
        event["sequence"] = self._sequence(old, event, body)
        for key in ("kind", "id", "iCalUID", "htmlLink", "created", "creator", "organizer"):
            if key in old:
                event[key] = old[key]
        if self.unchanged_keeps_etag and event | {"etag": old["etag"], "updated": old["updated"]} == old:
            return old
        kind = WriteKind.REVIVE if record.cancelled and not dies else WriteKind.DELETE if dies else WriteKind.UPDATE
        self._store(record, event, kind, now)
        return event

    def _content(self, body: Json) -> Json:
        event = content(body, self.zone)
        if (address := link(event)) is not None:
            event["hangoutLink"] = address
        return event

    def _sequence(self, old: Json, new: Json, body: Json) -> int:
        current = int(old.get("sequence", 0))
        given = body.get("sequence")
        if given is None and self.sequence_required:
            given = 0
        if given is not None:
            if check_sequence(given) < current:
                raise invalid("Invalid sequence value.")
            return int(given)
        moved = any(old.get(key) != new.get(key) for key in ("start", "end", "location", "recurrence"))
        return current + moved

    def _store(self, record: Record, event: Json, kind: WriteKind, now: float) -> None:
        self.revision += 1
        self.updated = now
        self._ticker.order += 1
        event["etag"] = self._ticker.etag(now)
        event["updated"] = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record.event, record.revision = event, self.revision
        record.writes.append(Write(self._ticker.order, now, kind, event))


def merge(old: Json, changes: Json) -> Json:
    """Apply a patch: objects are merged, null removes, everything else replaces."""
    merged = dict(old)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged
