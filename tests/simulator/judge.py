"""What must hold, all the way and in the end."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import trio

from calendar_emulator.store.calendars import Write, WriteKind
from reactor.core.item import Settlement
from reactor.core.outcome import FailureCode, Outcome, Retry, Scope
from tests.simulator.application import WORKSPACES, Source, calendars_of, key_of, source_id
from tests.simulator.stored import OPEN, REBUILD, Row

if TYPE_CHECKING:
    from tests.simulator.replica import Replica
    from tests.simulator.world import World

SOON = 15.0
"""Seconds within which an innocent's item is settled, from its commit or the end of what befalls everybody."""
TAKEN_OVER = 12.0
"""Seconds within which what lost its worker is taken over: an idle replica sweeps every 9.5 s."""
FREE = 3
"""Losses in a row that cost nothing."""
MOST_FREE = 2
"""As often in a row may an item fail for nothing although others are answered, as one just before it left."""
MOST_KILLS = 12
"""As often may one item end its worker: three losses are free, five more are attempts, and some are met half-way."""
CONTENT = (FailureCode.BAD_PAYLOAD.value, FailureCode.BAD_REQUEST.value)
LASTING = (*CONTENT, FailureCode.EVENT_GONE.value)
"""What a requeue does not mend."""
State = tuple[str, str, int]
"""A state that is sent: workspace, source and place."""
OURS = {source_id((w, n)): (w, n) for w in range(len(WORKSPACES)) for n in range(60)}
OF_GOOGLE = frozenset(
    {"Google failed", "no answer came; it may have been carried out", "answered by something that is not Google"}
)
OUTAGES = OF_GOOGLE | {
    "the token endpoint did not answer",
    "the token endpoint failed",
    "the token endpoint's answer cannot be read",
}


class Violation(BaseException):
    """Something that must hold does not."""


