"""Whatever one workspace does: another is settled meanwhile, and in the end both calendars equal the model.

As `tests.system.test_histories`, on a real server with the whole service, with what that leaves out: odd rows of every
light kind, rows that the server refuses to change, locks that stay, floods, rebuilds of a view, sessions of both kinds
lost; in half of the histories with the quotas and attempts of production. See `tests.support.poisoned_world`.
"""

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from calendar_emulator import Fault
from tests.support.background import Background
from tests.support.databases import Database
from tests.support.history_model import WORKSPACES, Edit, Source
from tests.support.history_world import Writer
from tests.support.odd_rows import LIGHT
from tests.support.poisoned_world import GUILTY, GUILTY_SOURCES, INNOCENT_SOURCES, LOCKS, REFUSALS, PoisonedWorld
from tests.system.test_histories import FAULTS, a_cancel, an_edit, an_upsert, run_histories

MOST_FLOODED = 160
"""Edits of all floods: with the quotas of production a calendar takes ten in a second, and the end is waited for."""

a_guilty = st.sampled_from(GUILTY_SOURCES)
an_innocent = st.sampled_from(INNOCENT_SOURCES)
a_state = st.tuples(a_guilty | an_innocent, an_edit)


class Poisoned(RuleBasedStateMachine):
    """One history."""

    def __init__(self, database: Database, background: Background, seen: Counter[str]) -> None:
        super().__init__()
        self.database, self.background, self.seen = database, background, seen
        self.world: PoisonedWorld | None = None
        self.writers: list[Writer] = []
        self.flooded = 0

    @property
    def here(self) -> PoisonedWorld:
        assert self.world is not None
        return self.world

    @initialize(
        strict=st.booleans(),
        kinds=st.lists(st.sampled_from(LIGHT), min_size=8, max_size=16, unique=True),
        source=a_guilty,
        why=st.sampled_from(sorted(REFUSALS)),
        what=st.sampled_from(sorted(LOCKS)),
    )
    def begins(self, strict: bool, kinds: list[str], source: Source, why: str, what: str) -> None:  # noqa: FBT001
        """Some of everything is there from the beginning."""
        self.world = PoisonedWorld(self.database, self.background, strict=strict)
        self.poison(kinds, None)
        self.world.refuse(source, why)
        self.world.write(*((source, Edit()) for source in [*GUILTY_SOURCES, *INNOCENT_SOURCES]))
        self.world.start()
        self.world.lock(what)

    @rule(source=an_innocent, edit=an_upsert | a_cancel)
    def write(self, source: Source, edit: Edit) -> None:
        self.here.write((source, edit))

    @rule(edits=st.lists(a_state, min_size=2, max_size=12))
    def write_many(self, edits: list[tuple[Source, Edit]]) -> None:
        self.here.write(*edits)

    @precondition(lambda self: self.flooded < MOST_FLOODED)
    @rule(count=st.sampled_from([20, 60]))
    def flood(self, count: int) -> None:
        self.flooded += count
        self.here.flood(count)

    @rule(kinds=st.lists(st.sampled_from(LIGHT), min_size=1, max_size=6), source=st.none() | st.none() | a_guilty)
    def poison(self, kinds: list[str], source: Source | None) -> None:
        for kind in kinds:
            self.here.poison(kind, source)

    @rule(source=a_guilty, why=st.sampled_from(sorted(REFUSALS)))
    def refuse(self, source: Source, why: str) -> None:
        self.here.refuse(source, why)

    @rule(what=st.sampled_from(sorted(LOCKS)), then=st.lists(st.tuples(a_guilty, an_edit), max_size=3))
    def lock(self, what: str, then: list[tuple[Source, Edit]]) -> None:
        if then:
            self.here.write(*then)
        self.here.lock(what)
        if then:
            self.here.write(*then)

    @rule()
    def unlock(self) -> None:
        self.here.unlock()

    @precondition(lambda self: len(self.writers) < 3)
    @rule(edits=st.lists(a_state, min_size=1, max_size=3))
    def begin(self, edits: list[tuple[Source, Edit]]) -> None:
        writer = Writer(self.here)
        for source, edit in edits:
            writer.write(source, edit)
        self.writers.append(writer)

    @precondition(lambda self: self.writers)
    @rule(commit=st.sampled_from([True, True, False]))
    def end(self, commit: bool) -> None:  # noqa: FBT001
        self.writers.pop(0).end(commit=commit)

    @precondition(lambda self: not self.here.asked_too_much)
    @rule()
    def revoke(self) -> None:
        self.here.revoke(GUILTY)

    @rule()
    def connect(self) -> None:
        self.here.connect(GUILTY)

    @rule()
    def requeue(self) -> None:
        self.here.requeue(but=["BAD_PAYLOAD"])

    @rule(workspace=st.sampled_from(WORKSPACES))
    def rebuild(self, workspace: object) -> None:
        self.here.rebuild(workspace)  # type: ignore[arg-type]  # one of the workspaces

    @rule(fault=st.sampled_from(FAULTS))
    def fault(self, fault: Fault) -> None:
        self.here.fault(fault)

    @rule(seconds=st.sampled_from([0.02, 0.1, 0.3]))
    def pause(self, seconds: float) -> None:
        self.here.pause(seconds)

    @precondition(lambda self: len(self.here.replicas) < 2)
    @rule()
    def start(self) -> None:
        self.here.start()

    @precondition(lambda self: self.here.replicas)
    @rule(killed=st.sampled_from([True, True, False]))
    def stop(self, killed: bool) -> None:  # noqa: FBT001
        replica = self.here.replicas[0]
        (self.here.kill if killed else self.here.stop)(replica)

    @rule(kind=st.sampled_from(["claims", "settles", "listen"]))
    def lose_sessions(self, kind: str) -> None:
        self.here.lose_sessions(kind)

    @invariant()
    def agrees(self) -> None:
        if self.world is not None:
            self.world.check()

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            for writer in self.writers:
                writer.end(commit=True)
            self.world.finish()
            self.seen.update(self.world.tally() + self.world.odd)
        finally:
            self.world.close()


def test_what_one_workspace_does_stays_with_it(database: Database, background: Background) -> None:
    seen = run_histories(Poisoned, database, background, examples=4, steps=20)
    assert seen["insert"] > 0
    assert seen.keys() & set(LIGHT), seen
    assert seen.keys() & REFUSALS.keys(), seen


@pytest.mark.soak
def test_what_one_workspace_does_stays_with_it_in_many_histories(database: Database, background: Background) -> None:
    seen = run_histories(Poisoned, database, background, examples=100, steps=40)
    print(seen)  # noqa: T201  (for `make soak ARGS=-s`)
    assert len(seen.keys() & set(LIGHT)) > len(LIGHT) / 2, seen
    assert min(seen[name] for name in (*REFUSALS, "rebuild", "lock: rows", "lock: workspace")) > 0, seen
