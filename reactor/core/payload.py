"""Reads and checks the payload of an outbox row.

The check accepts fields that it does not know and is strict about those that it knows: a value that Google would
refuse, or that would be written under another source's name, is better refused here, by the path of the field, than
later. Google decides what only Google can know (whether a time zone exists, whether a colour does). The check is
lenient where that costs nothing: an optional field that is null, or an empty text, is absent, and a number where a text
of the event is wanted becomes its digits.

The docstring beside a field says what the field must be. Problems quote it, and the table and the JSON Schema of
docs/payload.md are made from it.

Three rules are stricter than they look:

* `sourceId` is a UUID in its usual spelling. The bindings table stores it as a uuid, so anything else could be written
  to the calendar but never be recorded; and two spellings of one UUID would be two sources with one binding.
* `sourceType` is any name of at most 40 characters without a colon. So no two sources share a source key: the key is
  cut at 40 characters and joined with a colon. A new kind of source needs no new release of the reactor.
* A calendar or event id of only dots is refused: in a URL's path it would mean another resource.

A payload is read from the bytes of its JSON, row by row: what a parser cannot read (a number of 5,000 digits, nesting
without end, half of a character), also in a field that we do not read, is a problem of that row only.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from math import isfinite
from typing import Annotated, Literal, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from reactor.core.item import Oversized
from reactor.core.payload_problems import described, problem
from reactor.errors import PermanentError

LONGEST_RESOURCE_ID = 1024
LARGEST = 256 * 1024
"""Bytes of JSON; a larger payload is not read. An event is a few hundred, and Google takes 8 kB of description."""

_KEY_PART = 40  # characters; the expression in SQL cuts at the same place
_RECURRENCE = re.compile(r"(?:RRULE|EXRULE|RDATE|EXDATE)[;:][^\x00-\x1f\x7f]+", re.IGNORECASE)
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_DATE_LENGTH = len("2026-01-31")


class Operation(StrEnum):
    """What is asked for; the values of the enum `outbox_operation`."""

    UPSERT_EVENT = "UPSERT_EVENT"
    CANCEL_EVENT = "CANCEL_EVENT"
    REBUILD_ALL = "REBUILD_ALL"


class EventType(StrEnum):
    """What the event stands for in the application; the values of the enum `calendar_event_type`."""

    GATE_REVIEW = "GATE_REVIEW"
    BLOCKER_DEADLINE = "BLOCKER_DEADLINE"
    MILESTONE = "MILESTONE"
    PROJECT_REVIEW = "PROJECT_REVIEW"


class BadPayloadError(PermanentError):
    """The payload is not what the contract says, or contradicts its row.

    Attributes:
        problems: One line for each offending field, `path: what is wrong`, never the value itself.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"The payload cannot be used: {'; '.join(problems)}.")
        self.problems = tuple(problems)


def _start(value: object, info: ValidationInfo) -> date:
    """A day from `YYYY-MM-DD`, a datetime from anything longer, both ISO 8601; a timed event needs one instant."""
    if not isinstance(value, str):
        raise problem()
    try:
        moment = date.fromisoformat(value) if len(value) <= _DATE_LENGTH else datetime.fromisoformat(value)
    except ValueError:
        raise problem() from None
    event = info.data
    if event.get("is_all_day", True):
        return moment
    if not isinstance(moment, datetime):
        raise problem("is a day, and the event is not all-day: give a time, or isAllDay: true")
    if moment.tzinfo is None and not event.get("time_zone", True):
        raise problem("has no offset, and the event no timeZone: give one of them, such as Europe/Berlin")
    return moment


def _end(value: object, info: ValidationInfo) -> date:
    """A moment as the start is, and after it."""
    end = _start(value, info)
    start, all_day = info.data.get("start"), info.data.get("is_all_day")
    if start is None or all_day is None:
        return end  # they have an error of their own
    if all_day and _day(end) < _day(start):
        raise problem("must not be before start")
    if all_day and _day(end) == date.max:
        raise problem("is too late: there must be a day after it")
    if not all_day and not _later(cast("datetime", end), start):
        raise problem("must be later than start")
    return end


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _later(end: datetime, start: datetime) -> bool:
    """Whether `end` is after `start`; where only one has an offset, Google decides, because it knows the zones."""
    return (end.tzinfo is None) != (start.tzinfo is None) or end > start


