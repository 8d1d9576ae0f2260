"""Access tokens: when a new one is fetched, which callers wait, and what a failure means for each.

`TokenSource.token` decides without awaiting anything, then at most waits for the *flight*: the one exchange of the
source that is in progress. That order is the whole argument for "one refresh for any number of callers": between
looking and starting a flight no other task can run, so there is never a second one, however many callers report the
same 401.

*Cancellation.* A flight belongs to the nursery that the sources were given, not to the caller who started it. A caller
who is cancelled leaves; the flight lands for the others, and a refresh token that the response brings is not lost with
the caller. A flight that is itself cancelled (the nursery ends) still lands, as a failure, so no caller waits for ever.

*Rejected tokens.* A caller who got a 401 passes the token that was refused. If it is still the present one, it is
replaced; if not, another caller was faster, and this one gets the newer token. Late reports of an old token cost
nothing.

*Expiry.* A token is used until shortly before the end of its lifetime, counted on Trio's monotonic clock from the
moment before the request. We do not use the wall clock: it may be wrong by an hour, or jump. From `EARLY` seconds
before the end the next caller starts a flight and goes on with the present token; only a caller without a token waits.
So a shorter outage of the token endpoint has no effect.

*Failures are remembered*, for 1 s, 2 s, 4 s ... up to a minute or what Retry-After says. Until then callers are refused
without a request, or a hundred waiting items would become a hundred requests. The first caller gets the failure *as it
is*. All others get a `Retry` that counts nothing and waits for the rest of the time: one lost response is one piece of
evidence for the breaker and one attempt of one item; one revoked consent dead-letters one item, while the rest of the
workspace waits.

*Rotated refresh tokens.* Google does not normally rotate them; where a response brings a new one, the old one may be
dead from that instant. We use the new one from then on, and call `store` with it until `store` returns, in order, even
if the callers are gone and the source has been dropped from the cache.
"""

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog
import trio

from reactor.core.backoff import backoff
from reactor.core.calendar.token_answers import AccessToken, Answer, GrantType
from reactor.core.outcome import Dead, Retry, Scope
from reactor.errors import ReactorError
from reactor.google.token_exchange import Account, TokenExchange

EARLY: Final = 300.0
"""Seconds before its end at which a token is replaced; a quarter of its lifetime where that is less."""
TOO_LATE: Final = 10.0
"""Seconds before its end from which a token is not used, because requests take time; a tenth where that is less."""
LONGEST_MEMORY: Final = 60.0
"""Seconds; the longest that a failure is remembered, before jitter and Retry-After."""
CAPACITY: Final = 4096
"""Sources that are kept, at about 2 kB each. Each one missing costs a refresh when it is needed again."""

STOPPED: Final = Retry("the process stops", counts=False, scope=Scope.LANE)

log = structlog.get_logger(__name__)


class TokenUnavailable(ReactorError):  # noqa: N818 - a state, named as one
    """There is no access token; every item of the lane has the same outcome.

    Attributes:
        outcome: The outcome of each item.
    """

    def __init__(self, outcome: Retry | Dead) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Rotated:
    """Google replaced a refresh token.

    Attributes:
        workspace_id: The workspace.
        used: The one that was replaced. Store the new one only where this one is still stored: a person may have
            connected again meanwhile, and that token must not be overwritten.
        new: The one to store.
    """

    workspace_id: UUID
    used: str = field(repr=False)
    new: str = field(repr=False)


Store = Callable[[Rotated], Awaitable[None]]
"""Stores a rotated refresh token, or finds that another one is stored and does nothing. Called again if it raises."""


class _Failure:
    """A failure that is remembered, and returned as it is only once."""

    def __init__(self, outcome: Retry | Dead, until: float) -> None:
        self._outcome = outcome
        self._returned = False
        self.until = until

    def error(self, now: float) -> TokenUnavailable:
        if not self._returned:
            self._returned = True
            return TokenUnavailable(self._outcome)
        scope = Scope.ALL if self._outcome.scope is Scope.ALL else Scope.LANE
        after = max(0.0, self.until - now)
        again = Retry(self._outcome.reason, counts=False, scope=scope, after=after, said=self._outcome.said)
        return TokenUnavailable(again)


class _Flight:
    """One exchange in progress; callers wait until it has landed."""

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.result: AccessToken | _Failure = _Failure(STOPPED, 0.0)


