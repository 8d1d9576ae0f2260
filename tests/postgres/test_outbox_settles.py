"""What a settle writes, and what it does when it cannot."""

import json
from dataclasses import replace
from typing import Any, Literal

import psycopg
import pytest
import trio

from reactor.core.dispatch.gate import LookResult
from reactor.core.item import AppliedReference, Binding, Item, Settlement, SettlementResult, SourceState
from reactor.core.outcome import FailureCode
from reactor.core.policy import release
from reactor.errors import TransientError
from reactor.postgres.claim import SweepResult
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace

BINDING = Binding(
    event_id="e1",
    calendar_id="primary",
    source_type="task",
    source_id=source(),
    event_type="MILESTONE",
    title="Title",
    start="2026-01-02T10:00:00Z",
    end="2026-01-02",
)


async def claim(outbox: Outbox, slots: int = 50) -> list[Item]:
    return (await outbox.claim(slots=slots)).items


async def test_everything_is_written_and_then_unlocked(world: World, outbox: Outbox) -> None:
    row = world.insert(attempts=2, status="FAILED", last_error="before")
    [item] = await claim(outbox)
    memory = SourceState(99, 1, "e1", "primary", '"etag"', cancelled=False, reopen=True, possible_calendars=("a", "b"))
    settlement = Settlement(
        item, "COMPLETED", 2, moves_floor=True, memory=memory, applied=AppliedReference.ROW, binding=BINDING
    )
    assert await outbox.settle([settlement]) == [SettlementResult.WRITTEN]
    found = world.row(row)
    assert (found["status"], found["attempts"], found["last_error"]) == ("COMPLETED", 2, None)
    assert found["processed_at"] is not None
    assert found["lease_no"] is None, "or who claims it next seems to do so under our lease"
    remembered = world.memory() or {}
    assert remembered["floor_seq"] == item.seq, "not the memory's"
    assert (remembered["generation"], remembered["google_event_id"], remembered["etag"]) == (1, "e1", '"etag"')
    assert (remembered["reopen"], remembered["strays"], remembered["payload"]) == (
        True,
        ["a", "b"],
        json.loads(item.payload),
    )
    bound = world.one("select to_jsonb(b) from calendar_event_bindings b")
    assert (bound["workspace_id"], bound["source_id"]) == (str(workspace()), source())
    assert (bound["google_event_id"], bound["event_title"]) == ("e1", "Title")
    assert bound["event_start"] == "2026-01-02T10:00:00+00:00"
    assert (world.locks(), outbox.in_flight) == (0, [])


async def test_a_second_settle_updates_and_a_third_removes_the_binding(world: World, outbox: Outbox) -> None:
    for _ in range(2):
        world.insert()
        [item] = await claim(outbox)
        await outbox.settle([Settlement(item, "COMPLETED", 0, moves_floor=True, binding=BINDING)])
        await claim(outbox)
    assert world.one("select sync_version from calendar_event_bindings") == 2
    world.insert(operation="CANCEL_EVENT")
    [item] = await claim(outbox)
    gone = SourceState(generation=3, cancelled=True)
    await outbox.settle([Settlement(item, "COMPLETED", 0, moves_floor=True, memory=gone, unbind=True)])
    assert world.one("select count(*) from calendar_event_bindings") == 0
    remembered = world.memory() or {}
    assert (remembered["cancelled"], remembered["generation"], remembered["google_event_id"]) == (True, 3, None)


async def test_a_floor_never_falls_and_unsaid_things_stay(world: World, outbox: Outbox) -> None:
    world.connection.execute("select setval('sync_outbox_seq', 9)")
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key, floor_seq, google_event_id, payload) "
        """values (%s, %s, 5, 'e', '{"kept": 1}')""",
        (workspace(), f"task:{source()}"),
    )
    world.insert(seq=7)
    [item] = await claim(outbox)
    world.connection.execute("update sync_sources set floor_seq = 8")
    await outbox.settle([Settlement(item, "COMPLETED", 0, moves_floor=True)])
    remembered = world.memory() or {}
    assert (remembered["floor_seq"], remembered["google_event_id"], remembered["payload"]) == (8, "e", {"kept": 1})