def _line(value: str) -> str:
    if not _RECURRENCE.fullmatch(value):
        raise problem("must be a line of RRULE, EXRULE, RDATE or EXDATE, such as RRULE:FREQ=WEEKLY;COUNT=4")
    return value


def _addressable(value: str) -> str:
    if not value.strip("."):
        raise problem()
    if value != value.strip():
        raise problem("begins or ends with white space (a line break?): take it away")
    return value


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _digits_if_number(value: object) -> object:
    """The digits of a number; infinity, which JSON does not have, stays what it is."""
    return str(value) if type(value) in (int, float) and isfinite(cast("float", value)) else value


def _false_if_absent(value: object) -> object:
    return False if value is None or value == "" else value


def is_resource_id(text: str) -> bool:
    """Whether it can be the name of a calendar: what is noted of one is checked as a payload is."""
    return 0 < len(text) <= LONGEST_RESOURCE_ID and bool(text.strip(".")) and text == text.strip()


_NOT_EMPTY = BeforeValidator(_none_if_empty)
_TEXT = BeforeValidator(_digits_if_number)
Flag = Annotated[bool, BeforeValidator(_false_if_absent)]

_MOMENT = WithJsonSchema({"type": "string", "minLength": 10})
Start = Annotated[date, PlainValidator(_start), _MOMENT]
"""A day (`date`) or a point in time (`datetime`, with or without an offset)."""
End = Annotated[date, PlainValidator(_end), _MOMENT]
"""The same, and later than the start."""
ResourceId = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_RESOURCE_ID), AfterValidator(_addressable)
]
SourceId = Annotated[str, StringConstraints(pattern=_UUID)]
SourceType = Annotated[str, StringConstraints(min_length=1, max_length=_KEY_PART, pattern=r"^[^:\s]+$")]
RecurrenceLine = Annotated[
    str,
    AfterValidator(_line),
    Field(json_schema_extra={"pattern": "^([Rr][Rr]|[Ee][Xx])([Uu][Ll][Ee]|[Dd][Aa][Tt][Ee])"}),
]
TimeZone = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+\-/]*$")]
ColorId = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]?$")]


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Reminder(_Model):
    """One reminder of an event."""

    method: Literal["email", "popup"]
    """email or popup"""
    minutes: Annotated[int, Field(ge=0, le=40_320)]
    """a whole number of minutes, 0 to 40320. How long before the start: four weeks at most"""


class Reminders(_Model):
    """The event's reminders: the calendar's own, or up to five."""

    use_default: Flag = False
    """true or false. Whether the calendar's own reminders are used"""
    overrides: Annotated[list[Reminder], Field(max_length=5), BeforeValidator(lambda value: value or [])] = []
    """up to five objects such as {"method": "popup", "minutes": 10}"""

    @field_validator("overrides")
    @classmethod
    def _not_both(cls, value: list[Reminder], info: ValidationInfo) -> list[Reminder]:
        if value and info.data.get("use_default"):
            raise problem("must be empty or absent where useDefault is true")
        return value


class Event(_Model):
    """The event as the application sees it."""

    is_all_day: Flag = False
    """true or false. Whether it covers whole days: then start and end may be days or times, and zones mean nothing"""
    time_zone: Annotated[TimeZone | None, _NOT_EMPTY] = None
    """an IANA name such as Europe/Berlin. Wanted where a time has no offset, and for what recurs"""
    title: Annotated[str, StringConstraints(min_length=1, max_length=500), _TEXT, Field(repr=False)]
    """a text of 1 to 500 characters"""
    description: Annotated[str | None, _TEXT, Field(repr=False)] = None
    """a text. Google keeps the first 8,000 characters"""
    start: Start
    """a time such as 2026-01-31T09:00:00+01:00, or for whole days a day such as 2026-01-31"""
    end: End
    """a time or a day as start is. Later than start; for whole days the first day after, or start itself for one day"""
    recurrence: Annotated[list[RecurrenceLine] | None, _NOT_EMPTY] = None
    """a list of lines such as RRULE:FREQ=WEEKLY;COUNT=4. RFC 5545, section 3.8.5: RRULE, EXRULE, RDATE, EXDATE"""
    location: Annotated[str | None, _TEXT, Field(repr=False)] = None
    """a text"""
    color_id: Annotated[ColorId | None, _NOT_EMPTY, _TEXT] = None
    """the number of a colour of Google's palette for events, such as 7"""
    reminders: Annotated[Reminders | None, _NOT_EMPTY] = None
    """an object such as {"useDefault": true} or {"overrides": [{"method": "popup", "minutes": 10}]}"""

    @cached_property
    def span(self) -> tuple[str, str]:
        """Start and end in ISO 8601: the event's body has them, and the binding."""
        return self.start.isoformat(), self.end.isoformat()


