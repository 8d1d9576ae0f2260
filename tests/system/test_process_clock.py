"""The reactor's machine has a clock that is an hour off: nothing is refused or waited for longer, and nothing counts.

Due times and ages are the database's, lifetimes are counted on a monotonic clock, and dates in answers are read by the
answer's own clock. The whole process is lied to, by libfaketime (Debian's `faketime`); the database and Google are not.
"""

import time
from datetime import datetime
from pathlib import Path

import pytest

from calendar_emulator import Fault
from tests.support.process_world import World
from tests.support.waiting import until

LIBRARY = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("hours", [pytest.param(-1, marks=pytest.mark.soak), 1])
async def test_a_clock_that_is_an_hour_off_burns_nothing(world: World, hours: int) -> None:
    world.connect()
    emulator = world.google.emulator
    liar = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": f"{3600 * hours:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    process = await world.start(**liar).ready()
    said = datetime.fromisoformat(process.events("ready")[0]["timestamp"]).timestamp()
    assert said - time.time() == pytest.approx(3600 * hours, abs=300)

    world.insert(1)
    await world.all_done(1)
    emulator.oauth.expire_access_tokens()
    world.insert(2)
    await world.all_done(2)
    assert world.attempts() == 0
    assert emulator.log.count("token") == 2, "the token's lifetime is not measured with the clock on the wall"

    limit = Fault(operation="insert", times=1, effect="error", reason="rateLimitExceeded", status=429, retry_after="1")
    emulator.fault(limit)
    emulator.fault(Fault(operation="token", times=1, effect="error", reason="rate_limit_exceeded", retry_after="1"))
    emulator.oauth.expire_access_tokens()
    world.insert(3)
    await world.all_done(3)
    assert world.attempts() == 0

    emulator.fault(Fault(operation="insert", times=1, effect="error", reason="backendError", status=503))
    world.insert(4)
    await world.all_done(4)
    assert world.attempts() == 0, "a first failure is free, and is tried again when the database says so"
    await until(lambda: world.locks() == 0)
    assert world.titles() == {f"event {number}": 1 for number in range(1, 5)}
