"""An operator's tour: five things that go wrong, and what probes, metrics and log say of each.

    python -m tools.tour

starts PostgreSQL, an emulated Google and `python -m reactor`, breaks one thing after another, mends it, and writes what
it saw into docs/reference/tour.md. Nothing there is made up; times, ports and ids differ from run to run.
"""

import json
import random
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import trio
from prometheus_client.parser import text_string_to_metric_families

from calendar_emulator import Emulator, Fault, Service, application, serve
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.process_world import KEYS, Process, World
from tests.support.waiting import until

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reference" / "tour.md"
BEGIN, END = "<!-- tour: begin -->\n", "<!-- tour: end -->"
# What moves all the time, whatever happens.
NOISE = (
    "looks",
    "sweeps",
    "settles",
    "gate_",
    "wakeups",
    "notifications",
    "requests",
    "request_items",
    "lanes_",
    "loop_",
)
LINES = 6  # of the log, of one event
OTHER_KEYS = "k2:" + "B" * 43 + "="
WORKSPACES = [UUID(int=0xA0000000000040008000000000000000 + number) for number in range(8)]

Samples = dict[str, float]


@dataclass
class Tour:
    """The world, and what was seen so far."""

    world: World
    server: EmbeddedPostgres
    process: Process
    text: str = ""
    numbers: int = 0
    before: Samples = field(default_factory=dict)
    logged: int = 0

    def insert(self, *workspaces: UUID) -> None:
        for workspace in workspaces:
            self.numbers += 1
            self.world.insert(self.numbers, workspace=workspace)

    async def done(self) -> None:
        """Wait until nothing is left to do."""
        await until(lambda: not set(self.world.statuses()) & {"PENDING", "FAILED", "PROCESSING"}, 120)

    async def measured(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""
        while (await self.samples()).get(name) != value:  # noqa: ASYNC110  (a scrape sets no event)
            await trio.sleep(0.1)

    async def samples(self) -> Samples:
        families = text_string_to_metric_families((await self.process.get("/metrics")).text)
        return {
            sample.name + _labels(sample.labels): sample.value
            for family in families
            if family.type != "histogram"
            for sample in family.samples
        }

    async def look(self) -> None:
        """Take down how things are, for what moves from here on."""
        self.before, self.logged = await self.samples(), len(self.process.output.splitlines())

    async def saw(self, what: str) -> None:
        """Write down what is to be seen now."""
        self.text += f"\n{what}\n\n```console\n"
        for path in ("/livez", "/readyz"):
            answer = await self.process.get(path)
            status = answer.status_code
            self.text += f"$ curl -w '%{{http_code}}\\n' localhost:8080{path}\n{answer.text}{status}\n"
        now = await self.samples()
        moved = [
            f"{name} {self.before.get(name, 0):g} -> {value:g}"
            for name, value in now.items()
            if _moved(name, self.before, value)
        ]
        self.text += "```\n\n```text\n" + "\n".join(moved or ["(no metric moved)"]) + "\n```\n"
        lines = list(_shortened(self.process.output.splitlines()[self.logged :]))
        self.text += "\n```json\n" + "\n".join(lines) + "\n```\n" if lines else "\nNothing in the log.\n"

    async def fault(
        self,
        title: str,
        said: tuple[str, str],
        break_it: Callable[[], Awaitable[None]],
        mend_it: Callable[[], Awaitable[None]],
    ) -> None:
        """Break something, look, mend it, look again."""
        sys.stderr.write(f"{title}\n")
        self.text += f"\n## {title}\n"
        await self.look()
        await break_it()
        await self.saw(said[0])
        await self.look()
        await mend_it()
        await self.saw(said[1])

    # The five

    async def google_fails(self) -> None:
        self.world.google.emulator.fault(Fault(effect="error", status=503, reason="backendError"))
        self.insert(*WORKSPACES, *WORKSPACES)
        await until(lambda: any(line["scope"] == "process" for line in self.process.events("breaker_opened")))

    async def google_works(self) -> None:
        self.world.google.emulator.faults.clear()
        await self.done()

    async def google_limits(self) -> None:
        reason = "userRateLimitExceeded"
        self.world.google.emulator.fault(Fault(operation="insert", effect="error", status=403, reason=reason))
        self.insert(*[WORKSPACES[0]] * 10)
        await self.measured('reactor_lanes{state="held"}', 1)

    async def consent_is_revoked(self) -> None:
        emulator = self.world.google.emulator
        token = emulator.oauth.grant(USER)
        self.world.connect(WORKSPACES[1], refresh_token=token)
        self.insert(WORKSPACES[1])
        await self.done()
        emulator.oauth.revoke(token)
        self.insert(*[WORKSPACES[1]] * 3)
        await self.measured("reactor_connections_invalid", 1)

    async def somebody_connects_again(self) -> None:
        self.world.connect(WORKSPACES[1], refresh_token=self.world.google.emulator.oauth.grant(USER))
        await self.done()
        await self.measured("reactor_connections_invalid", 0)

    async def database_stops(self) -> None:
        await trio.to_thread.run_sync(partial(self.server.stop, "fast"))
        await self.process.is_(503)
        await until(lambda: len(self.process.events("session_lost")) >= 3)

    async def database_starts(self) -> None:
        await trio.to_thread.run_sync(self.server.start)
        self.world.reconnect()
        await self.process.is_(200)
        self.insert(WORKSPACES[2])
        await self.done()

    async def keys_are_wrong(self) -> None:
        await self.restart(OTHER_KEYS)
        self.insert(*WORKSPACES[:2])
        await until(lambda: len(self.process.events("token_not_decrypted")) >= 2)

    async def keys_are_right(self) -> None:
        await self.restart(f"{OTHER_KEYS},{KEYS}")
        await self.done()

    async def restart(self, keys: str) -> None:
        self.process.signal(signal.SIGTERM)
        await self.process.ended()
        self.process = await self.world.start(TOKEN_ENCRYPTION_KEYS=keys).ready()
        self.before, self.logged = {}, 0

    async def run(self) -> None:
        for workspace in WORKSPACES:
            self.world.connect(workspace)
        self.insert(*WORKSPACES)
        await self.done()
        during, after = "With Google down:", "Google is back:"
        await self.fault("Google answers 503", (during, after), self.google_fails, self.google_works)
        during, after = "While it lasts:", "The limit is gone:"
        await self.fault("Google limits the rate of a user", (during, after), self.google_limits, self.google_works)
        during, after = "A person took the consent back, and three changes follow:", "They connect again:"
        await self.fault("A consent is revoked", (during, after), self.consent_is_revoked, self.somebody_connects_again)
        during, after = "The server is stopped:", "It is started again:"
        await self.fault("The database restarts", (during, after), self.database_stops, self.database_starts)
        during, after = (
            "Restarted with a new key alone, where `k2,k1` was wanted (counters begin at 0 again):",
            "Restarted with both keys, the new one first:",
        )
        await self.fault("The encryption key is wrong", (during, after), self.keys_are_wrong, self.keys_are_right)


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


def _moved(name: str, before: Samples, value: float) -> bool:
    return value != before.get(name, 0) and not name.removeprefix("reactor_").startswith(NOISE)


def _shortened(lines: list[str]) -> Iterator[str]:
    """Lines of the log, the first few of each event."""
    seen: dict[str, int] = {}
    for line in lines:
        event = json.loads(line)["event"]
        seen[event] = seen.get(event, 0) + 1
        if seen[event] <= LINES:
            yield line
    yield from (f"... and {count - LINES} more of {event}" for event, count in seen.items() if count > LINES)


async def _main(server: EmbeddedPostgres, directory: Path) -> str:
    emulator = Emulator(rng=random.Random(1))
    emulator.add_user(USER)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, application(Service(emulator)))
        google = GoogleServer(emulator, url, emulator.oauth.grant(USER))
        world = World(Database(owner=server.url(), reactor=server.url()), google, directory)
        try:
            tour = Tour(world, server, await world.start().ready())
            await tour.run()
            return tour.text.replace(str(server.data), "/run/postgresql")
        finally:
            world.close()
            nursery.cancel_scope.cancel()


def main() -> None:
    """Take the tour and write it down."""
    with tempfile.TemporaryDirectory() as directory, embedded_postgres() as server:
        migrate(server.url(), progress=lambda _: None)
        text = trio.run(_main, server, Path(directory))
    document = DOCUMENT.read_text()
    head, rest = document.split(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