@pytest.mark.parametrize(("status", "attempts"), [("FAILED", 1), ("PENDING", 0)])
async def test_what_is_put_off_waits_by_the_databases_clock(
    world: World, outbox: Outbox, status: Literal["FAILED", "PENDING"], attempts: int
) -> None:
    row = world.insert()
    [item] = await claim(outbox)
    await outbox.settle([Settlement(item, status, attempts, delay=30, last_error="Google is tired.")])
    assert world.status(row) == (status, attempts, None)
    assert world.one("select extract(epoch from next_attempt_at - now())::float from sync_outbox") == pytest.approx(
        30, abs=5
    )
    assert world.memory() is None


async def test_attempts_stay_within_what_the_row_allows(world: World, outbox: Outbox) -> None:
    row = world.insert(max_attempts=2)
    [item] = await claim(outbox)
    await outbox.settle([Settlement(item, "DEAD_LETTER", 9, failure_code=FailureCode.EXHAUSTED, moves_floor=True)])
    assert world.status(row) == ("DEAD_LETTER", 2, "EXHAUSTED")


async def test_what_is_given_back_keeps_its_place_and_its_attempts(world: World, outbox: Outbox) -> None:
    row = world.insert(attempts=1, status="FAILED", next_attempt_at=world.one("select now() - interval '1 h'"))
    due = world.row(row)["next_attempt_at"]
    items = await claim(outbox)
    assert await outbox.settle(list(map(release, items))) == [SettlementResult.WRITTEN]
    assert (world.status(row), world.row(row)["next_attempt_at"]) == (("PENDING", 1, None), due)
    assert world.row(row)["lease_no"] is None
    assert world.locks() == 0
    [again] = await claim(outbox)
    assert again.claim_no > items[0].claim_no


async def test_a_lost_claim_writes_nothing(world: World, outbox: Outbox, database: Database) -> None:
    lost, kept = world.insert("lost"), world.insert("kept")
    by_id = {item.id: item for item in await claim(outbox)}
    world.connection.execute("update sync_outbox set lease_no = nextval('sync_lease_no') where id = %s", (lost,))
    done = [
        Settlement(by_id[row], "COMPLETED", 0, moves_floor=True, memory=SourceState(event_id="e"))
        for row in (lost, kept)
    ]
    assert await outbox.settle(done) == [SettlementResult.LOST, SettlementResult.WRITTEN]
    assert world.status(lost) == ("PROCESSING", 0, None)
    assert world.memory("lost") is None
    assert (world.memory("kept") or {})["google_event_id"] == "e"
    assert world.locks() == 0


async def test_an_old_claims_settle_does_not_unlock_the_new_one(world: World, outbox: Outbox) -> None:
    world.insert()
    [first] = await claim(outbox)
    await outbox.settle([release(first)])
    [second] = await claim(outbox)
    assert await outbox.settle([Settlement(first, "COMPLETED", 0, moves_floor=True)]) == [SettlementResult.LOST]
    assert world.locks() == 1
    assert await outbox.settle([Settlement(second, "COMPLETED", 0), Settlement(second, "FAILED", 1)]) == [
        SettlementResult.LOST,
        SettlementResult.WRITTEN,
    ]
    assert world.locks() == 0


