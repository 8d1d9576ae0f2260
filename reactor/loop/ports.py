"""What the loop needs from the world; adapters fit by shape and do not import this."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol
from uuid import UUID

from reactor.core.calendar.messages import Method
from reactor.core.calendar.token_answers import GrantType
from reactor.core.calendar.work import SyncIntent
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.gate import Look
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.outcome import Dead, Outcome, Retry
from reactor.core.payload import Rebuild
from reactor.core.refusals import RefusedWork


class ClaimedPort(Protocol):
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


class SweptPort(Protocol):
    """What a sweep came to."""

    @property
    def recovered(self) -> int:
        """Items that are due again."""
        ...

    @property
    def dead(self) -> int:
        """Items that are due no more, so that others of their sources may be."""
        ...

    @property
    def again(self) -> bool:
        """Whether other replicas have items in hand, or lost some that could not be taken over yet."""
        ...


class OutboxPort(Protocol):
    """Where items come from and where their ends are written."""

    @property
    def in_flight(self) -> Collection[Item]:
        """Items that were claimed and not settled."""
        ...

    @property
    def followed(self) -> bool:
        """Whether something that is due has waited for the items that were settled last."""
        ...

    async def claim(self, *, slots: int, excluded: Collection[UUID]) -> ClaimedPort:
        """Claim at most so many items; raises `TransientError` if the database refused."""
        ...

    async def settle(
        self, settlements: Sequence[Settlement], *, asks: Callable[[], bool]
    ) -> Sequence[SettlementResult]:
        """Write ends; say what became of each. Raises `TransientError`: what is in flight is to be tried again.

        `asks` is called when they are written, and says whether `followed` is to be found out.
        """
        ...

    async def announce(self) -> None:
        """Have the other replicas look; raises `TransientError` if the database refused."""
        ...

    async def sweep(self) -> SweptPort:
        """Take over what lost its worker; raises `TransientError` if the database refused."""
        ...


class Tokens(Protocol):
    """The access tokens of one connection."""

    @property
    def quota_user(self) -> str | None:
        """Whose quota the requests count against; None: the account's."""
        ...

    @property
    def grant(self) -> GrantType:
        """How consent was given."""
        ...

    async def token(self, rejected: str | None = None) -> str:
        """A usable access token."""
        ...


Report = Callable[[int, Outcome], None]
TokensOf = Callable[[Item], Tokens | Retry | Dead]
"""The tokens of an item's connection, or why there can be none (a key that cannot decrypt)."""


class CalendarPort(Protocol):
    """Who makes Google agree."""

    async def send(
        self, works: Sequence[SyncIntent], tokens: Tokens, report: Report | None = None
    ) -> Sequence[Outcome]:
        """Make Google agree with some items; tell each outcome as soon as it is known."""
        ...


class RebuildsPort(Protocol):
    """Who carries rebuilds out."""

    async def expand(self, item: Item, payload: Rebuild, tokens: Tokens) -> Outcome:
        """Turn a rebuild into an item for each event; may be cancelled at any moment."""
        ...


class WakeupsPort(Protocol):
    """Who says when to look."""

    @property
    def called_at(self) -> float:
        """When somebody called last, or may have."""
        ...

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
    """Is told what happens; nothing depends on it. An observer overrides what it is interested in."""

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        """A request is about to leave, with these items, each claimed so many seconds ago; until its answer."""
        del items
        return nullcontext()

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """What becomes of an item was written so many seconds after its claim, or was not: the claim was lost."""

    def requested(self, step: Method, code: str, seconds: float) -> None:
        """A request to Google was answered, or was not, after so many seconds; a batch is one, and so is each part."""

    def abandoned(self) -> None:
        """The claims session is over: how the items that are left of it end is not told."""

    def breaker(self, workspace_id: UUID | None, before: BreakerState, after: BreakerState) -> None:
        """A workspace's breaker, or the process's, changed with an answer."""

    def everybody_held(self, problem: str) -> None:
        """Nothing leaves for a while, since every workspace would be refused: what was said, a fixed phrase."""

    def refused(self, kind: RefusedWork, sqlstate: str) -> None:
        """The database refused work of a kind; it is tried again."""

    def accepted(self, kind: RefusedWork) -> None:
        """Work of a kind was done, or none is left of it; called each time."""

    def crashed(self, error: Exception) -> None:
        """A sender met what it did not expect; it costs an attempt of one item, not the process."""
