"""Tells the loop when to look for work; `reactor.core.dispatch.gate` decides, this module acts.

Two tasks. One keeps a session that listens, and replaces it when it is lost, with growing pauses. The other asks the
gate what to do and does it; the notifications of writers reach it through the session. The session holds nothing but
the gate's lock and never opens a transaction: a listener that does fills the server's notification queue, and when that
is full the writers' commits fail.
"""

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import psycopg
import trio

from reactor.core.dispatch.gate import Gate, GateAction, GateState, GateStep, LockAttempt, Look, LookResult, Timings
from reactor.postgres.connection.session import PING_TIMEOUT, Session, SessionLostError, open_session
from reactor.postgres.statements import statements

SQL = statements("gate")

PING_LISTENS = 30.0
"""Seconds of silence. TCP's keepalives find a dead peer much sooner (connection/session_settings.py), and the slow poll
finds rows meanwhile; only a ping notices a pooler that dropped the session and says nothing."""
_RECONNECT_FIRST = 0.05  # seconds; a terminated session is replaced at once,
_RECONNECT_CAP = 5.0  # seconds; a database that stays away is asked this often


class Wakeups:
    """Calls a function whenever there may be work.

    Args:
        dsn: libpq's connection string or URL; it must lead to a session, not to a transaction pooler.
        name: What `pg_stat_activity` calls the session.
        timings: The gate's durations.
        ping_interval: Seconds of silence before the session is asked whether it lives.
        ping_timeout: Seconds for its answer.

    Attributes:
        counts: How often each thing was done (`GateAction`'s names), answered (`LockAttempt`'s) or happened
            ("NOTIFIED", "CONNECTED").
        sources: Why it looked after a sleep: "notify", "due", "freed", "connected"; "poll" without any of these, and
            "linger" for the polls that follow work.
        heard: Called when it begins to hear writers (True), and when it no longer does (False).
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str = "calendar-sync-reactor listen",
        timings: Timings | None = None,
        ping_interval: float = PING_LISTENS,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.heard: Callable[[bool], object] = lambda _: None
        self._called_at = -math.inf
        self._cause = ""  # of the next look; empty if no sleep came before it
        self._due_at = math.inf
        self._lingers = False  # the last look found work
        self._timings = timings or Timings()
        self._gate = Gate(self._timings, random.random)
        self._session: Session | None = None
        self._own_pid = 0
        self._woken = trio.Event()
        self._released = trio.Event()
        self._released.set()
        self._open = partial(
            open_session,
            dsn,
            name=name,
            lock_timeout=f"{self._timings.ask * 1000:.0f}ms",
            on_notify=self._notified,
            ping=SQL["still_listening"],
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
        )

    @property
    def state(self) -> GateState:
        """The state of the gate."""
        return self._gate.state

    @property
    def awake(self) -> bool:
        """Whether another look begins in any case, if the one in progress finds anything.

        So if something was freed meanwhile, the look in progress must report work.
        """
        return self._gate.state is GateState.AWAKE

    @property
    def called_at(self) -> float:
        """The time of the last notification; now, while no session listens and one may have been missed."""
        return trio.current_time() if self._session is None else self._called_at

    async def run(self, look: Callable[[], Awaitable[Look]]) -> None:
        """Call `look` whenever there may be work, for ever; one call at a time.

        It survives database outages: without a session that listens, it looks now and then. Errors of `look` are raised
        (in an exception group).
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_listening)
            nursery.start_soon(self._work, look, nursery)

    def freed(self) -> None:
        """Note that there is capacity again after a look that was `FULL`."""
        self._gate.freed(trio.current_time())
        self._wake("freed")

    def _wake(self, cause: str) -> None:
        self._cause = cause
        self._woken.set()

    def _notified(self, pid: int) -> None:
        if pid != self._own_pid:  # our own announcements are meant for the others
            self.counts["NOTIFIED"] += 1
            self._called_at = trio.current_time()
            self._gate.notified(self._called_at)
            self._wake("notify")

    async def _keep_listening(self) -> None:
        pause = 0.0
        while True:
            await trio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(max(2 * pause, _RECONNECT_FIRST), _RECONNECT_CAP)
            try:
                async with self._open() as session:
                    [[self._own_pid]] = await session.execute(SQL["own_pid"])
                    await session.execute(SQL["listen"])
                    self._session, self._called_at = session, trio.current_time()
                    self.counts["CONNECTED"] += 1
                    self._gate.connected(trio.current_time())
                    self.heard(True)
                    self._wake("connected")
                    pause = 0.0
                    await trio.sleep_forever()
            except* (SessionLostError, psycopg.Error):
                self._lose_session()
                self._woken.set()

    async def _work(self, look: Callable[[], Awaitable[Look]], nursery: trio.Nursery) -> None:
        while True:
            step = self._gate.next(trio.current_time())
            self.counts[step.do.name] += 1
            if step.do is GateAction.LOOK:
                await self._look(look)
            elif step.do is GateAction.SLEEP:
                await self._sleep(step.until)
            elif self._session is None:
                self._gate.disconnected(trio.current_time())
            else:
                await self._act(step, self._session, nursery)

    async def _act(self, step: GateStep, session: Session, nursery: trio.Nursery) -> None:
        """Carry out a step that needs the session; if that fails, the other task replaces the session."""
        if self._cause in ("poll", "linger"):
            self._cause = ""  # the sleep ended for this step, and not for a look
        try:
            await self._carry_out(step, session, nursery)
        except (SessionLostError, psycopg.Error):
            session.discard("a statement failed on the listening session")
            if self._session is session:
                self._lose_session()

    def _lose_session(self) -> None:
        self._session = None
        self._gate.disconnected(trio.current_time())
        self.heard(False)

    async def _look(self, look: Callable[[], Awaitable[Look]]) -> None:
        if self._cause:
            self.sources[self._cause] += 1
        self._cause, self._due_at = "", math.inf
        found = await look()
        self._due_at = min(self._due_at, trio.current_time() + found.due_in)
        self._lingers = found.found is LookResult.WORK
        self._gate.looked(found, trio.current_time())

    async def _sleep(self, until: float) -> None:
        lingers = self._lingers or self._gate.state is GateState.AWAKE
        with trio.move_on_at(until):
            await self._woken.wait()
        self._woken = trio.Event()
        if self._cause in ("", "poll", "linger"):
            timed = "linger" if lingers else "poll"
            self._cause = "due" if trio.current_time() >= self._due_at else timed

    async def _carry_out(self, step: GateStep, session: Session, nursery: trio.Nursery) -> None:
        match step.do:
            case GateAction.ASK:
                answer = await self._ask(session)
                self.counts[answer.name] += 1
                self._gate.asked(answer, trio.current_time())
            case GateAction.SEE_PEER:
                armed = bool(await session.execute(SQL["peer_is_armed"]))
                self._gate.saw_peer(armed=armed, now=trio.current_time())
            case GateAction.RELEASE:
                # We do not wait for it, because an item waits for the look that comes next. Only the next ask must
                # wait: the lock is re-entrant, so an ask that overtook the release would be granted, then released.
                self._gate.released()
                self._released = trio.Event()
                nursery.start_soon(self._say, session, "release", self._released)
            case GateAction.ANNOUNCE:
                self._gate.announced(trio.current_time())
                nursery.start_soon(self._say, session, "announce", trio.Event())

    async def _ask(self, session: Session) -> LockAttempt:
        await self._released.wait()
        try:
            await session.execute(SQL["ask"])
        except psycopg.errors.LockNotAvailable:
            # If the lock was granted at the very moment of the time-out, it is the session's and survives the error.
            await session.execute(SQL["release"])
            return LockAttempt.PEER if await session.execute(SQL["peer_is_armed"]) else LockAttempt.WRITER
        return LockAttempt.GRANTED

    async def _say(self, session: Session, statement: str, said: trio.Event) -> None:
        try:
            await session.execute(SQL[statement])
        except (SessionLostError, psycopg.Error):
            session.discard("a statement failed on the listening session")
        finally:
            said.set()
