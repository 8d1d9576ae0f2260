"""What a visitor of the demo's console may break: the same faults as the scenario's, for long enough to look at them.

The console knows this by its protocol only (`reactor.console.shared.breakage`).
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import trio

from calendar_emulator import Fault
from reactor.console.shared.breakage import BreakKind, BreakState
from reactor.demo.comparison import QUERY, ViewRow, differences
from reactor.demo.faults import FaultPlayer
from reactor.demo.google import DemoAccount, Google
from reactor.demo.stats import DemoStats
from reactor.postgres.connection.session import Session

_LONGEST = 15.0  # seconds of a fault, where few calls meet it
_FRESH = 1.0  # seconds for which all visitors get the same answer
_DELETED = 3  # events

_KINDS = (
    BreakKind(
        "unavailable",
        "Google answers 503 to everybody",
        "A probe leaves after 1, 2, 4 … seconds, everything else waits, and no item loses an attempt.",
        is_of_workspace=False,
    ),
    BreakKind(
        "rate-limit",
        "Google limits the rate",
        "The workspace pauses, then goes on at half the rate; the others notice nothing.",
    ),
    BreakKind(
        "lost-answers",
        "Google does the work, and its answers get lost",
        "The same requests are met again and not repeated: no event is there twice.",
    ),
    BreakKind(
        "revoked",
        "A person takes the consent back",
        "The workspace is parked. After some seconds an administrator connects it again, and what has waited is sent.",
    ),
    BreakKind(
        "deleted",
        "A person deletes events in the calendar",
        "That is respected: the next edit of each becomes a dead letter EVENT_GONE, and a rebuild brings them back.",
    ),
)


class DemoBreakage:
    """The demo's Google, as something to break.

    Args:
        google: The accounts.
        faults: Injects faults, one at a time.
        stats: Of the outbox.
        onlooker: A session that may read the application's view.
    """

    def __init__(self, google: Google, faults: FaultPlayer, stats: DemoStats, onlooker: Session) -> None:
        self._google, self._faults, self._stats, self._onlooker = google, faults, stats, onlooker
        self._looking = trio.Lock()
        self._last: BreakState | None = None
        self._until = -1.0

    @property
    def kinds(self) -> Sequence[BreakKind]:
        """What can be done to it."""
        return _KINDS

    @property
    def workspaces(self) -> Mapping[UUID, str]:
        """The workspaces by their ids, with their names."""
        return {account.workspace_id: account.name for account in self._google.accounts}

    async def look(self) -> BreakState:
        """How it is now; it may be a second old."""
        async with self._looking:
            if self._last is None or trio.current_time() >= self._until:
                self._last = await self._look()
                self._until = trio.current_time() + _FRESH
            return self._last

    async def _look(self) -> BreakState:
        with trio.CancelScope(shield=True):  # a session that is interrupted is lost
            rows = await self._onlooker.execute(QUERY)
        emulator = self._google.emulator
        held = {account.calendar_id: emulator.events(account.calendar_id) for account in self._google.accounts}
        found = differences([ViewRow(*row) for row in rows], held, self._google.foreign)
        return BreakState(
            current=self._faults.current,
            waiting=self._stats.outbox.open,
            events=sum(map(len, held.values())) - sum(map(len, self._google.foreign.values())),
            differences=len(found),
            met=self._faults.met,
            healed=dict(self._faults.healed),
        )

    async def play(self, kind: str, workspace: UUID) -> None:
        """Break it, and return when that is over."""
        [account] = [each for each in self._google.accounts if each.workspace_id == workspace]
        match kind:
            case "unavailable":
                outage = Fault(effect="error", status=503, times=40)
                await self._faults.inject("503", "Google answers 503", [outage], longest=_LONGEST)
            case "rate-limit":
                limit = Fault(calendar=account.calendar_id, effect="error", reason="rateLimitExceeded", times=8)
                says = f"{account.name}: Google says 403 rateLimitExceeded"
                await self._faults.inject("rate limit", says, [limit], longest=_LONGEST)
            case "lost-answers":
                await self._faults.lose_answers(account, longest=_LONGEST)
            case "revoked":
                await self._faults.revoke(account, longest=_LONGEST, shown=_LONGEST)
            case "deleted":
                self._delete(account)
            case _:
                raise ValueError(kind)
        self._until = -1.0

    def _delete(self, account: DemoAccount) -> None:
        """Delete some events, those first that the application has not changed for longest."""
        emulator, foreign = self._google.emulator, self._google.foreign[account.calendar_id]
        theirs = {event["id"] for event in foreign}
        ours = [each for each in emulator.events(account.calendar_id) if each["id"] not in theirs]
        for event in sorted(ours, key=lambda each: str(each["updated"]))[:_DELETED]:
            emulator.delete_by_hand(account.calendar_id, event["id"])
        self._faults.count("deleted by hand")
