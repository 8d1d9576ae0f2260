"""Regular rounds: the schema is verified again, the backlog is measured, old rows are deleted."""

import random
from functools import partial
from uuid import UUID

import structlog
import trio

from reactor.core.health import HealthFacts
from reactor.core.refusals import RefusedWork
from reactor.errors import ConfigurationError, ReactorError, RefusedError, TransientError
from reactor.loop import Observer
from reactor.postgres.connection.pool import Pool
from reactor.postgres.retention import Passed, backlog, delete_portion, forget, forget_workspaces
from reactor.postgres.setup.inspection import problems_in_one_transaction

INTERVAL = 30.0  # seconds between two rounds: a schema that lacks something makes the replica unready so soon
CLEAN_EVERY = 60  # rounds
TIMEOUT = 15.0  # seconds for looking at the schema; milliseconds where the database answers
COUNTED = 10_000  # items that wait; to count millions of them takes seconds, and says nothing more
PORTION = 5_000  # rows that are deleted in one transaction
SHRINK_FACTOR = 8  # after a refusal the portion is so many times smaller

log = structlog.get_logger(__name__)


class Housekeeping:
    """Verifies the schema, measures the backlog and cleans up, in rounds.

    Args:
        pool: Connections to the database.
        facts: Updated with whether the schema is current, and with the time of each round.
        retention_days: Days for which settled items are kept.
        observer: Notified of what the database refuses.

    Attributes:
        deleted: Items deleted so far.
        oldest_due: Seconds for which the item that is due longest has been due, at the last round; 0 for none.
        due_workspaces: Workspaces with an item that is due, at the last round.
        pending: Items that wait, counted up to `COUNTED`, at the last round.
        oldest_pending: The age in seconds of the oldest of them.
        invalid: Connections that are invalid, at the last round.
        notify_usage: How full the server's queue of notifications was, from 0 to 1.
        brakes: Workspaces that the brake has stopped, at the last round.
        aside: Items that the server refuses to change, counted up to `COUNTED`, at the last round.
    """

    def __init__(
        self, pool: Pool, facts: HealthFacts, *, retention_days: int, observer: Observer | None = None
    ) -> None:
        self.deleted = 0
        self.oldest_due = 0.0
        self.due_workspaces = 0
        self.pending = 0
        self.oldest_pending = 0.0
        self.invalid = 0
        self.notify_usage = 0.0
        self.brakes = 0
        self.aside = 0
        self._observer = observer or Observer()
        self._pool = pool
        self._facts = facts
        self._retention_days = retention_days

    async def run(self) -> None:
        """Run rounds for ever; if the database is away, the next round asks again."""
        number = random.randrange(CLEAN_EVERY)  # replicas that start together do not clean together
        while True:
            self._beat()
            await trio.sleep(INTERVAL * random.uniform(0.75, 1.25))
            self._beat()
            number += 1
            refused = False
            for part in (self.verify, self.measure, *((self.clean,) if number % CLEAN_EVERY == 0 else ())):
                try:
                    await part()
                except ReactorError as error:  # the other parts run all the same
                    if isinstance(error, RefusedError):
                        refused = True
                        self._observer.refused(RefusedWork.HOUSEKEEPING, error.sqlstate)
                    log.warning("housekeeping_failed", part=part.__name__, problem=str(error))
            if not refused:
                self._observer.accepted(RefusedWork.HOUSEKEEPING)

    async def verify(self) -> list[str]:
        """Return what the database lacks, and remember whether that is anything.

        Raises:
            TransientError: The database cannot be asked.
            ConfigurationError: The role may not ask.
        """
        found = None
        try:
            with trio.move_on_after(TIMEOUT):
                found = await self._pool.run(problems_in_one_transaction)
        except RefusedError as error:
            if error.sqlstate != "42501":
                raise
            raise ConfigurationError(
                "The role may not read the record of the migrations. Use a login to which calendar_sync_reactor was "
                "granted, not the application's and not the owner: `grant calendar_sync_reactor to …` (docs/schema.md, "
                "Roles)."
            ) from error
        if found is None:
            raise TransientError(f"The database did not answer within {TIMEOUT:g} s.")
        self._facts.schema_current = not found
        if found:
            log.error("schema_incomplete", problems=found)
        return found

    async def measure(self) -> None:
        """Measure the backlog; what a workspace without a valid connection holds back does not count."""
        row = await backlog(self._pool, most=COUNTED)
        self.oldest_due, self.due_workspaces, self.pending, self.oldest_pending = row[:4]
        self.invalid, self.notify_usage, self.brakes, self.aside = row[4:]

    async def clean(self) -> None:
        """Delete what was settled long ago and forget what is gone, in portions; another replica may be at it too.

        Raises:
            RefusedError: A row could not be deleted, and all others were; or the database refuses all.
        """
        refusal = await self._delete()
        await self._forget_workspaces()
        await self._forget("forget_aside", "forget_brakes", "forget_departures", "forget_acts", "forget_invitations")
        if refusal is not None:
            raise refusal

    async def _delete(self) -> ReactorError | None:
        """Delete what is old; return why a row of it stays, if one does."""
        rows, passed, refusal = PORTION, Passed(), None
        while portion := await self._pool.run(
            partial(delete_portion, days=self._retention_days, rows=rows, passed=passed)
        ):
            self._beat()
            refusal = portion.refusal or refusal
            if portion.refusal is None or portion.found == 1:
                self.deleted += portion.found - len(portion.kept)
                rows, passed = min(rows * SHRINK_FACTOR, PORTION), passed.by(portion.kept)
            else:
                rows = max(1, portion.found // SHRINK_FACTOR)
        return refusal

    async def _forget(self, *names: str) -> None:
        for name in names:
            while await self._portion(name):
                pass

    async def _portion(self, name: str) -> int:
        rows = await forget(self._pool, name, days=self._retention_days, rows=PORTION)
        self._beat()
        return rows

    async def _forget_workspaces(self) -> None:
        after: UUID | None = UUID(int=0)
        while after is not None:
            last, most = await forget_workspaces(self._pool, after, days=self._retention_days, rows=PORTION)
            if most < PORTION:
                after = last
            self._beat()

    def _beat(self) -> None:
        self._facts.beats["housekeeping"] = trio.current_time()
