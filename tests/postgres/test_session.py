"""One session under cancellation, time-outs and loss."""

import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio

from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import Session, SessionLostError, open_session
from tests.support.wire import Wire


async def pid_of(session: Session) -> int:
    [[pid]] = await session.execute("select pg_backend_pid()")
    assert isinstance(pid, int)
    return pid


@asynccontextmanager
async def expect_loss() -> AsyncIterator[None]:
    lost = False
    with trio.fail_after(10):
        try:
            yield
        except* SessionLostError:
            lost = True
    assert lost


async def test_statements_return_rows(empty_database: str) -> None:
    async with open_session(empty_database, name="test") as session:
        assert await session.execute("select %s, 2", (1,)) == [(1, 2)]
        assert await session.execute("create table t (a int)") == []


async def test_a_refused_statement_leaves_the_session_usable(empty_database: str) -> None:
    async with open_session(empty_database, name="test") as session:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await session.execute("select 1 / 0")
        assert await session.execute("select 1") == [(1,)]


async def test_tasks_take_turns(empty_database: str) -> None:
    seen: list[int] = []
    async with open_session(empty_database, name="test") as session, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            [[answer]] = await session.execute("select %s::int", (number,))
            seen.append(answer)

        for number in range(20):
            nursery.start_soon(one, number)
    assert sorted(seen) == list(range(20))


async def test_work_is_one_turn(empty_database: str) -> None:
    async def transfer(connection: TrioConnection) -> object:
        async with connection.transaction():
            await connection.execute("create temp table t (a int)")
            await connection.execute("insert into t values (1)")
        return await (await connection.execute("select count(*) from t")).fetchone()

    async with open_session(empty_database, name="test") as session:
        assert await session.run(transfer) == (1,)


async def test_a_statement_that_takes_too_long_loses_the_session(empty_database: str) -> None:
    async with expect_loss(), open_session(empty_database, name="test") as session:
        await session.execute("select pg_sleep(60)", timeout=0.1)


async def test_a_cancelled_statement_loses_the_session_and_the_server_stops_it(empty_database: str) -> None:
    async with open_session(empty_database, name="witness") as witness:
        with trio.move_on_after(20) as outer:
            async with expect_loss(), open_session(empty_database, name="victim") as session:
                pid = await pid_of(session)
                with trio.move_on_after(0.1):
                    await session.execute("select pg_sleep(60)")
                await trio.sleep_forever()
        assert not outer.cancelled_caught
        await gone(witness, pid)


async def test_a_statement_that_is_cancelled_before_it_began_costs_nothing(empty_database: str) -> None:
    async with open_session(empty_database, name="test") as session:
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.execute("select 1")
        assert scope.cancelled_caught
        assert await session.execute("select 2") == [(2,)]


async def gone(witness: Session, pid: int) -> None:
    with trio.fail_after(10):
        while await witness.execute("select 1 from pg_stat_activity where pid = %s", (pid,)):
            await trio.lowlevel.checkpoint()


async def test_a_shielded_statement_survives_cancellation(empty_database: str) -> None:
    async with open_session(empty_database, name="test") as session:
        with trio.move_on_after(0.05):
            with trio.CancelScope(shield=True):
                assert await session.execute("select 1 from pg_sleep(0.2)") == [(1,)]
            await trio.lowlevel.checkpoint()
            pytest.fail("the cancellation was swallowed")
        assert await session.execute("select 1") == [(1,)]


async def test_a_terminated_backend_cancels_the_block_at_once(empty_database: str) -> None:
    async with (
        open_session(empty_database, name="killer") as killer,
        expect_loss(),
        open_session(empty_database, name="victim", ping_interval=1000) as session,
    ):
        pid = await pid_of(session)
        with trio.CancelScope(shield=True):  # or the killer would be interrupted itself
            await killer.execute("select pg_terminate_backend(%s)", (pid,))
        await trio.sleep_forever()


async def test_a_backend_terminated_in_a_statement_is_a_loss(empty_database: str) -> None:
    async with (
        open_session(empty_database, name="killer") as killer,
        expect_loss(),
        open_session(empty_database, name="victim", ping_interval=1000) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.execute, "select pg_sleep(60)")
        pid = await pid_when_busy(killer)
        with trio.CancelScope(shield=True):  # or the killer would be interrupted itself
            await killer.execute("select pg_terminate_backend(%s)", (pid,))


async def pid_when_busy(witness: Session) -> int:
    while True:
        for row in await witness.execute("select pid from pg_stat_activity where query = 'select pg_sleep(60)'"):
            return int(row[0])


