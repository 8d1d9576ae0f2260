"""What the outbox answers."""

from dataclasses import dataclass, field
from uuid import UUID

from reactor.core.dispatch.gate import Look, LookResult
from reactor.core.item import Item


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What a claim came to.

    Attributes:
        items: The items, ours now.
        look: What to tell the gate. `WORK` without items means that outdated ones were put away: look again.
        superseded: How many outdated ones were.
        braked: Items, ours too, that the brake has stopped: to be given back.
    """

    items: list[Item] = field(default_factory=list)
    look: Look = field(default_factory=lambda: Look(LookResult.NOTHING))
    superseded: int = 0
    braked: list[Item] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
        recovered: Items that are due again.
        dead: Items that lost their worker as often as attempts are allowed.
        again: Whether other replicas have items in hand, or lost some that could not be taken over yet.
    """

    recovered: int = 0
    dead: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """An item that the server refuses to change; it is left alone for a while.

    Attributes:
        id: The item.
        workspace_id: Its workspace.
        sqlstate: The server's reason.
        constraint: The constraint that it breaks, empty where it is none.
    """

    id: UUID
    workspace_id: UUID | None
    sqlstate: str
    constraint: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that we would claim, but somebody else has its lock.

    Attributes:
        id: The item.
        seconds: For how long it has been refused.
        pid: The process id of the backend that has the lock.
        application: That session's name.
    """

    id: UUID
    seconds: float
    pid: int
    application: str


@dataclass(frozen=True, slots=True)
class Invariants:
    """What must hold, for metrics and tests.

    Attributes:
        in_flight: Items that were claimed and not settled.
        stray_locks: Rows under this session's lease without an item in flight; 0.
        missing_locks: Items in flight that are not under this session's lease, or whose lease is not held; 0.
        orphans: PROCESSING rows whose session is gone; 0 after a sweep.
        doubled: Sources with two PROCESSING rows; 0.
    """

    in_flight: int
    stray_locks: int
    missing_locks: int
    orphans: int
    doubled: int
