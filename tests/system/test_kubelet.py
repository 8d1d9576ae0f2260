"""A kubelet, played: it probes the running process as the manifest says, and acts as a kubelet does.

It asks over real HTTP at the manifest's periods with the manifest's thresholds: startup until it has succeeded once,
then liveness and readiness side by side; a container whose liveness has failed often enough is to be restarted. Only
periods are divided by `FASTER` here, and with them what the process takes for a loop that stands still; time-outs stay
as they are, since machines that run tests are slow.
"""

import contextlib
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from tests.app.test_http import MALFORMED
from tests.support.databases import Database, in_memory
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import Process, World
from tests.support.waiting import until

FASTER = 10


@dataclass(frozen=True)
class Probe:
    """A probe as the manifest has it; times in seconds."""

    path: str
    period: float
    failures: int
    timeout: float


# k8s/base/deployment.yaml has the same numbers; the first test compares them.
MANIFEST = Path(__file__).resolve().parents[2] / "k8s" / "base" / "deployment.yaml"
STARTUP = Probe("/startupz", period=2, failures=60, timeout=2)
LIVENESS = Probe("/livez", period=10, failures=3, timeout=5)
READINESS = Probe("/readyz", period=5, failures=2, timeout=2)
GRACE = 45  # terminationGracePeriodSeconds

# A reactor whose claims never return, which no fault outside of the process brings about: every statement has a
# time-out. Nothing of the reactor's own is made for this.
STUCK = f"""
import trio
from reactor import housekeeping, service
from reactor.observability import logs
from reactor.core import health
from reactor.postgres.outbox import Outbox
from reactor.settings import Settings

claim = Outbox.claim

async def claim_until_stuck(self, *, slots, excluded=()):
    claimed = await claim(self, slots=slots, excluded=excluded)
    if claimed.items:
        await trio.sleep_forever()
    return claimed

Outbox.claim = claim_until_stuck
health.LONGEST_CYCLE /= {FASTER}
housekeeping.INTERVAL /= {FASTER}
logs.configure("json")
trio.run(service.run, Settings.from_environment())
"""


