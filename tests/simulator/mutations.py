"""Puts faults back, one at a time, and sees whether the simulator finds them: `python -m tests.simulator.mutations`.

Each is a fault that was once seen, or one of its kind. Where it was in the code that runs here, the code is changed;
where it was in SQL, the model is, which `test_conformance.py` holds to the SQL.
"""

import argparse
import math
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from inspect import getattr_static
from typing import Any

import trio

from reactor.core import policy
from reactor.core.calendar import answers
from reactor.core.dispatch.breaker import Breaker
from reactor.core.dispatch.gate import Gate
from reactor.core.dispatch.guard import Guard, ProcessGuard
from reactor.core.dispatch.lanes import Lanes
from reactor.core.item import Settlement
from reactor.errors import RefusedError
from reactor.loop import guarded_policy
from reactor.loop.loop import Loop
from reactor.loop.settler import Settler
from tests.simulator import ends as ends_module
from tests.simulator.history import draw
from tests.simulator.port import ModelOutbox, Swept
from tests.simulator.run import run
from tests.simulator.server import Refused, Server
from tests.simulator.shrink import kind
from tests.simulator.stored import WAITS, Claim
from tests.simulator.tables import Tables


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Attributes:
        name: Its name.
        like: The instance of docs or issue that it is like.
        told: What is wrong.
        place: What is changed.
        attribute: Which of its attributes.
        make: Makes the wrong one of the right one.
        is_rare: Whether histories hardly see it, most since something else mends it; a test of that part does.
    """

    name: str
    like: str
    told: str
    place: Any
    attribute: str
    make: Callable[[Any], Any]
    is_rare: bool = False

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The fault is there for the length of the block."""
        right = getattr_static(self.place, self.attribute)
        setattr(self.place, self.attribute, self.make(getattr(self.place, self.attribute)))
        try:
            yield
        finally:
            setattr(self.place, self.attribute, right)


def _keeps_excluded(clear: Any) -> Any:
    def wrong(self: Lanes) -> None:
        excluded = dict(self._excluded)
        clear(self)
        self._excluded.update(excluded)

    return wrong


def _settles_whole(settle: Any) -> Any:
    def wrong(self: ModelOutbox, settlements: list[Settlement], **more: Any) -> Any:
        if any(self._tables.waits(each) for each in settlements):
            raise Refused("55P03")
        return settle(self, settlements, **more)

    return wrong


def _raises_at_null(ring: Any) -> Any:
    def wrong(self: Tables, now: Any, after: Any) -> Any:
        for row in self.rows.values():
            if row.status in WAITS and row.due is None:
                raise TypeError("'<=' not supported between instances of 'NoneType' and 'int'")
        return ring(self, now, after)

    return wrong


def _fails_as_a_whole(claim: Any) -> Any:
    def wrong(self: Tables, *, now: float, excluded: Collection[Any], **more: Any) -> Claim:
        for row in self.rows.values():
            if row.refusal and row.is_due(now) and row.workspace not in excluded:
                raise Refused(row.refusal)
        found: Claim = claim(self, now=now, excluded=excluded, **more)
        return found

    return wrong


def _sweep_waits(sweep: Any) -> Any:
    def wrong(self: Tables, now: float, ceiling: int, **more: Any) -> tuple[int, int]:
        for row in self.rows.values():
            if row.status == "PROCESSING" and row.lease_no not in self.leases and self._is_locked(row):
                raise Refused("55P03")
        found: tuple[int, int] = sweep(self, now, ceiling, **more)
        return found

    return wrong


def _together_again(group: Any) -> Any:
    del group
    return staticmethod(lambda _, slots, **__: slots)


def _raises_at_odd(prepare: Any) -> Any:
    def wrong(item: Any) -> Any:
        if type(item.payload).__name__ == "Oversized":
            raise RecursionError("maximum recursion depth exceeded while decoding a JSON array")
        return prepare(item)

    return wrong


def _never_counts(counts: Any) -> Any:
    del counts
    return lambda *_, **__: False


def _always_counts(counts: Any) -> Any:
    del counts
    return lambda _, retry, *__, **___: retry.counts


def _forgets_to_free(free: Any) -> Any:
    del free
    return lambda _: None


def _lost_for_good(ended: Any) -> Any:
    def wrong(self: Server, session: Any) -> None:
        leases = set(self.tables.leases)
        ended(self, session)
        self.tables.leases |= leases & {session.lease_no}

    return wrong


def _asks_too_soon(sweep: Any) -> Any:
    del sweep

    async def wrong(self: ModelOutbox) -> Swept:
        held = frozenset(self._in_flight)
        tables, server = self._tables, self._server
        swept = await self._ask(
            self._claims,
            "sweep",
            lambda: tables.sweep(server.now(), self._ceiling, lease_no=self.lease_no, held=held),
        )
        return Swept(*swept)

    return wrong


def _drops_refused(write: Any) -> Any:
    async def wrong(self: Settler, ends: list[Any]) -> None:
        try:
            settlements = [settlement for settlement, *_ in ends]
            await self._outbox.settle(settlements, asks=self._asks)
        except RefusedError:
            return
        await write(self, ends)

    return wrong


def _moves_no_floor(settle: Any) -> Any:
    return lambda *values, **more: replace(settle(*values, **more), moves_floor=False)


def _unfenced(fence: Any) -> Any:
    del fence
    return staticmethod(lambda *_: True)


def _forgets_attempt(note: Any) -> Any:
    del note
    return lambda *_: None


def _never_probes(admit: Any) -> Any:
    def wrong(self: Breaker, now: float) -> Any:
        permit = admit(self, now)
        if permit is not None and self._probe_until >= now:
            self._probe_until = math.inf
        return permit

    return wrong


