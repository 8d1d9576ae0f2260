"""A database server and its sessions, as the reactor's side sees them: statements take time, are refused, get lost.

A statement that has left the client is carried out, whatever becomes of the client. So a killed replica's last claim
may commit, and its lease is free only when the server has noticed. What the server holds for a session (lease, gate,
listening) it holds until then.
"""

import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import psycopg
import trio

from reactor.errors import RefusedError
from reactor.postgres.connection.session import SessionLostError
from reactor.postgres.statements import statements
from tests.simulator.tables import Tables

T = TypeVar("T")
_GATE = statements("gate")
TIMEOUT = 10.0
"""Seconds until a client gives a session up that does not answer."""
PING = 5.0
"""Seconds of silence until a client asks, and for the answer."""


class Refused(Exception):  # noqa: N818 - what the server answers, not yet an error of ours
    """The server refuses a statement."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@dataclass(eq=False)
class _Call(Generic[T]):
    done: trio.Event = field(default_factory=trio.Event)
    result: T | None = None
    error: Exception | None = None

    def fail(self, error: Exception) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Statements of a kind are slow, or refused, for a while."""

    kind: str
    until: float
    sqlstate: str = ""
    seconds: float = 0.0


class Server:
    """The database server.

    Args:
        tables: What it stores.
        rng: How long things take.
        nursery: Where statements run.
    """

    def __init__(self, tables: Tables, rng: random.Random, nursery: trio.Nursery) -> None:
        self.tables = tables
        self.rng = rng
        self.nursery = nursery
        self.troubles: list[Trouble] = []
        self.down_until = -math.inf
        self.backends: dict[int, Session] = {}
        self.listeners: list[Session] = []
        self.armed: Session | None = None
        self.sharing: set[object] = set()
        self.asking = 0
        self.claiming = False
        self.clock_is_ahead = 0.0
        self.counts: Counter[str] = Counter()
        self._pid = 0
        self._gate_changed = trio.Event()

    def now(self) -> float:
        """The server's clock, which is not the reactor's."""
        return trio.current_time() + self.clock_is_ahead

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    # Transactions

    def commit(self, pid: int = 0) -> None:
        """End a transaction: where a trigger wants it, and somebody sleeps, notify."""
        calls, self.tables.calls = self.tables.calls, False
        if calls and (self.armed is not None or self.asking):
            self.notify(pid)

    def notify(self, pid: int) -> None:
        self.counts["notify"] += 1
        for session in self.listeners:
            self.nursery.start_soon(self._deliver, session, pid)

    async def _deliver(self, session: "Session", pid: int) -> None:
        await trio.sleep(self.rng.uniform(0.0002, 0.002))
        if session.on_notify is not None and not session.lost.is_set() and session in self.listeners:
            session.on_notify(pid)

    def share(self, who: object) -> bool:
        """A writer tries to share the gate; where it cannot, it has to notify."""
        if self.armed is not None or self.asking:
            return False
        self.sharing.add(who)
        return True

    def unshare(self, who: object) -> None:
        self.sharing.discard(who)
        self.gate_changed()

    def gate_changed(self) -> None:
        self._gate_changed.set()
        self._gate_changed = trio.Event()

    # Statements

    def trouble(self, kind: str) -> Trouble | None:
        now = trio.current_time()
        self.troubles = [each for each in self.troubles if each.until > now]
        return next((each for each in self.troubles if each.kind in (kind, "all")), None)

    def submit(self, session: "Session", kind: str, effect: Callable[[], T] | Callable[[], Awaitable[T]]) -> "_Call[T]":
        call: _Call[T] = _Call()
        self.nursery.start_soon(self._carry_out, session, kind, effect, call)
        return call

    async def _carry_out(self, session: "Session", kind: str, effect: Callable[[], Any], call: "_Call[Any]") -> None:
        self.counts[kind] += 1
        session.running += 1
        try:
            await trio.sleep(self.rng.uniform(0.0005, 0.003))
            trouble = self.trouble(kind)
            if trouble is not None and trouble.seconds:
                await trio.sleep(trouble.seconds)
            if session.ended:
                call.fail(SessionLostError("The connection to the database broke."))
                return
            if trouble is not None and trouble.sqlstate:
                call.fail(Refused(trouble.sqlstate))
                return
            try:
                result = effect()
                if isinstance(result, Awaitable):
                    result = await result
            except (Refused, psycopg.Error, SessionLostError) as error:
                call.fail(error)
                return
            self.commit(session.pid)
            call.result = result
        finally:
            session.running -= 1
            if session.ending:
                self.end(session)
        if session.has_ended():
            call.fail(SessionLostError("The connection to the database broke."))
        else:
            call.done.set()

    # Sessions

    def end(self, session: "Session") -> None:
        """The server ends a session, after what runs in it: lease and gate are free."""
        session.ending = True
        if session.running or session.ended:
            return
        session.ended = True
        self.backends.pop(session.pid, None)
        self.tables.leases.discard(session.lease_no)
        if session in self.listeners:
            self.listeners.remove(session)
        if self.armed is session:
            self.armed = None
        self.gate_changed()

    async def end_later(self, session: "Session", seconds: float) -> None:
        await trio.sleep(seconds)
        self.end(session)

    def terminate(self, session: "Session", notice: float) -> None:
        """End a session at once; its client notices after so many seconds, or at its next statement."""
        session.running = 0
        self.end(session)
        self.nursery.start_soon(self._notice, session, notice)

    async def _notice(self, session: "Session", seconds: float) -> None:
        await trio.sleep(seconds)
        session.discard("the server ended the connection")


