"""What befalls replicas, the database and Google in a history."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from tests.simulator.application import calendars_of
from tests.simulator.google_faults import KINDS
from tests.simulator.history import Blow, Hand, Trick, Weather
from tests.simulator.judge import OURS
from tests.simulator.server import Trouble

if TYPE_CHECKING:
    from tests.simulator.world import World


class Fate:
    """Makes things happen, and tells the judge for how long they excuse what.

    Attributes:
        rules: The faults that Google has been told.
    """

    def __init__(self, world: "World") -> None:
        self.rules: list[Any] = []
        self._world = world

    async def blow(self, blow: Blow) -> None:
        for _ in range(blow.steps):
            await trio.lowlevel.checkpoint()
        replica = self._world.replicas[blow.replica % len(self._world.replicas)]
        if not replica.alive:
            return
        now = trio.current_time()
        self._world.judge.trouble(now + blow.linger + (blow.back or 0.0) + 12)
        match blow.what:
            case "kill":
                replica.kill(linger=blow.linger, restart_after=blow.back)
            case "drain":
                replica.drain(blow.back)
            case _:
                replica.lose_session(blow.session, blow.linger)

    def weather(self, weather: Weather) -> None:
        now = trio.current_time()
        self._world.judge.trouble(now + weather.seconds + weather.amount + 25)
        match weather.what:
            case "restart":
                self._world.server.down_until = now + weather.seconds
                for session in list(self._world.server.backends.values()):
                    self._world.server.terminate(session, self._world.rng.uniform(0.0, 0.003))
            case "refuse":
                self._world.server.troubles.append(
                    Trouble(weather.kind, now + weather.seconds, sqlstate=weather.sqlstate)
                )
            case "slow":
                self._world.server.troubles.append(Trouble(weather.kind, now + weather.seconds, seconds=weather.amount))
            case _:
                self._world.server.clock_is_ahead += weather.amount
                self._world.judge.trouble(now + abs(weather.amount) + 15)

    def hand(self, hand: Hand) -> None:
        """What a person does in a calendar."""
        if hand.workspace >= self._world.setup.workspaces:
            return
        emulator, calendar_id = self._world.emulator, calendars_of(hand.workspace)[hand.calendar]
        if hand.what == "empty":
            for record in emulator.calendar(calendar_id).ordered:
                if record.cancelled:
                    emulator.purge(calendar_id, record.event["id"], status=hand.status)
            return
        events = emulator.events(calendar_id)
        if events:
            event = events[hand.event % len(events)]
            emulator.delete_by_hand(calendar_id, event["id"])
            self._world.judge.deleted_by_hand(OURS[event["extendedProperties"]["private"]["reactorSource"][5:]])

    async def trick(self, trick: Trick) -> None:
        now = trio.current_time()
        if trick.kind == "cut":
            self._world.wire.cut_until = now + trick.seconds
            self._world.judge.trouble(now + trick.seconds + 85)
        elif trick.kind == "tokens expire":
            self._world.emulator.oauth.expire_access_tokens()
        else:
            await self._fault(trick, now)

    async def _fault(self, trick: Trick, now: float) -> None:
        kind = KINDS[trick.kind]
        faults = kind.faults
        if trick.workspace is None:
            self._world.judge.trouble(now + trick.seconds + kind.recovery)
        else:
            calendar = calendars_of(trick.workspace)[trick.calendar]
            faults = tuple(replace(f, calendar=calendar) for f in faults if f.operation not in ("token", "batch"))
            self._be_patient(trick.workspace, now + trick.seconds + kind.recovery)
        rules = [self._world.emulator.fault(fault) for fault in faults]
        self.rules += rules
        await trio.sleep(trick.seconds)
        for rule in rules:
            if rule in self._world.emulator.faults.rules:
                self._world.emulator.faults.remove(rule)

    def _be_patient(self, workspace: int, until: float) -> None:
        patience = self._world.judge.patient_until
        patience[workspace] = max(patience.get(workspace, 0.0), until)