async def test_one_bad_settlement_does_not_hold_the_others(world: World, outbox: Outbox) -> None:
    world.connection.execute(
        "alter table calendar_event_bindings add constraint kinds check (source_type in ('task', 'milestone'))"
    )
    rows = [world.insert(name) for name in ("nul", "kind", "good")]
    by_id = {item.id: item for item in await claim(outbox)}
    nul, kind, good = (Settlement(by_id[row], "COMPLETED", 0, moves_floor=True) for row in rows)
    settlements = [
        replace(nul, last_error="zero\0 and half \ud800", status="FAILED", attempts=1, moves_floor=False),
        replace(kind, binding=replace(BINDING, source_type="epic"), memory=SourceState(event_id="e")),
        replace(good, binding=replace(BINDING, source_id=source("good"))),
    ]
    assert await outbox.settle(settlements) == [
        SettlementResult.WRITTEN,
        SettlementResult.WRITTEN,
        SettlementResult.WRITTEN,
    ]
    assert world.row(rows[0])["last_error"] == "zero and half ?"
    assert world.status(rows[1])[0] == "COMPLETED"
    assert "23514" in world.row(rows[1])["last_error"]
    assert (world.memory("kind") or {})["google_event_id"] == "e"
    assert world.one("select source_id::text from calendar_event_bindings") == source("good")


async def test_a_refused_binding_does_not_take_the_applied_payload_along(world: World, outbox: Outbox) -> None:
    """What the calendar shows is remembered: a rebuild without a view writes it again."""
    world.connection.execute("alter table calendar_event_bindings add constraint short check (length(event_title) < 5)")
    row = world.insert(payload={"event": {"title": "long enough"}})
    [item] = await claim(outbox)
    binding = replace(BINDING, title="long enough")
    done = Settlement(item, "COMPLETED", 0, moves_floor=True, memory=SourceState(event_id="e"), binding=binding)
    assert await outbox.settle([replace(done, applied=AppliedReference.ROW)]) == [SettlementResult.WRITTEN]
    assert world.status(row)[0] == "COMPLETED"
    assert "23514" in world.row(row)["last_error"]
    assert (world.memory() or {})["payload"]["event"]["title"] == "long enough"
    assert world.one("select count(*) from calendar_event_bindings") == 0


async def test_a_payload_that_cannot_be_remembered_does_not_keep_the_item(world: World, outbox: Outbox) -> None:
    world.connection.execute("alter table sync_sources add constraint nothing check (payload is null)")
    row = world.insert()
    [item] = await claim(outbox)
    done = Settlement(
        item, "COMPLETED", 0, moves_floor=True, memory=SourceState(event_id="e"), applied=AppliedReference.ROW
    )
    assert await outbox.settle([done]) == [SettlementResult.WRITTEN]
    assert world.status(row)[0] == "COMPLETED"
    assert "23514" in world.row(row)["last_error"]
    assert (world.memory() or {})["google_event_id"] == "e"


async def test_what_cannot_be_settled_at_all_is_left_to_the_sweep(world: World, outbox: Outbox) -> None:
    row = world.insert()
    [item] = await claim(outbox)
    world.connection.execute("alter table sync_outbox add constraint never check (status <> 'COMPLETED') not valid")
    assert await outbox.settle([Settlement(item, "COMPLETED", 0)]) == [SettlementResult.LOST]
    assert outbox.in_flight == []
    aside = "select (item_id, sqlstate, constraint_name)::text from sync_set_aside"
    assert world.one(aside) == f"({row},23514,never)"
    assert await outbox.sweep() == SweepResult(), "it is left alone for a while"
    world.connection.execute("update sync_set_aside set retry_at = now()")
    assert (await outbox.sweep()).recovered == 1
    assert world.status(row) == ("PENDING", 0, None)


async def test_a_lock_that_is_not_to_be_had_changes_nothing(world: World, outbox: Outbox, database: Database) -> None:
    row = world.insert()
    [item] = await claim(outbox)
    with psycopg.connect(database.owner) as other:
        other.execute("lock table sync_outbox in share mode")
        with pytest.raises(TransientError, match="55P03"):
            await outbox.settle([Settlement(item, "COMPLETED", 0)])
        assert (world.locks(), outbox.in_flight) == (1, [item])
    assert await outbox.settle([Settlement(item, "COMPLETED", 0)]) == [SettlementResult.WRITTEN]
    assert world.status(row) == ("COMPLETED", 0, None)


