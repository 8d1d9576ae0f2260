"""What a visitor of the demo may break, as the page sees it. No other console has such a thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class BreakKind:
    """One thing that can be broken.

    Attributes:
        name: How a form calls it.
        title: What happens then.
        heals: What the reactor does about it.
        is_of_workspace: Whether it happens to one workspace; otherwise to all.
    """

    name: str
    title: str
    heals: str
    is_of_workspace: bool = True


@dataclass(frozen=True, slots=True)
class BreakState:
    """What is broken now, and how the reactor copes.

    Attributes:
        current: What is broken at this moment, in words; empty where nothing is.
        waiting: Items that are not done.
        events: Events of ours that calendars hold.
        differences: Where calendars and application disagree, also because of what waits.
        met: Calls that have met a fault.
        healed: How many faults of each kind are over.
    """

    current: str
    waiting: int
    events: int
    differences: int
    met: int
    healed: Mapping[str, int]


class BreakPort(Protocol):
    """What can be broken, and looked at meanwhile."""

    @property
    def kinds(self) -> Sequence[BreakKind]:
        """What can be broken."""

    @property
    def workspaces(self) -> Mapping[UUID, str]:
        """The workspaces by their ids, with their names."""

    async def look(self) -> BreakState:
        """The present state; it may be some seconds old."""

    async def play(self, kind: str, workspace: UUID) -> None:
        """Break it, and return when that is over.

        Args:
            kind: The name of one of its kinds.
            workspace: One of its workspaces, for kinds that happen to one.
        """
