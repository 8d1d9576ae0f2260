"""Writes a replica's pulses."""

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from reactor.core.pulse import Pulse
from reactor.postgres.connection.pool import Pool
from reactor.postgres.statements import statements

SQL = statements("pulses")


@dataclass(frozen=True, slots=True)
class ReplicaIdentity:
    """Which process a pulse is of.

    Attributes:
        version: The program's version.
        settings: Its settings by name, without secrets.
        host: The name of its machine; in Kubernetes of its pod.
        started_at: When it began, in seconds of Unix time.
        replica: Made anew with each process.
    """

    version: str
    settings: Mapping[str, Any]
    host: str = field(default_factory=platform.node)
    started_at: float = field(default_factory=time.time)
    replica: UUID = field(default_factory=uuid4)


async def write_pulse(pool: Pool, identity: ReplicaIdentity, pulse: Pulse) -> None:
    """Write a pulse, in the place of one of the same minute; delete old ones.

    Raises:
        RefusedError: The server refused.
        TransientError: The database cannot be reached.
    """
    state, counted = pulse.state, pulse.counts
    lanes = [{**asdict(lane), "workspace": str(lane.workspace)} for lane in state.lanes]
    await pool.execute(
        SQL["write"],
        {
            "minute": pulse.minute,
            "replica": identity.replica,
            "started_at": identity.started_at,
            "host": identity.host,
            "version": identity.version,
            "settings": Jsonb(dict(identity.settings)),
            "lease": state.lease,
            "gate": state.gate,
            "breaker": state.breaker,
            "items": state.items,
            "requests": state.requests,
            "rate": state.rate,
            "lag": state.lag,
            "standings": Jsonb(dict(state.standings)),
            "lanes": Jsonb(lanes),
            **{name: Jsonb(dict(counts)) for name, counts in counted._asdict().items()},
        },
    )
