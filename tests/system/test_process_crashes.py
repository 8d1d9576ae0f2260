"""Errors that nobody expected in a running process: the work is begun anew, and what is beside it by itself."""

from itertools import pairwise

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from reactor.errors import TransientError
from reactor.process.concurrency import harmless, keep_running
from tests.support.process_world import World
from tests.support.waiting import until

SECRET = "dinner with ada@example.com"
BEGIN = """
import trio
from reactor import service
from reactor.observability import logs
from reactor.settings import Settings
"""
RUN = """
logs.configure("json")
trio.run(service.run, Settings.from_environment())
"""
LOOP = f"""
from reactor.loop.loop import Loop
work, tries = Loop._end, iter(range(3))

def fail(self, sending):
    if next(tries, None) is not None:
        raise KeyError({SECRET!r})
    work(self, sending)

Loop._end = fail
service.STEADY = 0.5
"""
TASKS = f"""
from reactor import housekeeping
from reactor.process import concurrency
from reactor.observability import lock_audit, loop_lag

async def fail(*_):
    raise KeyError({SECRET!r})

housekeeping.Housekeeping.measure = fail
lock_audit.LockAudit.check = fail
loop_lag.EVERY = None
housekeeping.INTERVAL = lock_audit.INTERVAL = 0.1
concurrency.RESTART_FIRST = 0.1
"""


async def test_work_that_fails_is_begun_anew_and_ready_again_when_it_is_over(world: World) -> None:
    world.connect()
    process = await world.start(program=BEGIN + LOOP + RUN, CALENDAR_SYNC_POLL_INTERVAL_MS="500").ready()
    for crashes in range(1, 4):
        world.insert(crashes)
        await until(lambda wanted=crashes: len(process.events("work_crashed")) == wanted)  # type: ignore[misc]
        await process.is_(200, "/livez")
    world.insert(4)
    await world.all_done(4)
    await process.is_(200)
    await process.counts("reactor_in_flight_requests 0.0")  # what a crash left in a wrong state is not kept
    assert all(line["exception"].splitlines()[-1].strip() == "KeyError" for line in process.events("work_crashed"))
    assert len(process.events("work_crashed")) == 3
    assert SECRET not in process.output
    assert process.popen.poll() is None


async def test_what_is_beside_the_work_fails_and_is_begun_again(world: World) -> None:
    world.connect()
    process = await world.start(program=BEGIN + TASKS + RUN).ready()
    await until(lambda: len({line["task"] for line in process.events("task_crashed")}) == 3)
    await until(lambda: len(process.events("task_crashed")) > 4)
    world.insert(1)
    await world.all_done(1)
    await process.is_(200)
    assert not process.events("work_crashed")
    assert not process.events("session_lost")
    assert SECRET not in process.output


async def test_what_is_kept_is_begun_again_after_growing_pauses(autojump_clock: MockClock) -> None:
    began: list[float] = []

    async def fail() -> None:
        began.append(trio.current_time())
        raise ExceptionGroup("", [ExceptionGroup("", [ValueError(SECRET)])])

    with capture_logs() as lines, trio.move_on_after(300):
        await keep_running("watch", fail)
    pauses = [after - before for before, after in pairwise(began)]
    assert pauses[0] <= 1.5
    assert 10 <= len(began) <= 40
    assert max(pauses) <= 30, "a task that has to beat within a minute is not late"
    assert [(line["event"], line["task"]) for line in lines] == [("task_crashed", "watch")] * len(began)


async def test_what_has_a_meaning_for_the_caller_comes_out() -> None:
    async def fail() -> None:
        raise TransientError("gone")

    with pytest.RaisesGroup(TransientError):
        await keep_running("watch", fail)


def test_a_callback_that_fails_hurts_nobody() -> None:
    def fail(_: int) -> None:
        raise KeyError(SECRET)

    with capture_logs() as lines:
        harmless(fail)(1)
    [line] = lines
    assert line["event"] == "callback_crashed"
    assert line["callback"].endswith("fail")
