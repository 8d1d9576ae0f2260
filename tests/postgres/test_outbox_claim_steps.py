"""What the steps of a claim take, leave and report, each beside rows that tell it from its neighbours.

The function is called as it stands (db/migrations/0028_claim_looks.sql, 0029_claim_next.sql): what a step does wrong is
often mended by another, or by the next claim, and is then only slow.
"""

import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.databases import Database, wait_until
from tests.support.outbox_world import CLAIM, Found, World, claim, settled_to_99, source, workspace

LATER = "2100-01-01"


def wait(world: World, about: str, **columns: Any) -> UUID:
    """A source of which something is due, and the newest state is not; returns the newest."""
    world.insert(about)
    return world.insert(about, status="FAILED", next_attempt_at=LATER, **columns)


@pytest.mark.parametrize("operation", ["UPSERT_EVENT", "REBUILD_ALL"])
def test_a_suspect_that_backs_off_waits_for_no_trial(world: World, operation: str) -> None:
    """A worker stops all other work for a trial, and there would be nothing to try."""
    if operation == "UPSERT_EVENT":
        world.insert()
    world.insert(status="FAILED", next_attempt_at=LATER, losses=3, operation=operation)
    found = claim(world)
    assert (found.ids, found.report["trials"]) == ([], [])


def test_no_more_are_claimed_than_there_are_slots(world: World) -> None:
    for n in range(2):
        wait(world, f"waits {n}")
    for n in range(40):
        world.insert(f"free {n}")
    assert len(claim(world, slots=2, due_rows=50).ids) == 2


def test_what_is_outdated_is_found_by_its_key_too(world: World) -> None:
    for _ in range(8):
        world.insert("hot")
    world.insert("hot", status="FAILED", next_attempt_at=LATER)
    settled_to_99(world, f"task:{source('old')}")
    old = world.insert("old", seq=11)
    assert claim(world).report["superseded"] == 0, "it lies behind the page"
    assert claim(world, cursors=[""]).report["superseded"] == 1
    assert world.status(old) == ("COMPLETED", 0, "SUPERSEDED")


@pytest.mark.parametrize(
    ("losses", "slots", "claimed"),
    [(0, 16, 16), (1, 16, 4), (1, 4, 1), (1, 2, 1), (2, 16, 1), (2, 4, 1), (2, 64, 4), (3, 16, 0)],
)
def test_what_lost_its_worker_is_claimed_in_groups(world: World, losses: int, slots: int, claimed: int) -> None:
    """A quarter of the slots, a sixteenth, and at last only at a trial; what is left is told."""
    for n in range(20):
        world.insert(f"s{n}", losses=losses)
    found = claim(world, slots=slots, due_rows=64)
    assert (len(found.ids), found.report["cut"]) == (claimed, losses > 0)
    assert found.report["trials"] == ([str(workspace())] if losses == 3 else [])


def test_a_group_is_one_of_the_whole_claim(world: World) -> None:
    """Not of each portion in which it looks sources up."""
    few = [world.insert(f"first {n}", losses=1) for n in range(2)]
    for n in range(6):
        wait(world, f"waits {n}")
    for n in range(9):
        world.insert(f"second {n}", losses=1)
    assert claim(world, slots=8, due_rows=50).ids == few


def test_a_trial_is_of_one_that_lost_three(world: World) -> None:
    for n in range(3):
        world.insert(f"innocent {n}", losses=n)
    suspects = [world.insert(f"suspect {n}", losses=3 + n) for n in range(2)]
    first, last = claim(world, slots=1, trial=True), claim(world, slots=1, trial=True)
    assert (first.ids, first.report["trials"]) == (suspects[:1], [str(workspace())])
    assert (last.ids, last.report["trials"]) == (suspects[1:], [])


def test_what_is_outdated_ends_when_it_is_due_and_not_while_it_is_set_aside(world: World) -> None:
    settled_to_99(world, f"task:{source()}")
    world.connection.execute("create function no() returns trigger language plpgsql as 'begin raise ''no''; end'")
    world.connection.execute(
        "create trigger no before update on sync_outbox for each row when (new.payload ? 'bad') execute function no()"
    )
    due, never, bad = (
        world.insert(seq=11),
        world.insert(seq=13, next_attempt_at="infinity"),
        world.insert(seq=15, payload={"bad": True}),
    )
    for _ in range(2):
        assert claim(world).ids == []
    assert [world.status(row)[0] for row in (due, never, bad)] == ["COMPLETED", "PENDING", "PENDING"]
    assert world.one("select array_agg(refusals) from sync_set_aside") == [1]


