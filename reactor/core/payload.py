"""What a row of the outbox asks for: its payload, checked.

Tolerant of fields it does not know, strict about those it knows: a value that Google would refuse, or that would be
written under another source's name, is better refused here, by the path of the field, than later. What only Google can
judge (whether a time zone exists, whether a colour does) is left to Google.

Three rules are stricter than they look:

* `sourceId` is a UUID in its usual spelling. The bindings table stores it as a uuid, so anything else could be written
  to the calendar but never be recorded; and two spellings of one UUID would be two sources with one binding.
* `sourceType` is any name of at most 40 characters without a colon. With that no two sources share a source key: the
  key is cut at 40 characters and joined with a colon. A new kind of source needs no new release of the reactor.
* A calendar or event id of only dots is refused: in a URL's path it would mean another resource.

A payload is read from the bytes of its JSON, row by row: what a parser cannot read (a number of 5,000 digits, nesting
without end, half of a character), also in a field that is not looked at, is the row's own problem.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from reactor.core.item import Oversized
from reactor.errors import PermanentError

LONGEST_RESOURCE_ID = 1024
LARGEST = 256 * 1024
"""Bytes of JSON; a larger payload is not read. An event is a few hundred, and Google takes 8 kB of description."""

_KEY_PART = 40  # characters; the expression in SQL cuts at the same place
_RECURRENCE = re.compile(r"(?:RRULE|EXRULE|RDATE|EXDATE)[;:][^\x00-\x1f\x7f]+", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DATE_LENGTH = len("2026-01-31")
_UNREADABLE = (  # what the parser says, and what we say
    ("number out of range", "a number of more than 4,300 digits"),
    ("recursion limit exceeded", "nested 200 deep or more"),
    ("hex escape", "half of a character: a surrogate without its other half"),
)


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


def _problem(kind: str) -> PydanticCustomError:
    """An error whose type is its whole text: messages of errors may repeat values, types cannot."""
    return PydanticCustomError(kind.replace(" ", "_"), "{kind}", {"kind": kind})


def _moment(value: object) -> date:
    """A day from `YYYY-MM-DD`, a datetime from anything longer; both ISO 8601."""
    if not isinstance(value, str):
        raise _problem("not a string")
    try:
        return date.fromisoformat(value) if len(value) <= _DATE_LENGTH else datetime.fromisoformat(value)
    except ValueError:
        raise _problem("not a date or time in ISO 8601") from None


def _uuid(value: str) -> str:
    if not _UUID.fullmatch(value):
        raise _problem("not a UUID in lower case with hyphens")
    return value


def _line(value: str) -> str:
    if not _RECURRENCE.fullmatch(value):
        raise _problem("not a line of RRULE, EXRULE, RDATE or EXDATE")
    return value


def _addressable(value: str) -> str:
    if not value.strip("."):
        raise _problem("only dots")
    if value != value.strip():
        raise _problem("white space at an end")
    return value


def is_resource_id(text: str) -> bool:
    """Whether it can be the name of a calendar: what is noted of one is checked as a payload is."""
    return 0 < len(text) <= LONGEST_RESOURCE_ID and bool(text.strip(".")) and text == text.strip()


Moment = Annotated[date, PlainValidator(_moment)]
"""A day (`date`) or a point in time (`datetime`, with or without an offset)."""
ResourceId = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_RESOURCE_ID), AfterValidator(_addressable)
]
SourceId = Annotated[str, AfterValidator(_uuid)]
SourceType = Annotated[str, StringConstraints(min_length=1, max_length=_KEY_PART, pattern=r"^[^:\s]+$")]
RecurrenceLine = Annotated[str, AfterValidator(_line)]
TimeZone = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+\-/]*$")]
ColorId = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]?$")]


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, strict=True, hide_input_in_errors=True
    )


class Reminder(_Model):
    """One reminder: how, and how many minutes before (four weeks at most)."""

    method: Literal["email", "popup"]
    minutes: Annotated[int, Field(ge=0, le=40_320)]


class Reminders(_Model):
    """The event's reminders: the calendar's own, or up to five."""

    use_default: bool = False
    overrides: Annotated[list[Reminder], Field(max_length=5)] = []

    @field_validator("overrides")
    @classmethod
    def _not_both(cls, value: list[Reminder], info: ValidationInfo) -> list[Reminder]:
        if value and info.data.get("use_default"):
            raise _problem("not together with useDefault")
        return value


class Event(_Model):
    """The event as the application sees it.

    Attributes:
        is_all_day: Whether it covers whole days; then `start` and `end` may be days or times, and zones mean nothing.
        time_zone: IANA name; wanted where a time has no offset, and for recurrence.
        start: When it starts.
        end: When it ends: later than `start`; for whole days the first day that is not covered, or `start` itself for
            one day.
        recurrence: Lines of RFC 5545, https://www.rfc-editor.org/rfc/rfc5545#section-3.8.5.
        color_id: A colour of the event palette; Google knows which there are.
    """

    is_all_day: bool = False
    time_zone: TimeZone | None = None
    title: Annotated[str, StringConstraints(min_length=1, max_length=500), Field(repr=False)]
    description: Annotated[str | None, Field(repr=False)] = None
    start: Moment
    end: Moment
    recurrence: list[RecurrenceLine] | None = None
    location: Annotated[str | None, Field(repr=False)] = None
    color_id: ColorId | None = None
    reminders: Reminders | None = None

    @field_validator("start", "end")
    @classmethod
    def _placed_in_time(cls, value: date, info: ValidationInfo) -> date:
        """A timed event needs points in time that mean one instant."""
        if info.data.get("is_all_day", True):
            return value
        if not isinstance(value, datetime):
            raise _problem("a day, and the event is not all-day")
        if value.utcoffset() is None and not info.data.get("time_zone", True):
            raise _problem("neither an offset nor a timeZone")
        return value

    @field_validator("end")
    @classmethod
    def _after_start(cls, value: date, info: ValidationInfo) -> date:
        start, all_day = info.data.get("start"), info.data.get("is_all_day")
        if start is None or all_day is None:
            return value  # they have an error of their own
        if all_day and _day(value) < _day(start):
            raise _problem("before start")
        if all_day and _day(value) == date.max:
            raise _problem("too late for a last day")
        if not all_day and not _later(cast("datetime", value), start):
            raise _problem("not after start")
        return value


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _later(end: datetime, start: datetime) -> bool:
    """Whether `end` is after `start`; where only one has an offset, Google must say, since it knows the zones."""
    if (end.utcoffset() is None) != (start.utcoffset() is None):
        return True
    return end > start


class _Addressed(_Model):
    workspace_id: Annotated[str, Field()]
    calendar_id: Annotated[ResourceId, Field(repr=False)]

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
            raise _problem("not the workspace of the row")
        return workspace_id


class Upsert(_Addressed):
    """Make the calendar hold this event; `recreate` counts where a rebuild wrote it."""

    operation: Literal["UPSERT_EVENT"]
    source_type: SourceType
    source_id: SourceId
    event_type: Annotated[EventType, Field(strict=False)]
    event: Event
    recreate: bool = False


class Cancel(_Addressed):
    """Make the calendar not hold the source's event.

    Attributes:
        google_event_id: The event's id as the application knows it; events of older workers have ids that Google made.
    """

    operation: Literal["CANCEL_EVENT"]
    source_type: SourceType
    source_id: SourceId
    google_event_id: ResourceId | None = None


class Rebuild(_Addressed):
    """Make the calendar agree with the application's whole current state.

    Attributes:
        recreate: Whether each event is removed and made anew, under its next id, instead of being compared.
    """

    operation: Literal["REBUILD_ALL"]
    recreate: bool = False


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
        raise BadPayloadError(["operation: not one that there is"])
    usual = str(workspace_id if isinstance(workspace_id, UUID) else UUID(workspace_id))
    if isinstance(payload, Oversized):
        raise BadPayloadError(
            [f"payload: {payload.size:,} bytes as JSON; at most {LARGEST:,} are read: keep large texts out of it"]
        )
    context = {"workspace_id": usual}
    try:
        if isinstance(payload, bytes):
            return model.model_validate_json(payload, context=context)
        return model.model_validate(payload, context=context)
    except ValidationError as error:
        raise BadPayloadError([_told(each) for each in error.errors(include_input=False)]) from None


def _told(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        said = error["ctx"]["error"]
        return f"payload: {next((ours for theirs, ours in _UNREADABLE if theirs in said), 'not JSON that can be read')}"
    return f"{_path(error['loc'])}: {error['type'].replace('_', ' ')}"


def _path(location: tuple[Any, ...]) -> str:
    return ".".join(str(step) for step in location) or "payload"


def source_key(source_type: str, source_id: str) -> str:
    """The name under which a source is ordered and remembered: the same expression as in SQL, by characters."""
    return f"{source_type[:_KEY_PART]}:{source_id[:_KEY_PART]}"
