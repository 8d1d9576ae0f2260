"""What the loop needs from the world; adapters fit by shape and do not import this."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol
from uuid import UUID

from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import Method
from reactor.core.calendar.token_answers import GrantType
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.gate import Look
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.outcome import Dead, Outcome, Retry
from reactor.core.payload import Rebuild
from reactor.core.refusals import RefusedWork


class ClaimedPort(Protocol):
    """The result of a claim."""

    @property
    def items(self) -> Sequence[Item]:
        """The items that were claimed."""
        ...

    @property
    def braked(self) -> Sequence[Item]:
        """Items that are ours too and that the brake has stopped: to be released."""
        ...

    @property
    def look(self) -> Look:
        """The look, for the gate."""
        ...

    @property
    def superseded(self) -> int:
        """How many items were ended because a newer state of their source is there."""
        ...


class SweptPort(Protocol):
    """The result of a sweep."""

    @property
    def recovered(self) -> int:
        """How many items are due again."""
        ...

    @property
    def dead(self) -> int:
        """How many items became dead letters, so that other items of their sources may be due."""
        ...

    @property
    def again(self) -> bool:
        """Whether other replicas have items in flight, or lost some that could not be taken over yet."""
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
        """Write how items end; return the result for each.

        Raises `TransientError` if the database refused; the ends whose items are still `in_flight` are to be written
        again. `asks` is called when they are written, and says whether `followed` is to be found out.
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
        """The user whose quota the requests count against; None for the account's own."""
        ...

    @property
    def grant(self) -> GrantType:
        """How the workspace gave its consent."""
        ...

    async def token(self, rejected: str | None = None) -> str:
        """Return a usable access token.

        Args:
            rejected: The token that Google has just refused, so that another one is fetched.
        """
        ...


Report = Callable[[int, Outcome], None]
TokensOf = Callable[[Item], Tokens | Retry | Dead]
"""The tokens of an item's connection, or why there can be none (a key that cannot decrypt)."""


class CalendarPort(Protocol):
    """The calendar: makes Google agree with items."""

    async def send(
        self, works: Sequence[SyncIntent], tokens: Tokens, report: Report | None = None
    ) -> Sequence[Outcome]:
        """Make Google agree with some items; call `report` with each outcome as soon as it is known."""
        ...


class RebuildsPort(Protocol):
    """Turns rebuilds into items."""

    async def expand(self, item: Item, payload: Rebuild, tokens: Tokens) -> Outcome:
        """Turn a rebuild into an item for each event; may be cancelled at any moment."""
        ...


class WakeupsPort(Protocol):
    """Decides when to look for work."""

    @property
    def called_at(self) -> float:
        """When a writer or a replica notified us last, or may have, in seconds of the loop's clock."""
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
    """Is called with what happens; nothing depends on it. An observer overrides the methods that it needs."""

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        """A request is about to leave with these items, each claimed so many seconds ago.

        The context that is returned is left when the request is answered.
        """
        del items
        return nullcontext()

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """The end of an item was written so many seconds after its claim, or was not: the claim was lost."""

    def requested(self, method: Method, code: str, seconds: float) -> None:
        """A request to Google was answered, or was not, after so many seconds; a batch is one, and so is each part."""

    def abandoned(self) -> None:
        """The claims session is over: `ended` is not called for the items that are left of it."""

    def breaker(self, workspace_id: UUID | None, before: BreakerState, after: BreakerState) -> None:
        """A workspace's breaker, or the process's, changed with an answer."""

    def everybody_held(self, problem: str) -> None:
        """Nothing leaves for a while: every workspace would be refused, because of `problem`, a fixed phrase."""

    def refused(self, kind: RefusedWork, sqlstate: str) -> None:
        """The database refused work of a kind; it is tried again."""

    def accepted(self, kind: RefusedWork) -> None:
        """Work of a kind was done, or none is left of it; called each time."""

    def crashed(self, error: Exception) -> None:
        """A sender met an unexpected error; it costs an attempt of one item, not the process."""
