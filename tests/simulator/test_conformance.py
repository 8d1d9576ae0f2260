"""The model of the outbox against PostgreSQL: the same random operations, and the same comes of them.

Compared after each operation: who was claimed (under which losses, attempts and memory), what became of each
settlement, and of each row its status, attempts, losses, code and whether it is in hand; of each source its memory;
the connections; and what the brake counts.

Where the SQL is free to choose (which of more than it may take), the model is told the choice, and says whether it
was allowed: so many, and each of them one that could be claimed. Times are now or far away, so that clocks do not
matter.
"""

import math
import random
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from reactor.core.brake import WINDOW, Limit
from reactor.core.item import Item, Settlement, SettlementResult, SourceState
from reactor.core.outcome import FailureCode
from reactor.core.trials import FREE_LOSSES, Trials
from reactor.postgres.brakes import SQL as BRAKES
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import Session
from reactor.postgres.outbox import Outbox
from tests.simulator.stored import REBUILD, WAITS, Claim, Row
from tests.simulator.tables import Tables
from tests.support.databases import Database, wait_until
from tests.support.outbox_world import World, workspace

SPACES = ("x", "y", "z")
SOURCES = ("a", "b", "c", "d")
CEILING = 5
FAR = 100_000.0
ROWS = """
select id, status::text, attempts, coalesce(losses, 0), failure_code, lease_no is not null from sync_outbox
"""
MEMORIES = """
select workspace_id, source_key, floor_seq, generation, google_event_id, calendar_id, etag, cancelled, reopen, strays
  from sync_sources
"""
CODES = (FailureCode.EXHAUSTED, FailureCode.BAD_REQUEST, FailureCode.AUTH, FailureCode.CALENDAR_GONE)


