"""The histories that go wrong most easily, each told once and by name.

Each ends as every history does: what the calendars show is the model's, no event was there twice, no older state was
written after a newer one, no lock is left. The reactor is the whole service; see `tests.support.history_world`.
"""

from collections.abc import Iterator
from uuid import UUID

import pytest

from calendar_emulator import Fault
from tests.support.background import Background
from tests.support.databases import Database, wait_until
from tests.support.history_model import CALENDARS, SOURCES, TEAM, Edit, source_of
from tests.support.history_world import HistoryWorld, Writer

SOURCE = SOURCES[0]
UPSERT, CANCEL = Edit(), Edit(kind="cancel")
BAD = (Edit(kind="bad for Google"), Edit(kind="bad for us"))


@pytest.fixture
def world(database: Database) -> Iterator[HistoryWorld]:
    with Background() as background:
        world = HistoryWorld(database, background)
        yield world
        try:
            world.finish()
        finally:
            world.close()


def ends(world: HistoryWorld) -> list[tuple[str, str | None]]:
    """What became of each item, oldest first."""
    return world.owner.execute("select status, failure_code from sync_outbox order by seq").fetchall()


def titles(world: HistoryWorld) -> list[str]:
    return [title for _, _, title in world.shown().elements()]


def becomes(world: HistoryWorld, *statuses: str) -> None:
    """Wait until the items, oldest first, have these statuses, or failure codes."""
    wait_until(lambda: [code or status for status, code in ends(world)] == list(statuses))


def answers(world: HistoryWorld, operation: str) -> list[int]:
    return [entry.status for entry in world.emulator.log.entries if entry.operation == operation]


@pytest.mark.parametrize("running", [True, False])
def test_a_good_state_stays_when_the_next_two_are_refused_for_their_content(
    world: HistoryWorld, *, running: bool
) -> None:
    """Whether it was applied before, or had to wait for the newer ones to be found out."""
    if running:
        world.start()
    world.write((SOURCE, UPSERT))
    if running:
        becomes(world, "COMPLETED")
    for bad in BAD:
        world.write((SOURCE, bad))
    if not running:
        world.start()
    becomes(world, "COMPLETED", "BAD_REQUEST", "BAD_PAYLOAD")
    assert titles(world) == ["upsert 1"]


def test_an_older_edit_that_commits_late_is_superseded(world: HistoryWorld) -> None:
    world.start()
    late = Writer(world)
    late.write(SOURCE, UPSERT)
    world.write((SOURCE, UPSERT))
    becomes(world, "COMPLETED")
    late.end(commit=True)
    becomes(world, "SUPERSEDED", "COMPLETED")
    assert titles(world) == ["upsert 2"]
    assert answers(world, "insert") == [200]


def test_an_older_cancel_that_commits_late_is_superseded(world: HistoryWorld) -> None:
    world.start()
    late = Writer(world)
    late.write(SOURCE, CANCEL)
    world.write((SOURCE, UPSERT))
    becomes(world, "COMPLETED")
    late.end(commit=True)
    becomes(world, "SUPERSEDED", "COMPLETED")
    assert titles(world) == ["upsert 2"]


@pytest.mark.parametrize("following", [UPSERT, CANCEL])
def test_an_old_dead_letter_that_is_requeued_after_newer_edits_is_superseded(
    world: HistoryWorld, following: Edit
) -> None:
    world.start()
    world.fault(Fault(operation="insert", times=1, effect="error", status=400, reason="invalid"))
    world.write((SOURCE, UPSERT))
    becomes(world, "BAD_REQUEST")
    world.write((SOURCE, following))
    becomes(world, "BAD_REQUEST", "COMPLETED")
    world.requeue()
    becomes(world, "SUPERSEDED", "COMPLETED")
    assert titles(world) == ["upsert 2"] * (following == UPSERT)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_a_cancel_removes_what_an_upsert_left_whose_answer_was_lost(world: HistoryWorld, calendar: str) -> None:
    """Nobody knows of the event, and the cancel may name another calendar than the one in which it is."""
    world.start()
    world.fault(Fault(operation="insert", times=1, effect="drop", commit=1.0))
    world.write((SOURCE, Edit(TEAM)))
    wait_until(lambda: titles(world) == ["upsert 1"])
    becomes(world, "PENDING")
    world.write((SOURCE, Edit(calendar, "cancel")))
    becomes(world, "SUPERSEDED", "COMPLETED")
    assert titles(world) == []


