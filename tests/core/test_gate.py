"""The gate in a simulated world: writers, replicas and one lock, in virtual time."""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from reactor.core.dispatch.gate import Gate, GateAction, GateState, LockAttempt, Look, LookResult, Timings

MARGIN = 0.01  # seconds: the simulated durations of looks and round trips


@dataclass
class Writer:
    """A transaction that inserts one row at `start` and ends `length` later."""

    start: float
    length: float
    rolls_back: bool = False


@dataclass
class World:
    """One lock, its holders and its queue, rows, and the replicas that wait for them."""

    writers: list[Writer]
    replicas: int
    timings: Timings
    seed: int
    looks_take: float = 0.001
    busy_share: float = 0.0
    dies_at: float = math.inf
    """When replica 0 falls silent, its lock freed by the server."""

    now: float = 0.0
    silent: int = 0
    """Writers that share the lock."""
    holder: int | None = None
    asking: list[int] = field(default_factory=list)
    seen: dict[int, float] = field(default_factory=dict)
    committed: dict[int, float] = field(default_factory=dict)
    notifications: int = 0
    steps: int = 0

    def run(self, until: float) -> None:
        self._random = random.Random(self.seed)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.gates = [Gate(self.timings, self._random.random) for _ in range(self.replicas)]
        self._doing = [False] * self.replicas
        for number, writer in enumerate(self.writers):
            self._at(writer.start, lambda n=number: self._insert(n))  # type: ignore[misc]
        for replica, gate in enumerate(self.gates):
            gate.connected(0.0)
            self._at(0.0, lambda r=replica: self._step(r))  # type: ignore[misc]
        self._at(self.dies_at, self._die)
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, action = heapq.heappop(self._agenda)
            action()

    def _at(self, when: float, action: Callable[[], None]) -> None:
        if when < math.inf:
            heapq.heappush(self._agenda, (when, next(self._count), action))

    def _dead(self, replica: int) -> bool:
        return replica == 0 and self.now >= self.dies_at

    def _die(self) -> None:
        if self.holder == 0:
            self.holder = None
            self._grant()
        if 0 in self.asking:
            self.asking.remove(0)

    def _insert(self, number: int) -> None:
        writer = self.writers[number]
        quiet = self.holder is None and not self.asking
        self.silent += quiet
        self._at(self.now + writer.length, lambda: self._end(number, quiet=quiet))

    def _end(self, number: int, *, quiet: bool) -> None:
        self.silent -= quiet
        if not self.writers[number].rolls_back:
            self.committed[number] = self.now
            if not quiet:
                self.notifications += 1
                for replica, gate in enumerate(self.gates):
                    if not self._dead(replica):
                        gate.notified(self.now)
                        self._poke(replica)
        self._grant()

    def _grant(self) -> None:
        if self.asking and self.holder is None and not self.silent:
            self.holder = self.asking.pop(0)
            self._answer(self.holder, LockAttempt.GRANTED)

    def _refuse(self, replica: int) -> None:
        if replica in self.asking:
            self.asking.remove(replica)
            self._answer(replica, LockAttempt.WRITER if self.holder is None else LockAttempt.PEER)

    def _answer(self, replica: int, answer: LockAttempt) -> None:
        self.gates[replica].asked(answer, self.now)
        self._doing[replica] = False
        self._poke(replica)

    def _poke(self, replica: int) -> None:
        if not self._doing[replica]:
            self._at(self.now, lambda: self._step(replica))

    def _step(self, replica: int) -> None:
        if self._dead(replica) or self._doing[replica]:
            return
        self.steps += 1
        assert self.steps < 100_000, "it spins"
        gate = self.gates[replica]
        step = gate.next(self.now)
        match step.do:
            case GateAction.SLEEP:
                assert step.until > self.now, "it spins"
                self._at(step.until, lambda: self._step(replica))
                return
            case GateAction.LOOK:
                self._doing[replica] = True
                snapshot = set(self.committed) - set(self.seen)
                self._at(self.now + self.looks_take, lambda: self._looked(replica, snapshot))
                return
            case GateAction.ASK:
                self._doing[replica] = True
                self.asking.append(replica)
                self._at(self.now + self.timings.ask, lambda: self._refuse(replica))
                self._grant()
                return
            case GateAction.SEE_PEER:
                gate.saw_peer(armed=self.holder is not None, now=self.now)
            case GateAction.RELEASE:
                assert self.holder == replica
                self.holder = None
                gate.released()
                self._grant()
            case GateAction.ANNOUNCE:
                gate.announced(self.now)
        self._poke(replica)

    def _looked(self, replica: int, snapshot: set[int]) -> None:
        if self._dead(replica):
            return
        new = snapshot - set(self.seen)
        if self._random.random() < self.busy_share:
            found = LookResult.BUSY
        else:
            found = LookResult.WORK if new else LookResult.NOTHING
            self.seen.update(dict.fromkeys(new, self.now))
        self.gates[replica].looked(Look(found), self.now)
        self._doing[replica] = False
        self._poke(replica)

    def delays(self) -> list[float]:
        return [self.seen.get(number, math.inf) - when for number, when in self.committed.items()]


