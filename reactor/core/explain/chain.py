"""All facts about one source's event: what is wanted, what waits, what is remembered, what Google holds.

These are values: `reactor.postgres.explain.chains` reads them, and `explanation` draws the conclusions.
"""

from dataclasses import dataclass, field
from enum import StrEnum, auto
from uuid import UUID

from reactor.core.calendar.messages import EventRef
from reactor.core.explain.seen import EventPresence, GoogleReading
from reactor.core.item import SourceState
from reactor.core.payload import Operation


class Custody(StrEnum):
    """Which kind of worker has claimed a PROCESSING row."""

    REACTOR = auto()
    """A session that lives, by its lease or by the item's lock."""
    LOST = auto()
    """A session that is gone; the next sweep makes the row due again."""
    OLDER = auto()
    """A polling worker without a lock: it may live, and is given ten minutes."""


class ViewPresence(StrEnum):
    """Whether the application's view of its current state has the event."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()
    """There is no view, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """A session of the database that is in the way, or at work.

    Attributes:
        pid: Its backend's process id, None for a prepared transaction.
        name: Its `application_name`.
        seconds: For how long it has been so; None where Postgres does not show that to this role.
    """

    pid: int | None
    name: str
    seconds: float | None = 0.0

    @property
    def text(self) -> str:
        """How it is named in a sentence."""
        return f"{self.name or 'a session without a name'} (process {self.pid or 'unknown'})"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row of the outbox.

    Attributes:
        id: The row's id.
        operation: UPSERT_EVENT, CANCEL_EVENT or REBUILD_ALL.
        status: The row's status.
        seq: Its place in the order of its source's states.
        is_child: Whether a rebuild made it.
        due_in: Seconds until it is due, zero or less where it is; None where it is due never.
        attempts: How many attempts have failed.
        max_attempts: How many may.
        code: Why it ended as it did.
        error: What its last attempt met: a fixed phrase with Google's codes.
        ended_ago: Seconds since it ended.
        sqlstate: Why the server refuses to change it, None where it does not.
        retry_in: Seconds until that is tried again.
        custody: The kind of worker that has claimed it, where it is PROCESSING.
        session: The session that has it, or that has locked the row.
    """

    id: UUID
    operation: str
    status: str
    seq: int
    is_child: bool = False
    due_in: float | None = 0.0
    attempts: int = 0
    max_attempts: int = 5
    code: str | None = None
    error: str | None = None
    ended_ago: float | None = None
    sqlstate: str | None = None
    retry_in: float = 0.0
    custody: Custody | None = None
    session: SessionFacts | None = None

    @property
    def is_due(self) -> bool:
        """Whether it could be claimed, as far as its time goes."""
        return self.due_in is not None and self.due_in <= 0

    @property
    def is_aside(self) -> bool:
        """Whether it is left alone, because the server refuses to change it."""
        return self.sqlstate is not None and self.retry_in > 0

    def is_followed_by(self, other: "OutboxRow") -> bool:
        """Whether another row of the source, which ended too, has the last word: a newer state, or the same again."""
        if other.ended_ago is None or self.ended_ago is None:
            return other.seq > self.seq
        return (other.seq, -other.ended_ago) > (self.seq, -self.ended_ago)


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """The workspace's connection to Google, as the database has it."""

    is_valid: bool
    calendar_id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BrakeStop:
    """The brake has stopped the workspace, because `deletes` of its `events` were to be removed."""

    deletes: int
    events: int


@dataclass(frozen=True, slots=True)
class ViewState:
    """What the application's view says about the event.

    Attributes:
        presence: Whether the view has the event.
        calendar_id: The calendar in which the view wants it.
        problem: Why the presence is unknown.
    """

    presence: ViewPresence = ViewPresence.UNKNOWN
    calendar_id: str | None = field(default=None, repr=False)
    problem: str = "there is no view calendar_source_events"


@dataclass(frozen=True, slots=True)
class Replicas:
    """The reactor's processes.

    Attributes:
        count: How many have a session that claims.
        sqlstate: What one of them is refused by the database, None where all work.
        blocker: The session that keeps the lock that every claim needs, None where the lock is free.
    """

    count: int = 1
    sqlstate: str | None = None
    blocker: SessionFacts | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """All that is known of one source's event.

    Attributes:
        workspace_id: The workspace.
        source: Its source's name in the workspace, `type:id`; an item's id where it has no source.
        wanted: What the application wants.
        connection: The workspace's connection, None where it has none.
        stop: How the brake has stopped the workspace, None where it has not.
        rebuild: The workspace's newest open REBUILD_ALL.
        rows: The source's open rows, the newest state first.
        ahead: How many of the workspace's items are due before the newest one.
        met: What the workspace's waiting rows met when they were tried, with how many each, the most frequent first.
        dead_letters: Its dead letters, the newest state first.
        finished: Its completed rows that are left, the newest state first.
        memory: What is remembered of it, None where nothing is.
        binding: Where the application's own record says that the event is.
        replicas: The reactor's processes.
        seen: What Google holds, None where it was not asked.
    """

    workspace_id: UUID
    source: str
    wanted: ViewState = ViewState()
    connection: ConnectionRow | None = None
    stop: BrakeStop | None = None
    rebuild: OutboxRow | None = None
    rows: tuple[OutboxRow, ...] = ()
    ahead: int = 0
    met: tuple[str, ...] = ()
    dead_letters: tuple[OutboxRow, ...] = ()
    finished: tuple[OutboxRow, ...] = ()
    memory: SourceState | None = None
    binding: EventRef | None = None
    replicas: Replicas = Replicas()
    seen: GoogleReading | None = None

    @property
    def row(self) -> OutboxRow | None:
        """The newest open state, which is the one that is sent."""
        return next(iter(self.rows), None)

    @property
    def floor(self) -> int:
        """States below it are too old to be sent."""
        return self.memory.floor_seq if self.memory else 0

    @property
    def dead_letter(self) -> OutboxRow | None:
        """The dead letter that has the last word, None where a newer state was settled or waits."""
        letter = next(iter(self.dead_letters), None)
        if letter is None or self.rows or letter.seq < self.floor:
            return None
        overruled = any(letter.is_followed_by(row) for row in self.finished if row.code is None)
        return None if overruled else letter

    @property
    def place(self) -> EventRef | None:
        """Where the event is, as far as is remembered."""
        known = self.memory
        if known and known.event_id and known.calendar_id:
            return EventRef(known.calendar_id, known.event_id)
        return None if known and known.cancelled else self.binding

    @property
    def is_outside_connection(self) -> bool:
        """Whether the event is in another calendar than the one that the workspace is connected to."""
        place, connection = self.place, self.connection
        return place is not None and connection is not None and connection.calendar_id != place.calendar_id

    @property
    def is_shown(self) -> bool:
        """Whether the calendar shows some state of the event: as Google says, or else as far as is remembered."""
        return self.seen.presence is EventPresence.ALIVE if self.seen else self.place is not None

    def shows(self, row: OutboxRow) -> bool:
        """Whether Google, if it was asked, shows the state of a row, or a newer one."""
        seen = self.seen
        return (
            seen is not None and seen.presence is EventPresence.ALIVE and seen.seq is not None and seen.seq >= row.seq
        )

    @property
    def is_cancelled(self) -> bool:
        """Whether the application's last word was that there should be no event, and that was done."""
        if self.memory and self.memory.cancelled:
            return True
        last = next((row for row in self.finished if row.code is None), None)
        return self.place is None and last is not None and last.operation == Operation.CANCEL_EVENT
