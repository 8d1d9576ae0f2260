"""The whole reactor, as a process of its own, against a stub of Google: wake-up, backlog, idleness, memory.

*Wake latency* is from before the COMMIT of a writer to the arrival of the request, on one monotonic clock. Beside it
its floor, in turns in the same run: a blocking program with nothing in it but LISTEN, one call of the claim, and one
request, sent by httpx on an open connection, or, lower still, written to an open socket as it is.

*Drain*: 10,000 items over 50 workspaces, committed at once while the reactor sleeps; from that commit to the last
settle. Quotas are lifted: Google would allow 10,000 calls a minute. CPU is that of the reactor's process alone.

*Idle*: 30 seconds in which nothing happens, just after an item, when sweeps still look for a killed peer's items every
second, and more than a minute later.

REACTOR_BENCH chooses among them ("wake drain idle"); REACTOR_ITEMS, REACTOR_WAKES and REACTOR_ROUNDS set the sizes.
"""

import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg

from benchmarks.stub import running, seen, serve_stub
from reactor.embedded import embedded_postgres
from reactor.postgres.migrations import migrate
from reactor.postgres.statements import statements
from reactor.vault import Vault

ITEMS = int(os.environ.get("REACTOR_ITEMS", "10000"))
WAKES = int(os.environ.get("REACTOR_WAKES", "200"))
ROUNDS = int(os.environ.get("REACTOR_ROUNDS", "3"))
CHOSEN = os.environ.get("REACTOR_BENCH", "wake drain idle").split()
WORKSPACES = 50
IDLE = 30.0  # seconds
LIVELY = 75.0  # seconds after the last item until sweeps become rare (reactor/loop/sweeper.py)
QUIET = 0.03  # seconds
SETTLED_IN = 0.4  # seconds from a wake until the reactor sleeps again, several times over
KEYS = "k1:" + "A" * 43 + "="
TICKS = os.sysconf("SC_CLK_TCK")

CONNECT = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id) values (%s, %s, 'primary')
"""
INSERT = """
insert into sync_outbox (workspace_id, operation, payload)
select w, 'UPSERT_EVENT', jsonb_build_object(
         'operation', 'UPSERT_EVENT', 'workspaceId', w, 'calendarId', 'primary',
         'sourceType', 'task', 'sourceId', gen_random_uuid(), 'eventType', 'MILESTONE',
         'event', jsonb_build_object(
           'title', 'A milestone of a project', 'description', 'What has to be true by then.',
           'start', '2026-12-01T09:00:00Z', 'end', '2026-12-01T10:00:00Z'))
  from (select %s::uuid[] as ws) as given
 cross join lateral (select ws[1 + n %% cardinality(ws)] as w from generate_series(1, %s) as n) as rows
"""
CLAIM = """
select id, 1 from sync_outbox_claim_next(
  null, null, null, 32, '{}', 200, 400, 512, 5, 1, false, 8000000, 262144) where id is not null
