"""What all pages of a console stand on."""

from dataclasses import dataclass, field

from reactor.console.database import ConsoleDatabase, PageCost
from reactor.console.snapshot import SharedSnapshot, Snapshot
from reactor.desk.outbox_status import outbox_status


@dataclass(slots=True)
class Console:
    """A console.

    Attributes:
        database: Its way to the database.
        name: What the deployment is called, "" for nothing.
        colour: The colour of that name.
        snapshot: The look that all visitors share.
    """

    database: ConsoleDatabase
    name: str = ""
    colour: str = "grey"
    snapshot: SharedSnapshot = field(init=False)

    def __post_init__(self) -> None:
        self.snapshot = SharedSnapshot(self._look)

    async def _look(self) -> Snapshot:
        cost = PageCost()
        return Snapshot(await self.database.read(outbox_status, cost), cost=cost)
