"""Decides whether the process has started, is alive, and is ready.

*Alive* says only that the loops make progress: a loop that tries again and again to reach a database that is down does.
A database outage must not restart every replica, so liveness knows nothing of the database. *Ready* says that this
replica does its work: it has its sessions, the database does not refuse what it asks, the schema is the one it needs,
and it is not about to stop. *Started* says that it was ready once; readiness reports what is lost later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_CYCLE = 60.0
"""Seconds that a cycle may take. It is a look at the outbox or an attempt to connect: milliseconds, bounded by the
statements' time-out (10 s) and by that of a connection (5 s for each address of the database's name)."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The answer to a probe.

    Attributes:
        problems: Why the answer is no, a sentence each; empty where it is yes.
    """

    problems: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether the answer is yes."""
        return not self.problems


@dataclass(slots=True)
class HealthFacts:
    """What the probes are decided by; the service keeps it up to date.

    Attributes:
        beats: When each loop last completed a cycle, in seconds of the clock that `now` is from.
        schema_current: Whether the database has what this version needs, as far as is known.
        claiming: Whether the session that holds the items' locks is up.
        listening: Whether the session that is called by writers is up.
        draining: Whether the process is about to stop.
        crashing: Whether an unexpected error ended the work not long ago.
        has_been_ready: Whether it ever was ready.
        refusals: What the database has refused for long, a sentence each.
    """

    beats: dict[str, float]
    schema_current: bool = False
    claiming: bool = False
    listening: bool = False
    draining: bool = False
    crashing: bool = False
    has_been_ready: bool = False
    refusals: tuple[str, ...] = ()


def liveness(beats: Mapping[str, float], now: float, *, rest: float = 0.0) -> ProbeResult:
    """Judge whether every loop makes progress.

    Args:
        beats: When each loop last completed a cycle.
        now: The time, by the same clock.
        rest: Seconds that a loop may sleep between two cycles.
    """
    return ProbeResult(
        tuple(
            f"The {name} loop has not completed a cycle for {now - beat:.0f} s."
            for name, beat in beats.items()
            if now - beat > rest + LONGEST_CYCLE
        )
    )


def readiness(facts: HealthFacts) -> ProbeResult:
    """Judge whether this replica does its work."""
    rules = (
        (facts.draining, "It is stopping."),
        (
            not facts.schema_current,
            "The schema has not been verified yet, or lacks something: `python -m reactor migrate --check` lists it.",
        ),
        (not facts.claiming, "The database session that claims items is not up: `python -m reactor check` says why."),
        (
            facts.crashing,
            "An unexpected error has ended the work within the last minute; it was begun anew: see the log.",
        ),
        (
            not facts.listening,
            "The database session that listens for new items is not up: `python -m reactor check` says why.",
        ),
    )
    return ProbeResult((*(problem for broken, problem in rules if broken), *facts.refusals))


def startup(facts: HealthFacts) -> ProbeResult:
    """Judge whether this replica has ever been ready."""
    return ProbeResult(() if facts.has_been_ready else ("It has not been ready yet.", *readiness(facts).problems))
