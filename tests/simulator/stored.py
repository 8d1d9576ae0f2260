"""What the reactor's tables hold in the model: rows as values, and all tables together."""

import json
import math
from collections import Counter
from collections.abc import Callable  # noqa: TC003 - the type of an attribute
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reactor.core.item import Oversized, SourceState

OPEN = ("PENDING", "FAILED", "PROCESSING")
WAITS = ("PENDING", "FAILED")
REBUILD = "REBUILD_ALL"
LARGEST = 256 * 1024
FREE_LOSSES = 3
"""So often in a row a worker may be lost with an item before that counts."""
ASIDE = 60.0
"""Seconds until a row that could not be updated is tried again; they double, to an hour."""

Due = float | None


@dataclass(slots=True, eq=False)
class Row:
    """A row of `sync_outbox`.

    Attributes:
        text: The payload as it is stored.
        due: `next_attempt_at`; None is NULL, and it may be infinite.
        refusal: The SQLSTATE with which every update of the row is refused, empty where none is.
        committed_at: When it became visible.
    """

    id: UUID
    workspace: UUID
    operation: str
    text: bytes
    document: Any
    seq: int
    due: Due
    created: float
    max_attempts: int = 5
    parent: UUID | None = None
    status: str = "PENDING"
    attempts: int = 0
    claim_no: int | None = None
    lease_no: int | None = None
    losses: int = 0
    code: str | None = None
    error: str | None = None
    refusal: str = ""
    committed_at: float = math.inf

    @property
    def key(self) -> str:
        """What `sync_source_key` says."""
        found = self.document if isinstance(self.document, dict) else {}
        kind, about = found.get("sourceType"), found.get("sourceId")
        return (
            f"{_as_text(kind)[:40]}:{_as_text(about)[:40]}" if kind is not None and about is not None else str(self.id)
        )

    def is_due(self, now: float) -> bool:
        """Whether it waits and its time has come; never where that is NULL."""
        return self.status in WAITS and self.due is not None and self.due <= now


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(slots=True)
class Source:
    """A row of `sync_sources`."""

    memory: SourceState = field(default_factory=SourceState)
    document: Any = None
    removed_at: float | None = None


@dataclass(slots=True)
class Bound:
    """A row of `calendar_event_bindings`."""

    event_id: str
    calendar_id: str
    title: str


@dataclass(slots=True)
class Connection:
    """A row of `google_connections`."""

    token: str
    calendar_id: str
    valid: bool = True


@dataclass(slots=True)
class Stop:
    """A row of `sync_brakes`."""

    cause: str
    deletes: int
    events: int
    passes: int = 0
    released: bool = False


@dataclass(slots=True)
class Claim:
    """What a claim came to."""

    rows: list[Row] = field(default_factory=list)
    superseded: int = 0
    left: bool = False
    trials: list[UUID] = field(default_factory=list)
    due_in: float = math.inf
    stopped: frozenset[UUID] = frozenset()


@dataclass(slots=True)
class Count:
    """What counting for the brake came to."""

    deletes: int
    events: int
    is_too_much: bool
    is_pulled: bool


class Stored:
    """The tables.

    Attributes:
        locked: What transactions of the application have locked: ids of rows, `(workspace, source key)` for a source's
            binding and memory, workspaces for a row that the others refer to, `("connection", workspace)`.
        leases: The leases whose lock somebody holds.
        calls: Whether a trigger wants somebody who sleeps to be woken; whoever runs the transaction takes it.
    """

    def __init__(self) -> None:
        self.rows: dict[UUID, Row] = {}
        self.sources: dict[tuple[UUID, str], Source] = {}
        self.bindings: dict[tuple[UUID, str], Bound] = {}
        self.connections: dict[UUID, Connection] = {}
        self.brakes: dict[UUID, Stop] = {}
        self.aside: dict[UUID, float] = {}
        self.refusals: Counter[UUID] = Counter()
        self.locked: dict[object, object] = {}
        self.leases: set[int] = set()
        self.calls = False
        self.lost: Callable[[Row, bool], None] = lambda *_: None  # told what lost its worker, and whether that counted
        self._seq = 0
        self._claims = 0


def payload_of(row: Row) -> Any:
    """The payload as a claim hands it out."""
    if len(row.text) > LARGEST:
        return Oversized(len(row.text))
    return row.text
