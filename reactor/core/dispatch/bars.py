"""Bars: workspaces that claims leave out for a while, because the server refuses to look at them.

A workspace is barred for a second after the first refusal in a row, for twice as long after each further one, and for a
minute at most. Then a claim tries it alone, because it may cost the others time.
"""

import math
from collections.abc import Collection, KeysView
from typing import NamedTuple
from uuid import UUID

from reactor.core.backoff import backoff

BARRED_AT_MOST = 60.0
"""Seconds; the longest time for which a workspace is left out."""


class Bar(NamedTuple):
    """How a workspace is left out.

    Attributes:
        refusals: How often in a row the server refused to look at it.
        until: When it may be tried again.
        trial: How many of its items are tried then.
    """

    refusals: int
    until: float
    trial: int


class Bars:
    """The workspaces that are left out. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._bars: dict[UUID, Bar] = {}

    @property
    def workspaces(self) -> KeysView[UUID]:
        """All of them, also those that may be tried again."""
        return self._bars.keys()

    def bar(self, workspace: UUID, now: float, *, trial: int = 1) -> None:
        """Leave a workspace out for a while; after that, `trial` of its items are tried."""
        refusals = self._bars[workspace].refusals + 1 if workspace in self._bars else 1
        self._bars[workspace] = Bar(refusals, now + backoff(refusals, random=0, cap=BARRED_AT_MOST), trial)

    def lift(self, workspace: UUID) -> None:
        """Forget the refusals of a workspace, if there were any: the next bar is short again."""
        self._bars.pop(workspace, None)

    def next(self, now: float, excluded: Collection[UUID]) -> tuple[UUID, int] | None:
        """Return the workspace that has waited longest for its trial, with how many of its items to try."""
        if not self._bars:  # as a rule: nothing is computed for it in a claim
            return None
        over = [(bar.until, w, bar.trial) for w, bar in self._bars.items() if bar.until <= now and w not in excluded]
        return min(over)[1:] if over else None

    def over_in(self, now: float) -> float:
        """Seconds until a workspace may be tried again; infinity where none is barred."""
        return min((max(0.0, bar.until - now) for bar in self._bars.values()), default=math.inf)
