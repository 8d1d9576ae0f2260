"""Signals ask once and insist the second time; a pause can be cut short."""

import os
import signal

import pytest
import trio
import trio.testing

from reactor.core.backoff import Pauses
from reactor.errors import ConfigurationError, ReactorError
from reactor.process.concurrency import cancelled_by, one_error, pause
from reactor.process.signals import watch_signals


async def test_the_first_signal_asks_and_the_second_insists(nursery: trio.Nursery) -> None:
    stop, hard_stop = trio.Event(), trio.Event()
    await nursery.start(watch_signals, stop, hard_stop.set)
    with trio.fail_after(10):
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        assert not hard_stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await hard_stop.wait()


async def test_a_pause_ends_when_there_is_something_better_to_do(autojump_clock: trio.testing.MockClock) -> None:
    pauses, stop = Pauses(first=100.0, cap=100.0), trio.Event()
    stop.set()
    await pause(pauses, unless=stop)
    assert trio.current_time() == 0.0


async def test_a_block_ends_with_an_event(autojump_clock: trio.testing.MockClock) -> None:
    event = trio.Event()
    async with cancelled_by(event):
        event.set()
        await trio.sleep(1_000)
    assert trio.current_time() == 0.0
    async with cancelled_by(trio.Event()):
        pass


def test_one_expected_error_comes_out_of_a_group() -> None:
    cause, error = KeyError(1), ConfigurationError("wrong")
    error.__cause__ = cause
    with pytest.raises(ConfigurationError) as raised, one_error(ReactorError):
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    assert raised.value is error
    assert raised.value.__cause__ is cause


def test_a_bug_beside_it_is_not_hidden() -> None:
    with pytest.raises(ExceptionGroup), one_error(ReactorError):
        raise ExceptionGroup("outer", [ConfigurationError("wrong"), KeyError(1)])
