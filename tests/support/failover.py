"""What a test of a lost database has in common: a backlog that fills every replica, and how to see that it goes on."""

from uuid import UUID, uuid4

import trio

from tests.support.process_world import Process, World

BACKLOG = 1_000
WITHIN = 2.0  # seconds from the database's return until every replica claims again, and an edit arrives


async def metric(replica: Process, name: str) -> float:
    lines = (await replica.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"reactor_{name} "))


class Application:
    """A backlog in one workspace, and single edits in another.

    The first may make ten calls a second by each replica, as is the default: its backlog lasts.
    """

    def __init__(self, world: World) -> None:
        self.written = 0
        self._world = world
        self._busy = world.connect()
        self._other = world.connect(uuid4())

    def fill_up(self) -> None:
        """Bring the backlog to its size again, in one transaction."""
        self._world.execute("begin")
        for _ in range(BACKLOG - self.written + self._world.statuses().get("COMPLETED", 0)):
            self._write(self._busy)
        self._world.execute("commit")

    def edit(self) -> str:
        """One edit in the other workspace; return its title."""
        self._write(self._other)
        return f"event {self.written - 1}"

    def _write(self, workspace: UUID) -> None:
        self._world.insert(self.written, workspace=workspace)
        self.written += 1


async def is_full(replica: Process) -> None:
    """Wait until it has as much of the backlog as it takes, and all requests are under way that may be."""
    with trio.fail_after(60):
        while await metric(replica, "lanes_excluded") == 0 or await metric(replica, "in_flight_requests") == 0:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def has_claimed(replica: Process, before: float) -> None:
    """Wait until it has claimed some of the backlog, and not only the one edit."""
    with trio.fail_after(30):
        while await metric(replica, "items_claimed_total") <= before + 1:  # noqa: ASYNC110
            await trio.sleep(0.02)