@dataclass
class Judge:
    """Watches a world.

    Attributes:
        evidence: Whether an outage may cost an attempt only where something else got through meanwhile.
        on_wire: States that were sent.
        uncertain: Sources of which the calendar may rightly show something else: their newest state could not be found
            out to be one that cannot be shown, or a person deleted their event.
        gone: Those of them whose event a person deleted.
        calm_at: From then on nothing befalls everybody.
        patient_until: By workspace: until when pauses that Google asked for may last.
    """

    world: "World"
    evidence: bool = True
    on_wire: set[State] = field(default_factory=set)
    uncertain: set[Source] = field(default_factory=set)
    gone: set[Source] = field(default_factory=set)
    calm_at: float = 0.0
    patient_until: dict[int, float] = field(default_factory=dict)
    _braked_at: dict[int, float] = field(default_factory=dict)
    kills: Counter[int] = field(default_factory=Counter)
    _alive: dict[tuple[str, Source], set[str]] = field(default_factory=lambda: defaultdict(set))
    _newest: dict[Source, int] = field(default_factory=dict)
    _orphan_since: dict[UUID, float] = field(default_factory=dict)
    _floors: dict[tuple[UUID, str], int] = field(default_factory=dict)
    _got_through: dict[tuple[str, int], list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    _failed_at: dict[tuple[str, int, State], float] = field(default_factory=dict)
    _failed_before: dict[tuple[str, int, State], float] = field(default_factory=dict)
    _left_at: dict[State, int] = field(default_factory=dict)
    _for_nothing: Counter[State] = field(default_factory=Counter)
    _ticks: int = 0

    def trouble(self, until: float) -> None:
        """Something befalls everybody until then."""
        self.calm_at = max(self.calm_at, until)

    # As it happens

    def wrote(self, calendar: str, write: Write) -> None:
        """Take in a change of a calendar."""
        private = write.event.get("extendedProperties", {}).get("private", {})
        source = OURS.get(private.get("reactorSource", "").removeprefix("task:"))
        if source is None:
            return
        alive = self._alive[calendar, source]
        if write.kind is WriteKind.DELETE:
            alive.discard(write.event["id"])
            return
        alive.add(write.event["id"])
        if len(alive) > 1:
            raise Violation(f"twice in a calendar: {source}, {sorted(alive)}")
        seq = int(write.event["summary"].rpartition(" ")[2])
        if seq < self._newest.get(source, 0):
            raise Violation(f"an older state after a newer one: {source}, {seq} after {self._newest[source]}")
        self._newest[source] = seq

    def deleted_by_hand(self, source: Source) -> None:
        """Take in that a person deleted a source's event; only a rebuild brings it back."""
        self.gone.add(source)
        self.uncertain.add(source)

    def left(self, state: State) -> None:
        """A state leaves for Google."""
        self.on_wire.add(state)
        self._left_at[state] = self._tick()

    def came_to(self, replica: "Replica", state: State, outcome: Outcome) -> None:
        """Take in what a request came to for a state, as its process learns it."""
        at = self._tick()
        if isinstance(outcome, Retry) and outcome.outage:
            about = replica.name, replica.life, state
            self._failed_before[about] = self._failed_at.get(about, math.inf)
            self._failed_at[about] = at
        elif not isinstance(outcome, Retry) or outcome.scope is Scope.ITEM:
            self._got_through[replica.name, replica.life].append((at, state[0]))

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def ended(self, replica: "Replica", settlement: Settlement) -> None:
        """Take in an end that was written."""
        item = settlement.item
        about = item.workspace_id, item.source_key
        source = self.world.tables.sources.get(about)
        if source is not None:
            if source.memory.floor_seq < self._floors.get(about, 0):
                raise Violation(f"a floor fell: {about}")
            self._floors[about] = source.memory.floor_seq
        self._is_uncertain(item.id, died=settlement.moves_floor and settlement.status == "DEAD_LETTER")
        if item.is_child and settlement.status == "DEAD_LETTER":
            # Content that Google refuses, made anew: what was there before is gone, as was asked for.
            self.uncertain.update(OURS[key] for key in [item.source_key.removeprefix("task:")] if key in OURS)
        if item.operation != REBUILD and not item.is_child:
            state = str(item.workspace_id), item.source_key, item.seq
            charged = settlement.attempts > item.attempts
            reason = (settlement.last_error or "").partition(" (")[0]  # without the codes of the answer
            if charged:
                self._earned(replica, settlement, state, reason)
            self._is_charged(replica, settlement, state, for_nothing=reason in OF_GOOGLE and not charged)

    def _is_charged(self, replica: "Replica", settlement: Settlement, state: State, *, for_nothing: bool) -> None:
        """What only Google cannot digest, while others are answered, is charged, and so has an end."""
        if not for_nothing:
            del self._for_nothing[state]
        elif any(workspace != state[0] for workspace in self._answered(replica, state)):
            self._for_nothing[state] += 1
            if self._for_nothing[state] > MOST_FREE:
                raise Violation(
                    f"others are answered, and a failure costs nothing: row {settlement.item.seq},"
                    f" {settlement.last_error}"
                )

    def _answered(self, replica: "Replica", state: State) -> list[str]:
        """The workspaces that got through between the failure before the last and the moment when the state left."""
        process = replica.name, replica.life
        since, until = self._failed_before.get((*process, state), math.inf), self._left_at.get(state, 0)
        return [workspace for at, workspace in self._got_through[process] if since <= at <= until]

    def _earned(self, replica: "Replica", settlement: Settlement, state: State, reason: str) -> None:
        item = settlement.item
        if state not in self.on_wire and not reason.startswith("the token endpoint"):
            raise Violation(f"an attempt for what was never sent: row {item.seq}, {reason}")
        if not self.evidence or reason not in OUTAGES:
            return
        if not self._answered(replica, state):
            raise Violation(f"an outage cost an attempt: row {item.seq}, {reason}; nothing else got through")

    def _is_uncertain(self, row_id: UUID, *, died: bool) -> None:
        """A state that cannot be shown and died for another reason takes what is older with it."""
        source = self.world.bad.get(row_id)
        if died and source is not None:
            self.uncertain.add(source)

    def swept(self, row: Row, counted: bool) -> None:  # noqa: FBT001 - as the tables tell it
        """Take in that a row was taken over, and whether that cost an attempt."""
        if row.status == "DEAD_LETTER":
            self._is_uncertain(row.id, died=True)
            if row.seq not in self.world.ever_cursed and not row.parent:
                raise Violation(
                    f"a worker's loss ended row {row.seq} of {self.world.name(row.workspace)}, which is innocent"
                )
        if counted and row.losses <= FREE:
            raise Violation(f"a lost worker cost an attempt: row {row.seq}")

    def killed_by(self, seq: int) -> None:
        self.kills[seq] += 1
        if self.kills[seq] > MOST_KILLS:
            raise Violation(f"row {seq} ends its workers for ever")

    # Again and again

    def check(self) -> None:
        """Look at everything."""
        now = trio.current_time()
        self._check_rows(now)
        for replica in self.world.replicas:
            if replica.alive:
                self._check_lanes(replica, now)
                self._check_hands(replica)
        if not any(replica.alive for replica in self.world.replicas):
            self.trouble(now + 10)

    def _check_rows(self, now: float) -> None:
        leases = self.world.tables.leases
        busy: set[tuple[UUID, str]] = set()
        for row in self.world.tables.rows.values():
            if row.status not in OPEN:
                continue
            self._is_soon(row, now)
            if row.status != "PROCESSING":
                self._orphan_since.pop(row.id, None)
                continue
            about = row.workspace, REBUILD if row.operation == REBUILD else row.key
            if about in busy:
                raise Violation(f"two rows of one source are PROCESSING: {about}")
            busy.add(about)
            if row.lease_no in leases or row.refusal or self._locked(row):
                self._orphan_since.pop(row.id, None)
                continue
            since = max(self._orphan_since.setdefault(row.id, now), self.calm_at)
            if now - since > TAKEN_OVER:
                raise Violation(f"row {row.seq} lost its worker and is not taken over")

    def _locked(self, row: Row) -> bool:
        locked = self.world.tables.locked
        return any(each in locked for each in (row.id, (row.workspace, row.key), row.workspace))

    def _is_soon(self, row: Row, now: float) -> None:
        workspace = WORKSPACES.index(row.workspace)
        healed = self.world.healed_at
        stop = self.world.tables.brakes.get(row.workspace)
        if stop is not None and not stop.released:  # it has cancelled too much, and waits for a person
            self._braked_at[workspace] = now
        if workspace >= self.world.setup.innocents and healed is None:
            return
        since = max(row.committed_at, self.calm_at, self._braked_at.get(workspace, 0.0))
        if healed is not None:
            since = max(since, self.patient_until.get(workspace, 0.0))
        if healed is not None and workspace >= self.world.setup.innocents:
            since = max(since, healed + 90)
        if now - since > SOON:
            who = "an innocent's" if workspace < self.world.setup.innocents else "a healed"
            raise Violation(
                f"{who} row {row.seq} of workspace {workspace} waits for {now - since:.0f} s:"
                f" {row.status}, attempts {row.attempts}, losses {row.losses},"
                f" due in {(row.due or 0) - self.world.server.now():.1f},"
                f" {row.error}; {self.world.replicas_told()}"
            )

    def _check_lanes(self, replica: "Replica", now: float) -> None:
        lanes = replica.lanes
        if lanes.in_flight_items > lanes.in_flight_items_cap:
            raise Violation(f"{lanes.in_flight_items} items in hand")
        if len(lanes._alarms) > 500:
            raise Violation(f"{len(lanes._alarms)} alarms")
        if replica.loop is None or not hasattr(replica.loop, "_senders") or replica.loop._stop.is_set():
            return  # no session, still its first sweep, or no more claims; a loop begins with a look at every lane
        if any(session.lost.is_set() for session in replica.sessions if session.name != "listen"):
            return  # it ends as soon as the statement in progress does
        for workspace, lane in lanes._excluded.items():
            if not lane.in_flight_items and not now <= lane.alarm_at < math.inf:
                raise Violation(f"{replica.name} leaves workspace {self.world.name(workspace)} out without a reason")
        waiting = len(replica.loop._settler._ends)
        if waiting > max(lanes.in_flight_items, 0):
            raise Violation(f"{waiting} ends wait to be written, with {lanes.in_flight_items} items in hand")

    def _check_hands(self, replica: "Replica") -> None:
        """What a replica has in hand is what is PROCESSING under its lease, between statements."""
        outbox = replica.outbox
        if outbox is None or outbox.busy or outbox.lease_no not in self.world.tables.leases:
            return
        rows = self.world.tables.rows.values()
        held = {
            row.id for row in rows if row.status == "PROCESSING" and row.lease_no == outbox.lease_no and not row.refusal
        }
        hand = {item.id for item in outbox.in_flight}
        if held != hand:
            raise Violation(f"{replica.name}: {len(held)} rows under its lease, {len(hand)} in hand")

    # In the end

    def verdict(self) -> None:
        """The calendars equal the application, and nothing is left."""
        tables = self.world.tables
        left = [row for row in tables.rows.values() if row.status in OPEN]
        if left:
            raise Violation(f"not settled: {[(row.seq, row.status) for row in left]}")
        dead = [row for row in tables.rows.values() if row.status == "DEAD_LETTER" and row.code not in CONTENT]
        odd = {row.seq: row.code for row in dead if row.code not in LASTING or row.key not in self._gone_keys()}
        if odd:
            raise Violation(f"dead in the end: {odd}")
        self._compare("calendars", self.world.shown())
        bound = Counter(
            (bound.calendar_id, OURS[key.removeprefix("task:")], bound.title)
            for (_, key), bound in tables.bindings.items()
            if key.removeprefix("task:") in OURS
        )
        self._compare("bindings", bound)

    def _gone_keys(self) -> set[str]:
        return {key_of(source) for source in self.gone}

    def _compare(self, what: str, shown: Counter[tuple[str, Source, str]]) -> None:
        wanted = self.world.application.wanted()
        for each in [*(wanted - shown), *(shown - wanted)]:
            if each[1] not in self.uncertain:
                raise Violation(f"{what}: wanted {_about(wanted, each[1])}, shown {_about(shown, each[1])}")


def _about(found: Counter[tuple[str, Source, str]], source: Source) -> list[tuple[int, str]]:
    where = calendars_of(source[0])
    return [(where.index(calendar), title) for calendar, about, title in found if about == source]