writers = st.lists(
    st.builds(
        Writer,
        start=st.floats(0, 2),
        length=st.one_of(st.just(0.0), st.floats(0, 0.02), st.floats(0, 1.5)),
        rolls_back=st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(
    writers=writers,
    replicas=st.integers(1, 3),
    calls=st.sampled_from([0, 1, 20]),
    seed=st.integers(),
    busy_share=st.sampled_from([0.0, 0.3]),
)
def test_every_row_is_seen_soon(writers: list[Writer], replicas: int, calls: int, seed: int, busy_share: float) -> None:
    timings = Timings(poll=30.0, calls_at_once=calls)
    world = World(writers, replicas, timings, seed, busy_share=busy_share)
    world.run(until=20.0)
    busy_margin = 0.3 if busy_share else 0.0  # a row of eight lost tries
    assert max(world.delays(), default=0.0) <= timings.retry_cap + timings.ask + MARGIN + busy_margin


@settings(max_examples=50)
@given(writers=writers, calls=st.sampled_from([0, 1, 20]), seed=st.integers(), dies_at=st.floats(0, 3))
def test_a_peer_that_dies_is_noticed(writers: list[Writer], calls: int, seed: int, dies_at: float) -> None:
    """Also at the worst moment: armed, before its look."""
    timings = Timings(poll=30.0, calls_at_once=calls)
    world = World(writers, 2, timings, seed, dies_at=dies_at)
    world.run(until=20.0)
    longest = timings.watch + dies_at  # a pause is no longer than all before it and the first
    assert max(world.delays(), default=0.0) <= 1.25 * longest + timings.retry_cap + timings.ask + MARGIN


def test_a_peer_that_sleeps_on_is_seen_to_ever_more_rarely() -> None:
    gate, now, seen = gate_at(GateState.WATCHING), 1.0, [1.0]
    while len(seen) < 7:
        step = gate.next(now)
        if step.do is GateAction.LOOK:
            gate.looked(Look(LookResult.NOTHING), now)
        elif step.do is GateAction.SEE_PEER:
            gate.saw_peer(armed=True, now=now)
            seen.append(now)
        else:
            now = step.until
    assert [after - before for before, after in itertools.pairwise(seen)] == [1.0, 2.0, 4.0, 6.0, 6.0, 6.0]
    gate.notified(now)
    gate.looked(Look(LookResult.NOTHING), now)
    gate.asked(LockAttempt.PEER, now)
    assert gate.next(now).until == now + 1.0


def test_a_peer_that_is_gone_is_asked_after_no_more() -> None:
    """What it did not see is looked for at once."""
    gate = gate_at(GateState.WATCHING)
    gate.saw_peer(armed=False, now=2.0)
    assert (gate.state, gate.next(2.0).do) == (GateState.HUNGRY, GateAction.LOOK)


def test_beside_a_peer_that_claims_the_next_look_waits_ever_longer() -> None:
    gate, pauses = gate_at(GateState.AWAKE), []
    for now in range(2, 8):
        gate.looked(Look(LookResult.BUSY), now)
        pauses.append(gate.next(now).until - now)
    assert pauses == pytest.approx([0.625 * 0.005 * times for times in (1, 2, 4, 8, 8, 8)])


def test_without_overlapping_writers_a_row_is_seen_at_once() -> None:
    lonely = [Writer(start=1.0 + number, length=0.001) for number in range(20)]
    for replicas in (1, 3):
        world = World(lonely, replicas, Timings(poll=30.0), seed=1)
        world.run(until=30.0)
        assert max(world.delays()) <= MARGIN
        assert world.notifications == 20


@pytest.mark.no_cover
def test_a_busy_reactor_is_hardly_called() -> None:
    busy = [Writer(start=number * 0.001, length=0.002) for number in range(10_000)]
    world = World(busy, 1, Timings(poll=30.0), seed=1)
    world.run(until=30.0)
    assert max(world.delays()) <= MARGIN
    assert world.notifications <= 20


@pytest.mark.parametrize("gap", [0.4, 0.04])
def test_a_row_now_and_then_finds_it_asleep(gap: float) -> None:
    """None waits for a poll: each is called, and there are calls enough."""
    rows = [Writer(start=1.0 + number * gap, length=0.001) for number in range(200)]
    world = World(rows, 1, Timings(poll=30.0), seed=1)
    world.run(until=120.0)
    assert max(world.delays()) <= 0.002
    assert world.notifications == 200


def test_calls_have_a_budget() -> None:
    """Many small rows that all find it asleep, as it would be without one: 5 ms apart for ten seconds."""
    rows = [Writer(start=number * 0.006, length=0.0005) for number in range(1_600)]
    world = World(rows, 1, Timings(poll=30.0), seed=1)
    world.run(until=30.0)
    assert world.notifications <= 20 + 50 * 10
    assert max(world.delays()) <= MARGIN


def test_where_nothing_can_be_had_calls_are_as_seldom() -> None:
    """Rows of a workspace that is stopped: looks find nothing, whatever the writers say."""
    gate, now, calls = Gate(Timings(poll=30.0), lambda: 0.5), 0.0, 0
    gate.connected(now)
    while now < 10.0:
        step = gate.next(now)
        match step.do:
            case GateAction.LOOK:
                gate.looked(Look(LookResult.NOTHING), now)
            case GateAction.ASK:
                gate.asked(LockAttempt.GRANTED, now)
            case GateAction.RELEASE:
                gate.released()
            case _:
                now = min(step.until, now + 0.01)
                if gate.state is GateState.ARMED:
                    calls += 32
                    for _ in range(32):
                        gate.notified(now)
    assert calls <= 20 + 32 + 50 * 10


def test_with_nothing_to_do_it_sleeps_until_the_slow_poll() -> None:
    world = World([], 1, Timings(poll=5.0), seed=1)
    world.run(until=100.0)
    assert world.gates[0].state is GateState.ARMED
    assert world.steps < 80


def test_a_gate_without_its_last_look_would_be_caught() -> None:
    """The simulation can fail: skip the look after the grant, and a row is missed."""

    class Hasty(Gate):
        def asked(self, answer: LockAttempt, now: float) -> None:
            super().asked(answer, now)
            if answer is LockAttempt.GRANTED:
                self._look_at = now + 30.0

    # The silent writer ends while the gate queues for the lock: only the look after the grant can find its row.
    world = World([Writer(start=0.0005, length=0.008)], 1, Timings(poll=30.0), seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Gate", Hasty)
        world.run(until=20.0)
    assert max(world.delays()) > 1


def gate_at(state: GateState) -> Gate:
    gate = Gate(Timings(), lambda: 0.5)
    if state is GateState.DEAF:
        return gate
    gate.connected(0.0)
    if state is GateState.FULL:
        gate.looked(Look(LookResult.FULL), 0.0)
    elif state is not GateState.AWAKE:
        gate.looked(Look(LookResult.NOTHING), 1.0)
        if state is GateState.ARMED:
            gate.asked(LockAttempt.GRANTED, 1.0)
        elif state is GateState.WATCHING:
            gate.asked(LockAttempt.PEER, 1.0)
    assert gate.state is state
    return gate


@pytest.mark.parametrize("state", list(GateState))
def test_a_lost_session_makes_deaf_and_looks_go_on(state: GateState) -> None:
    gate = gate_at(state)
    gate.disconnected(2.0)
    assert (gate.state, gate.has_lock, gate.next(2.0).do) == (GateState.DEAF, False, GateAction.LOOK)
    gate.looked(Look(LookResult.NOTHING), 2.0)
    assert gate.next(2.0).until == pytest.approx(2.25)
    gate.looked(Look(LookResult.FULL, left_behind=True), 2.0)
    assert gate.state is GateState.DEAF
    gate.freed(2.5)
    assert gate.next(2.5).do is GateAction.LOOK
    gate.looked(Look(LookResult.WORK, left_behind=True), 2.5)
    assert (gate.state, gate.next(2.5).do) == (GateState.DEAF, GateAction.LOOK)


def test_a_look_that_took_everything_leaves_the_stage_to_what_it_took() -> None:
    gate = gate_at(GateState.AWAKE)
    gate.looked(Look(LookResult.WORK), 2.0)
    assert gate.next(2.0).do is GateAction.SLEEP
    assert gate.next(2.005).do is GateAction.LOOK
    gate.looked(Look(LookResult.WORK, left_behind=True), 2.005)
    assert gate.next(2.005).do is GateAction.LOOK


@pytest.mark.parametrize("state", list(GateState))
def test_a_new_session_looks_first(state: GateState) -> None:
    gate = gate_at(state)
    gate.connected(2.0)
    assert (gate.state, gate.next(2.0).do) == (GateState.AWAKE, GateAction.LOOK)


@pytest.mark.parametrize("state", [GateState.AWAKE, GateState.HUNGRY, GateState.ARMED, GateState.WATCHING])
def test_a_call_wakes(state: GateState) -> None:
    """Where the lock is ours and we sleep, we keep it, so that writers go on calling."""
    gate = gate_at(state)
    if state is GateState.ARMED:
        gate.looked(Look(LookResult.NOTHING), 1.0)
        assert gate.next(1.0).do is GateAction.SLEEP
    gate.notified(2.0)
    assert gate.state is (GateState.ARMED if state is GateState.ARMED else GateState.AWAKE)
    assert gate.next(2.0).do is GateAction.LOOK


def test_without_calls_left_the_lock_is_given_back() -> None:
    gate = gate_at(GateState.ARMED)
    for _ in range(Timings().calls_at_once - 1):
        gate.looked(Look(LookResult.NOTHING), 2.0)
        assert gate.next(2.0).do is GateAction.SLEEP
        gate.notified(2.0)
        assert (gate.state, gate.next(2.0).do) == (GateState.ARMED, GateAction.LOOK)
    gate.looked(Look(LookResult.NOTHING), 2.0)
    assert gate.next(2.0).do is GateAction.SLEEP
    gate.notified(2.0)
    assert (gate.state, gate.next(2.0).do) == (GateState.AWAKE, GateAction.RELEASE)


@pytest.mark.parametrize("found", [LookResult.NOTHING, LookResult.WORK])
def test_a_call_before_the_look_is_done_gives_the_lock_back(found: LookResult) -> None:
    gate = gate_at(GateState.ARMED)
    assert gate.next(2.0).do is GateAction.LOOK
    gate.notified(2.001)
    gate.looked(Look(found), 2.002)
    assert (gate.state is GateState.ARMED, gate.next(2.002).do) == (False, GateAction.RELEASE)


def test_where_one_look_takes_all_the_lock_is_kept() -> None:
    gate = gate_at(GateState.ARMED)
    gate.looked(Look(LookResult.WORK), 2.0)
    assert (gate.state, gate.next(2.0).do, gate.next(2.005).do) == (GateState.ARMED, GateAction.SLEEP, GateAction.LOOK)
    gate.looked(Look(LookResult.WORK, left_behind=True), 2.005)
    assert (gate.state, gate.next(2.005).do) == (GateState.AWAKE, GateAction.RELEASE)


def test_full_it_stays_disarmed_and_tells_the_others_now_and_then() -> None:
    gate = gate_at(GateState.ARMED)
    gate.looked(Look(LookResult.FULL, left_behind=True), 2.0)
    assert gate.next(2.0).do is GateAction.RELEASE
    gate.released()
    assert gate.next(2.0).do is GateAction.ANNOUNCE
    gate.announced(2.0)
    assert gate.next(2.0).do is GateAction.SLEEP
    gate.notified(2.05)
    assert gate.state is GateState.FULL
    gate.freed(2.1)
    gate.looked(Look(LookResult.FULL, left_behind=True), 2.1)
    assert gate.next(2.1).until == pytest.approx(2.25)
    assert gate.next(2.25).do is GateAction.ANNOUNCE


def test_a_row_that_becomes_due_is_looked_for_then() -> None:
    gate = gate_at(GateState.ARMED)
    gate.looked(Look(LookResult.NOTHING, due_in=0.3), 2.0)
    assert gate.next(2.0).until == pytest.approx(2.3)
    gate.due(2.1)
    assert gate.next(2.1).do is GateAction.LOOK
    gate.looked(Look(LookResult.NOTHING, due_in=-1.0), 2.1)
    assert gate.next(2.1).do is GateAction.LOOK
    gate.freed(2.2)
    assert gate.state is GateState.ARMED


def test_an_answer_that_comes_after_a_call_is_given_back() -> None:
    gate = gate_at(GateState.HUNGRY)
    gate.notified(1.0)
    gate.asked(LockAttempt.GRANTED, 1.0)
    assert gate.next(1.0).do is GateAction.RELEASE


def test_news_of_a_peer_after_a_call_changes_nothing() -> None:
    gate = gate_at(GateState.WATCHING)
    gate.notified(1.5)
    gate.saw_peer(armed=True, now=1.5)
    assert gate.state is GateState.AWAKE


def test_refusals_are_answered_with_growing_pauses() -> None:
    gate = gate_at(GateState.HUNGRY)
    now, pauses = 1.0, []
    for _ in range(5):
        gate.asked(LockAttempt.WRITER, now)
        assert gate.next(now).do is GateAction.LOOK
        gate.looked(Look(LookResult.NOTHING), now)
        pauses.append(round(gate.next(now).until - now, 3))
        now = gate.next(now).until
        assert gate.next(now).do is GateAction.ASK
    assert pauses == [0.05, 0.1, 0.2, 0.25, 0.25]
