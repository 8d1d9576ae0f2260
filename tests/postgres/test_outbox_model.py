"""Random histories with three replicas, against a calendar that remembers what it was shown.

Writers commit late or not at all, workers die with items in hand (some after Google took the item), attempts fail for
every reason, dead letters are requeued, rebuilds expand between. Whatever happens: no older state follows a newer one,
no source is worked on twice at a time, floors never fall, locks are held for what is in flight and nothing else, and in
the end nothing is left open and every source shows its newest state that could be shown.
"""

import random
from collections import Counter
from typing import Any
from uuid import UUID

import psycopg
import pytest
import trio
from psycopg import sql

from reactor.core.dispatch.gate import LookResult
from reactor.core.item import Item, Settlement, SettlementResult
from reactor.core.outcome import FailureCode
from reactor.core.payload import Rebuild, parse
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import Session
from reactor.postgres.outbox import Outbox
from reactor.postgres.rebuilds import Expansion
from tests.support.databases import Database, wait_until
from tests.support.outbox_world import World, source, workspace

WORKSPACES = ("x", "y")
SOURCES = ("a", "b", "c", "d", "e", "f")

STATE = """
create view calendar_source_events as
select workspace_id, 'primary' as calendar_id, 'task' as source_type, source_id
  from unnest({}::uuid[]) as workspace_id, unnest({}::uuid[]) as source_id;
grant select on calendar_source_events to calendar_sync_reactor;
"""


