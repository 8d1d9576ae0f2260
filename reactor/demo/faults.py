"""Faults of the demo's Google, which heal.

One fault at a time. Each ends after a fixed number of calls that met it, or after a few seconds without calls. So a run
with the same seed meets the same faults in the same order, however fast the machine is.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

from calendar_emulator import Exchange, Fault
from reactor.demo.google import DemoAccount, Google
from reactor.postgres.connection.session import Session

_LONGEST = 4.0  # seconds
_LOOK = 0.02  # seconds


class FaultPlayer:
    """Injects faults into the emulator, one after the other.

    Attributes:
        current: The fault of this moment, in words; empty without one.
        met: How many calls met a fault.
        healed: How many faults of each kind are over.
    """

    def __init__(self, google: Google, owner: Session, seed: int) -> None:
        self._google = google
        self._owner = owner
        self._random = random.Random(seed)
        self._coming: list[Callable[[DemoAccount], Awaitable[None]]] = []
        self.current = ""
        self.met = 0
        self.healed: Counter[str] = Counter()
        self._turn = trio.Lock()

    async def play(self) -> None:
        """Inject the next fault until it is over; every kind comes once before one comes twice."""
        if not self._coming:
            self._coming = [self._rate_limit, self._unavailable, self.lose_answers, self.revoke, self._slow]
            self._random.shuffle(self._coming)
        await self._coming.pop()(self._random.choice(self._google.accounts))

    async def _rate_limit(self, account: DemoAccount) -> None:
        fault = Fault(calendar=account.calendar_id, effect="error", reason="rateLimitExceeded", times=3)
        await self.inject("rate limit", f"{account.name}: Google says 403 rateLimitExceeded", [fault])

    async def _unavailable(self, account: DemoAccount) -> None:
        del account  # all accounts are affected
        await self.inject("503", "Google answers 503", [Fault(effect="error", status=503, times=6)])

    async def lose_answers(self, account: DemoAccount, *, longest: float | None = None) -> None:
        """The server does the work and its response gets lost; of a batch, some parts were carried out."""
        faults = [
            Fault(operation=name, calendar=account.calendar_id, in_batch=False, effect="drop", commit=1.0, times=1)
            for name in ("insert", "update", "delete")
        ]
        batch = Fault(operation="batch", effect="drop", commit=0.5, times=1)
        await self.inject(
            "lost answers", "answers get lost after Google did the work", [*faults, batch], enough=2, longest=longest
        )

    async def _slow(self, account: DemoAccount) -> None:
        del account
        await self.inject("slow answers", "Google takes 0.4 s to answer", [Fault(latency=0.4, in_batch=False, times=8)])

    async def revoke(self, account: DemoAccount, *, longest: float | None = None, shown: float = 1.0) -> None:
        """Revoke the consent; once the reactor has noticed, connect the account again as an administrator would.

        Args:
            account: Whose.
            longest: Seconds after which it is connected again, whatever the reactor has noticed; None for a few.
            shown: Seconds for people to see it.
        """
        async with self._turn:
            self.current = f"{account.name}: consent revoked"
            self._google.emulator.oauth.revoke(account.refresh_token)
            with trio.move_on_after(_LONGEST if longest is None else longest):
                while await self._valid(account):  # noqa: ASYNC110  (we poll the database; no event tells us)
                    await trio.sleep(_LOOK)
                self.met += 1
                self.current = f"{account.name}: consent revoked, its items wait"
                await trio.sleep(shown)
            await self._google.reconnect(self._owner, account)
            self._over("consent revoked")

    async def _valid(self, account: DemoAccount) -> bool:
        with trio.CancelScope(shield=True):  # a session that is interrupted is lost; the time-out bounds it
            [(valid,)] = await self._owner.execute(
                "select is_valid from google_connections where workspace_id = %s", (account.workspace_id,)
            )
        return bool(valid)

    async def inject(
        self, kind: str, says: str, faults: Sequence[Fault], *, enough: int = 0, longest: float | None = None
    ) -> None:
        """Add faults to the emulator's plan until they have fired often enough.

        Args:
            kind: What they are counted as.
            says: What they are, for people.
            faults: The faults.
            enough: How often they fire; 0 for as often as they may.
            longest: Seconds after which they are over, however often they have fired; None for a few.
        """
        async with self._turn:
            often = enough or sum(fault.times or 0 for fault in faults)
            await self._inject(kind, says, faults, often, _LONGEST if longest is None else longest)

    async def _inject(self, kind: str, says: str, faults: Sequence[Fault], enough: int, longest: float) -> None:
        plan, observers = self._google.emulator.faults, self._google.emulator.log.observers
        rules = [plan.add(fault) for fault in faults]
        fired = trio.Event()

        def observe(_: Exchange) -> None:
            if sum(rule.fired for rule in rules) >= enough:
                fired.set()

        observers.append(observe)
        self.current = says
        try:
            with trio.move_on_after(longest):
                await fired.wait()
            await trio.sleep(max(fault.latency for fault in faults))  # until the last of them is answered
        finally:
            self.current = ""
            observers.remove(observe)
            for rule in rules:
                plan.remove(rule)
        self.met += sum(rule.fired for rule in rules)
        self._over(kind)

    def count(self, kind: str) -> None:
        """Count a fault that is over at once."""
        self.healed[kind] += 1

    def _over(self, kind: str) -> None:
        self.current = ""
        self.count(kind)