def test_a_rebuild_that_is_set_aside_is_not_tried_at_each_look(world: World) -> None:
    world.connection.execute("create function no() returns trigger language plpgsql as 'begin raise ''no''; end'")
    world.connection.execute("create trigger no before update on sync_outbox for each row execute function no()")
    world.insert(operation="REBUILD_ALL")
    assert [len(claim(world).report["aside"]) for _ in range(3)] == [1, 0, 0]
    assert world.one("select array_agg(refusals) from sync_set_aside") == [1]


def test_what_is_newer_than_the_floor_is_not_outdated(world: World) -> None:
    """Also where it is not claimed in the same look."""
    settled_to_99(world, f"task:{source()}")
    old, newest = world.insert(seq=11), world.insert(losses=3)
    assert claim(world).report["superseded"] == 1
    assert [world.status(row)[0] for row in (old, newest)] == ["COMPLETED", "PENDING"]


def test_what_is_in_hand_is_not_outdated(world: World) -> None:
    """A floor may rise beyond an item that is being sent; its worker ends it."""
    settled_to_99(world, f"task:{source()}")
    sent, old = world.insert(seq=11, status="PROCESSING", lease_no=1), world.insert(seq=13)
    assert claim(world).report["superseded"] == 1
    assert [world.status(row)[0] for row in (sent, old)] == ["PROCESSING", "COMPLETED"]


def test_a_rebuild_that_names_a_source_is_no_state_of_it(world: World) -> None:
    """The application writes the payload. Nothing of the workspace is barred, as this rebuild backs off."""
    row = world.insert()
    about = {"sourceType": "task", "sourceId": source()}
    world.insert(operation="REBUILD_ALL", payload=about, status="FAILED", next_attempt_at=LATER)
    assert claim(world).ids == [row]


def test_a_claim_ends_no_more_outdated_rows_than_it_reads(world: World) -> None:
    settled_to_99(world, f"task:{source()}")
    for n in range(10):
        world.insert(seq=11 + 2 * n)
    assert [claim(world).report["superseded"] for _ in range(3)] == [8, 2, 0]


@pytest.mark.parametrize("operation", ["UPSERT_EVENT", "REBUILD_ALL"])
@pytest.mark.parametrize("connection", ["none", "revoked"])
def test_nothing_is_claimed_of_a_named_workspace_without_a_connection(
    world: World, connection: str, operation: str
) -> None:
    if connection == "revoked":
        world.connect("x", valid=False)
    row = world.insert(of="x", operation=operation)
    assert claim(world, workspaces=[workspace("x")]).ids == []
    assert world.status(row)[0] == "PENDING"


def looked(found: Found) -> list[tuple[bool, str | None, bool]]:
    """Of each workspace whether there may be more, the last key, and whether the page was full."""
    return [(more, key, full) for _, more, key, full in found.report["looked"]]


@pytest.mark.parametrize("due", [7, 8])
def test_a_full_page_means_that_there_may_be_more(world: World, due: int) -> None:
    for _ in range(due - 1):
        world.insert("hot")
    wait(world, "hot")
    assert looked(claim(world)) == [(due == 8, None, due == 8)]


def test_what_was_not_reached_is_told(world: World) -> None:
    """Of w there is one and of x two; the second of x is not looked up for want of a slot."""
    world.connect("x")
    [world.insert("a"), world.insert("a", of="x"), world.insert("b", of="x")]
    both = {"workspaces": [workspace("w"), workspace("x")], "cursors": [None, None], "due_rows": 16}
    assert looked(claim(world, slots=2, **both)) == [(False, None, False), (True, None, False)]
    assert looked(claim(world, slots=2, **both)) == [(False, None, False), (False, None, False)]


def test_what_was_looked_up_and_got_no_slot_is_told(world: World) -> None:
    """The first look-up is in vain, the next one finds two."""
    world.connect("x")
    wait(world, "waits")
    [world.insert("a", of="x"), world.insert("b", of="x")]
    found = claim(world, slots=1, workspaces=[workspace("w"), workspace("x")], cursors=[None, None], due_rows=16)
    assert (len(found.ids), looked(found)) == (1, [(False, None, False), (True, None, False)])


