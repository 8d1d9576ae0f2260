"""Writes this replica's pulse once a minute, where there is one (`reactor.core.pulse`); nothing depends on it."""

import random
import time
from dataclasses import replace

import structlog
import trio

from reactor.core.pulse import MINUTE, PulseCounts, PulseMemory, ReplicaState
from reactor.core.refusals import RefusedWork
from reactor.errors import RefusedError, TransientError
from reactor.loop import Observer
from reactor.observability.endpoint import RuntimeState
from reactor.postgres.connection.pool import Pool
from reactor.postgres.pulses import ReplicaIdentity, write_pulse

LAST = 1.0
"""Seconds for the last pulse: a process that ends does not wait for a database that is away."""
_SOON_AFTER = (5.0, 25.0)  # seconds after a minute's end; replicas do not write together

log = structlog.get_logger(__name__)


class PulseWriter:
    """Writes once a minute into the database what the process has done, and its state.

    Args:
        pool: Connections to the database.
        identity: Which process it is.
        state: What a pulse reports.
        observer: Notified of what the database refuses.
    """

    def __init__(self, pool: Pool, identity: ReplicaIdentity, state: RuntimeState, observer: Observer) -> None:
        self._pool = pool
        self._identity = identity
        self._state = state
        self._observer = observer
        self._memory = PulseMemory()
        self._second = random.uniform(*_SOON_AFTER)

    async def run(self) -> None:
        """Write pulses for ever, one a minute at most."""
        while True:
            await trio.sleep(MINUTE - (time.time() - self._second) % MINUTE)
            await self.write()

    async def end(self) -> None:
        """Write the last pulse, before the process ends."""
        with trio.move_on_after(LAST):
            await self.write(last=True)

    async def write(self, *, last: bool = False) -> None:
        """Write a pulse if there is one; a pulse that cannot be written is lost.

        Args:
            last: Whether the process ends.
        """
        state = self._state
        lease = state.outbox.lease if state.outbox else None
        due = self._memory.next(
            time.time(),
            PulseCounts.of(state.stats, state.calls),
            ReplicaState.of(state.lanes, state.gate, lease, state.lag.worst, trio.current_time()),
            last=last,
        )
        if due is None:
            return
        pulse, memory = due
        self._memory = replace(memory, written=None)
        try:
            await write_pulse(self._pool, self._identity, pulse)
        except TransientError as error:
            if isinstance(error, RefusedError):
                self._observer.refused(RefusedWork.PULSE, error.sqlstate)
            log.warning("pulse_lost", problem=str(error))
        else:
            self._memory = memory
            self._observer.accepted(RefusedWork.PULSE)
