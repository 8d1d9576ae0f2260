"""A whole run: database, Google, application, reactor and view, in one process and one Trio run.

The reactor is called as a library and not started as a second process. So everything ends together: an exception
anywhere, a signal, even `kill -9` leaves no half of the demo behind (the embedded server stops by itself), and there is
no child whose output, exit code and readiness we would have to watch. The price is that emulator, application, drawing
and reactor share one core, so the latencies shown are the upper end of what it can do.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import trio

from calendar_emulator import CLIENT_ID, CLIENT_SECRET, Emulator, Service, application, serve
from reactor.demo.application import Application
from reactor.demo.breakage import DemoBreakage
from reactor.demo.comparison import QUERY, Disagreement, ViewRow, differences
from reactor.demo.database import Database, demo_database
from reactor.demo.faults import FaultPlayer
from reactor.demo.google import Google
from reactor.demo.options import Options, settings_file
from reactor.demo.sample import schedules
from reactor.demo.scenario import Scenario
from reactor.demo.screen import Scene
from reactor.demo.stats import DemoStats
from reactor.demo.summary import Summary
from reactor.errors import ReactorError
from reactor.postgres.connection.session import Session, open_session

T = TypeVar("T")

_NEWS = 0.2  # seconds
_LOOK = 0.1  # seconds between looks at the outbox
_LOOK_SHARE = 0.1  # of the time at most: the table grows as long as the demo goes on
_PATIENCE = 60.0  # seconds without any progress after which the demo gives up; the longest pause of a retry is shorter
_ROWS_PER_TROUBLE = 60
_MOST_TROUBLES = 10


Reactor = Callable[[dict[str, str], trio.Event, Callable[[], object]], Awaitable[None]]
"""What the demo shows: given its settings, it calls the third argument once it is ready, and runs until the event is
set; then it finishes what is in flight and returns."""


ConsoleRunner = Callable[[dict[str, str], DemoBreakage, trio.Event, Callable[[str], object]], Awaitable[None]]
"""The operator's pages: given the demo's settings and what can be broken, they are served until the event is set, and
the last argument is called with the link that is good now."""


@dataclass(slots=True)
class Demo:
    """One run.

    Attributes:
        console: The operator's pages beside it; None for none.
        stop: Set from outside to end it early.
        view: Shows the scene until it is cancelled.
        say: Called with what is being waited for before there is a scene.
    """

    options: Options
    reactor: Reactor
    view: Callable[[Scene], Awaitable[None]]
    say: Callable[[str], object]
    stop: trio.Event = field(default_factory=trio.Event)
    console: ConsoleRunner | None = None

    async def play(self) -> Summary | None:
        """Run to the end.

        Returns:
            The figures; None where it was stopped before there were any.

        Raises:
            ReactorError: Something of the demo cannot be started, or broke. It may come in an exception group.
        """
        self.say("Starting PostgreSQL and creating the schema ...")
        async with AsyncExitStack() as stack:
            database = await self._database(stack)
            if database is None:
                return None
            async with (
                open_session(database.owner, name="demo application") as writer,
                open_session(database.owner, name="demo onlooker") as onlooker,
                trio.open_nursery() as nursery,
            ):
                run = await _DemoRun.start(self, writer, onlooker, nursery)
                await run.with_reactor(database.reactor)
                summary = await run.summary()
                nursery.cancel_scope.cancel()
            return summary

    async def _database(self, stack: AsyncExitStack) -> Database | None:
        """Enter the database; None where the demo was stopped meanwhile."""
        try:
            database = await stack.enter_async_context(_in_thread(demo_database(self.options.database_url)))
        except Exception:
            # Ctrl-C also reaches what the start has called, initdb for one; the news of it may come a moment later.
            with trio.move_on_after(_NEWS):
                await self.stop.wait()
            if not self.stop.is_set():
                raise
            return None
        return None if self.stop.is_set() else database


class _DemoRun:
    """A run whose database and Google are there."""

    def __init__(
        self, demo: Demo, scene: Scene, scenario: Scenario, application: Application, onlooker: Session
    ) -> None:
        self._demo, self._scene, self._scenario = demo, scene, scenario
        self._application, self._onlooker = application, onlooker
        self._google, self._stats, self._faults = scene.google, scene.stats, scene.faults
        self._url = ""
        self._settled = False

    @classmethod
    async def start(cls, demo: Demo, writer: Session, onlooker: Session, nursery: trio.Nursery) -> "_DemoRun":
        seed = demo.options.seed
        emulator = Emulator(rng=Random(seed), keep=100)
        scenario, stats = Scenario(schedules(), seed), DemoStats()
        google = Google(emulator, scenario.workspaces)
        await google.connect(onlooker)
        faults = FaultPlayer(google, onlooker, seed)
        scene = Scene(demo.options.items, stats, google, faults)

        idle = False

        def before() -> None:
            nonlocal idle
            idle = emulator.log.in_flight == 0 and stats.outbox.open == 0

        def committed(seqs: range, at: float) -> None:
            stats.committed(seqs, at, healthy=not faults.current, idle=idle)

        run = cls(demo, scene, scenario, Application(writer, committed, before), onlooker)
        emulator.log.observers.append(stats.observe)
        run._url = await nursery.start(serve, application(Service(emulator)))
        nursery.start_soon(demo.view, scene)
        nursery.start_soon(run._look)
        return run

    async def with_reactor(self, dsn: str) -> None:
        """Let the people work while the reactor runs, and end both."""
        variables = {
            "database_url": dsn,
            "google_client_id": CLIENT_ID,
            "google_client_secret": CLIENT_SECRET,
            "google_api_root": f"{self._url}/",
            "google_token_uri": f"{self._url}/token",
            "google_auth_uri": f"{self._url}/o/oauth2/v2/auth",
            "token_encryption_keys": self._google.keys,
            "health_bind": "127.0.0.1:0",
            "calendar_sync_requests_per_minute": "0",  # the emulator has no quotas, and the demo may be run at any rate
            "calendar_sync_lane_requests_per_minute": "0",
        }
        stop = trio.Event()

        async def reactor(task_status: trio.TaskStatus[None]) -> None:
            await self._demo.reactor(variables, stop, task_status.started)
            if not stop.is_set():
                raise ReactorError("The reactor stopped by itself.")

        with settings_file(self._demo.options.settings, variables):
            async with trio.open_nursery() as beside:
                if self._demo.console is not None:
                    breakage = DemoBreakage(self._google, self._faults, self._stats, self._onlooker)
                    beside.start_soon(self._demo.console, variables, breakage, stop, self._scene.show_console)
                await self._work(reactor, stop)
                beside.cancel_scope.cancel()

    async def _work(self, reactor: Callable[..., Awaitable[None]], stop: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            self._scene.phase = "the reactor starts"
            await nursery.start(reactor)
            self._stats.begin()
            await self._play()
            if not self._demo.stop.is_set():
                self._scene.phase = "settling"
                await self._settle()
            self._scene.phase = "stopping"
            stop.set()

    async def _play(self) -> None:
        """Play the scenario: people enter plans and change them, and now and then a fault is injected."""
        options, rows = self._demo.options, 0
        every = _every(options.items)
        self._scene.phase = "people plan their releases"
        async with trio.open_nursery() as nursery:
            over = trio.Event()
            over.set()
            while not self._demo.stop.is_set() and (options.items is None or rows < options.items):
                before, started = rows, trio.current_time()
                step = self._scenario.step(options.items - rows if options.items else 50, started)
                await self._application.carry_out(step)
                self._scene.steps.appendleft(step.says)
                rows += step.rows
                if rows // every > before // every and rows != options.items:
                    await over.wait()  # one trouble at a time
                    over = trio.Event()
                    nursery.start_soon(self._trouble, over)
                pause = step.rows / options.rate if options.rate else 0.0
                with trio.move_on_at(started + pause):
                    await self._demo.stop.wait()

    async def _trouble(self, over: trio.Event) -> None:
        await self._faults.play()
        over.set()

    async def _settle(self) -> None:
        """Wait until nothing is left to do, as long as something gets done."""
        settled, deadline = -1, trio.current_time() + _PATIENCE
        while not self._demo.stop.is_set() and trio.current_time() < deadline:
            await self._stats.look(self._onlooker)
            if not self._stats.outbox.open:
                self._settled = True
                return
            if self._stats.outbox.settled > settled:
                settled, deadline = self._stats.outbox.settled, trio.current_time() + _PATIENCE
            await trio.sleep(_LOOK)

    async def _look(self) -> None:
        while True:
            began = trio.current_time()
            await self._stats.look(self._onlooker)
            await trio.sleep(max(_LOOK, (trio.current_time() - began) / _LOOK_SHARE))

    async def summary(self) -> Summary:
        self._stats.end()
        await self._stats.look(self._onlooker)
        emulator = self._google.emulator
        held = {account.calendar_id: emulator.events(account.calendar_id) for account in self._google.accounts}
        found: list[Disagreement] = []
        if not self._demo.stop.is_set():
            rows = await self._onlooker.execute(QUERY)
            found = differences([ViewRow(*row) for row in rows], held, self._google.foreign)
        foreign = sum(map(len, self._google.foreign.values()))
        return Summary(
            stats=self._stats,
            settled=self._settled,
            stopped=self._demo.stop.is_set(),
            healed=self._faults.healed,
            calls_met=self._faults.met,
            events=sum(map(len, held.values())) - foreign,
            differences=found,
        )


def _every(items: int | None) -> int:
    """After how many rows something goes wrong; also a short demo shows it once."""
    if items is None:
        return 2 * _ROWS_PER_TROUBLE
    faults = min(_MOST_TROUBLES, max(1, items // _ROWS_PER_TROUBLE))
    return max(1, items // (faults + 1))


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context manager that blocks, entered and left in a thread; left whatever happens."""
    value = await trio.to_thread.run_sync(manager.__enter__)
    try:
        yield value
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(manager.__exit__, None, None, None)
