"""`python -m reactor` as its operator meets it: start, work, stop, crash."""

import re
import signal
from uuid import uuid4

import httpx
import pytest
import trio

from calendar_emulator import Fault
from tests.support.process_world import UNLIMITED, World
from tests.support.waiting import until


async def test_a_row_becomes_an_event(world: World) -> None:
    world.connect()
    world.insert(1, "before the start")
    process = await world.start_afresh().ready()
    world.insert(2, "after the start")
    await world.all_done(2)
    assert world.titles() == {"before the start": 1, "after the start": 1}
    assert (await process.get("/livez")).status_code == 200
    assert (await process.get("/readyz")).text == "ok\n"
    metrics = await process.counts(
        'reactor_items_settled_total{status="COMPLETED"} 2.0',
        "reactor_ready 1.0",
        "reactor_item_duration_seconds_count 2.0",
    )
    assert str(world.google.user) not in metrics
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert world.locks() == 0


async def test_sigterm_finishes_what_is_under_way(world: World) -> None:
    world.connect()
    process = await world.start().ready()
    world.google.emulator.settings.latency = 1.0
    for number in range(5):
        world.insert(number)
    await until(lambda: world.google.emulator.log.peak > 0)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    done = world.statuses()
    assert done.get("COMPLETED", 0) >= 1
    assert set(done) <= {"COMPLETED", "PENDING"}
    assert (world.attempts(), world.locks()) == (0, 0)


async def test_sigterm_gives_back_what_does_not_finish_in_time(world: World) -> None:
    """Not ready while it drains, exit 0 in time, PENDING with attempts as they were, no lock left."""
    world.connect()
    process = await world.start(CALENDAR_SYNC_DRAIN_TIMEOUT_MS="1000", **UNLIMITED).ready()
    world.insert(100)
    await world.all_done(1)  # the token is there
    world.google.emulator.settings.latency = 60.0
    for number in range(20):
        world.insert(number)
    await world.in_hand(20)
    started = trio.current_time()
    process.signal(signal.SIGTERM)
    await process.is_(503)
    assert (await process.get("/readyz")).text == "It is stopping.\n"
    assert (await process.get("/livez")).status_code == 200
    assert await process.ended() == 0
    assert 0.9 < trio.current_time() - started < 1.0 + 3.0
    assert world.statuses() == {"COMPLETED": 1, "PENDING": 20}
    assert (world.attempts(), world.locks()) == (0, 0)


async def test_a_second_signal_stops_it_at_once(world: World) -> None:
    world.connect()
    process = await world.start(**UNLIMITED).ready()
    world.google.emulator.settings.latency = 60.0
    world.insert(1)
    await world.in_hand(1)
    process.signal(signal.SIGTERM)
    await process.is_(503)
    started = trio.current_time()
    process.signal(signal.SIGTERM)
    assert await process.ended() == 1
    assert trio.current_time() - started < 5
    await until(lambda: world.locks() == 0)
    assert "Traceback" not in process.output


@pytest.mark.alone
async def test_a_killed_replica_is_replaced_within_two_seconds(world: World) -> None:
    world.connect()
    first = await world.start().ready()
    world.insert(100)
    await world.all_done(1)
    world.google.emulator.fault(Fault(operation="insert", latency=60.0, times=10, effect="drop"))
    world.google.emulator.fault(Fault(operation="batch", latency=60.0, times=10, effect="drop"))
    for number in range(10):
        world.insert(number)
    await world.in_hand(10)
    second = await world.start().ready()
    world.google.emulator.faults.clear()
    first.signal(signal.SIGKILL)
    await world.all_done(11, seconds=2.0)
    assert second.popen.poll() is None
    assert sum(world.titles().values()) == 11
    assert world.attempts() == 0, "what killed the worker was none of them"


@pytest.mark.parametrize("form", ["json", "console"])
async def test_secrets_and_titles_stay_out_of_what_it_says(world: World, form: str) -> None:
    """With everything that it can say at debug, while things go well and while they go wrong."""
    world.connect()
    world.insert(1, "a private matter")
    process = world.start(LOG_LEVEL="debug", LOG_FORMAT=form)
    await world.all_done(1)
    world.google.emulator.fault(Fault(operation="insert", effect="error", status=503, reason="backendError", times=3))
    world.google.emulator.fault(Fault(operation="update", effect="garbage", times=1))
    world.insert(1, "a private matter, moved")
    world.insert(2, "another private matter", extra={"sourceType": 7, "traceparent": "a private matter"})
    world.insert(3, "a third private matter")
    await until(lambda: world.statuses() == {"COMPLETED": 3, "DEAD_LETTER": 1})
    world.google.emulator.oauth.revoke(world.google.refresh_token)
    world.insert(4, "a fourth private matter")
    await until(lambda: world.execute("select is_valid from google_connections") == [(False,)])
    wrong = world.connect(uuid4(), refresh_token="1//a-secret-token")
    world.execute("update google_connections set refresh_token_encrypted = %s where workspace_id = %s", "oops", wrong)
    world.insert(5, "a fifth private matter", workspace=wrong)
    await until(lambda: "token_not_decrypted" in process.output)
    url = next(word for word in re.findall(r"http://127[.\d]+:\d+", process.output) if word != world.google.url)
    async with httpx.AsyncClient() as client:
        scrape = (await client.get(f"{url}/metrics")).text
    process.signal(signal.SIGINT)
    assert await process.ended() == 0
    for event in ("google_answered", "item_completed", "dead_letter", "connection_invalid", "item_failed"):
        assert event in process.output
    for secret in (
        *(world.google.client_secret, world.google.refresh_token, "A" * 43, "only-for-tests", "ya29.", "a-secret"),
        *("private matter", world.google.user, "oops", "postgresql://", "password"),
    ):
        assert secret not in process.output
        assert secret not in scrape


async def test_a_rolling_restart_loses_nothing_and_counts_nothing(world: World) -> None:
    """What the old replica gives back, the new one does at once."""
    world.connect()
    old = await world.start(CALENDAR_SYNC_DRAIN_TIMEOUT_MS="500").ready()
    world.google.emulator.settings.latency = 60.0
    for number in range(20):
        world.insert(number)
    await world.in_hand(20)
    new = await world.start().ready()
    world.google.emulator.settings.latency = 0.0
    old.signal(signal.SIGTERM)
    assert await old.ended() == 0
    await world.all_done(20)
    assert world.attempts() == 0
    assert set(world.titles().values()) == {1}
    assert new.popen.poll() is None


async def test_edits_during_a_request_follow_it_at_once(world: World) -> None:
    """The slow poll, which would find them too, is a minute."""
    world.connect()
    await world.start(CALENDAR_SYNC_POLL_INTERVAL_MS="60000").ready()
    world.google.emulator.settings.latency = 0.5
    for round_ in range(3):
        world.insert(1, f"first {round_}")
        await world.in_hand(1)
        world.insert(1, f"second {round_}")
        await world.all_done(2 * (round_ + 1), seconds=20)
    assert world.titles() == {"second 2": 1}