@pytest.mark.parametrize("state", ["40P01", "40001"])
@pytest.mark.parametrize("times", [9, 10])
async def test_a_deadlock_or_a_failed_serialization_is_tried_again(
    world: World, outbox: Outbox, state: str, times: int
) -> None:
    """The server says so; two sessions that wait for each other would be a question of which of them runs first."""
    rows = [world.insert("a"), world.insert("b")]
    items = await claim(outbox)
    world.connection.execute("create sequence refusals")
    world.connection.execute(
        "create function refuse() returns trigger language plpgsql security definer as $$ begin"
        f" if nextval('refusals') <= {times} then raise exception 'no' using errcode = '{state}'; end if;"
        " return new; end $$".encode()
    )
    world.connection.execute(
        "create trigger refuse before update on sync_outbox for each row execute function refuse()"
    )
    assert await outbox.settle([Settlement(item, "COMPLETED", 0) for item in items]) == [
        SettlementResult.WRITTEN,
        SettlementResult.WRITTEN,
    ]
    assert {world.status(row)[0] for row in rows} == {"COMPLETED"}
    transactions = world.one("select count(distinct xmin::text) from sync_outbox")
    assert transactions == (1 if times < 10 else 2), "tried together ten times, then one by one"


def auth(item: Item) -> Settlement:
    return Settlement(
        item,
        "DEAD_LETTER",
        item.attempts,
        failure_code=FailureCode.AUTH,
        last_error="Connect again.",
        moves_floor=True,
        dead_token_version=item.connection.version,
    )


def is_valid(world: World) -> Any:
    return world.one("select is_valid from google_connections")


async def test_a_failed_consent_marks_the_connection_and_a_reconnect_requeues(world: World, outbox: Outbox) -> None:
    row, other = world.insert("a"), world.insert("b")
    for item in await claim(outbox, slots=1):
        await outbox.settle([auth(item)])
    assert not is_valid(world)
    dead = [each for each in (row, other) if world.status(each)[0] == "DEAD_LETTER"]
    assert [world.status(each) for each in dead] == [("DEAD_LETTER", 0, "AUTH")]
    assert (await outbox.claim(slots=5)).look.found is LookResult.NOTHING, "the rest is parked"
    world.connection.execute("update google_connections set refresh_token_encrypted = 'new', is_valid = true")
    assert {item.id for item in await claim(outbox)} == {row, other}


async def test_a_token_that_was_replaced_meanwhile_is_not_blamed(world: World, outbox: Outbox) -> None:
    row = world.insert(attempts=1, status="FAILED")
    [item] = await claim(outbox)
    world.connection.execute("update google_connections set refresh_token_encrypted = 'new'")
    assert await outbox.settle([auth(item)]) == [SettlementResult.WRITTEN]
    assert is_valid(world)
    assert world.status(row) == ("PENDING", 1, None)
    assert (world.memory() or {"floor_seq": 0})["floor_seq"] == 0
    [again] = await claim(outbox)
    assert again.connection.token == "new"


@pytest.mark.parametrize("commits", [True, False])
async def test_a_reconnect_at_the_same_moment_leaves_nothing_dead(
    world: World, outbox: Outbox, database: Database, *, commits: bool
) -> None:
    """The person's transaction is open when the settle comes: the item is tried again, and the outcome is known."""
    row = world.insert()
    [item] = await claim(outbox)
    with psycopg.connect(database.owner) as person:
        person.execute("update google_connections set refresh_token_encrypted = 'new'")
        assert await outbox.settle([auth(item)]) == [SettlementResult.WRITTEN]
        assert (world.status(row)[0], is_valid(world)) == ("PENDING", True)
        (person.commit if commits else person.rollback)()
    world.connection.execute("update sync_outbox set next_attempt_at = now()")
    while not (items := await claim(outbox)):  # noqa: ASYNC110
        await trio.sleep(0.01)
    [again] = items
    assert again.connection.token == ("new" if commits else "token")
    await outbox.settle([auth(again) if again.connection == item.connection else Settlement(again, "COMPLETED", 0)])
    assert (world.status(row)[0], is_valid(world)) == (("COMPLETED", True) if commits else ("DEAD_LETTER", False))