async def test_a_frozen_backend_is_noticed_by_the_ping(empty_database: str, own_backends: None) -> None:
    pid = 0
    try:
        async with (
            expect_loss(),
            open_session(empty_database, name="test", ping_interval=0.05, ping_timeout=0.2) as session,
        ):
            pid = await pid_of(session)
            os.kill(pid, signal.SIGSTOP)
            await trio.sleep_forever()
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_network_that_swallows_everything_is_noticed_by_the_ping(empty_database: str) -> None:
    async with (
        Wire(empty_database) as wire,
        expect_loss(),
        open_session(wire.dsn, name="test", ping_interval=0.05, ping_timeout=0.2) as session,
    ):
        assert await session.execute("select 1") == [(1,)]
        wire.freeze()
        await trio.sleep_forever()


async def test_a_ping_without_rows_means_another_session(empty_database: str) -> None:
    async with (
        expect_loss(),
        open_session(empty_database, name="test", ping="select 1 where false", ping_interval=0.05),
    ):
        await trio.sleep_forever()


async def test_notifications_arrive_while_idle_and_during_statements(empty_database: str) -> None:
    heard: list[int] = []
    sent = 40
    async with (
        open_session(empty_database, name="writer") as writer,
        open_session(empty_database, name="listener", on_notify=heard.append, ping_interval=1000) as listener,
    ):
        await listener.execute("listen c")
        writer_pid = await pid_of(writer)
        async with trio.open_nursery() as nursery:

            async def busy() -> None:
                for _ in range(sent):
                    await listener.execute("select pg_sleep(0.001)")

            nursery.start_soon(busy)
            for number in range(sent):
                await writer.execute("select pg_notify('c', %s)", (str(number),))
        with trio.fail_after(5):
            while len(heard) < sent:
                await trio.testing.wait_all_tasks_blocked(0.005)
        assert heard == [writer_pid] * sent


class StepsOf(trio.abc.Instrument):
    """Counts the steps of the tasks of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        self.steps += self.name in task.name


async def test_an_answer_does_not_wake_the_watch(empty_database: str) -> None:
    """An item waits for what comes after the answer; the end of the connection wakes the watch (the tests above)."""
    async with open_session(empty_database, name="test", ping_interval=1000) as session:
        await trio.testing.wait_all_tasks_blocked(0.01)
        watch = StepsOf("end_with_session")
        trio.lowlevel.add_instrument(watch)
        assert await session.execute("select 1") == [(1,)]
        assert await session.execute("select 1 from pg_sleep(0.01)") == [(1,)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        trio.lowlevel.remove_instrument(watch)
    assert watch.steps == 0


async def test_a_lost_session_refuses_work(empty_database: str) -> None:
    async with open_session(empty_database, name="test") as session:
        kept = session
    with pytest.raises(SessionLostError, match="gone"):
        await kept.execute("select 1")


async def test_nobody_home_is_a_loss_without_a_password_in_it() -> None:
    with pytest.raises(SessionLostError) as caught:
        async with open_session("postgresql://u:hunter2@127.0.0.1:1/x", name="test"):
            pass
    assert "hunter2" not in str(caught.value)


async def test_cancelled_while_connecting_nothing_is_left(empty_database: str) -> None:
    """The thread that was left behind closes what it gets."""
    async with open_session(empty_database, name="witness") as witness:
        for delay in (0, 0.001, 0.002, 0.004, 0.008):
            with trio.move_on_after(delay):
                async with open_session(empty_database, name="cancelled"):
                    await trio.sleep_forever()
        with trio.fail_after(10):
            while await witness.execute("select 1 from pg_stat_activity where application_name = 'cancelled'"):
                await trio.lowlevel.checkpoint()
    assert threading.active_count() < 50


async def test_time_outs_of_the_deployment_do_not_reach_a_session(empty_database: str) -> None:
    async with open_session(empty_database, name="the name", lock_timeout="10ms") as session:
        for setting, value in {
            "application_name": "the name",
            "idle_session_timeout": "0",
            "lock_timeout": "10ms",
            "statement_timeout": "8s",
        }.items():
            assert await session.execute("select current_setting(%s)", (setting,)) == [(value,)]


async def test_keepalives_are_set_at_both_ends(empty_database: str) -> None:
    async with Wire(empty_database) as wire, open_session(wire.dsn, name="test") as session:
        assert await session.execute("select 1") == [(1,)]
        options = {o.keyword.decode(): (o.val or b"").decode() for o in session._connection.pgconn.info}
        assert (options["keepalives_idle"], options["tcp_user_timeout"]) == ("5", "15000")
