"""What the loop needs from the world; adapters fit by shape and do not import this."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

from reactor.core.gate import Look
from reactor.core.item import Item, Settlement
from reactor.core.outcome import Dead, Outcome, Retry
from reactor.core.work import Work


class Claimed(Protocol):
    """What a claim came to."""

    @property
    def items(self) -> Sequence[Item]:
        """The items, ours now."""
        ...

    @property
    def look(self) -> Look:
        """What to tell the gate."""
        ...


class Swept(Protocol):
    """What a sweep came to."""

    @property
    def recovered(self) -> int:
        """Items that are due again."""
        ...

    @property
    def dead(self) -> int:
        """Items that are due no more, so that others of their sources may be."""
        ...


class Outbox(Protocol):
    """Where items come from and where their ends are written."""

    @property
    def in_flight(self) -> Collection[Item]:
        """Items that were claimed and not settled."""
        ...

    async def claim(self, *, slots: int, excluded: Collection[UUID]) -> Claimed:
        """Claim at most so many items; raises `TransientError` if the database refused."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write ends; say which were written. Raises `TransientError`: what is still in flight is to be tried again."""
        ...

    async def sweep(self) -> Swept:
        """Take over what lost its worker; raises `TransientError` if the database refused."""
        ...


class Tokens(Protocol):
    """The access tokens of one connection."""

    async def token(self, rejected: str | None = None) -> str:
        """A usable access token."""
        ...


Report = Callable[[int, Outcome], None]
TokensOf = Callable[[Item], Tokens | Retry | Dead]
"""The tokens of an item's connection, or why there can be none (a key that cannot decrypt)."""


class Calendar(Protocol):
    """Who makes Google agree."""

    async def send(self, works: Sequence[Work], tokens: Tokens, report: Report | None = None) -> Sequence[Outcome]:
        """Make Google agree with some items; tell each outcome as soon as it is known."""
        ...


class Wakeups(Protocol):
    """Who says when to look."""

    async def run(self, look: Callable[[], Awaitable[Look]]) -> None:
        """Call `look` whenever there may be work, for ever, one call at a time."""
        ...

    def freed(self) -> None:
        """There may be something to claim that could not be claimed before."""
        ...
