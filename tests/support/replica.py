"""The whole reactor in this process: a replica that can be stopped, or killed as far as that goes from within.

Killed, everything is cancelled at once and nothing is written; the requests that were under way stay on the wire.
"""

import trio

from reactor.service import Service, run
from reactor.settings import Settings
from tests.support.process_world import KEYS, World


class Replica:
    """A reactor; `run` is started in a nursery and reports when items are claimed and writers heard.

    Attributes:
        service: What it shows, once it is ready.
    """

    service: Service

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = trio.Event()
        self._over = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus["Replica"] = trio.TASK_STATUS_IGNORED) -> None:
        def ready(service: Service) -> None:
            self.service = service
            task_status.started(self)

        with self._scope:
            await run(self._settings, stop=self._stop, ready=ready)
        self._over.set()

    async def stop(self) -> None:
        """As SIGTERM does."""
        self._stop.set()
        await self._over.wait()

    async def kill(self) -> None:
        """At once."""
        self._scope.cancel()
        await self._over.wait()


async def start(world: World, nursery: trio.Nursery, *, quota: int = 0) -> Replica:
    """Start a replica in a world for processes, without a quota or with one for the project: a second is saved."""
    settings = Settings.from_environment(
        database_url=world.database.reactor,
        google_client_id=world.google.client_id,
        google_client_secret=world.google.client_secret,
        token_encryption_keys=KEYS,
        google_api_root=world.google.api_root,
        google_token_uri=world.google.token_uri,
        calendar_sync_requests_per_minute=quota,
        calendar_sync_lane_requests_per_minute=0,
        health_bind="127.0.0.1:0",
    )
    replica: Replica = await nursery.start(Replica(settings).run)
    return replica