@dataclass
class Kubelet:
    """What it thinks of the container.

    Attributes:
        started: Whether the startup probe has succeeded.
        ready: Whether the pod is ready.
        restart: Why the container is to be restarted, empty where it is not.
        asked: How often each path was asked.
        said: The last answer of each path.
    """

    url: str
    started: bool = False
    ready: bool = False
    restart: str = ""
    asked: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Probe until the container is to be restarted."""
        failed = 0
        while not self.started:
            self.started = await self._succeeds(STARTUP)
            failed += not self.started
            if failed >= STARTUP.failures:
                self.restart = "startup"
                return
            await trio.sleep(STARTUP.period / FASTER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_readiness)
            await self._watch_liveness()
            nursery.cancel_scope.cancel()

    async def _watch_liveness(self) -> None:
        failed = 0
        while failed < LIVENESS.failures:
            failed = 0 if await self._succeeds(LIVENESS) else failed + 1
            await trio.sleep(LIVENESS.period / FASTER)
        self.restart = "liveness"

    async def _watch_readiness(self) -> None:
        failed = 0
        while True:
            failed = 0 if await self._succeeds(READINESS) else failed + 1
            self.ready = failed == 0 or (self.ready and failed < READINESS.failures)
            await trio.sleep(READINESS.period / FASTER)

    async def _succeeds(self, probe: Probe) -> bool:
        """Ask once, on a connection of its own, as a kubelet does."""
        self.asked[probe.path] = self.asked.get(probe.path, 0) + 1
        try:
            async with httpx.AsyncClient(timeout=probe.timeout) as client:
                answer = await client.get(self.url + probe.path)
        except httpx.HTTPError as error:
            self.said[probe.path] = type(error).__name__
            return False
        self.said[probe.path] = answer.text
        return 200 <= answer.status_code < 400


async def watched(process: Process, nursery: trio.Nursery) -> Kubelet:
    await process.started()
    kubelet = Kubelet(process.url)
    nursery.start_soon(kubelet.run)
    return kubelet


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with embedded_postgres(below=in_memory()) as server:
        migrate(server.url(), progress=lambda _: None)
        yield server


@pytest.fixture
def restartable(server: EmbeddedPostgres, google: GoogleServer, tmp_path: Path) -> Iterator[World]:
    world = World(Database(owner=server.url(), reactor=server.url()), google, tmp_path)
    yield world
    world.close()


@pytest.mark.skipif(not MANIFEST.exists(), reason="there is no manifest in this tree")
@pytest.mark.parametrize(("name", "probe"), [("startup", STARTUP), ("liveness", LIVENESS), ("readiness", READINESS)])
def test_the_probes_are_the_manifests(name: str, probe: Probe) -> None:
    text = MANIFEST.read_text()
    block = text.partition(f"{name}Probe:")[2]

    def number(key: str) -> int:
        found = re.search(rf"{key}: (\d+)", block)
        assert found, key
        return int(found[1])

    assert re.search(r"path: ([/\w]+)", block).group(1) == probe.path  # type: ignore[union-attr]  # fails where there is none
    assert number("periodSeconds") == probe.period
    assert number("failureThreshold") == probe.failures
    assert number("timeoutSeconds") == probe.timeout
    assert f"terminationGracePeriodSeconds: {GRACE}" in text


async def test_it_starts_works_and_stops_in_time(world: World, nursery: trio.Nursery) -> None:
    """Never a failure of liveness, not while it drains either; gone before it would be killed."""
    world.connect()
    world.google.emulator.settings.latency = 1.0
    process = world.start()
    kubelet = await watched(process, nursery)
    await until(lambda: kubelet.ready)
    for number in range(5):
        world.insert(number)
    await until(lambda: world.google.emulator.log.peak > 0)
    process.signal(signal.SIGTERM)
    with trio.fail_after(GRACE):
        assert await process.ended(GRACE) == 0
    assert not kubelet.restart
    assert set(world.statuses()) <= {"COMPLETED", "PENDING"}
    assert (world.attempts(), world.locks()) == (0, 0)


async def test_a_database_that_goes_away_makes_it_unready_and_nothing_else(
    restartable: World, server: EmbeddedPostgres, nursery: trio.Nursery
) -> None:
    restartable.connect()
    kubelet = await watched(restartable.start(), nursery)
    await until(lambda: kubelet.ready)
    await trio.to_thread.run_sync(partial(server.stop, "fast"))
    await until(lambda: not kubelet.ready)
    asked = kubelet.asked[LIVENESS.path]
    await until(lambda: kubelet.asked[LIVENESS.path] > asked + 2 * LIVENESS.failures)
    assert (kubelet.restart, kubelet.said[LIVENESS.path]) == ("", "ok\n")
    await trio.to_thread.run_sync(server.start)
    await until(lambda: kubelet.ready)
    restartable.reconnect()
    restartable.insert(1)
    await restartable.all_done(1)
    assert not kubelet.restart


async def test_a_loop_that_stands_still_is_dead(world: World, nursery: trio.Nursery) -> None:
    world.connect()
    process = world.start(program=STUCK, CALENDAR_SYNC_POLL_INTERVAL_MS="500")
    kubelet = await watched(process, nursery)
    await until(lambda: kubelet.ready)
    world.insert(1)
    await until(lambda: kubelet.restart, seconds=60)
    assert kubelet.restart == "liveness"
    assert "The look loop has not completed a cycle for " in kubelet.said[LIVENESS.path]
    assert world.statuses() == {"PROCESSING": 1}
    process.signal(signal.SIGKILL)  # what a kubelet does in the end
    await process.ended()
    await world.start().ready()
    await world.all_done(1)


async def test_connections_that_talk_nonsense_do_not_end_it(world: World, nursery: trio.Nursery) -> None:
    world.connect()
    process = world.start()
    kubelet = await watched(process, nursery)
    await until(lambda: kubelet.ready)
    host, _, port = process.url.removeprefix("http://").rpartition(":")
    for number in range(100):
        with contextlib.suppress(trio.BrokenResourceError):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(MALFORMED[number % len(MALFORMED)])
                with trio.move_on_after(0.05):
                    await stream.receive_some()
    world.insert(1)
    await world.all_done(1)
    asked = kubelet.asked[LIVENESS.path]
    await until(lambda: kubelet.asked[LIVENESS.path] > asked + LIVENESS.failures)
    assert not kubelet.restart
    await process.is_(200, "/readyz")
    assert process.popen.poll() is None


@pytest.mark.soak
async def test_a_process_that_never_gets_ready_is_restarted_for_its_startup_only(
    world: World, nursery: trio.Nursery
) -> None:
    process = world.start(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    kubelet = await watched(process, nursery)
    await until(lambda: kubelet.asked.get(STARTUP.path, 0) > 3)
    assert "It has not been ready yet." in kubelet.said[STARTUP.path]
    assert (await process.get("/livez")).status_code == 200
    await until(lambda: kubelet.restart, seconds=2 * STARTUP.failures * STARTUP.period / FASTER)
    assert kubelet.restart == "startup"
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


async def test_a_scrape_parses_and_its_numbers_move(world: World) -> None:
    """One family each, every state always there, and what was done is in it."""
    world.connect()
    process = await world.start().ready()
    world.insert(1)
    await world.all_done(1)
    metrics = await process.counts('reactor_items_processed_total{operation="UPSERT_EVENT",outcome="applied"} 1.0')
    families = {f.name: f for f in text_string_to_metric_families(metrics)}

    def value(family: str, **labels: str) -> float:
        return next(s.value for s in families[family].samples if s.labels == labels)

    assert value("reactor_google_calls", method="insert", code="200") == 1
    assert value("reactor_token_refreshes", outcome="granted") == 1
    assert value("reactor_breakers", scope="process", state="closed") == 1
    assert value("reactor_lanes", state="idle") == 1
    assert sum(s.value for s in families["reactor_gate_state"].samples) == 1
    assert len(families["reactor_gate_state"].samples) == 6
    assert value("reactor_deaf_seconds") == 0
