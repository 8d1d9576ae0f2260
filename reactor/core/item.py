"""An item of the outbox while it is claimed, and the outcome to write for it."""

from dataclasses import field
from enum import Enum, auto
from typing import Any, Literal
from uuid import UUID

from reactor.core.outcome import FailureCode
from reactor.core.value import value


@value(frozen=True, slots=True)
class SourceState:
    """What the database remembers of a source, a row of `sync_sources`.

    Attributes:
        floor_seq: States below it are too old to be sent.
        generation: The number in the event's id that rises when an id becomes unusable.
        event_id: The event that is known to exist, None where there is none.
        calendar_id: The calendar that it is in.
        etag: Its version after our last write.
        cancelled: Whether we removed the event ourselves.
        reopen: Whether an attempt of unknown outcome may have removed the event.
        possible_calendars: Calendars in which attempts of unknown outcome may have left the event.
    """

    floor_seq: int = 0
    generation: int = 0
    event_id: str | None = None
    calendar_id: str | None = field(default=None, repr=False)
    etag: str | None = None
    cancelled: bool = False
    reopen: bool = False
    possible_calendars: tuple[str, ...] = field(default=(), repr=False)


@value(frozen=True, slots=True)
class WorkspaceConnection:
    """A workspace's connection to Google.

    Attributes:
        token: The stored refresh token, encrypted.
        version: A hash of the stored text; another text has another one.
    """

    token: str = field(repr=False)
    version: str


@value(frozen=True, slots=True)
class Oversized:
    """Stands for a payload that was left in the database because it is too large.

    Attributes:
        size: Its length as JSON text, in bytes.
    """

    size: int


@value(frozen=True, slots=True)
class Item:
    """A claimed row of `sync_outbox`, with all that is needed to send and settle it.

    Attributes:
        id: The row's id.
        workspace_id: The row's workspace.
        source_key: Its source's name in the workspace.
        seq: Its place in the order of the source's states.
        claim_no: The number of this claim; never reused.
        operation: UPSERT_EVENT, CANCEL_EVENT or REBUILD_ALL.
        payload: As the application wrote it, not checked: JSON text in bytes, or `Oversized`.
        attempts: How many attempts have failed so far.
        max_attempts: How many may fail before it is a dead letter.
        age: Seconds since the row was inserted, at the claim, by the database's clock.
        is_child: Whether a rebuild made it; it then moves the floor only where it was applied.
        memory: What is remembered of the source.
        connection: The workspace's connection.
        lease_no: The lease of the session that claimed it: every later write for the claim is fenced with it.
        losses: How many workers in a row were lost while they had it claimed.
    """

    id: UUID
    workspace_id: UUID
    source_key: str
    seq: int
    claim_no: int
    operation: str
    payload: Any = field(repr=False)
    attempts: int
    max_attempts: int
    age: float
    is_child: bool
    memory: SourceState
    connection: WorkspaceConnection
    lease_no: int = 0
    losses: int = 0


@value(frozen=True, slots=True)
class Binding:
    """The event that now represents a source, a row of the application's table of bindings.

    Attributes:
        event_id: Google's id of the event.
        calendar_id: The calendar that holds it.
        source_type: task, milestone, gate_run or project_review.
        source_id: The source's UUID.
        event_type: One of the contract's event types.
        title: The event's title.
        start: When it begins, ISO 8601.
        end: When it ends, ISO 8601.
    """

    event_id: str
    calendar_id: str = field(repr=False)
    source_type: str
    source_id: str
    event_type: str
    title: str = field(repr=False)
    start: str = field(repr=False)
    end: str = field(repr=False)


Status = Literal["PENDING", "COMPLETED", "FAILED", "DEAD_LETTER"]


class AppliedReference(Enum):
    """Names a payload that the database has already."""

    ROW = auto()
    """The payload of the item's own row, exactly as it was inserted."""


@value(frozen=True, slots=True)
class Settlement:
    """The outcome of a claimed item, written in one transaction with others; then its lock is released.

    Attributes:
        item: The item that ends.
        status: The row's new status.
        attempts: The row's new count of failed attempts.
        delay: Seconds until it is due again, counted by the database's clock; for PENDING and FAILED.
        failure_code: Why it ended without being applied.
        last_error: A short fixed phrase; never anything from a payload or a secret. None clears it.
        moves_floor: Whether the source's floor rises to the item's place.
        memory: What to remember of the source from now on (its floor is not read from here), None for no change.
        applied: The payload that the calendar now shows: the row's, or one that is given as decoded JSON. None leaves
            what is remembered.
        binding: The binding to write, None for none.
        unbind: Whether the source's binding is to be removed.
        dead_token_version: The version of the token that failed; the connection is marked invalid only if that token is
            still the stored one. If it is not, a person has connected again meanwhile: an item that would be
            dead-lettered for AUTH then becomes PENDING, with its attempts as they were.
        newer: The place of a newer state that Google shows, for which this one is put away. If the database does not
            know that place, it comes from another time: the item becomes PENDING with a place of its own beyond it.
    """

    item: Item
    status: Status
    attempts: int
    delay: float = 0.0
    failure_code: FailureCode | None = None
    last_error: str | None = None
    moves_floor: bool = False
    memory: SourceState | None = None
    applied: AppliedReference | Any | None = field(default=None, repr=False)
    binding: Binding | None = None
    unbind: bool = False
    dead_token_version: str | None = None
    newer: int | None = None


class SettlementResult(Enum):
    """The result of writing a settlement."""

    WRITTEN = auto()
    LOST = auto()
    """The claim is not ours any more; the settlement is dropped."""
    WAITING = auto()
    """A lock of another session is in the way. The item is still claimed by us; its settlement is written later."""
