"""What all pages of a console use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from reactor.console.database import ConsoleDatabase, PageCost
from reactor.console.requeue_worker import RequeueWorker
from reactor.console.shared.asked_consents import AskedConsents
from reactor.console.shared.breakage import BreakPort
from reactor.console.shared.errands import Errands
from reactor.console.snapshot import SharedSnapshot, Snapshot
from reactor.console.visitors.login import LoginLimit
from reactor.desk.google_event import GoogleReadSettings
from reactor.desk.met import met
from reactor.desk.outbox_status import outbox_status
from reactor.desk.pulses import activity
from reactor.desk.rights import rights
from reactor.postgres.connection.admin import AdminSession


@dataclass(slots=True)
class Console:
    """One console: what its pages share, from the database to the errands under way.

    Attributes:
        database: The database, for pages.
        name: What the deployment is called, "" for nothing.
        colour: The colour of that name.
        google: With what Google is asked for an event; None where the environment does not have it.
        given: Settings of the service that are not taken from the environment, by their names.
        address: Where people open it, `https://console.example.com`; known when it listens.
        breakable: What a visitor may break: in the demo, and nowhere else.
        snapshot: The look that all visitors share.
        ceiling: What the database's login may do.
        requeues: Carries out the requeues that pages begin.
        errands: What takes longer than a request.
        consents: Consents that were asked for, and not given yet.
    """

    database: ConsoleDatabase
    name: str = ""
    colour: str = "grey"
    google: GoogleReadSettings | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    breakable: BreakPort | None = None
    snapshot: SharedSnapshot = field(init=False)
    ceiling: LoginLimit = field(init=False)
    requeues: RequeueWorker = field(init=False)
    errands: Errands = field(default_factory=Errands)
    consents: AskedConsents = field(default_factory=AskedConsents)

    def __post_init__(self) -> None:
        self.snapshot = SharedSnapshot(self._look)
        self.ceiling = LoginLimit(lambda: self.database.read(rights, PageCost()))
        self.requeues = RequeueWorker(self.database)

    async def _look(self) -> Snapshot:
        cost = PageCost()
        status, hour, errors = await self.database.read(_look, cost)
        return Snapshot(status, hour, errors, cost=cost)


def _look(admin: AdminSession) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    return outbox_status(admin, brief=True), activity(admin, now=datetime.now(UTC)), met(admin)