async def test_a_connection_locked_for_long_holds_back_nobody(world: World, outbox: Outbox, database: Database) -> None:
    world.connect("other")
    row, elsewhere = world.insert(), world.insert(of="other")
    by_id = {item.id: item for item in await claim(outbox)}
    with psycopg.connect(database.owner) as person:
        person.execute("select from google_connections where workspace_id = %s for update", (workspace(),))
        settled = [auth(by_id[row]), Settlement(by_id[elsewhere], "COMPLETED", 0)]
        assert await outbox.settle(settled) == [SettlementResult.WRITTEN, SettlementResult.WRITTEN]
    assert world.status(row) == ("PENDING", 0, None)
    assert world.status(elsewhere)[0] == "COMPLETED"
    assert world.locks() == 0


async def test_two_items_whose_ids_have_one_hash(world: World, outbox: Outbox) -> None:
    """One session is granted the same lock twice and has to give it back twice."""
    twins = world.connection.execute(
        "with ids as materialized (select md5(n::text)::uuid as id from generate_series(1, 200000) n) "
        "select min(id::text), max(id::text) from ids group by hashtext(id::text) having count(*) > 1 limit 1"
    ).fetchone()
    assert twins
    for name, twin in zip("ab", twins, strict=True):
        world.insert(name, id=twin)
    first, second = await claim(outbox)
    facts = await outbox.invariants()
    assert (facts.in_flight, facts.unexpected_locks, facts.missing_locks) == (2, 0, 0)
    await outbox.settle([Settlement(first, "COMPLETED", 0)])
    assert world.locks() == 1
    await outbox.settle([Settlement(second, "COMPLETED", 0)])
    assert world.locks() == 0


@pytest.mark.parametrize(
    ("waiting", "followed"),
    [
        (None, False),
        ({"about": "s"}, True),
        ({"about": "another"}, False),
        ({"about": "s", "next_attempt_at": "infinity"}, False),
        ({"operation": "REBUILD_ALL"}, True),
        ({"operation": "REBUILD_ALL", "next_attempt_at": "infinity"}, False),
    ],
)
@pytest.mark.parametrize("end", ["COMPLETED", "PENDING"])
async def test_a_settle_says_whether_something_due_has_waited_for_it(
    world: World, outbox: Outbox, end: Any, waiting: dict[str, Any] | None, *, followed: bool
) -> None:
    """An item that is given back has not waited for itself."""
    world.insert("s")
    [item] = await claim(outbox)
    if waiting:
        world.insert(**waiting)
    await outbox.settle([Settlement(item, end, 0)])
    assert outbox.followed is followed


async def test_all_may_have_waited_for_a_rebuild(world: World, outbox: Outbox) -> None:
    world.insert(operation="REBUILD_ALL")
    [item] = await claim(outbox)
    await outbox.settle([Settlement(item, "COMPLETED", 0)])
    assert outbox.followed


async def test_a_second_cancel_leaves_the_time_of_the_first(world: World, outbox: Outbox) -> None:
    """The brake counts what was removed lately."""
    times = []
    for memory in (
        SourceState(event_id="e", calendar_id="c"),
        SourceState(cancelled=True),
        SourceState(cancelled=True),
    ):
        world.insert()
        [item] = await claim(outbox)
        await outbox.settle([Settlement(item, "COMPLETED", 0, moves_floor=True, memory=memory)])
        times.append((world.memory() or {})["removed_at"])
    assert times[0] is None
    assert times[1] is not None
    assert times[2] == times[1]