def _sleeps_on(look: Any) -> Any:
    del look
    return lambda *_: None


def _charged_with_age(counts: Any) -> Any:
    def wrong(item: Any, retry: Any, answered: Any) -> bool:
        return bool(retry.counts if item.age > policy.AGE_BOUND else counts(item, retry, answered))

    return wrong


def _for_an_hour(hold: Any) -> Any:
    def wrong(self: Guard, now: float, *, after: float | None, **more: Any) -> None:
        hold(self, now, after=3_600.0 if isinstance(self, ProcessGuard) else after, **more)

    return wrong


def _without_revivals(table: Any) -> Any:
    return tuple(rule for rule in table if not rule.name.startswith("revive"))


def _sends_until_the_end(work: Any) -> Any:
    del work

    async def wrong(self: Loop) -> None:
        async with trio.open_nursery() as self._senders:
            async with trio.open_nursery() as claiming:
                for task in (partial(self._wakeups.run, self.look), self._keep_time, self._sweeper.run):
                    claiming.start_soon(task)
                await self._stop.wait()
                async with self._looking:
                    claiming.cancel_scope.cancel()
            self._lanes.evict_all()
            self._release_evicted()
            self._senders.cancel_scope.deadline = self._deadline

    return wrong


MUTATIONS = (
    Mutation("clear", "A6", "what was excluded when the session was lost stays so", Lanes, "clear", _keeps_excluded),
    Mutation(
        "settle as a whole", "A4", "an end that waits for a lock makes all wait", ModelOutbox, "_settle", _settles_whole
    ),
    Mutation("sweep as a whole", "A4", "a locked orphan stops the sweep", Tables, "sweep", _sweep_waits),
    Mutation("NULL", "A1", "a row without a due time ends the process", Tables, "_ring", _raises_at_null),
    Mutation(
        "claim as a whole", "A3", "a row that cannot be updated stops all claims", Tables, "claim", _fails_as_a_whole
    ),
    Mutation(
        "unreadable", "A2", "a payload that cannot be read ends the process", guarded_policy, "prepare", _raises_at_odd
    ),
    Mutation("every loss counts", "A12", "a sweep counts an attempt for each", ends_module, "FREE_LOSSES", lambda _: 0),
    Mutation(
        "all together again", "A12", "what lost its worker is claimed with all others", Tables, "group", _together_again
    ),
    Mutation("never charged", "A13", "an item that always fails never dies", policy, "_counts", _never_counts),
    Mutation("always charged", "A17", "an outage costs attempts", policy, "_counts", _always_counts),
    Mutation("charged with age", "A17", "an outage costs what is a day old", policy, "_counts", _charged_with_age),
    Mutation("an hour for all", "B12", "a fault of the deployment holds all for an hour", Guard, "hold", _for_an_hour),
    Mutation(
        "no revival refused",
        "answers",
        "an emptied trash is no reason for a new id",
        answers,
        "TABLE",
        _without_revivals,
    ),
    Mutation(
        "sent into a closed nursery",
        "A6",
        "what settles sends on when the session is lost",
        Loop,
        "_work",
        _sends_until_the_end,
    ),
    Mutation(
        "nobody looks again",
        "A6",
        "room that is freed is told to nobody",
        Loop,
        "_look_again",
        _forgets_to_free,
        is_rare=True,
    ),
    Mutation("a lease for ever", "A6", "a session that is gone keeps its lease", Server, "end", _lost_for_good),
    Mutation(
        "asked too soon",
        "A12",
        "what is in hand is asked before the session is ours",
        ModelOutbox,
        "sweep",
        _asks_too_soon,
    ),
    Mutation("a dropped end", "A4", "an end that is refused is not written again", Settler, "_write", _drops_refused),
    Mutation("no floor", "order", "what is done moves no floor", guarded_policy, "settle", _moves_no_floor),
    Mutation(
        "no fence", "order", "an end is written for a claim that is lost", Tables, "fits", _unfenced, is_rare=True
    ),
    Mutation(
        "no note", "order", "what a lost worker may have done is not noted", Tables, "_note_lost", _forgets_attempt
    ),
    Mutation(
        "no note of an answer that was lost",
        "order",
        "what it may have done is not noted",
        policy,
        "_noted",
        _forgets_attempt,
    ),
    Mutation(
        "a probe for ever",
        "A6",
        "a lost probe keeps the breaker half open",
        Breaker,
        "admit",
        _never_probes,
        is_rare=True,
    ),
    Mutation("deaf gate", "gate", "what is due later is not looked for", Gate, "due", _sleeps_on, is_rare=True),
)


def histories_until_found(mutation: Mutation, *, most: int, first: int = 0) -> tuple[int | None, str]:
    """Run histories until one finds the fault; return how many that took, and what it found."""
    for n in range(most):
        with mutation.applied():
            result = run(draw(first + n))
        if result.problem and kind(run(draw(first + n)).problem) != kind(result.problem):
            return n + 1, result.problem
    return None, ""


def main() -> int:
    """Print a table; 1 if a fault was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.mutations", description=__doc__)
    parser.add_argument("--most", type=int, default=1_000, help="histories for each")
    parser.add_argument("--only", help="the name of one, also of one that is hardly seen")
    wanted = parser.parse_args()
    print("| fault put back | like | found after | as |\n|---|---|---|---|")
    missed = 0
    for mutation in MUTATIONS:
        if wanted.only not in (None, mutation.name) or (mutation.is_rare and not wanted.only):
            continue
        found, problem = histories_until_found(mutation, most=wanted.most)
        missed += found is None
        after = f"{found} histories" if found else f"not in {wanted.most}"
        print(f"| {mutation.name}: {mutation.told} | {mutation.like} | {after} | {problem[:110]} |", flush=True)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