class Pair:
    """PostgreSQL with two replicas, and the model."""

    def __init__(self, database: Database, seed: int) -> None:
        self.random = random.Random(seed)
        self.database = database
        self.world = World(database)
        self.tables = Tables()
        self.outboxes: list[Outbox] = []
        self.leases: list[int] = []
        self.writers: list[tuple[psycopg.Connection[Any], list[Row]]] = []
        self.lockers: list[tuple[psycopg.Connection[Any], object]] = []
        self.last_lease = 0
        self.now = 0.0
        self.did: list[str] = []
        self.stops = 0
        self.counts = random.Random(seed)  # of its own: what is counted changes no history
        for name in SPACES:
            self.world.connect(name, "token 0")
            self.tables.connect(workspace(name), "token 0", "primary", 0.0)

    async def start(self) -> None:
        opened = psycopg.connect(self.database.reactor, autocommit=True, options="-c lock_timeout=100ms")
        self.outboxes.append(Outbox(Session(await TrioConnection.adopt(opened)), max_attempts=CEILING))
        self.last_lease += 1
        self.leases.append(self.last_lease)
        self.tables.leases.add(self.leases[-1])

    async def step(self) -> None:
        steps = {
            self.write: 6,
            self.begin: 2,
            self.end: 3,
            self.claim: 9,
            self.settle: 9,
            self.crash: 2,
            self.sweep: 3,
            self.requeue: 1,
            self.connect: 1,
            self.rebuild: 1,
            self.lock: 1,
            self.unlock: 2,
        }
        [step] = self.random.choices(list(steps), list(steps.values()))
        self.now += 1.0
        self.did.append(step.__name__)
        await step()
        self.compare()

    # The application

    def insert(self, by: psycopg.Connection[Any] | None = None, operation: str = "") -> Row:
        operation = operation or self.random.choice(("UPSERT_EVENT", "UPSERT_EVENT", "CANCEL_EVENT"))
        of, about = self.random.choice(SPACES), self.random.choice(SOURCES)
        most = self.random.choice((1, 3, 5, 9))
        item = self.world.insert(about, of=of, operation=operation, by=by, max_attempts=most)
        row = (
            (by or self.world.connection)
            .execute("select seq, payload from sync_outbox where id = %s", (item,))
            .fetchone()
        )
        assert row is not None
        return Row(item, workspace(of), operation, b"", row[1], row[0], self.now, self.now, max_attempts=most)

    async def write(self) -> None:
        self.tables.insert([self.insert()], self.now)

    async def rebuild(self) -> None:
        self.tables.insert([self.insert(operation=REBUILD)], self.now)

    async def begin(self) -> None:
        writer = psycopg.connect(self.database.owner)
        self.writers.append((writer, [self.insert(writer)]))

    async def end(self) -> None:
        if self.writers:
            writer, rows = self.writers.pop(self.random.randrange(len(self.writers)))
            if self.random.random() < 0.8:
                writer.commit()
                self.tables.insert(rows, self.now)
            writer.close()

    def holds_a_dead_letter(self) -> bool:
        """Whether a transaction that is open would keep a requeue waiting."""
        return any(row.status == "DEAD_LETTER" and row.id in self.tables.locked for row in self.tables.rows.values())

    async def requeue(self) -> None:
        if self.holds_a_dead_letter():
            return
        self.world.connection.execute(
            "update sync_outbox set status = 'PENDING', attempts = 0, next_attempt_at = now(), failure_code = null"
            " where status = 'DEAD_LETTER'"
        )
        self.tables.requeue(self.now)

    async def connect(self) -> None:
        name, token = self.random.choice(SPACES), f"token {self.now}"
        if ("connection", workspace(name)) in self.tables.locked or self.holds_a_dead_letter():
            return
        self.world.connection.execute(
            "update google_connections set refresh_token_encrypted = %s, is_valid = true where workspace_id = %s",
            (token, workspace(name)),
        )
        self.tables.connect(workspace(name), token, "primary", self.now)

    async def lock(self) -> None:
        """A transaction of the application locks a row, and stays open."""
        # No dead letter: who requeues it would wait, and this test is one thread.
        free = [
            row for row in self.tables.rows.values() if row.id not in self.tables.locked and row.status != "DEAD_LETTER"
        ]
        if free and len(self.lockers) < 2:
            row = self.random.choice(free)
            locker = psycopg.connect(self.database.owner)
            locker.execute("select from sync_outbox where id = %s for update", (row.id,))
            self.tables.locked[row.id] = locker
            self.lockers.append((locker, row.id))

    async def unlock(self) -> None:
        if self.lockers:
            locker, what = self.lockers.pop()
            locker.rollback()
            locker.close()
            del self.tables.locked[what]

    # The reactor

    async def claim(self) -> None:
        n = self.random.randrange(len(self.outboxes))
        outbox, slots = self.outboxes[n], 100
        outbox._claimer._ring._fresh_until = -math.inf  # all workspaces are looked at, and none is remembered
        outbox._claimer._ring._batch = 1  # fewer of those that have a backlog would be looked at together
        outbox._claimer._trials = Trials()
        if outbox._in_flight or not self.random.randrange(2):  # before the claim that would learn it
            outbox._claimer._trials.left_out(self.suspects(), -math.inf)
        claimed = await outbox.claim(slots=slots)
        self.take(claimed.items, n, slots=slots)

    def suspects(self) -> list[UUID]:
        return [row.workspace for row in self.tables.rows.values() if row.losses >= FREE_LOSSES][:1]

    def take(self, items: list[Item], n: int, *, slots: int) -> None:
        """Have the model claim what PostgreSQL has claimed, if it may."""
        trial = items[0].workspace_id if items and items[0].losses >= FREE_LOSSES else None
        chosen = {item.id for item in items}
        able = Tables._supersede_and_choose
        possible: set[UUID] = set()

        def narrowed(tables: Tables, of: UUID, now: float, claim: Claim, found: list[Any], place: int) -> bool:
            own: list[Any] = []
            able(tables, of, now, claim, own, place)
            possible.update(row.id for *_, row in own)
            found += [each for each in own if each[2].id in chosen]
            return True

        before = {row.id: replace_row(row) for row in self.tables.rows.values()}
        self.tables._supersede_and_choose = narrowed.__get__(self.tables)  # type: ignore[method-assign]
        claim = self.tables.claim(
            now=self.now, lease_no=self.leases[n], slots=slots, excluded=(), after=None, trial=trial
        )
        del self.tables._supersede_and_choose
        assert chosen <= possible, f"claimed what could not be: {chosen - possible}"
        assert {row.id for row in claim.rows} == chosen, "more, or others, than may be claimed together"
        fresh = {item_id for item_id in possible if before[item_id][1] == 0}
        assert trial or fresh <= chosen, f"left out: {fresh - chosen}"
        for item in items:
            model = self.tables.item(self.tables.rows[item.id], self.now, CEILING)
            assert (item.attempts, item.losses, item.max_attempts, item.source_key, item.seq, item.is_child) == (
                model.attempts,
                model.losses,
                model.max_attempts,
                model.source_key,
                model.seq,
                model.is_child,
            )
            assert ordered(item.memory) == ordered(model.memory)
            assert item.connection.token == model.connection.token

    async def settle(self) -> None:
        n = self.random.randrange(len(self.outboxes))
        in_flight = self.outboxes[n].in_flight
        items = self.random.sample(in_flight, min(len(in_flight), self.random.randint(1, 5)))
        ends = [self.outcome(item) for item in items]
        written = await self.outboxes[n].settle(ends)
        for end, fate in zip(ends, written, strict=True):
            invalid = end.dead_token_version and end.item.connection.token  # to the model a token is its own version
            own = replace(end, item=replace(end.item, lease_no=self.leases[n]), dead_token_version=invalid)
            assert self.tables.settle(own, self.now) is fate, (end, fate)
            assert fate is not SettlementResult.LOST

    def outcome(self, item: Item) -> Settlement:
        r = self.random
        memory = SourceState(0, r.randrange(3), "e1", "primary", '"1"', False, False, r.choice(((), ("there",))))
        match r.choice(("done", "done", "cancelled", "failed", "later", "dead", "back")):
            case "done":
                return Settlement(item, "COMPLETED", item.attempts, moves_floor=not item.is_child, memory=memory)
            case "cancelled":
                gone = SourceState(0, 1, cancelled=True)
                return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=gone, unbind=True)
            case "failed" if item.attempts + 1 < item.max_attempts:
                return Settlement(item, "FAILED", item.attempts + 1, r.choice((0.0, FAR)), last_error="no")
            case "later":
                return Settlement(item, "PENDING", item.attempts, FAR)
            case "dead":
                code = r.choice(CODES)
                invalid = item.connection.version if code is FailureCode.AUTH else None
                moves = code is not FailureCode.BAD_REQUEST
                return Settlement(
                    item, "DEAD_LETTER", item.attempts, failure_code=code, moves_floor=moves, dead_token_version=invalid
                )
            case _:
                return Settlement(item, "PENDING", item.attempts)

    async def crash(self) -> None:
        n = self.random.randrange(len(self.outboxes))
        outbox, lease = self.outboxes.pop(n), self.leases.pop(n)
        [[pid]] = await outbox._session.execute("select pg_backend_pid()")
        await outbox._session.aclose()
        wait_until(lambda: self.world.one("select count(*) from pg_locks where pid = %s", pid) == 0)
        self.tables.leases.discard(lease)
        await self.start()

    async def sweep(self) -> None:
        swept = await self.random.choice(self.outboxes).sweep()
        assert (swept.recovered, swept.dead) == self.tables.sweep(self.now, CEILING)

    # What must be the same

    def compare(self) -> None:
        stored = {row[0]: row[1:] for row in self.world.connection.execute(ROWS)}
        model = {
            row.id: (row.status, row.attempts, row.losses, row.code, row.lease_no is not None)
            for row in self.tables.rows.values()
        }
        assert stored == model, self.did
        remembered = {(row[0], row[1]): memory_of(row) for row in self.world.connection.execute(MEMORIES)}
        assert remembered == {about: ordered(found.memory) for about, found in self.tables.sources.items()}, self.did
        valid: dict[UUID, bool] = dict(
            self.world.connection.execute("select workspace_id, is_valid from google_connections").fetchall()
        )
        assert valid == {about: found.valid for about, found in self.tables.connections.items()}
        self.compare_brake(workspace(self.counts.choice(SPACES)))

    def compare_brake(self, of: UUID) -> None:
        """Count for the brake, and take back what that stops."""
        waiting = self.counts.random() < 0.7
        about = {"workspaces": [of], "workspace": of, "window": WINDOW, "waiting": waiting, "share": 0.3, "least": 1}
        with self.world.connection.transaction(force_rollback=True):
            [[_, *bound]] = self.world.connection.execute(BRAKES["claimed"], about)
            [[deletes, events, *judged]] = self.world.connection.execute(BRAKES["count"], about)
        assert tuple(bound) == self.tables.claimed_deletes(of, self.now)
        count = self.tables.count(of, Limit(0.3, 1), self.now, waiting=waiting)
        self.tables.brakes.clear()
        assert (deletes, *judged) == (count.deletes, count.is_too_much, count.is_pulled), self.did
        assert events == count.events or count.events > events > deletes / 0.3  # no more are counted than it takes
        self.stops += count.is_too_much

    async def close(self) -> None:
        for connection, _ in [*self.writers, *self.lockers]:
            connection.close()
        for outbox in self.outboxes:
            await outbox._session.aclose()
        self.world.close()