class TokenSource:
    """The access token of one workspace.

    Args:
        workspace_id: The workspace.
        account: The account to ask for.
        fetch: Asks the token endpoint; returns failures as values.
        store: Stores rotated refresh tokens.
        nursery: Runs exchanges; it outlives every caller.

    Attributes:
        quota_user: To be sent as `quotaUser` with every request, None where there is no need. Without it all workspaces
            of a service account count as one user (https://developers.google.com/workspace/calendar/api/guides/quota).
        grant: How the workspace gave its consent.
    """

    def __init__(
        self,
        workspace_id: UUID,
        account: Account,
        fetch: Callable[[Account], Awaitable[Answer]],
        store: Store,
        nursery: trio.Nursery,
    ) -> None:
        self.quota_user = None if account.grant is GrantType.USER else str(workspace_id)
        self.grant = account.grant
        self._workspace_id = workspace_id
        self._account = account
        self._fetch = fetch
        self._store = store
        self._nursery = nursery
        self._refresh_token = account.refresh_token
        self._token: str | None = None
        self._replace_at = self._usable_until = 0.0
        self._flight: _Flight | None = None
        self._failure: _Failure | None = None
        self._failures = 0
        self._storing = trio.Lock()

    def __repr__(self) -> str:
        return f"TokenSource({self._workspace_id})"

    async def token(self, rejected: str | None = None) -> str:
        """Return an access token.

        Args:
            rejected: The token that Google has just answered with 401; None when none was used yet.

        Raises:
            TokenUnavailable: There is none; its `outcome` says what that means for the item.
        """
        now = trio.current_time()
        present = self._token if self._token != rejected and now < self._usable_until else None
        flight = self._flight
        if flight is None and (present is None or now >= self._replace_at):
            flight = self._take_off(now)
        if present is not None:  # not worth a round of the scheduler: an item waits for it
            await trio.lowlevel.checkpoint_if_cancelled()
            return present
        if flight is not None:
            await flight.landed.wait()
            result: AccessToken | _Failure | None = flight.result
        else:
            await trio.lowlevel.checkpoint()
            result = self._failure
        if isinstance(result, AccessToken):
            return result.access_token
        assert result is not None  # noqa: S101  # no flight takes off only while a failure is remembered
        raise result.error(trio.current_time())

    def _take_off(self, now: float) -> _Flight | None:
        """Start a flight, unless a failure is remembered."""
        if self._failure is not None and now < self._failure.until:
            return None
        flight = _Flight()
        self._nursery.start_soon(self._fly, flight)
        self._flight = flight  # after `start_soon`, which raises if the nursery has ended
        return flight

    async def _fly(self, flight: _Flight) -> None:
        started = trio.current_time()
        answer: Answer = STOPPED
        try:
            answer = await self._fetch(self._account)
        finally:
            rotated = self._land(flight, answer, started)
        if rotated is not None:
            await self._keep(rotated)

    def _land(self, flight: _Flight, answer: Answer, started: float) -> Rotated | None:
        """Keep the answer and wake the callers that wait; return the refresh token to store."""
        self._flight = None
        rotated = None
        if isinstance(answer, AccessToken):
            flight.result = answer
            rotated = self._accept(answer, started)
        else:
            flight.result = self._failure = self._remember(answer)
        flight.landed.set()
        return rotated

    def _accept(self, granted: AccessToken, started: float) -> Rotated | None:
        end = started + granted.lifetime
        self._token = granted.access_token
        self._replace_at = end - min(EARLY, granted.lifetime / 4)
        self._usable_until = end - min(TOO_LATE, granted.lifetime / 10)
        self._failure, self._failures = None, 0
        used, new = self._refresh_token, granted.refresh_token
        if used is None or new is None or new == used:
            return None
        self._refresh_token = new
        return Rotated(self._workspace_id, used, new)

    def _remember(self, outcome: Retry | Dead) -> _Failure:
        self._failures += 1
        asked = outcome.after if isinstance(outcome, Retry) else None
        memory = backoff(self._failures, random=random.random(), cap=LONGEST_MEMORY, retry_after=asked)
        log.warning("no_access_token", workspace_id=str(self._workspace_id), reason=outcome.text)
        return _Failure(outcome, trio.current_time() + memory)

    async def _keep(self, rotated: Rotated) -> None:
        """Store a rotated refresh token, however often it takes. The lock is fair, so two are stored in order."""
        async with self._storing:
            failures = 0
            while not await self._stored(rotated):
                failures += 1
                await trio.sleep(backoff(failures, random=random.random(), cap=LONGEST_MEMORY))

    async def _stored(self, rotated: Rotated) -> bool:
        try:
            await self._store(rotated)
        except Exception as error:  # noqa: BLE001  # whatever it is, the token must not be lost; the text may hold it
            kind = type(error).__name__
            log.error("rotated_refresh_token_not_stored", workspace_id=str(self._workspace_id), error=kind)  # noqa: TRY400
            return False
        return True


class TokenSources:
    """The sources in use, the least recently used dropped first.

    Args:
        exchange: Fetches tokens.
        store: Where rotated refresh tokens go.
        nursery: Where exchanges run. It must outlive every caller; cancelling it ends what is under way.
        capacity: How many sources are kept.
    """

    def __init__(
        self, exchange: TokenExchange, store: Store, nursery: trio.Nursery, *, capacity: int = CAPACITY
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._nursery = nursery
        self._capacity = capacity
        self._sources: OrderedDict[tuple[UUID, str], TokenSource] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sources)

    def get(self, workspace_id: UUID, version: str, account: Callable[[], Account]) -> TokenSource:
        """Return the source of a workspace.

        Both versions of a connection that has just been renewed may be asked for by turns, by items that were claimed
        before and after; each has its source, and the old one's turn to be dropped comes soon enough.

        Args:
            workspace_id: The workspace.
            version: Names the stored token: another text, another source. The encrypted token will do.
            account: Called when there is no source yet: decrypts the token. What it raises goes to the caller.
        """
        key = (workspace_id, version)
        source = self._sources.get(key)
        if source is None:
            source = TokenSource(workspace_id, account(), self._exchange.refresh, self._store, self._nursery)
            self._sources[key] = source
        self._sources.move_to_end(key)
        while len(self._sources) > self._capacity:
            self._sources.popitem(last=False)
        return source
