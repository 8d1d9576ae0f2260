"""What the console's tour starts: the demo's database, application and Google, a reactor and a console.

All of them are real, and processes of their own but for the emulated Google, which lives in the tour's own loop.
"""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import trio
from psycopg.conninfo import make_conninfo

from calendar_emulator import CLIENT_ID, CLIENT_SECRET, Emulator, Service, application, serve
from reactor.demo import sample
from reactor.demo.application import Application
from reactor.demo.comparison import QUERY, ViewRow, differences
from reactor.demo.google import DemoAccount, Google
from reactor.demo.sample import Change, ScenarioRow, schedules
from reactor.demo.scenario import ScenarioStep
from reactor.postgres.connection.session import open_session
from reactor.postgres.setup.embedded import EmbeddedPostgres
from tests.console.conftest import RunningConsole
from tests.support.process_world import UNLIMITED, Process

NAME = "tour"
"""What the console is called; it stands on each of its buttons."""
TEAM = "team@group.calendar.google.com"
"""The calendar of the last workspace: another account's, shared with ours."""
_PATIENCE = 120.0  # seconds until all is sent
_LOOK = 0.2  # seconds
_OPEN = "select count(*) from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING')"


class TourWorld:
    """A small product at work.

    Args:
        owner: The demo's database, as the owner of its tables.
        url: The emulator's.
        google: The accounts at it.
        folder: For the processes' logs.
        server: The database's server, where the tour may stop it.

    Attributes:
        google: The accounts.
        console: The console's process.
    """

    console: RunningConsole

    def __init__(self, owner: str, url: str, google: Google, folder: Path, server: EmbeddedPostgres | None) -> None:
        self.google, self._owner, self._url, self._folder, self._server = google, owner, url, folder, server
        self._rows: dict[UUID, list[ScenarioRow]] = {}
        self._reactors: list[Process] = []
        self._edits, self._owned = 0, ""

    @property
    def accounts(self) -> Sequence[DemoAccount]:
        """The workspaces with their calendars."""
        return self.google.accounts

    @property
    def emulator(self) -> Emulator:
        """The emulated Google."""
        return self.google.emulator

    def settings(self, **more: str) -> dict[str, str]:
        """The environment of the service, and of a console that may ask Google."""
        return {
            "DATABASE_URL": make_conninfo(self._owner, options="-c role=calendar_sync_reactor"),
            "GOOGLE_CLIENT_ID": CLIENT_ID,
            "GOOGLE_CLIENT_SECRET": CLIENT_SECRET,
            "GOOGLE_API_ROOT": f"{self._url}/",
            "GOOGLE_TOKEN_URI": f"{self._url}/token",
            "GOOGLE_AUTH_URI": f"{self._url}/o/oauth2/v2/auth",
            "TOKEN_ENCRYPTION_KEYS": self.google.keys,
            "LOG_FORMAT": "json",
            **more,
        }

    async def start(self) -> None:
        """Enter the plans, start the processes, and wait until the calendars hold the plans."""
        async with open_session(self._owner, name="tour") as session:
            await self.google.connect(session)
        self.query("update google_connections set calendar_id = %s where calendar_id = %s", *self._team())
        for account, schedule in zip(self.accounts, schedules(), strict=True):
            rows = list(sample.rows(schedule, account.workspace_id, uuid4))
            self._rows[account.workspace_id] = rows
            await self._carry_out([row.inserted() for row in rows])
        await self.start_reactor()
        named = {"CONSOLE_NAME": NAME, "CONSOLE_COLOUR": "violet", "LOGNAME": "ada"}
        start = partial(RunningConsole, self._folder, **self.settings(**named))
        self.console = await trio.to_thread.run_sync(start)
        await self.mended()

    def _team(self) -> tuple[str, str]:
        """Give the last account another one's calendar; return it, and the one that it had."""
        account = self.accounts[-1]
        owned, account.calendar_id = account.calendar_id, TEAM
        self.emulator.add_calendar(TEAM)
        self.emulator.share(TEAM, owned, "writer")
        self.google.foreign[TEAM] = []
        self._owned = owned
        return TEAM, owned

    async def start_reactor(self, **settings: str) -> None:
        """Start the service."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE", "OTEL_"))}
        environment = {**inherited, **self.settings(HEALTH_BIND="127.0.0.1:0", **UNLIMITED, **settings)}
        process = Process(environment, self._folder / f"reactor-{len(self._reactors)}.log")
        self._reactors.append(process)
        await process.ready()

    async def stop_reactor(self) -> None:
        """Have the service end as a rollout does."""
        self._reactors[-1].signal(signal.SIGTERM)
        await self._reactors[-1].ended()

    async def stop_database(self) -> None:
        """Stop the database's server."""
        assert self._server is not None
        await trio.to_thread.run_sync(partial(self._server.stop, "fast"))

    async def start_database(self) -> None:
        """Start it again."""
        assert self._server is not None
        await trio.to_thread.run_sync(self._server.start)

    def address_of(self, account: DemoAccount) -> str:
        """The address of an account, which is its calendar's too, but for the last one's."""
        return self._owned if account.calendar_id == TEAM else account.calendar_id

    def rows(self, account: DemoAccount) -> list[ScenarioRow]:
        """What a workspace plans."""
        return self._rows[account.workspace_id]

    async def edit(self, account: DemoAccount, number: int) -> None:
        """Give some of its plans other titles."""
        self._edits += 1
        rows = self.rows(account)[:number]
        await self._carry_out([row.updated(title=f"{row.title.partition(' (')[0]} ({self._edits})") for row in rows])

    async def delete(self, account: DemoAccount, number: int) -> None:
        """Delete some of its plans, in one transaction."""
        rows = self.rows(account)
        gone, self._rows[account.workspace_id] = rows[:number], rows[number:]
        await self._carry_out([row.deleted() for row in gone])

    async def _carry_out(self, changes: Sequence[Change]) -> None:
        async with open_session(self._owner, name="tour") as session:
            step = ScenarioStep("", [changes], len(changes))
            await Application(session, lambda _seqs, _at: None).carry_out(step)

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database, as the owner of its tables."""
        with psycopg.connect(self._owner, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def agrees(self) -> bool:
        """Whether nothing waits, and the calendars hold what the application has and no more."""
        if self.query(_OPEN)[0][0]:
            return False
        wanted = [ViewRow(*row) for row in self.query(QUERY)]
        held = {account.calendar_id: self.emulator.events(account.calendar_id) for account in self.accounts}
        return not differences(wanted, held, {each: self.google.foreign[each] for each in held})

    async def mended(self) -> None:
        """Wait until calendars and application agree."""
        with trio.fail_after(_PATIENCE):
            while not self.agrees():  # noqa: ASYNC110  (a calendar sets no event)
                await trio.sleep(_LOOK)

    def close(self) -> None:
        """End the processes."""
        if hasattr(self, "console"):
            self.console.end()
        for process in self._reactors:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait()


@asynccontextmanager
async def tour_world(owner: str, folder: Path, server: EmbeddedPostgres | None = None) -> AsyncIterator[TourWorld]:
    """Start all of it on a database of the demo; end it with the block."""
    emulator = Emulator(rng=Random(1))
    # Versions are workspaces of the demo; the tour has as many.
    google = Google(emulator, {uuid4(): schedule for schedule in schedules()})
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        stack.callback(nursery.cancel_scope.cancel)
        url = await nursery.start(serve, application(Service(emulator)))
        world = TourWorld(owner, url, google, folder, server)
        stack.callback(world.close)
        await world.start()
        yield world
        world.close()
        nursery.cancel_scope.cancel()