"""
FINISH = "update sync_outbox set status = 'COMPLETED', processed_at = now() where id = %s and lease_no = %s"
OPEN = "select exists (select from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING'))"
LAST = (
    "select extract(epoch from max(processed_at))::float8 from sync_outbox where processed_at > now() - interval '1 h'"
)
TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
REQUEST = (
    b"POST /calendar/v3/calendars/primary/events HTTP/1.1\r\nHost: stub\r\nContent-Type: application/json\r\n"
    b"Content-Length: 14\r\n\r\n" + b'{"id":"abcdef"}'[:14]
)


class Reactor:
    """A running `python -m reactor`."""

    def __init__(self, dsn: str, google: str, log: Path) -> None:
        self._log = log
        environment = {
            **os.environ,
            "DATABASE_URL": dsn,
            "GOOGLE_CLIENT_ID": "id",
            "GOOGLE_CLIENT_SECRET": "secret",
            "GOOGLE_API_ROOT": f"{google}/",
            "GOOGLE_TOKEN_URI": f"{google}/token",
            "TOKEN_ENCRYPTION_KEYS": KEYS,
            "CALENDAR_SYNC_REQUESTS_PER_MINUTE": "0",
            "CALENDAR_SYNC_LANE_REQUESTS_PER_MINUTE": "0",
            "HEALTH_BIND": "127.0.0.1:0",
            "LOG_FORMAT": "json",
        }
        with log.open("wb") as out:
            self._popen = subprocess.Popen([sys.executable, "-m", "reactor"], env=environment, stdout=out, stderr=out)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ready(self) -> None:
        wait_until(lambda: '"ready"' in self._log.read_text() or self._popen.poll() is not None)
        if self._popen.poll() is not None:
            sys.exit(self._log.read_text())

    def cpu(self) -> float:
        """Seconds of CPU so far, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, name: str) -> float:
        """MB of `VmRSS` or `VmHWM`."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

    def stop(self) -> None:
        self._popen.terminate()
        self._popen.wait()


@contextmanager
def reactor(dsn: str, google: str) -> Iterator[Reactor]:
    with tempfile.TemporaryDirectory() as directory:
        process = Reactor(dsn, google, Path(directory) / "log")
        try:
            process.ready()
            yield process
        finally:
            process.stop()


def wait_until(condition: Any, pause: float = 0.01) -> None:
    while not condition():
        time.sleep(pause)


# Wake latency


def floor(pipe: Any, dsn: str, google: str, *, library: bool) -> None:
    """The least that a wake can be: LISTEN, claim, one request. Ends with its process."""
    host, _, port = google.removeprefix("http://").partition(":")
    with (
        httpx.Client() as client,
        socket.create_connection((host, int(port))) as http,
        psycopg.connect(dsn, autocommit=True) as listening,
        psycopg.connect(dsn, autocommit=True) as claims,
    ):
        http.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gate = statements("gate")
        listening.execute(gate["listen"])
        listening.execute(gate["ask"])
        for _ in range(10):  # prepares it
            claims.execute(CLAIM).fetchall()
        client.get(f"{google}/seen")  # opens the connection
        pipe.send("ready")
        while True:
            select.select([listening.fileno()], [], [])
            for _ in listening.notifies(timeout=0):
                pass
            rows = claims.execute(CLAIM).fetchall()
            for row in rows:
                if library:
                    client.post(f"{google}/calendar/v3/calendars/primary/events", json={"id": "abcdef"})
                else:
                    http.sendall(REQUEST)
                    http.recv(4096)
                claims.execute(FINISH, row)
            claims.execute("select pg_advisory_unlock_all()")


@contextmanager
def floor_process(dsn: str, google: str, *, library: bool) -> Iterator[None]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=floor, args=(theirs, dsn, google), kwargs={"library": library}, daemon=True)
    process.start()
    try:
        assert ours.recv() == "ready"
        yield
    finally:
        process.terminate()
        process.join()


def wakes(owner: psycopg.Connection[Any], google: str, workspaces: list[UUID], count: int) -> list[float]:
    """Milliseconds from before a commit to the arrival of its request, for so many single inserts."""
    times = []
    for number in range(count):
        before = seen(google).calls
        time.sleep(SETTLED_IN)
        with owner.transaction():
            owner.execute(INSERT, ([workspaces[number % len(workspaces)]], 1))
            began = time.monotonic()
        time.sleep(QUIET)  # nobody's polls disturb what is measured
        wait_until(lambda before=before: seen(google).calls > before)
        wait_until(lambda: owner.execute(OPEN).fetchone() == (False,))
        times.append((seen(google).arrivals[before] - began) * 1000)
    return times


def bench_wake(dsn: str, owner: psycopg.Connection[Any], workspaces: list[UUID]) -> None:
    times: dict[str, list[float]] = {"floor, a socket": [], "floor, httpx": [], "reactor": []}
    with running(serve_stub, 0.0) as (google, _):
        for _ in range(ROUNDS):
            for name, library in (("floor, a socket", False), ("floor, httpx", True)):
                with floor_process(dsn, google, library=library):
                    times[name] += wakes(owner, google, workspaces, WAKES // ROUNDS)
            with reactor(dsn, google):
                wakes(owner, google, workspaces, len(workspaces))  # access tokens are fetched, statements prepared
                times["reactor"] += wakes(owner, google, workspaces, WAKES // ROUNDS)
    for name, measured in times.items():
        ordered = sorted(measured)
        p50, p95, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.95, 0.99))
        ratios = "   ".join(f"{p50 / statistics.median(times[of]):.2f} of {of}" for of in list(times)[:2])
        print(f"wake, {name:16} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms   p99 {p99:6.2f} ms   p50: {ratios}")


# Drain


def bench_drain(dsn: str, owner: psycopg.Connection[Any], workspaces: list[UUID]) -> None:
    for latency in [float(x) for x in os.environ.get("REACTOR_LAT", "0.0 0.1").split()]:
        rates, cpus, calls, peaks = [], [], [], []
        for _ in range(ROUNDS):
            with running(serve_stub, latency) as (google, _), reactor(dsn, google) as process:
                wakes(owner, google, workspaces, len(workspaces))
                before, cpu = seen(google).calls, process.cpu()
                owner.execute(INSERT, (workspaces, ITEMS))
                began = time.time()
                wait_until(lambda: owner.execute(OPEN).fetchone() == (False,), 0.05)
                [ended] = owner.execute(LAST).fetchone() or [0.0]
                rates.append(ITEMS / (ended - began))
                cpus.append((process.cpu() - cpu) / ITEMS * 1e6)
                calls.append((seen(google).calls - before) / ITEMS * 1000)
                peaks.append(process.memory("VmHWM"))
            owner.execute("vacuum analyze sync_outbox")
        print(
            f"drain, {latency * 1000:3.0f} ms latency: {statistics.median(rates):7,.0f} items/s"
            f" (from {min(rates):,.0f} to {max(rates):,.0f}), {statistics.median(cpus):4.0f} ms CPU and"
            f" {statistics.median(calls):3.0f} requests per 1,000 items, {max(peaks):.0f} MB at most"
        )


# Idle


def bench_idle(dsn: str, owner: psycopg.Connection[Any], workspaces: list[UUID]) -> None:
    def transactions() -> int:
        # A backend reports when it has been idle for a while; asking counts too, once each time.
        owner.execute("select pg_stat_clear_snapshot()")
        return int((owner.execute(TRANSACTIONS).fetchone() or [0])[0])

    with running(serve_stub, 0.0) as (google, _), reactor(dsn, google) as process:
        owner.execute("vacuum analyze")  # or its daemon is counted
        wakes(owner, google, workspaces, 1)
        for when, pause in (("just after an item", 2.0), ("later", LIVELY)):
            time.sleep(pause)
            count, cpu = transactions(), process.cpu()
            time.sleep(IDLE)
            per_second = (transactions() - count - 2) / IDLE
            print(
                f"idle, {when}: {per_second:.2f} transactions/s, {(process.cpu() - cpu) / IDLE * 100:.1f} % of a core, "
                f"{process.memory('VmRSS'):.0f} MB resident"
            )


def prepare(owner: psycopg.Connection[Any]) -> list[UUID]:
    owner.execute("create role bench login in role calendar_sync_reactor")
    workspaces = [UUID(int=n) for n in range(1, WORKSPACES + 1)]
    vault = Vault.from_setting(KEYS)
    for workspace in workspaces:
        owner.execute(CONNECT, (workspace, vault.encrypt(workspace, "refresh")))
    return workspaces


def main() -> None:
    with embedded_postgres() as server:
        migrate(server.url(), progress=lambda _line: None)
        with psycopg.connect(server.url(), autocommit=True) as owner:
            workspaces = prepare(owner)
            for name in CHOSEN:
                {"wake": bench_wake, "drain": bench_drain, "idle": bench_idle}[name](
                    server.url(user="bench"), owner, workspaces
                )
    print(f"the benchmark itself: {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s of CPU")
