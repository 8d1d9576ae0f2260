"""What blocks the loop shows."""

import time

import pytest
import trio

from reactor.observability import loop_lag
from reactor.observability.loop_lag import LoopLag
from tests.support.waiting import until


async def test_what_blocks_the_loop_shows(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    monkeypatch.setattr(loop_lag, "EVERY", 0.1)
    lag = LoopLag()
    assert lag.worst == 0.0
    nursery.start_soon(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    time.sleep(0.5)  # noqa: ASYNC251  (that is the fault)
    await until(lambda: lag.worst)
    assert lag.worst > 0.3


async def test_the_worst_is_kept_and_forgotten(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    lag = LoopLag()
    lag._late.append(7.0)
    nursery.start_soon(lag.run)
    await trio.sleep(30.5)
    assert lag.worst == 7.0
    await trio.sleep(30.5)
    assert lag.worst == 0.0