class _Addressed(_Model):
    workspace_id: Annotated[str, Field()]
    """the workspace_id of the row"""
    calendar_id: Annotated[ResourceId, Field(repr=False)]
    """a calendar's id such as team@group.calendar.google.com, or primary"""

    @field_validator("workspace_id")
    @classmethod
    def _same_workspace(cls, value: str, info: ValidationInfo) -> str:
        workspace_id: str = (info.context or {}).get("workspace_id", "")
        if value == workspace_id:
            return workspace_id
        try:
            same = str(UUID(value)) == workspace_id  # in another spelling
        except ValueError:
            same = False
        if not same:
            raise problem()
        return workspace_id


class Upsert(_Addressed):
    """Make the calendar hold this event; `recreate` counts where a rebuild wrote it."""

    operation: Literal["UPSERT_EVENT"]
    """the operation of the row, UPSERT_EVENT"""
    source_type: SourceType
    """a name of 1 to 40 characters without colon or white space, such as task"""
    source_id: SourceId
    """a UUID in lower case with hyphens, such as 0b8e7f52-91f5-4d0e-8a43-5b2f6f1c9d11"""
    event_type: Annotated[EventType, Field(strict=False, description=f"one of {', '.join(EventType)}")]
    event: Event
    """an object with title, start and end"""
    recreate: Flag = False
    """true or false. The reactor's own, in the items that a rebuild makes"""


class Cancel(_Addressed):
    """Make the calendar not hold the source's event."""

    operation: Literal["CANCEL_EVENT"]
    """the operation of the row, CANCEL_EVENT"""
    source_type: SourceType
    """a name of 1 to 40 characters without colon or white space, such as task"""
    source_id: SourceId
    """a UUID in lower case with hyphens, such as 0b8e7f52-91f5-4d0e-8a43-5b2f6f1c9d11"""
    google_event_id: Annotated[ResourceId | None, _NOT_EMPTY] = None
    """the event's id in Google. Where the application knows it; events of older workers have ids that Google made"""


class Rebuild(_Addressed):
    """Make the calendar agree with the application's whole current state."""

    operation: Literal["REBUILD_ALL"]
    """the operation of the row, REBUILD_ALL"""
    recreate: Flag = False
    """true or false. Whether each event is removed and made anew, under another id, instead of being compared"""


Payload = Upsert | Cancel | Rebuild

_MODELS: Mapping[str, type[Upsert | Cancel | Rebuild]] = {
    Operation.UPSERT_EVENT: Upsert,
    Operation.CANCEL_EVENT: Cancel,
    Operation.REBUILD_ALL: Rebuild,
}


def parse(operation: str, workspace_id: UUID | str, payload: object) -> Payload:
    """The payload of a row, checked against the row.

    Args:
        operation: The row's operation.
        workspace_id: The row's workspace.
        payload: The row's payload: JSON text in bytes, or decoded; `Oversized` where it was not even fetched.

    Raises:
        BadPayloadError: It names every offending field and repeats no value.
    """
    model = _MODELS.get(operation)
    if model is None:
        raise BadPayloadError([f"operation: unknown; it is one of {', '.join(Operation)}"])
    number = workspace_id.int if isinstance(workspace_id, UUID) else UUID(workspace_id).int
    if isinstance(payload, Oversized):
        raise BadPayloadError(
            [f"payload: {payload.size:,} bytes as JSON; at most {LARGEST:,} are read: keep large texts out of it"]
        )
    context = {"workspace_id": _usual(number)}
    try:
        if isinstance(payload, bytes):
            return model.model_validate_json(payload, context=context)
        return model.model_validate(payload, context=context)
    except ValidationError as error:
        raise BadPayloadError([described(model, each) for each in error.errors(include_url=False)]) from None


@lru_cache(maxsize=256)  # the items of a workspace follow one another
def _usual(number: int) -> str:
    """The usual spelling of a UUID of that number."""
    return str(UUID(int=number))


def source_key(source_type: str, source_id: str) -> str:
    """The name under which a source is ordered and remembered: the same expression as in SQL, by characters."""
    return f"{source_type[:_KEY_PART]}:{source_id[:_KEY_PART]}"