def noise(world: World, row: UUID) -> None:
    """Make a payload so large that its source's key is not read on the page."""
    pad = "(select string_agg(md5(n::text), '') from generate_series(1, 1500) n)"
    statement = f"update sync_outbox set payload = payload || jsonb_build_object('pad', {pad}) where id = %s"
    world.connection.execute(statement.encode(), (row,))


def test_a_source_that_is_met_twice_is_claimed_once(world: World) -> None:
    """Among what is small and what is large, on the page and by its key."""
    world.insert("s")
    newest = world.insert("s")
    noise(world, newest)
    assert claim(world, cursors=[""]).ids == [newest]


def test_large_payloads_are_looked_at_by_eights(world: World) -> None:
    rows = [world.insert(f"s{n}") for n in range(9)]
    for row in rows:
        noise(world, row)
    first = claim(world, slots=20, due_rows=20)
    assert (set(first.ids), looked(first)) == (set(rows[:8]), [(True, None, False)])
    assert claim(world, slots=20, due_rows=20).ids == rows[8:]


@pytest.mark.parametrize("keys", [8, 9])
def test_a_look_by_key_goes_on_behind_its_cursor(world: World, keys: int) -> None:
    """The page is full of one source; the others are found by key, eight at a time."""
    for _ in range(8):
        world.insert(payload={"sourceId": "0"})
    world.insert(payload={"sourceId": "0"}, status="FAILED", next_attempt_at=LATER)
    rows = [world.insert(payload={"sourceId": str(n)}) for n in range(1, keys)]
    first = claim(world, slots=20, cursors=[""])
    assert (first.ids, looked(first)) == (rows[:7], [(True, "task:7", True)])
    second = claim(world, slots=20, cursors=["task:7"])
    assert (second.ids, looked(second)) == (rows[7:], [(True, None, True)])


def test_a_rebuild_bars_what_is_found_by_key_and_takes_a_slot(world: World) -> None:
    world.connect("x")
    rebuild = world.insert(operation="REBUILD_ALL")
    [world.insert("a"), world.insert("a", of="x")]
    both = {"workspaces": [workspace("w"), workspace("x")], "cursors": ["", ""]}
    assert claim(world, slots=1, **both).ids == [rebuild]
    assert claim(world, workspaces=[workspace()], cursors=[""]).ids == []


def test_a_rebuild_in_hand_bars_the_rest_beside_a_newer_one_that_waits(world: World) -> None:
    world.insert(operation="REBUILD_ALL", status="PROCESSING", lease_no=1)
    world.insert(operation="REBUILD_ALL", status="FAILED", next_attempt_at=LATER)
    world.insert()
    assert claim(world).ids == []


def test_an_outdated_rebuild_bars_nothing(world: World, database: Database) -> None:
    """Also where it cannot be ended now."""
    settled_to_99(world, "REBUILD_ALL")
    rebuild, row = world.insert(operation="REBUILD_ALL", seq=11), world.insert()
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_outbox where id = %s for update", (rebuild,))
        assert claim(world).ids == [row]


@pytest.mark.parametrize(("waiting", "cut"), [(7, True), (6, False)])
def test_what_was_weighed_before_counts(world: World, waiting: int, *, cut: bool) -> None:
    """Each payload weighs some 600 bytes; the second uses the bytes up. A look that is over cuts nothing."""
    for n in range(waiting):
        wait(world, f"waits {n}")
    rows = [world.insert(f"s{n}", payload={"pad": "x" * 500}) for n in range(9)]
    found = claim(world, bytes=1_000, due_rows=50)
    assert (found.ids, found.report["cut"], looked(found)) == (rows[:2], cut, [(True, None, False)])


