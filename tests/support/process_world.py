"""A world for the process: a database, a Google, and `python -m reactor` beside them, started as an operator does."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import trio
from psycopg.types.json import Jsonb

from reactor.token_encryption import TokenCipher
from tests.support.databases import Database
from tests.support.dialogues import cancel_json, upsert_json
from tests.support.forked import Forked
from tests.support.google_fixtures import GoogleServer
from tests.support.outbox_world import IN_HAND
from tests.support.waiting import until

KEYS = "k1:" + "A" * 43 + "="
WORKSPACE = UUID("7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10")
UNLIMITED = {"CALENDAR_SYNC_REQUESTS_PER_MINUTE": "0", "CALENDAR_SYNC_LANE_REQUESTS_PER_MINUTE": "0"}
"""Without quotas what is claimed leaves at once: with one, a replica that has just started has nothing of it yet."""


def _is_read_before_us(environment: dict[str, str]) -> bool:
    """Whether there is something in it that the interpreter or the loader reads, and that we do not have ourselves."""
    return any(name.startswith(("PYTHON", "LD_")) and os.environ.get(name) != environment[name] for name in environment)


def _started(environment: dict[str, str], log: Path, program: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", *(["-c", program] if program else ["-m", "reactor"])]
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out)


class Process:
    """A running reactor: a fork, where that cannot make a difference (`tests.support.forked`).

    Attributes:
        popen: The process.
        url: The health endpoint, once it is up.
    """

    def __init__(self, environment: dict[str, str], log: Path, program: str = "", *, fork: bool = True) -> None:
        self._log = log
        self.url = ""
        self.popen = (Forked if fork and not _is_read_before_us(environment) else _started)(environment, log, program)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def output(self) -> str:
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of the log that tell of something."""
        lines = [line for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [entry for entry in map(json.loads, lines) if entry["event"] == name]

    async def started(self) -> "Process":
        await until(lambda: self.events("started") or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.output
        self.url = self.events("started")[0]["health"]
        return self

    async def ready(self) -> "Process":
        await self.started()
        await until(lambda: self.events("ready") or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.output
        return self

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.get(self.url + path)

    async def is_(self, status: int, path: str = "/readyz", seconds: float = 60) -> None:
        """Wait until a probe answers so."""
        with trio.move_on_after(seconds):
            async with httpx.AsyncClient(timeout=30) as client:
                while (await client.get(self.url + path)).status_code != status:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            return
        raise AssertionError(self.output)

    async def counts(self, *samples: str) -> str:
        """Wait until the metrics hold these lines: the process counts a settle after its row says so."""
        metrics = ""
        with trio.move_on_after(30):
            while not {*samples} <= {*metrics.splitlines()}:
                metrics = (await self.get("/metrics")).text
            return metrics
        raise AssertionError(metrics)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.popen.pid, number)

    async def ended(self, seconds: float = 30) -> int:
        await until(lambda: self.popen.poll() is not None, seconds)
        code = self.popen.poll()
        assert code is not None
        return code


class World:
    """The database and Google, as a test sees them."""

    def __init__(self, database: Database, google: GoogleServer, directory: Path) -> None:
        self.google = google
        self.database = database
        self.processes: list[Process] = []
        self._directory = directory
        self._owner = psycopg.connect(database.owner, autocommit=True)

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE", "GOOGLE", "OTEL_"))
        }
        return {
            **inherited,
            "DATABASE_URL": self.database.reactor,
            "GOOGLE_CLIENT_ID": self.google.client_id,
            "GOOGLE_CLIENT_SECRET": self.google.client_secret,
            "GOOGLE_API_ROOT": self.google.api_root,
            "GOOGLE_TOKEN_URI": self.google.token_uri,
            "TOKEN_ENCRYPTION_KEYS": KEYS,
            "HEALTH_BIND": "127.0.0.1:0",
            "LOG_FORMAT": "json",
            **more,
        }

    def start(self, program: str = "", **environment: str) -> Process:
        """Start a reactor, or a program that makes one in its own way."""
        return self._start(environment, program)

    def start_afresh(self, **environment: str) -> Process:
        """Start a reactor in an interpreter of its own, where the start itself counts."""
        return self._start(environment, fork=False)

    def _start(self, environment: dict[str, str], program: str = "", *, fork: bool = True) -> Process:
        log = self._directory / f"reactor-{len(self.processes)}.log"
        process = Process(self.environment(**environment), log, program, fork=fork)
        self.processes.append(process)
        return process

    def connect(self, workspace: UUID = WORKSPACE, refresh_token: str | None = None) -> UUID:
        """Connect a workspace, or connect it again."""
        stored = TokenCipher.from_setting(KEYS).encrypt(workspace, refresh_token or self.google.refresh_token)
        self.execute(
            "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id) values (%s, %s, %s)"
            " on conflict (workspace_id) do update"
            " set refresh_token_encrypted = excluded.refresh_token_encrypted, is_valid = true",
            workspace,
            stored,
            self.google.user,
        )
        return workspace

    def insert(
        self, number: int, title: str = "", workspace: UUID = WORKSPACE, extra: dict[str, Any] | None = None
    ) -> UUID:
        """Ask for the event of a source with a number; `extra` goes into the payload."""
        payload = upsert_json(title or f"event {number}", self.google.user) | (extra or {})
        return self._insert(payload, number, workspace)

    def cancel(self, number: int, workspace: UUID = WORKSPACE) -> UUID:
        """Ask for no event of a source with a number."""
        return self._insert(cancel_json(self.google.user), number, workspace)

    def _insert(self, payload: dict[str, Any], number: int, workspace: UUID) -> UUID:
        payload |= {"workspaceId": str(workspace), "sourceId": str(UUID(int=number))}
        item_id = uuid4()
        self.execute(
            "insert into sync_outbox (id, workspace_id, operation, payload) values (%s, %s, %s, %s)",
            item_id,
            workspace,
            payload["operation"],
            Jsonb(payload),
        )
        return item_id

    def statuses(self) -> dict[str, int]:
        return dict(self.execute("select status, count(*) from sync_outbox group by 1"))

    def attempts(self) -> int:
        """How many attempts were counted, of all items."""
        [[attempts]] = self.execute("select coalesce(sum(attempts), 0) from sync_outbox")
        return int(attempts)

    def locks(self) -> int:
        """How many items are in the hands of a session that lives."""
        [[locks]] = self.execute(IN_HAND)
        return int(locks)

    def titles(self) -> Counter[str]:
        """What the calendar holds."""
        return Counter(event["summary"] for event in self.google.emulator.events(self.google.user))

    async def all_done(self, items: int, seconds: float = 30) -> None:
        """Wait until all is done; then nothing is in hand, so no lock may be held."""
        await until(lambda: self.statuses() == {"COMPLETED": items}, seconds)
        await until(lambda: self.locks() == 0)

    async def in_hand(self, items: int) -> None:
        """Wait until so many items are in hand; each has its lock, and nothing else has one."""
        await until(lambda: self.statuses().get("PROCESSING") == items)
        assert self.locks() == items

    def execute(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        cursor = self._owner.execute(statement, params)
        return cursor.fetchall() if cursor.description else []

    def reconnect(self) -> None:
        """Connect to the database again."""
        self._owner.close()
        self._owner = psycopg.connect(self.database.owner, autocommit=True)

    def close(self) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait()
        self._owner.close()


@pytest.fixture
def world(database: Database, google: GoogleServer, tmp_path: Path) -> Iterator[World]:
    world = World(database, google, tmp_path)
    yield world
    world.close()