class History:
    """One random history."""

    def __init__(self, database: Database, seed: int) -> None:
        self.random = random.Random(seed)
        self.database = database
        self.world = World(database)
        for name in WORKSPACES:
            self.world.connect(name)
        spaces, sources = [str(workspace(name)) for name in WORKSPACES], [source(name) for name in SOURCES]
        self.world.connection.execute(sql.SQL(STATE).format(spaces, sources))
        self.expanding = psycopg.connect(database.reactor, autocommit=True)
        self.replicas: list[Outbox] = []
        self.writers: list[psycopg.Connection[Any]] = []
        self.shown: dict[tuple[object, str], int] = {}
        self.floors: dict[tuple[Any, Any], int] = {}
        self.did: Counter[str] = Counter()

    async def start(self) -> None:
        opened = psycopg.connect(self.database.reactor, autocommit=True)
        self.replicas.append(Outbox(Session(await TrioConnection.adopt(opened)), max_attempts=5))

    async def step(self) -> None:
        steps = {
            self.write: 6,
            self.begin: 2,
            self.end: 3,
            self.claim: 8,
            self.settle: 9,
            self.crash: 1,
            self.sweep: 3,
            self.requeue: 1,
            self.rebuild: 1,
        }
        [step] = self.random.choices(list(steps), list(steps.values()))
        self.did[step.__name__] += 1
        await step()
        await self.check()

    def insert(self, by: psycopg.Connection[Any] | None = None) -> None:
        operation = self.random.choice(["UPSERT_EVENT", "UPSERT_EVENT", "CANCEL_EVENT"])
        of, about = self.random.choice(WORKSPACES), self.random.choice(SOURCES)
        bad = {"bad": True} if self.random.random() < 0.15 else {}
        self.world.insert(about, of=of, operation=operation, payload=bad, by=by)

    async def write(self) -> None:
        self.insert()

    async def begin(self) -> None:
        writer = psycopg.connect(self.database.owner)
        self.insert(writer)
        self.writers.append(writer)

    async def end(self) -> None:
        if self.writers:
            writer = self.writers.pop(self.random.randrange(len(self.writers)))
            (writer.commit if self.random.random() < 0.8 else writer.rollback)()
            writer.close()

    async def claim(self) -> None:
        claimed = await self.random.choice(self.replicas).claim(slots=self.random.randint(1, 4))
        self.did["claimed"] += len(claimed.items)

    async def settle(self) -> None:
        outbox = self.random.choice(self.replicas)
        items = self.random.sample(outbox.in_flight, min(len(outbox.in_flight), self.random.randint(1, 4)))
        written = await outbox.settle([self.outcome(item) for item in items])
        assert set(written) <= {SettlementResult.WRITTEN}

    def outcome(self, item: Item) -> Settlement:
        if b"bad" in item.payload:
            return Settlement(item, "DEAD_LETTER", item.attempts, failure_code=FailureCode.BAD_REQUEST)
        chance = self.random.random()
        if chance < 0.6:
            self.show(item)
            self.expand(item)
            return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=item.memory)
        if chance < 0.8 and item.attempts + 1 < item.max_attempts:
            return Settlement(item, "FAILED", item.attempts + 1)
        if chance < 0.9:
            code = FailureCode.EXHAUSTED
            return Settlement(item, "DEAD_LETTER", item.attempts, failure_code=code, moves_floor=True)
        return Settlement(item, "PENDING", item.attempts)

    def expand(self, item: Item) -> None:
        """A rebuild becomes children; sometimes it was half-way through before."""
        if item.operation != "REBUILD_ALL":
            return
        payload = parse(item.operation, item.workspace_id, item.payload)
        assert isinstance(payload, Rebuild)
        expansion = Expansion(item, payload)
        expansion.open(self.expanding)
        self.did["children"] += expansion.upserts(self.expanding, "")[1]
        expansion.put_away(self.expanding, UUID(int=0))

    def show(self, item: Item) -> None:
        """The calendar takes the item."""
        about = (item.workspace_id, item.source_key)
        assert item.seq >= self.shown.get(about, 0), "an older state after a newer one"
        self.shown[about] = item.seq

    async def crash(self) -> None:
        outbox = self.replicas.pop(self.random.randrange(3))
        for item in outbox.in_flight:
            if self.random.random() < 0.5:
                self.expand(item)
            if b"bad" not in item.payload and self.random.random() < 0.5:
                self.show(item)
        [[pid]] = await outbox._session.execute("select pg_backend_pid()")
        await outbox._session.aclose()
        wait_until(lambda: self.world.one("select count(*) from pg_locks where pid = %s", pid) == 0)
        await self.start()

    async def sweep(self) -> None:
        outbox = self.random.choice(self.replicas)
        swept = await outbox.sweep()
        self.did["swept"] += swept.recovered + swept.dead
        assert (await outbox.invariants()).orphans == 0

    async def requeue(self) -> None:
        self.world.connection.execute(
            "update sync_outbox set status = 'PENDING', attempts = 0, next_attempt_at = now() "
            "where status = 'DEAD_LETTER'"
        )

    async def rebuild(self) -> None:
        self.world.insert(of=self.random.choice(WORKSPACES), operation="REBUILD_ALL")

    async def check(self) -> None:
        for outbox in self.replicas:
            facts = await outbox.invariants()
            assert (facts.unexpected_locks, facts.missing_locks, facts.doubled) == (0, 0, 0)
        in_flight = [item for outbox in self.replicas for item in outbox.in_flight]
        for item in in_flight:
            if item.operation == "REBUILD_ALL":
                alone = [other for other in in_flight if other.workspace_id == item.workspace_id]
                assert alone == [item]
        rows = self.world.connection.execute("select workspace_id, source_key, floor_seq from sync_sources")
        floors = {(w, key): floor for w, key, floor in rows}
        assert all(floors[about] >= floor for about, floor in self.floors.items())
        self.floors = floors

    async def finish(self) -> None:
        """Everybody ends well; then nothing may be left."""
        for writer in self.writers:
            writer.commit()
            writer.close()
        looks = 0
        quiet = 0
        while quiet < 3:
            looks += 1
            assert looks < 1000, "something goes round in circles"
            outbox = self.replicas[looks % 3]
            await outbox.sweep()
            claimed = await outbox.claim(slots=4)
            in_hand = outbox.in_flight
            for item in in_hand:
                if b"bad" not in item.payload:
                    self.show(item)
                    self.expand(item)
            await outbox.settle(
                [
                    Settlement(item, "DEAD_LETTER", item.attempts, failure_code=FailureCode.BAD_REQUEST)
                    if b"bad" in item.payload
                    else Settlement(item, "COMPLETED", item.attempts, moves_floor=True)
                    for item in in_hand
                ]
            )
            quiet = quiet + 1 if claimed.look.found is LookResult.NOTHING and not in_hand else 0
        await self.check()

    def verdict(self) -> None:
        one = self.world.one
        assert one("select count(*) from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING')") == 0
        assert self.world.locks() == 0
        newest = self.world.connection.execute(
            "select distinct on (workspace_id, sync_source_key(payload, id)) "
            "workspace_id, sync_source_key(payload, id), seq, failure_code from sync_outbox "
            "where operation <> 'REBUILD_ALL' and not (payload ? 'bad') and parent_id is null "
            "order by workspace_id, sync_source_key(payload, id), seq desc"
        ).fetchall()
        for workspace_id, key, seq, failure_code in newest:
            shown = self.shown.get((workspace_id, key), 0)
            if shown > seq:  # a rebuild's child, which is newer than all that its rebuild has seen
                assert self.is_childs(workspace_id, key, shown)
                continue
            if self.is_given_up(workspace_id, key, seq):
                continue
            assert failure_code != "SUPERSEDED", "nothing is newer"
            assert shown == seq or failure_code in ("EXHAUSTED", "WORKER_LOST")

    def is_given_up(self, workspace_id: object, key: str, seq: int) -> bool:
        """Whether a rebuild's child, which has the newest state, was given up; nothing older comes instead of it."""
        statement = (
            "select count(*) > 0 from sync_outbox where parent_id is not null and workspace_id = %s"
            " and sync_source_key(payload, id) = %s and seq > %s and failure_code in ('EXHAUSTED', 'WORKER_LOST')"
        )
        return bool(self.world.one(statement, workspace_id, key, seq))

    def is_childs(self, workspace_id: object, key: str, seq: int) -> bool:
        statement = (
            "select count(*) > 0 from sync_outbox where parent_id is not null and workspace_id = %s"
            " and sync_source_key(payload, id) = %s and seq = %s"
        )
        return bool(self.world.one(statement, workspace_id, key, seq))


@pytest.mark.parametrize("seed", range(3))
async def test_random_histories(database: Database, seed: int) -> None:
    history = History(database, seed)
    assert workspace("x") != workspace("y")
    try:
        for _ in range(3):
            await history.start()
        for _ in range(300):
            await history.step()
        await history.finish()
        history.verdict()
    finally:
        for outbox in history.replicas:
            await outbox._session.aclose()
        history.expanding.close()
        history.world.close()
    assert history.did["claimed"] > 30, history.did
    assert history.did["swept"] > 0, history.did
    assert history.did["children"] > 0, history.did


@pytest.mark.soak
async def test_many_random_histories(database: Database) -> None:
    for seed in range(1000, 1040):
        with trio.fail_after(600):
            history = History(database, seed)
            for _ in range(3):
                await history.start()
            for _ in range(1000):
                await history.step()
            await history.finish()
            history.verdict()
        for outbox in history.replicas:
            await outbox._session.aclose()
        history.world.connection.execute("truncate sync_outbox, sync_sources, google_connections")
        history.world.connection.execute("drop view calendar_source_events")
        history.expanding.close()
        history.world.close()