@pytest.mark.parametrize(
    ("method", "before", "stale", "following", "answer"),
    [
        ("POST", None, UPSERT, UPSERT, ("insert", 409)),
        ("PUT", UPSERT, UPSERT, UPSERT, ("update", 412)),
        ("PUT", UPSERT, UPSERT, CANCEL, ("update", 412)),
        ("DELETE", UPSERT, CANCEL, UPSERT, ("delete", 412)),
        ("PUT", UPSERT, UPSERT, Edit(TEAM), ("update", 412)),
    ],
)
@pytest.mark.parametrize("fate", ["killed", "loses its session"])
def test_a_stale_request_that_reaches_google_after_its_successor_changes_nothing(
    world: HistoryWorld,
    method: str,
    before: Edit | None,
    stale: Edit,
    following: Edit,
    answer: tuple[str, int],
    fate: str,
) -> None:
    """It is on the wire while its worker is lost; its successor passes it; then it arrives."""
    world.start()
    if before:
        world.write((SOURCE, before))
        becomes(world, "COMPLETED")
    world.background.call(world.wire.hold, method)
    world.write((SOURCE, stale))
    wait_until(lambda: world.wire.held == 1)
    successor = Writer(world)
    successor.write(SOURCE, following)
    successor.end(commit=True)
    if fate == "killed":
        [worker] = world.replicas
        world.start()
        world.kill(worker)
    else:
        world.lose_sessions("claims")
    becomes(world, *(["COMPLETED"] if before else []), "SUPERSEDED", "COMPLETED")
    shown = world.shown()
    assert shown == world.model.calendars()
    assert world.wire.held == 1
    world.background.call(world.wire.release)
    wait_until(lambda: world.wire.held == 0 and answers(world, answer[0])[-1] == answer[1])
    assert world.shown() == shown


@pytest.mark.parametrize("following", [UPSERT, CANCEL])
def test_a_stale_insert_that_reaches_google_after_a_cancel_is_found_by_the_next_item(
    world: HistoryWorld, following: Edit
) -> None:
    """The one request without a fence: what does not exist has no version (docs/google.md)."""
    world.start()
    world.background.call(world.wire.hold, "POST")
    world.write((SOURCE, UPSERT))
    wait_until(lambda: world.wire.held == 1)
    world.write((SOURCE, CANCEL))
    world.lose_sessions("claims")
    becomes(world, "SUPERSEDED", "COMPLETED")
    world.background.call(world.wire.release)
    wait_until(lambda: titles(world) == ["upsert 1"])
    world.write((SOURCE, following))
    becomes(world, "SUPERSEDED", "COMPLETED", "COMPLETED")
    assert titles(world) == ["upsert 3"] * (following == UPSERT)


def test_a_thousand_edits_of_one_source_are_one_call(world: HistoryWorld) -> None:
    world.write(*[(SOURCE, UPSERT)] * 1_000)
    world.start()
    wait_until(lambda: world.owner.execute("select 1 from sync_outbox where status = 'PENDING'").fetchall() == [])
    [(_, write)] = world.writes()
    assert (write.event["summary"], source_of(write.event)) == ("upsert 1000", SOURCE)


def test_a_busy_workspace_does_not_delay_another(world: HistoryWorld) -> None:
    """A row is served before the most of its neighbour's that came before it."""
    busy, lonely = SOURCES[0][0], SOURCES[-1]
    assert busy != lonely[0]
    world.write(*[((busy, UUID(int=1_000 + number)), UPSERT) for number in range(2_000)])
    world.write((lonely, UPSERT))
    world.start()
    wait_until(lambda: world.shown() == world.model.calendars())
    order = [source_of(write.event) for _, write in world.writes()]
    assert order.index(lonely) < 1_000
