"""Whatever happens, and in whatever order: in the end the calendars equal a model of a few lines.

Hypothesis makes up histories of writers (who commit late or not at all, and whose content may be refused), of replicas
that come, go and are killed, of sessions that are lost, and of a Google that fails in every way it can, and shrinks the
one that goes wrong. The reactor is the whole service on a real server; see `tests.support.history_world`.

Not together in one history are content that Google refuses and a consent that is revoked: an item that was dead for the
latter settles what is older than it, although it would have turned out to be one that cannot be shown.
"""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from calendar_emulator import Fault
from calendar_emulator.faults import Effect
from tests.support.background import Background
from tests.support.databases import Database
from tests.support.history_model import CALENDARS, SOURCES, WORKSPACES, Edit, Source
from tests.support.history_world import HistoryWorld, Writer

# What creates an event is never held up on its way to Google: something that does not exist has no version by which
# whoever comes later could notice it (docs/google.md). Its answer may come as late as it likes.
DAMAGE: list[tuple[Effect, float]] = [
    ("drop", 1.0),
    ("drop", 0.0),
    ("truncate", 1.0),
    ("malformed", 1.0),
    ("garbage", 1.0),
]
BATCH_DAMAGE: list[Effect] = ["drop", "truncate", "malformed", "html"]
PART_DAMAGE: list[Effect] = ["drop", "malformed"]
FAULTS = [
    *(
        Fault(operation=operation, times=times, effect=effect, commit=commit)
        for operation in ("insert", "update", "delete", "get")
        for times in (1, 3)
        for effect, commit in DAMAGE
    ),
    *(Fault(operation="batch", times=times, effect=effect, commit=0.5) for times in (1, 2) for effect in BATCH_DAMAGE),
    *(Fault(in_batch=True, times=4, probability=0.4, effect=effect) for effect in PART_DAMAGE),
    *(
        Fault(in_batch=in_batch, times=2, effect="error", reason=reason, status=status)
        for in_batch in (True, False)
        for reason, status in (
            ("backendError", 503),
            ("rateLimitExceeded", 403),
            ("conflict", 409),
            ("conditionNotMet", 412),
        )
    ),
    Fault(operation="token", times=2, effect="error", status=503, reason="internal_failure"),
    Fault(operation="token", times=1, effect="drop"),
    *(Fault(operation=operation, times=3, latency_after=0.2) for operation in ("insert", "update", "delete", "batch")),
    *(Fault(operation=operation, times=3, latency=0.2) for operation in ("get", "delete", "token")),
]

a_source = st.sampled_from(SOURCES)
a_calendar = st.sampled_from([CALENDARS[0], *CALENDARS])
an_upsert = st.builds(Edit, a_calendar)
a_cancel = st.builds(Edit, a_calendar, st.just("cancel"))
an_edit = (
    an_upsert | an_upsert | a_cancel | st.builds(Edit, a_calendar, st.sampled_from(["bad for us", "bad for Google"]))
)
some_index = st.integers(0, 7)


class History(RuleBasedStateMachine):
    """One history, with at most two replicas and three open transactions."""

    def __init__(self, database: Database, background: Background, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen
        self.world = HistoryWorld(database, background)
        self.writers: list[Writer] = []

    @initialize()
    def begins(self) -> None:
        self.world.start()

    @rule(source=a_source, edit=an_edit)
    def write(self, source: Source, edit: Edit) -> None:
        self.world.write((source, edit))

    @rule(edits=st.lists(st.tuples(a_source, an_edit), min_size=2, max_size=12))
    def write_many(self, edits: list[tuple[Source, Edit]]) -> None:
        self.world.write(*edits)

    @precondition(lambda self: len(self.writers) < 3)
    @rule(edits=st.lists(st.tuples(a_source, an_edit), min_size=1, max_size=3))
    def begin(self, edits: list[tuple[Source, Edit]]) -> None:
        writer = Writer(self.world)
        for source, edit in edits:
            writer.write(source, edit)
        self.writers.append(writer)

    @precondition(lambda self: self.writers)
    @rule(index=some_index, commit=st.sampled_from([True, True, False]))
    def end(self, index: int, commit: bool) -> None:  # noqa: FBT001
        self.writers.pop(index % len(self.writers)).end(commit=commit)

    @precondition(lambda self: not self.world.asked_too_much)
    @rule(workspace_id=st.sampled_from(WORKSPACES))
    def revoke(self, workspace_id: UUID) -> None:
        self.world.revoke(workspace_id)

    @rule(workspace_id=st.sampled_from(WORKSPACES))
    def connect(self, workspace_id: UUID) -> None:
        self.world.connect(workspace_id)

    @rule()
    def requeue(self) -> None:
        self.world.requeue()

    @rule(fault=st.sampled_from(FAULTS))
    def fault(self, fault: Fault) -> None:
        self.world.fault(fault)

    @rule(source=a_source, edit=an_upsert | a_cancel, then=an_edit)
    def lose_an_answer(self, source: Source, edit: Edit, then: Edit) -> None:
        """The next write is carried out and nobody hears of it; meanwhile the application has thought better of it."""
        for operation in ("insert", "update", "delete"):
            self.world.fault(Fault(operation=operation, times=1, effect="drop", commit=1.0))
        self.world.write((source, edit))
        self.world.pause(0.1)
        self.world.write((source, then))

    @rule(seconds=st.sampled_from([0.005, 0.02, 0.1, 0.3]))
    def pause(self, seconds: float) -> None:
        self.world.pause(seconds)

    @precondition(lambda self: len(self.world.replicas) < 2)
    @rule()
    def start(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.replicas)
    @rule(index=some_index)
    def stop(self, index: int) -> None:
        self.world.stop(self.world.replicas[index % len(self.world.replicas)])

    @precondition(lambda self: self.world.replicas)
    @rule(index=some_index)
    def kill(self, index: int) -> None:
        self.world.kill(self.world.replicas[index % len(self.world.replicas)])

    @rule(kind=st.sampled_from(["claims", "listen"]))
    def lose_sessions(self, kind: str) -> None:
        self.world.lose_sessions(kind)

    @invariant()
    def agrees(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            for writer in self.writers:
                writer.end(commit=True)
            self.world.finish()
            self.seen.update(self.world.tally())
        finally:
            self.world.close()


def run_histories(
    machine: Callable[[Database, Background, Counter[str]], RuleBasedStateMachine],
    database: Database,
    background: Background,
    *,
    examples: int,
    steps: int,
) -> Counter[str]:
    """Run histories of a machine; return what happened in them."""
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: machine(database, background, seen),  # type: ignore[arg-type]  # any factory will do, says its docstring
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    return seen


EACH = ("insert", "update", "delete", "SUPERSEDED")


def test_the_calendars_equal_the_model(database: Database, background: Background) -> None:
    seen: Counter[str] = Counter()
    for _ in range(3):  # now and then six histories have no delete that gets as far as Google
        seen += run_histories(History, database, background, examples=6, steps=30)
        if all(seen[name] for name in EACH):
            break
    assert all(seen[name] for name in EACH), seen


@pytest.mark.soak
def test_the_calendars_equal_the_model_after_many_histories(database: Database, background: Background) -> None:
    seen = run_histories(History, database, background, examples=200, steps=50)
    print(seen)  # noqa: T201  (for `make soak ARGS=-s`)
    assert min(seen[name] for name in ("revive", "BAD_REQUEST", "BAD_PAYLOAD", "drop", "batch")) > 100, seen
