"""What has befallen in a history, and when: what may remain different because of it, and what needs another edit.

Times are the emulator's. What runs while something befalls may carry on for a moment with what it knew before.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.support.history_model import SOURCES, Source

UNDER_WAY = 1.5
"""Seconds for which requests that were under way may still arrive."""


def _never() -> dict[Any, float]:
    return defaultdict(lambda: -math.inf)


@dataclass
class Deeds:
    """What was done.

    Attributes:
        hands: What people did: the changes that each of their writes made, by the write's order.
        copies: Ids of copies that people made of our events.
        moved: Ids of events that a person has moved to another calendar.
        emptied: Calendars that were deleted and made anew.
        rebuilt: Workspaces that had a rebuild without a view, which moves all events to its calendar.
        forgotten: Between which times the database has forgotten, or may have forgotten, what was done.
        left_at: Until when each workspace may have worked with other calendars: another account's, or unshared ones.
    """

    hands: dict[int, dict[str, Any]] = field(default_factory=dict)
    copies: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    rebuilt: set[UUID] = field(default_factory=set)
    forgotten: list[tuple[float, float]] = field(default_factory=list)
    left_at: dict[UUID, float] = field(default_factory=_never)
    _edited_at: dict[Source, float] = field(default_factory=_never)
    _disturbed_at: dict[Source, float] = field(default_factory=_never)

    def edit(self, source: Source, *, enqueued: bool) -> None:
        """The application has changed what it wants; or it has without a word to the outbox."""
        (self._edited_at if enqueued else self._disturbed_at)[source] = time.time()

    def disturb(self, sources: Iterable[Source]) -> None:
        """What the last edit of these came to may not last."""
        for source in sources:
            self._disturbed_at[source] = time.time() + UNDER_WAY

    def leave(self, workspace: UUID, *, account: bool) -> None:
        """A workspace cannot see a calendar any more, or is another account's."""
        self.left_at[workspace] = time.time() + UNDER_WAY
        if account:
            self.disturb(each for each in SOURCES if each[0] == workspace)

    def forget(self, since: float, *, running: bool) -> None:
        """The database has forgotten what was done since then."""
        self.forgotten.append((since, time.time() + UNDER_WAY * running))
        self.disturb(SOURCES)

    def is_forgotten(self, at: float, by: float = math.inf) -> bool:
        """Whether what was done then is forgotten, or was forgotten by another time."""
        return any(since <= at <= until and until - UNDER_WAY <= by for since, until in self.forgotten)

    def needs_edit(self, source: Source) -> bool:
        """Whether the docs promise nothing for a source without another edit, or a rebuild."""
        return source[0] in self.rebuilt or self._disturbed_at[source] >= self._edited_at[source]