def replace_row(row: Row) -> tuple[str, int]:
    """What a row was before a claim."""
    return row.status, row.losses


def memory_of(row: tuple[Any, ...]) -> SourceState:
    """What a row of `sync_sources` remembers."""
    floor, generation, event_id, calendar_id, etag, cancelled, reopen, strays = row[2:]
    return ordered(SourceState(floor, generation, event_id, calendar_id, etag, cancelled, reopen, tuple(strays)))


def ordered(memory: SourceState) -> SourceState:
    """A memory whose strays are in no order."""
    return replace(memory, possible_calendars=tuple(sorted(memory.possible_calendars)))


async def compare(database: Database, seed: int, steps: int) -> Pair:
    pair = Pair(database, seed)
    try:
        await pair.start()
        await pair.start()
        for _ in range(steps):
            await pair.step()
    finally:
        await pair.close()
    return pair


@pytest.mark.parametrize("seed", range(3))
async def test_the_model_does_what_the_sql_does(database: Database, seed: int) -> None:
    pair = await compare(database, seed, 150)
    assert any(row.losses for row in pair.tables.rows.values()) or "crash" in pair.did
    assert any(row.status not in WAITS for row in pair.tables.rows.values())
    assert pair.stops


@pytest.mark.soak
async def test_the_model_does_what_the_sql_does_for_long(database: Database) -> None:
    for seed in range(100, 145):
        pair = await compare(database, seed, 400)  # beyond that a workspace may have more due than a page
        pair.did.clear()
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute("truncate sync_outbox, sync_sources, google_connections, sync_set_aside, sync_brakes")
