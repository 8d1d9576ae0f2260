"""Trials: an item that lost its worker three times in a row is tried alone, so a fourth loss shows that it is to blame.

A worker that dies leaves all that it had in flight, and one of those items may have ended it. The first three losses
are free, and a claim takes ever fewer such items at once (db/migrations/0025_claim_items.sql). That finds a culprit
among old items. But new ones are in flight beside it, and each of them may be a culprit too: the simulator drew three
culprits within five seconds, and an innocent item paid all of its attempts for them (seed 920349). So the fourth loss,
the first that costs an attempt, needs a proof: nothing else was in flight.

A process that starts after a crash soon has a moment with nothing in flight, and tries then. A process that is at work
stops claiming when such an item has waited for `TRIAL_AFTER`, until what it has in flight is over; the others go on
meanwhile, and the pause is about as long as a request. Something that hangs may not stop everything: the drain and the
trial each have a bound. After it the item has company.

After a trial nothing is in flight, so the next one could begin at once, and a workspace with sixty such items would
stop the others for sixty requests (seed 6025). So after each trial the others are claimed for first.
"""

from collections.abc import Collection, Iterable
from enum import Enum, auto
from uuid import UUID

FREE_LOSSES = 3
"""As often in a row an item's worker may be lost before that costs the item an attempt (outbox.sql, sweep)."""
TRIAL_AFTER = 1.0
"""Seconds for which an item waits for its trial while others are claimed, so that others get on between two trials."""
OTHERS_END_WITHIN = 3.0
"""Seconds for which nothing is claimed, so that what is in flight ends."""
ALONE_FOR = 5.0
"""Seconds for which a trial has no company."""
RETRY_PAUSE = 10.0
"""Seconds until a workspace is tried again where nothing was to be claimed: the item's row is locked."""


class TrialDecision(Enum):
    """What a claim is to do."""

    WORK = auto()
    """Claim items that are no suspects."""
    WAIT = auto()
    """Claim nothing, so that a trial is, or will be, alone."""


class Trials:
    """Decides when a trial is held, and in which workspace. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, float] = {}
        self._not_before: dict[UUID, float] = {}
        self._alone_until = 0.0
        self._others_first = False

    @property
    def wait(self) -> bool:
        """Whether something waits for its trial."""
        return bool(self._waiting)

    def left_out(self, workspaces: Iterable[UUID], now: float) -> None:
        """Note in which workspaces a claim has left out items that need a trial."""
        self._not_before = {w: then for w, then in self._not_before.items() if then > now}
        for workspace in workspaces:
            if workspace not in self._not_before:
                self._waiting.setdefault(workspace, now)

    def next(self, now: float, excluded: Collection[UUID], *, busy: bool, trying: bool) -> TrialDecision | UUID:
        """Say what the next claim is to do; a workspace means a trial there.

        Args:
            now: The time.
            excluded: Workspaces of which nothing may be claimed.
            busy: Whether anything is in flight.
            trying: Whether a trial is.
        """
        if trying:
            return TrialDecision.WAIT if now < self._alone_until else TrialDecision.WORK
        workspace = next((w for w in self._waiting if w not in excluded), None)
        if workspace is None:
            return TrialDecision.WORK
        if self._others_first:
            self._others_first = False
            return TrialDecision.WORK
        waited = now - self._waiting[workspace]
        if not busy or waited >= TRIAL_AFTER + OTHERS_END_WITHIN:
            return workspace
        return TrialDecision.WAIT if waited >= TRIAL_AFTER else TrialDecision.WORK

    def begin(self, workspace: UUID) -> None:
        """Note that a trial is about to be claimed; `left_out` reports what it leaves out."""
        del self._waiting[workspace]

    def tried(self, workspace: UUID, now: float, *, found: bool) -> None:
        """Note whether an item was claimed for the trial."""
        if found:
            self._alone_until = now + ALONE_FOR
            self._others_first = True
        else:
            self._waiting.pop(workspace, None)
            self._not_before[workspace] = now + RETRY_PAUSE
