"""The Google client: events per second, and CPU per 1,000 events, alone and in batches, beside httpx alone.

The servers run in processes of their own, so that only the client's CPU is counted. All rows are measured in turn, and
the turns repeated: what the machine does meanwhile falls on all of them.
"""

import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import trio

from benchmarks.stub import running, serve_stub
from calendar_emulator import Emulator, Service, application, serve
from reactor.core.calendar.exchange import exchange
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.token_answers import GrantType
from reactor.core.outcome import Done
from reactor.core.payload import parse, source_key
from reactor.google.client import GoogleCalendar

CALENDAR = "bench@example.com"
WORKSPACE = "7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"
# Servers


def _serve_emulator(pipe: Any, latency: float) -> None:
    async def main() -> None:
        emulator = Emulator(keep=0)
        emulator.settings.latency = latency
        emulator.add_user(CALENDAR)
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve, application(Service(emulator)))
            pipe.send((url, emulator.issue_access_token(CALENDAR)))

    trio.run(main)


# Clients


class _Tokens:
    quota_user = None
    grant = GrantType.USER

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, rejected: str | None = None) -> str:
        assert rejected is None
        return self._token


_numbers = iter(range(1, 1 << 40))


def _work() -> SyncIntent:
    number = next(_numbers)
    source = str(UUID(int=(time.time_ns() << 40) % (1 << 120) + number))
    payload = parse(
        "UPSERT_EVENT",
        WORKSPACE,
        {
            "operation": "UPSERT_EVENT",
            "workspaceId": WORKSPACE,
            "calendarId": CALENDAR,
            "sourceType": "task",
            "sourceId": source,
            "eventType": "MILESTONE",
            "event": {
                "title": "A milestone of a project",
                "description": "What has to be true by then.",
                "start": "2026-12-01T09:00:00Z",
                "end": "2026-12-01T10:00:00Z",
            },
        },
    )
    return SyncIntent(WORKSPACE, source_key("task", source), number, payload)


async def _ours(url: str, token: str, events: int, in_flight: int, parts: int) -> tuple[float, float]:
    """Events through the client: `in_flight` calls of `send` at a time, each with `parts` items."""
    async with GoogleCalendar(f"{url}/", batch_parts=parts) as client:
        tokens = _Tokens(token)
        calls = iter([[_work() for _ in range(parts)] for _ in range(events // parts)])

        async def call(_worker: int) -> bool:
            works = next(calls, None)
            if works is None:
                return False
            outcomes = await client.send(works, tokens)
            assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
            return True

        return await _measured(call, in_flight)


async def _httpx(url: str, token: str, events: int, in_flight: int, *, clients: int) -> tuple[float, float]:
    """The same inserts with httpx alone: one client for all, or one for each task."""
    requests = iter([next(exchange(_work())).request for _ in range(events)])
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    tls = ssl.create_default_context()
    pool = [httpx.AsyncClient(limits=limits, verify=tls, trust_env=False, timeout=60) for _ in range(clients)]
    authorization = {"authorization": f"Bearer {token}"}

    async def call(worker: int) -> bool:
        request = next(requests, None)
        if request is None:
            return False
        headers = {**request.headers, **authorization}
        client = pool[worker % clients]
        response = await client.request(
            request.http_method, f"{url}/{request.target}", content=request.body, headers=headers
        )
        assert response.json()["id"]
        return True

    result = await _measured(call, in_flight)
    for client in pool:
        await client.aclose()
    return result


async def _measured(call: Callable[[int], Awaitable[bool]], workers: int) -> tuple[float, float]:
    """Seconds of the clock and of this process's CPU until no worker finds anything to do."""

    async def work(number: int) -> None:
        while await call(number):
            pass

    wall, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(workers):
            nursery.start_soon(work, number)
    return time.perf_counter() - wall, time.process_time() - cpu


# The table


@dataclass
class _Row:
    name: str
    in_flight: int
    events: int
    run: Callable[..., Awaitable[tuple[float, float]]]
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def line(self, server: str) -> str:
        rate = self.events / statistics.median(self.seconds)
        cpu = statistics.median(self.cpu) / self.events * 1e6
        return f"| {server} | {self.name} | {self.in_flight} | {rate:,.0f} | {cpu:,.0f} |"


def _rows() -> list[_Row]:
    return [
        _Row("httpx alone, one client for all", 100, 200, partial(_httpx, clients=1)),
        _Row("httpx alone, a client per task", 100, 1_000, partial(_httpx, clients=100)),
        _Row("ours, single", 100, 1_000, partial(_ours, parts=1)),
        _Row("ours, single, one at a time", 1, 20, partial(_ours, parts=1)),
        _Row("ours, batches of 50", 10, 5_000, partial(_ours, parts=50)),
    ]


def main() -> None:
    turns = 3
    servers = [
        (f"{name}, {latency * 1_000:.0f} ms", server, latency)
        for latency in (0.0, 0.1)
        for name, server in (("stub", serve_stub), ("emulator", _serve_emulator))
    ]
    results = [(title, server, latency, _rows()) for title, server, latency in servers]
    for _ in range(turns):
        for _, server, latency, rows in results:
            with running(server, latency) as (url, token):
                for row in rows:
                    seconds, cpu = trio.run(partial(row.run, url, token, row.events, row.in_flight))
                    row.seconds.append(seconds)
                    row.cpu.append(cpu)
    print("| server | client | in flight | events/s | CPU, ms per 1,000 events |")
    print("|---|---|---|---|---|")
    for title, _, _, rows in results:
        for row in rows:
            print(row.line(title))
