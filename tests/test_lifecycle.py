"""Signals ask once and insist the second time; pauses grow and can be cut short."""

import os
import signal

import trio
import trio.testing

from reactor.lifecycle import Pauses, wait_for_either, watch_signals


async def test_the_first_signal_asks_and_the_second_insists(nursery: trio.Nursery) -> None:
    stop, hard_stop = trio.Event(), trio.Event()
    await nursery.start(watch_signals, stop, hard_stop.set)
    with trio.fail_after(10):
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        assert not hard_stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await hard_stop.wait()


async def test_pauses_grow_to_a_cap_and_begin_again(autojump_clock: trio.testing.MockClock) -> None:
    pauses, never = Pauses(first=0.05, cap=5.0), trio.Event()

    async def pause() -> float:
        started = trio.current_time()
        await pauses.after_failure(never)
        return trio.current_time() - started

    lengths = [await pause() for _ in range(20)]
    assert 0.05 <= lengths[0] < 0.07
    assert 0.1 <= lengths[1] < 0.13
    assert all(5.0 <= length <= 6.26 for length in lengths[7:])
    pauses.reset()
    assert await pause() < 0.07


async def test_a_pause_ends_when_there_is_something_better_to_do(autojump_clock: trio.testing.MockClock) -> None:
    pauses, stop = Pauses(first=100.0, cap=100.0), trio.Event()
    stop.set()
    await pauses.after_failure(stop)
    assert trio.current_time() == 0.0


async def test_one_of_two_events_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    for place in (0, 1):
        events = trio.Event(), trio.Event()
        events[place].set()
        await wait_for_either(*events)
