"""What the loop needs from the world; adapters fit by shape and do not import this."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol
from uuid import UUID

from reactor.core.breaker import State
from reactor.core.gate import Look
from reactor.core.item import Item, Settlement, Written
from reactor.core.outcome import Dead, Outcome, Retry
from reactor.core.payload import Rebuild
from reactor.core.refusals import Kind
from reactor.core.token_answers import Grant
from reactor.core.work import Work


class Claimed(Protocol):
    """What a claim came to."""

    @property
    def items(self) -> Sequence[Item]:
        """The items, ours now."""
        ...

    @property
    def held(self) -> Sequence[Item]:
        """Items that are ours too, and to be given back."""
        ...

    @property
    def look(self) -> Look:
        """What to tell the gate."""
        ...

    @property
    def superseded(self) -> int:
        """Items that were put away, since a newer state of their source is there."""
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

    @property
    def followed(self) -> bool:
        """Whether something that is due has waited for the items that were settled last."""
        ...

    async def claim(self, *, slots: int, excluded: Collection[UUID]) -> Claimed:
        """Claim at most so many items; raises `TransientError` if the database refused."""
        ...

    async def settle(self, settlements: Sequence[Settlement], *, asks: Callable[[], bool]) -> Sequence[Written]:
        """Write ends; say what became of each. Raises `TransientError`: what is in flight is to be tried again.

        `asks` is called when they are written, and says whether `followed` is to be found out.
        """
        ...

    async def announce(self) -> None:
        """Have the other replicas look; raises `TransientError` if the database refused."""
        ...

    async def sweep(self) -> Swept:
        """Take over what lost its worker; raises `TransientError` if the database refused."""
        ...


class Tokens(Protocol):
    """The access tokens of one connection."""

    @property
    def quota_user(self) -> str | None:
        """Whose quota the requests count against; None: the account's."""
        ...

    @property
    def grant(self) -> Grant:
        """How consent was given."""
        ...

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


class Rebuilds(Protocol):
    """Who carries rebuilds out."""

    async def expand(self, item: Item, payload: Rebuild, tokens: Tokens) -> Outcome:
        """Turn a rebuild into an item for each event; may be cancelled at any moment."""
        ...


class Wakeups(Protocol):
    """Who says when to look."""

    async def run(self, look: Callable[[], Awaitable[Look]]) -> None:
        """Call `look` whenever there may be work, for ever, one call at a time."""
        ...

    @property
    def awake(self) -> bool:
        """Whether a look begins after this moment in any case, if the one that is under way finds anything."""
        ...

    def freed(self) -> None:
        """There may be something to claim that could not be claimed before."""
        ...


class Observer:
    """Who is told what happens; nothing depends on it. This one keeps it to itself."""

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        """A request is about to leave, with these items, each claimed so many seconds ago; until its answer."""
        del items
        return nullcontext()

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """What becomes of an item was written so many seconds after its claim, or was not: the claim was lost."""

    def breaker(self, workspace_id: UUID | None, before: State, after: State) -> None:
        """A workspace's breaker, or the process's, changed with an answer."""

    def everybody_held(self, problem: str) -> None:
        """Nothing leaves for a while, since every workspace would be refused: what was said, a fixed phrase."""

    def refused(self, kind: Kind, sqlstate: str) -> None:
        """The database refused work of a kind; it is tried again."""

    def accepted(self, kind: Kind) -> None:
        """Work of a kind was done, or none is left of it; called each time."""

    def crashed(self, error: Exception) -> None:
        """A sender met what it did not expect; it costs an attempt of one item, not the process."""
