"""One replica: a process that works, is killed, loses its session, drains, and comes back.

`reactor.service` puts the same parts together; here is its `_keep_claiming` over the model.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import trio

from reactor.core.backoff import Pauses
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.token_answers import GrantType
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.gate import Timings
from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.limits import Limits
from reactor.core.item import Item, Settlement
from reactor.core.outcome import Dead, Outcome, Retry
from reactor.core.payload import Rebuild
from reactor.core.stats import Stats
from reactor.errors import TransientError
from reactor.google.client import AccessTokens, GoogleCalendar
from reactor.google.token_exchange import Account
from reactor.google.tokens import Rotated, TokenSource, TokenSources
from reactor.loop import Loop, Observer
from reactor.loop.guarded import Guarded
from reactor.postgres.connection.session import SessionLostError
from reactor.postgres.wakeups import Wakeups
from reactor.process.concurrency import pause
from reactor.rebuild import RebuildService
from tests.simulator.google import MemoryExchange, calendar
from tests.simulator.port import ModelOutbox
from tests.simulator.server import Refused, Session, open_session

if TYPE_CHECKING:
    from tests.simulator.world import World

CEILING = 5
PARTS = 10
"""Items per request: small, so that a few rows make batches and backlogs."""
CLAIM = 20


class _Teller(Observer):
    """Tells the world what the loop tells its observer."""

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        del seconds
        if not written:
            self._replica.world.tell("lost", self._replica.name, row=settlement.item.seq)

    def breaker(self, workspace_id: UUID | None, before: BreakerState, after: BreakerState) -> None:
        del before
        who = self._replica.world.name(workspace_id) if workspace_id else "everybody"
        self._replica.world.tell("breaker", self._replica.name, of=who, is_=after.name)

    def crashed(self, error: Exception) -> None:
        self._replica.world.crashed(self._replica, error)


class _Calendar:
    """The client, which tells what leaves, and falls where an item is deadly."""

    def __init__(self, replica: "Replica", client: GoogleCalendar) -> None:
        self._replica = replica
        self._client = client

    async def send(
        self, works: Sequence[SyncIntent], tokens: AccessTokens, report: Callable[[int, Outcome], None] | None = None
    ) -> Sequence[Outcome]:
        if self._replica.world.leaves(self._replica, works):
            self._replica.kill(linger=0.0)
            await trio.sleep_forever()

        def told(place: int, outcome: Outcome) -> None:
            work = works[place]
            self._replica.world.judge.came_to(self._replica, (work.workspace_id, work.source_key, work.seq), outcome)
            if report is not None:
                report(place, outcome)

        return await self._client.send(works, tokens, told)


class _Rebuilds:
    """The real ones, which tell what came of it."""

    def __init__(self, replica: "Replica", client: GoogleCalendar) -> None:
        self._replica = replica
        pool: Any = _Pool(replica)
        self._real = RebuildService(pool, client, replica.world.setup.brake)

    async def expand(self, item: Item, payload: Rebuild, tokens: AccessTokens) -> Outcome:
        outcome = await self._real.expand(item, payload, tokens)
        self._replica.world.judge.came_to(self._replica, (str(item.workspace_id), item.source_key, item.seq), outcome)
        return outcome


class _Pool:
    """What `reactor.rebuild` needs of the pool: a place to run what takes the tables."""

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica

    async def run(self, work: Callable[[Any], Any]) -> Any:
        world = self._replica.world
        with trio.move_on_after(10):
            session = Session(world.server, "pool")
            try:
                return await session.run("rebuild", partial(work, world))
            except (Refused, psycopg.Error) as error:
                raise TransientError("The database refused.") from error
        raise TransientError("The database did not answer.")


class Replica:
    """A replica, process after process.

    Attributes:
        name: What the story calls it.
        lanes: The present process's.
        outbox: The present session's, None where there is none.
        alive: Whether a process runs.
        life: The number of the process.
    """

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.alive = False
        self.life = 0
        self.lanes = self._make_lanes()
        self.stats = Stats()
        self.outbox: ModelOutbox | None = None
        self.loop: Loop | None = None
        self.sessions: list[Session] = []
        self.linger = 0.0
        self.restart_after: float | None = 0.0
        self._scope = trio.CancelScope()
        self._stop = trio.Event()

    def _make_lanes(self) -> Lanes:
        setup = self.world.setup
        whole = _limits(setup.concurrency)
        return Lanes(process=whole, limits=lambda: _limits(setup.lane_concurrency), claim_size=CLAIM, parts=PARTS)

    # What befalls it

    def kill(self, *, linger: float, restart_after: float | None = 1.0) -> None:
        """End the process at once; the server notices after `linger`."""
        self.linger, self.restart_after = linger, restart_after
        for session in self.sessions:
            session.discard("killed")
        self._scope.cancel()

    def drain(self, restart_after: float | None) -> None:
        """What SIGTERM does."""
        self.restart_after = restart_after
        self._stop.set()
        if self.loop is not None:
            self.loop.drain(self.world.setup.drain)

    def lose_session(self, kind: str, linger: float) -> None:
        """A session breaks; for its server only after `linger`."""
        self.linger = linger
        for session in self.sessions:
            if session.name == kind and not session.lost.is_set():
                if linger:
                    session.discard("broken")
                else:
                    self.world.server.terminate(session, self.world.rng.uniform(0.0, 0.003))

    # Its life

    async def run(self) -> None:
        """Live until told to stay away."""
        while self.restart_after is not None:
            await trio.sleep(self.restart_after)
            self._stop = trio.Event()
            self.lanes, self.stats, self.linger = self._make_lanes(), Stats(), 0.0
            self.alive, self.life = True, self.life + 1
            self.world.tell("starts", self.name)
            self.restart_after = None
            with trio.CancelScope() as self._scope:
                await self._process()
            self.alive, self.outbox, self.loop = False, None, None
            self.world.tell("ended", self.name, killed=self._scope.cancelled_caught)

    def revive(self) -> None:
        """Have it run where it was to stay away."""
        if not self.alive and self.restart_after is None:
            self.restart_after = 0.0
            self.world.nursery.start_soon(self.run)

    async def _process(self) -> None:
        async with trio.open_nursery() as exchanges:
            self.tokens = TokenSources(
                MemoryExchange(self.world.wire),  # type: ignore[arg-type]  # it fetches, in its own way
                self._store,
                exchanges,
            )
            client = calendar(self.world.wire, PARTS)
            async with client:
                await self._keep_claiming(client)
            exchanges.cancel_scope.cancel()

    async def _store(self, rotated: Rotated) -> None:
        connection = self.world.tables.connections.get(rotated.workspace_id)
        if connection is not None and connection.token == rotated.used:
            connection.token = rotated.new

    def _tokens_of(self, item: Item) -> TokenSource | Retry | Dead:
        token = item.connection.token
        return self.tokens.get(
            item.workspace_id,
            item.connection.version,
            lambda: Account(None, GrantType.USER, token),  # type: ignore[arg-type]  # google-auth's part is not needed
        )

    async def _keep_claiming(self, client: GoogleCalendar) -> None:
        pauses = Pauses(first=0.05, cap=5.0)
        while not self._stop.is_set():
            try:
                await self._claim(client, pauses)
            except* (SessionLostError, TransientError):
                self.world.tell("session lost", self.name)
            finally:
                self.outbox = self.loop = None
                self.sessions = []
            await pause(pauses, unless=self._stop)

    @asynccontextmanager
    async def _session(self, name: str, on_notify: Callable[[int], None] | None = None) -> AsyncIterator[Session]:
        async with open_session(self.world.server, name, lambda: self.linger, on_notify) as session:
            self.sessions.append(session)
            yield session

    async def _claim(self, client: GoogleCalendar, pauses: Pauses) -> None:
        world = self.world
        async with self._session("claims") as claims, self._session("settles") as writing:
            self.linger = 0.0
            wakeups = Wakeups("", timings=Timings())
            wakeups._open = lambda: self._session("listen", wakeups._notified)  # type: ignore[assignment]
            self.outbox = ModelOutbox(
                world.server,
                claims,
                writing,
                ceiling=CEILING,
                limit=world.setup.brake,
                ended=partial(world.ended, self),
            )
            self.loop = Loop(
                self.outbox,
                _Calendar(self, client),
                _Rebuilds(self, client),
                self._tokens_of,
                wakeups,
                lanes=self.lanes,
                stats=self.stats,
                ceiling=CEILING,
                observer=Guarded((_Teller(self),), self.stats),
            )
            pauses.reset()
            if self._stop.is_set():
                return
            await self.loop.run()


def _limits(in_flight_cap: int) -> Limits:
    return Limits(burst=100_000, ceiling=100_000, floor=0.1, in_flight_cap=in_flight_cap)
