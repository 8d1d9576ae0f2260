"""What the outbox says about a disagreement: it is on its way, it has waited too long, or it has died.

A difference that is on its way is no fault. A state waits in the outbox and is applied within seconds; a rebuild makes
everything right; and what was settled after we had begun to read the calendars may be newer than what we read. A state
that has waited longer than the patience given is a fault all the same.
"""

from dataclasses import dataclass, replace

from reactor.drift.judge import DriftFinding, DriftKind

_MENDED_BY_AN_ITEM = frozenset({DriftKind.MISSING, DriftKind.UNEXPECTED, DriftKind.DIFFERENT, DriftKind.TWICE})
_MENDED_BY_A_REBUILD = _MENDED_BY_AN_ITEM | {DriftKind.DELETED_BY_HAND}


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item of the outbox that is not settled.

    Attributes:
        item: Its id.
        seconds: For how long; None where that is not known.
    """

    item: str
    seconds: float | None = None

    def is_patient(self, patience: float) -> bool:
        """Whether it has waited no longer than that."""
        return self.seconds is not None and self.seconds <= patience


@dataclass(frozen=True, slots=True)
class Trace:
    """What the database says of a source.

    Attributes:
        waiting: The item that has waited longest.
        settled: Whether something of the source was settled since its calendar was read.
        dead_letter: The newest dead letter.
        code: What it died of.
    """

    waiting: Waiting | None = None
    settled: bool = False
    dead_letter: str = ""
    code: str = ""


def explain(finding: DriftFinding, trace: Trace, rebuild: Waiting | None, patience: float) -> DriftFinding:
    """Add to a finding what the outbox knows of it.

    Args:
        finding: What was found.
        trace: What is known of its source.
        rebuild: A REBUILD_ALL of the workspace that is not done.
        patience: Seconds that something may wait.
    """
    if trace.settled or finding.on_its_way:
        return replace(finding, on_its_way=True)
    for waiting, kinds in ((trace.waiting, _MENDED_BY_AN_ITEM), (rebuild, _MENDED_BY_A_REBUILD)):
        if waiting is not None and finding.kind in kinds:
            on_its_way = waiting.is_patient(patience)
            return replace(finding, item=waiting.item, waits=waiting.seconds, on_its_way=on_its_way)
    return replace(finding, item=trace.dead_letter, code=trace.code)