class Session:
    """The client's end of a session; what `reactor.postgres.connection.session.Session` is to whoever uses it."""

    def __init__(self, server: Server, name: str, on_notify: Callable[[int], None] | None = None) -> None:
        self.server = server
        self.name = name
        self.on_notify = on_notify
        self.pid = server.next_pid()
        self.lease_no = self.pid if name == "claims" else 0
        self.lost = trio.Event()
        self.running = 0
        self.ending = self.ended = False
        self._calls: list[_Call[Any]] = []
        self._turn = trio.Lock()

    def has_ended(self) -> bool:
        """Whether the server has ended it."""
        return self.ended

    def check(self) -> None:
        if self.lost.is_set():
            raise SessionLostError("The database session is gone.")

    def discard(self, why: str) -> None:
        """Give the session up."""
        del why
        if self.lost.is_set():
            return
        self.lost.set()
        for call in self._calls:
            call.fail(SessionLostError("The database session is gone."))

    async def run(self, kind: str, effect: Callable[[], T] | Callable[[], Awaitable[T]]) -> T:
        """Run one statement; cancelled on its way, the session is lost."""
        try:
            self._turn.acquire_nowait()  # as the real one: where it is free, without a round of the scheduler
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            self.check()
            call: _Call[T] = self.server.submit(self, kind, effect)
            self._calls.append(call)
            try:
                with trio.move_on_after(TIMEOUT):
                    await call.done.wait()
                if not call.done.is_set():
                    self.discard("it did not answer")
                    raise SessionLostError("The database did not answer.")
            except trio.Cancelled:
                self.discard("interrupted in the middle of a statement")
                raise
            finally:
                self._calls.remove(call)
        finally:
            self._turn.release()
        if call.error is not None:
            if isinstance(call.error, SessionLostError):
                self.discard("the connection broke")
            raise call.error
        return call.result  # type: ignore[return-value]  # done without an error

    async def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """The statements of the gate, for `reactor.postgres.wakeups`."""
        name = next(name for name, text in _GATE.items() if text == statement)
        try:
            return await self.run(name, getattr(self, f"_{name}"))
        except Refused as error:
            raise psycopg.errors.lookup(error.sqlstate) from None

    def _own_pid(self) -> list[tuple[int]]:
        return [(self.pid,)]

    def _listen(self) -> list[tuple[int]]:
        self.server.listeners.append(self)
        return []

    def _still_listening(self) -> list[tuple[int]]:
        return [(1,)] if self in self.server.listeners else []

    def _peer_is_armed(self) -> list[tuple[int]]:
        return [(1,)] if self.server.armed not in (None, self) else []

    def _release(self) -> list[tuple[int]]:
        if self.server.armed is self:
            self.server.armed = None
            self.server.gate_changed()
        return []

    def _announce(self) -> list[tuple[int]]:
        self.server.notify(self.pid)
        return []

    async def _ask(self) -> list[tuple[int]]:
        server = self.server
        server.asking += 1
        try:
            with trio.move_on_after(0.01):
                while server.sharing or server.armed not in (None, self):
                    await server._gate_changed.wait()
        finally:
            server.asking -= 1
        if server.sharing or server.armed not in (None, self):
            raise psycopg.errors.LockNotAvailable
        server.armed = self
        return []


@asynccontextmanager
async def open_session(
    server: Server, name: str, linger: Callable[[], float], on_notify: Callable[[int], None] | None = None
) -> AsyncIterator[Session]:
    """As `open_session` of the product; `linger` says how long the server keeps what the client has left."""
    await trio.sleep(server.rng.uniform(0.001, 0.01))
    if trio.current_time() < server.down_until:
        raise SessionLostError("Cannot connect to the database.")
    session = Session(server, name, on_notify)
    server.backends[session.pid] = session
    if session.lease_no:
        server.tables.leases.add(session.lease_no)
    finished = False
    try:
        async with trio.open_nursery() as nursery:

            async def end_with_session() -> None:
                await session.lost.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with_session)
            yield session
            finished = True
            nursery.cancel_scope.cancel()
        if not finished:
            session.check()
    finally:
        session.discard("closed")
        server.nursery.start_soon(server.end_later, session, linger())


def refused(error: Refused | psycopg.Error) -> RefusedError:
    """What the adapter makes of a refusal."""
    return RefusedError(error.sqlstate or "")