@pytest.mark.parametrize(
    ("remembered", "expected"),
    [
        (None, ("b", "bc")),
        ("'m', 'mc', false", ("m", "mc")),
        ("'m', null, false", ("m", None)),
        ("null, 'mc', false", ("b", "bc")),
        ("null, null, true", (None, None)),
    ],
)
def test_a_binding_speaks_where_nothing_is_remembered(
    world: World, remembered: str | None, expected: tuple[str | None, str | None]
) -> None:
    world.connection.execute(
        "insert into calendar_event_bindings"
        " (workspace_id, google_event_id, calendar_id, source_type, source_id, event_type)"
        " values (%s, 'b', 'bc', 'task', %s, 'MILESTONE')",
        (workspace(), source()),
    )
    if remembered:
        world.connection.execute(
            "insert into sync_sources (workspace_id, source_key, google_event_id, calendar_id, cancelled)"
            f" values (%s, %s, {remembered})".encode(),
            (workspace(), f"task:{source()}"),
        )
    world.insert()
    params = {"workspaces": [workspace()], "cursors": [None], "past": None, "width": 32, "excluded": [], "slots": 1}
    bounds = {"due_rows": 8, "key_rows": 8, "ceiling": 5, "bytes": 1_000_000, "largest": 100_000}
    row, _ = world.connection.execute(CLAIM, params | bounds | {"lease": 1, "trial": False}).fetchall()
    assert (row[14], row[15]) == expected


def test_a_row_is_looked_at_once_more_when_it_is_locked(world: World) -> None:
    """It was chosen by an earlier statement, and may have changed since."""
    rows = [world.insert("a", next_attempt_at=LATER), world.insert("b", status="PROCESSING"), world.insert("c")]
    statement = "select locked from sync_outbox_reserve(%s::uuid[], 5, 1000, 1000, clock_timestamp())"
    assert world.one(statement, rows) == rows[2:]


def test_a_rebuild_that_an_older_worker_has_locked_is_left_to_it(world: World, database: Database) -> None:
    """It takes the item's lock first, and says PROCESSING in its next statement."""
    rebuild = world.insert(operation="REBUILD_ALL")
    with psycopg.connect(database.owner) as older:
        older.execute("select try_lock_outbox_item(%s)", (rebuild,))
        assert claim(world).ids == []
        older.execute("select unlock_outbox_item(%s)", (rebuild,))  # a session's end may take a moment
    assert claim(world).ids == [rebuild]


@pytest.mark.parametrize("change", ["status = 'COMPLETED', processed_at = now()", f"next_attempt_at = '{LATER}'"])
def test_a_rebuild_that_changes_while_it_is_chosen_is_not_claimed(
    world: World, database: Database, change: str
) -> None:
    """Choosing and locking are one statement: it has its snapshot, and stops at a policy until the change is there."""
    rebuild = world.insert(operation="REBUILD_ALL")
    world.connection.execute(
        "create function wait() returns boolean language plpgsql as"
        " 'begin perform pg_advisory_xact_lock_shared(99); return true; end'"
    )
    world.connection.execute("create policy wait on sync_outbox as restrictive using (wait())")
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and objid = 99 and not granted"
    taken: list[Any] = []

    def claim_rebuilds() -> None:
        with psycopg.connect(database.reactor) as session:
            statement = "select taken from sync_outbox_claim_rebuilds(%s, clock_timestamp(), 5, 1, false)"
            taken.extend(session.execute(statement, ([workspace()],)).fetchall())

    with psycopg.connect(database.owner, autocommit=True) as other:
        other.execute("select pg_advisory_lock(99)")
        claimer = threading.Thread(target=claim_rebuilds)
        claimer.start()
        wait_until(lambda: world.one(waiting) == 1)
        world.connection.execute(f"update sync_outbox set {change} where id = %s".encode(), (rebuild,))
        other.execute("select pg_advisory_unlock(99)")
        claimer.join()
    assert taken == [(None,)]


@pytest.mark.parametrize("operation", ["UPSERT_EVENT", "REBUILD_ALL"])
@pytest.mark.parametrize("outdated", [False, True])
def test_a_row_that_is_locked_is_passed_by(world: World, database: Database, operation: str, *, outdated: bool) -> None:
    world.connect("x")
    both: dict[str, Any] = {"workspaces": [workspace("w"), workspace("x")], "cursors": [None, None]}
    if outdated:
        settled_to_99(world, "REBUILD_ALL" if operation == "REBUILD_ALL" else f"task:{source()}")
    row, innocent = world.insert(operation=operation, seq=11), world.insert("innocent", of="x")
    world.connection.execute("set lock_timeout = '2s'")
    with psycopg.connect(database.owner) as other:
        other.execute("select from sync_outbox where id = %s for update", (row,))
        assert claim(world, **both).ids == [innocent]
    assert claim(world, **both).ids == ([] if outdated else [row])
    assert world.status(row)[0] == ("COMPLETED" if outdated else "PROCESSING")
