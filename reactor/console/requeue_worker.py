"""Carries out the requeues that pages begin, one at a time, and outlives the page that began one.

A task puts the letters back, portion after portion. The alternative is to put all back at once, each with a later
`next_attempt_at`. Then no task has to live on, but the requeue cannot be stopped, because a letter that is put back has
lost its cause of death. One transaction locks as many rows as there are letters. `explain` reports items that a program
has postponed. And if a workspace's consent comes back, all of its items are due at once (db/triggers.sql). What the
task has not reached is still a dead letter, with its cause.

Each portion commits with its progress, so the act's row is right whenever the console ends. A console that is stopped
writes so into that row. A console that is killed writes nothing more, and after two minutes its run is shown as broken
off; so is a run for which the database was away longer than we try.
"""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import structlog
import trio

from reactor.console.database import ConsoleDatabase, PageCost
from reactor.desk import acts
from reactor.desk.act_run import RunState
from reactor.desk.letters.requeue_run import RequeueRun
from reactor.errors import ReactorError, TransientError
from reactor.postgres.connection.admin import AdminSession

log = structlog.get_logger(__name__)

SIGN_EVERY = 2.0
"""Seconds. So often at least, a run looks whether it is to stop and writes that it lives."""
_TRIES = 10
_BETWEEN = 3.0  # seconds between two tries: ten of them are over before the run would be shown as broken off
_LAST_WORD = 5.0  # seconds to say how it ended


class RequeueWorker:
    """Carries out requeues, one after the other.

    Args:
        database: The console's.
    """

    def __init__(self, database: ConsoleDatabase) -> None:
        self._database = database
        self._begun, self._waiting = trio.open_memory_channel[RequeueRun](8)

    def take(self, run: RequeueRun) -> None:
        """Queue a run that has begun."""
        self._begun.send_nowait(run)

    async def work(self) -> None:
        """Carry out one run after the other, until cancelled."""
        async for run in self._waiting:
            await self._carry_out(run)

    async def _carry_out(self, run: RequeueRun) -> None:
        state = RunState.BROKEN_OFF
        try:
            await self._put_back(run)
            state = RunState.STOPPED if run.act.stops else RunState.DONE
        except ReactorError as error:
            log.warning("console_requeue_broken_off", act=run.act.id, reason=str(error))
        except Exception:
            log.exception("console_requeue_failed", act=run.act.id)  # a bug, and no reason to end the console
        finally:
            with trio.move_on_after(_LAST_WORD, shield=True):
                await self._say_last(run, state)

    async def _put_back(self, run: RequeueRun) -> None:
        started = trio.current_time()
        for after, ids in run.portions():
            while not run.act.stops and (left := started + after - trio.current_time()) > 0:
                await trio.sleep(min(left, SIGN_EVERY))
                if left > SIGN_EVERY:
                    await self._try(run, [])
            if run.act.stops:
                return
            await self._try(run, ids)

    async def _try(self, run: RequeueRun, ids: list[UUID]) -> None:
        """Put a portion back, or give a sign of life."""
        await self._write(partial(_portion, run=run, ids=ids))

    async def _say_last(self, run: RequeueRun, state: RunState) -> None:
        try:
            await self._write(partial(_end, run=run, state=state))
        except ReactorError as error:
            log.warning("console_requeue_has_no_end", act=run.act.id, reason=str(error))

    async def _write(self, work: Callable[..., None]) -> None:
        """Write; where the database is away or busy, try again: `work` is told that it is not the first time."""
        for attempt in range(_TRIES):
            if attempt:
                await trio.sleep(_BETWEEN)
            try:
                await self._database.write(partial(work, again=attempt > 0), PageCost())
            except TransientError:
                if attempt == _TRIES - 1:
                    raise
            else:
                return


def _portion(admin: AdminSession, *, run: RequeueRun, ids: list[UUID], again: bool) -> None:
    if again:
        _recount(admin, run)
    if ids:
        run.put_back(admin, ids)
    else:
        run.act.proceed(admin, run.act.done)


def _end(admin: AdminSession, *, run: RequeueRun, state: RunState, again: bool) -> None:
    del again  # it counts anew in any case
    _recount(admin, run)
    run.act.end(admin, state)


def _recount(admin: AdminSession, run: RequeueRun) -> None:
    """Take what is done from its act's row: a portion may have been committed, and its answer lost."""
    run.act.done = acts.act(admin, run.act.id)["result"]["done"]
