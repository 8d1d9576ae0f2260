"""The loop among fakes, under virtual time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from reactor.core.calendar.answers import (
    DEPLOYMENT_REFUSED,
    DISABLED,
    LOST,
    NO_CALENDAR,
    POLICY,
    RATE,
    REVOKED,
    SERVER,
    UNKNOWN,
)
from reactor.core.calendar.intent import SyncIntent
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.dispatch.lanes import IN_FLIGHT_CLAIMS
from reactor.core.item import SourceState
from reactor.core.outcome import Outcome, Retry, Scope
from reactor.loop.sweeper import SWEEP
from tests.support.loop_world import CALENDAR, FakeTokens, World, done, payload, source_id, workspace


async def test_an_item_is_sent_at_once_and_settled(autojump_clock: MockClock) -> None:
    world = World()
    async with world.running():
        await trio.sleep(1)
        inserted_at = trio.current_time()
        ids = world.outbox.insert((workspace(1), 1))
        await world.until_done(ids)
    [sent_at] = world.calendar.sent_at(workspace(1))
    assert sent_at - inserted_at <= 2 * world.outbox.delay, "the claim is all that it waits for"
    assert world.outbox.statuses() == {"COMPLETED": 1}
    assert not world.outbox.claimed


async def test_a_state_that_waited_for_its_predecessor_follows_it_at_once(autojump_clock: MockClock) -> None:
    """Nobody calls for it when its source is free, and its own call came when there was nothing to be had."""
    world = World()
    world.calendar.latency = lambda _: 1.0
    async with world.running():
        await trio.sleep(1)
        first = world.outbox.insert((workspace(1), 1))
        await world.until(lambda: world.calendar.in_flight == 1)
        second = world.outbox.insert((workspace(1), 1))
        await world.until_done(first)
        settled_at = trio.current_time()
        await world.until(lambda: world.calendar.in_flight == 1)
        assert trio.current_time() - settled_at <= 5 * world.outbox.delay
        await world.until_done(second)


async def test_a_backlog_travels_in_large_batches(autojump_clock: MockClock) -> None:
    world = World()
    ids = [i for w in range(50) for i in world.outbox.insert(*((workspace(w), s) for s in range(200)))]
    async with world.running():
        began = trio.current_time()
        await world.until_done(ids)
        seconds = trio.current_time() - began
    assert world.stats.sends <= 0.06 * len(ids)
    assert seconds <= len(ids) / 5_000


def leave_as_httpcore(world: World, monkeypatch: pytest.MonkeyPatch, left: Callable[[], object]) -> None:
    """Have requests leave in the second round of the scheduler after their start.

    In fewer, a request and a claim might be in one round, whose order is random.
    """
    send = world.calendar.send

    async def leaves(*args: Any) -> list[Outcome]:
        for _ in range(2):
            await trio.lowlevel.checkpoint()
        left()
        return await send(*args)

    monkeypatch.setattr(world.calendar, "send", leaves)


@pytest.mark.parametrize(("rows", "order"), [(1, ["claim", "leaves"]), (30, ["claim", "claim"])])
async def test_a_request_leaves_before_the_next_claim_unless_more_is_waiting(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, rows: int, order: list[str]
) -> None:
    world, seen = World(claim_size=10), list[str]()
    leave_as_httpcore(world, monkeypatch, lambda: seen.append("leaves"))
    claim = world.outbox.claim

    async def claims(**given: Any) -> Any:
        seen.append("claim")
        return await claim(**given)

    monkeypatch.setattr(world.outbox, "claim", claims)
    async with world.running():
        await trio.sleep(1)
        seen.clear()
        await world.until_done(world.outbox.insert(*((workspace(1), source) for source in range(rows))))
    assert seen[:2] == order


async def test_the_caps_hold(autojump_clock: MockClock) -> None:
    world = World(concurrency=6, lane_concurrency=2, claim_size=20, parts=5)
    ids = [i for w in range(9) for i in world.outbox.insert(*((workspace(w), s) for s in range(40)))]
    async with world.running():
        await world.until_done(ids)
    assert world.calendar.most_in_flight == 6
    assert world.outbox.most_in_flight_items <= world.lanes.in_flight_items_cap
    assert max(world.calendar.sizes) == 5
    assert world.lanes.in_flight_items == world.lanes.in_flight_requests == 0


async def test_what_is_in_hand_is_bounded_whatever_waits(autojump_clock: MockClock) -> None:
    world = World(claim_size=50)
    for w in range(10):
        world.outbox.insert(*((workspace(w), s) for s in range(2_000)))
    async with world.running():
        await world.until(lambda: world.stats.settled["COMPLETED"] >= 2_000)
    assert world.outbox.most_in_flight_items <= IN_FLIGHT_CLAIMS * 50


async def test_a_backlog_of_one_workspace_does_not_delay_another(autojump_clock: MockClock) -> None:
    world = World()
    world.outbox.insert(*((workspace(1), s) for s in range(5_000)))
    async with world.running():
        await trio.sleep(0.5)
        inserted_at = trio.current_time()
        await world.until_done(world.outbox.insert((workspace(2), 1)))
    assert world.calendar.sent_at(workspace(2))[0] - inserted_at < 0.1


async def test_workspaces_that_hang_do_not_delay_another(autojump_clock: MockClock) -> None:
    world = World()
    stuck = {str(workspace(n)) for n in range(1, 4)}
    world.calendar.latency = lambda works: 30.0 if works[0].workspace_id in stuck else 0.1
    world.calendar.answers = lambda work, _: LOST if work.workspace_id in stuck else done(work)
    for n in range(1, 4):
        world.outbox.insert(*((workspace(n), s) for s in range(1_000)))
    async with world.running():
        for second in range(120):
            inserted_at = trio.current_time()
            await world.until_done(world.outbox.insert((workspace(9), second)))
            assert trio.current_time() - inserted_at < 0.2
            await trio.sleep(1)


async def test_an_outage_burns_no_attempts_once_it_is_noticed(autojump_clock: MockClock) -> None:
    world = World()
    up_at = 300.0
    world.calendar.answers = lambda work, now: SERVER if now < up_at else done(work)
    ids = [i for w in range(20) for i in world.outbox.insert(*((workspace(w), s) for s in range(10)))]
    async with world.running():
        await world.until(lambda: world.lanes.process.breaker.state is not BreakerState.CLOSED)
        before = len(world.calendar.requests)
        burnt = sum(row.attempts for row in world.outbox.rows.values())
        await trio.sleep(290 - trio.current_time())
        during = len(world.calendar.requests)
        assert max(row.attempts for row in world.outbox.rows.values()) <= 1
        assert sum(row.attempts for row in world.outbox.rows.values()) <= burnt + 5 * 10
        await world.until_done(ids)
    assert world.outbox.statuses() == {"COMPLETED": 200}
    assert trio.current_time() < up_at + 150
    probes = [len(works) for _, works in world.calendar.requests[before:during]]
    assert probes, "it keeps asking"
    assert set(probes) == {1}, "one item at a time"
    assert during < 80


@pytest.mark.parametrize(("latency", "at_once"), [(1.5, 1), (5.0, 3)])
async def test_half_open_sends_one_probe_at_a_time_and_the_next_where_it_hangs(
    autojump_clock: MockClock, latency: float, at_once: int
) -> None:
    world = World()
    world.calendar.latency = lambda _: latency
    world.calendar.answers = lambda work, now: SERVER if now < 200 else done(work)
    for w in range(20):
        world.outbox.insert((workspace(w), 1), (workspace(w), 2))
    async with world.running():
        await world.until(lambda: world.lanes.process.breaker.state is not BreakerState.CLOSED)
        await world.until(lambda: world.calendar.in_flight == 0)
        world.calendar.most_in_flight = 0
        await trio.sleep(200 - trio.current_time())
        assert world.calendar.most_in_flight == at_once


async def test_a_rate_limit_pauses_its_lane_only(autojump_clock: MockClock) -> None:
    world = World()
    limited = str(workspace(1))
    world.calendar.answers = lambda work, now: (
        replace(RATE, after=30.0) if work.workspace_id == limited and now < 20 else done(work)
    )
    slow = world.outbox.insert(*((workspace(1), s) for s in range(100)))
    async with world.running():
        await trio.sleep(1)
        await world.until_done(world.outbox.insert(*((workspace(2), s) for s in range(100))), within=1)
        await world.until_done(slow)
    assert 30 <= trio.current_time() < 36
    assert {row.attempts for row in world.outbox.rows.values()} == {0}
    pause = [at for at in world.calendar.sent_at(workspace(1)) if 1 < at < 30]
    assert not pause
    assert not any(at >= 30 for at in world.calendar.sent_at(workspace(2)))


async def test_a_lane_that_reopens_wakes_the_loop(autojump_clock: MockClock) -> None:
    """Nothing else would: the rows are due, the gate sleeps, and no writer calls."""
    world = World()
    world.calendar.answers = lambda work, now: replace(RATE, after=2.0) if now < 1 else done(work)
    ids = world.outbox.insert((workspace(1), 1))
    async with world.running():
        await trio.sleep(0.5)
        late = world.outbox.insert((workspace(1), 2))
        await world.until_done([*ids, *late])
    reopened = [at for at in world.calendar.sent_at(workspace(1)) if at > 1]
    assert 2.0 <= reopened[0] <= 2.2


async def test_a_dead_token_costs_one_dead_letter_and_parks_the_workspace(autojump_clock: MockClock) -> None:
    world = World()
    world.calendar.answers = lambda work, _: done(work) if world.outbox.consents else REVOKED
    ids = world.outbox.insert(*((workspace(1), s) for s in range(500)))
    async with world.running():
        await world.until(lambda: bool(world.outbox.invalid))
        await trio.sleep(30)
        assert world.outbox.statuses() == {"DEAD_LETTER": 1, "PENDING": 499}
        assert not world.outbox.claimed, "nothing is held in hand"
        sent = len(world.calendar.requests)
        await trio.sleep(300)
        assert len(world.calendar.requests) == sent
        world.outbox.reconnect(workspace(1), "v2")
        await world.until_done(ids, within=5)
    assert world.outbox.statuses() == {"COMPLETED": 500}
    assert {row.attempts for row in world.outbox.rows.values()} == {0}


async def test_a_calendar_that_is_gone_costs_few_dead_letters(autojump_clock: MockClock) -> None:
    world = World(parts=1)
    world.calendar.answers = lambda *_: NO_CALENDAR
    world.outbox.insert(*((workspace(1), s) for s in range(500)))
    async with world.running():
        await trio.sleep(600)
    assert world.outbox.statuses()["DEAD_LETTER"] <= 4 + 16


@pytest.mark.parametrize("refusal", [UNKNOWN, POLICY])
async def test_a_refusal_that_a_workspace_would_meet_is_not_run_through(
    autojump_clock: MockClock, refusal: Retry
) -> None:
    """One item tries at a time, with pauses: a backlog of 500 is not used up, and another workspace goes on."""
    world = World()
    world.calendar.answers = lambda work, _: refusal if work.workspace_id == str(workspace(1)) else done(work)
    world.outbox.insert(*((workspace(1), s) for s in range(500)))
    others = world.outbox.insert(*((workspace(2), s) for s in range(100)))
    async with world.running():
        await world.until_done(others, within=5)
        await trio.sleep(600)
        assert sum(row.attempts for row in world.outbox.rows.values()) <= 4 + 16
        world.calendar.answers = lambda work, _: done(work)
        await world.until(lambda: world.outbox.statuses() == {"COMPLETED": 600}, within=200)


@pytest.mark.parametrize("refusal", [DEPLOYMENT_REFUSED, DISABLED])
async def test_a_refusal_that_everybody_would_meet_counts_nothing_and_is_told(
    autojump_clock: MockClock, refusal: Retry
) -> None:
    """All workspaces wait, one item of one of them tries once a minute, and each try is a line of the log."""
    world = World()
    said = replace(refusal, said="403 CONSUMER_SUSPENDED")
    world.calendar.answers = lambda *_: said
    ids = world.outbox.insert(*((workspace(w), s) for w in range(5) for s in range(50)))
    async with world.running():
        await trio.sleep(600)
        assert {row.attempts for row in world.outbox.rows.values()} == {0}
        await world.until(lambda: world.outbox.statuses() == {"PENDING": 250}, within=5)  # but for the one that tries
        assert set(world.held) == {said.text}
        assert 10 <= len(world.held) <= len(world.calendar.requests) <= 10 + 16
        world.calendar.answers = lambda work, _: done(work)
        await world.until_done(ids, within=200)


async def test_a_key_that_cannot_decrypt_holds_the_workspace(autojump_clock: MockClock) -> None:
    cannot = Retry("the key is missing", counts=False, scope=Scope.LANE)
    world = World(tokens_of=lambda item: cannot if item.workspace_id == workspace(1) else FakeTokens(item))
    world.outbox.insert(*((workspace(1), s) for s in range(100)))
    others = world.outbox.insert(*((workspace(2), s) for s in range(100)))
    async with world.running():
        await world.until_done(others, within=2)
        await trio.sleep(300)
    assert {row.attempts for row in world.outbox.rows.values()} == {0}
    assert world.stats.sends < 30, "it does not spin"
    assert world.stats.claimed < 2_500


async def test_an_item_that_crashes_its_exchange_ends_as_a_dead_letter_alone(autojump_clock: MockClock) -> None:
    world = World()

    def answers(work: SyncIntent, _: float) -> Outcome:
        if work.source_key.endswith(source_id(13)):
            raise RuntimeError("a bug")
        return done(work)

    world.calendar.answers = answers
    ids = world.outbox.insert(*((workspace(1), s) for s in range(100)))
    async with world.running():
        await world.until_done(ids)
    dead = [row for row in world.outbox.rows.values() if row.status == "DEAD_LETTER"]
    assert [(row.source, row.code) for row in dead] == [(13, "EXHAUSTED")]
    assert {row.attempts for row in world.outbox.rows.values() if row.source != 13} == {0}
    assert world.stats.crashes >= 5
    assert len(world.errors) == world.stats.crashes


async def test_a_bad_payload_is_settled_without_being_sent(autojump_clock: MockClock) -> None:
    world = World()
    ids = world.outbox.insert((workspace(1), 1), content=payload(workspace(2), 1))
    async with world.running():
        await world.until_done(ids)
    assert not world.calendar.requests
    assert world.outbox.rows[ids[0]].code == "BAD_PAYLOAD"
    assert world.lanes.in_flight_items == 0


# Stopping


async def test_a_drain_finishes_what_is_under_way_and_gives_back_the_rest(autojump_clock: MockClock) -> None:
    world = World(lane_concurrency=1)
    world.calendar.latency = lambda works: 3.0 if works[0].workspace_id == str(workspace(1)) else 60.0
    fast = world.outbox.insert((workspace(1), 1))
    slow = world.outbox.insert((workspace(2), 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        await world.until(lambda: world.calendar.in_flight == 2)
        queued = world.outbox.insert((workspace(2), 2))
        await trio.sleep(0.5)
        world.loop.drain(10.0)
        began = trio.current_time()
    assert 10 <= trio.current_time() - began < 11
    rows = world.outbox.rows
    assert not world.outbox.claimed, "no lock is left"
    assert rows[fast[0]].status == "COMPLETED"
    assert (rows[slow[0]].status, rows[slow[0]].attempts) == ("PENDING", 0)
    assert (rows[queued[0]].status, rows[queued[0]].attempts) == ("PENDING", 0)
    memories = {s.item.id: s.memory for s in world.outbox.settlements}
    assert memories[slow[0]] == SourceState(possible_calendars=(CALENDAR,)), "it may have arrived"
    assert memories[queued[0]] is None, "it was not sent"
    assert len(world.calendar.requests) == 2


@pytest.mark.parametrize("refused", [False, True])
async def test_a_drain_tells_the_others_what_has_waited_for_its_last_items(
    autojump_clock: MockClock, *, refused: bool
) -> None:
    world = World()
    world.calendar.latency = lambda _: 3.0
    world.outbox.insert((workspace(1), 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        await world.until(lambda: world.calendar.in_flight == 1)
        world.outbox.insert((workspace(1), 1))
        await trio.sleep(0.5)
        world.loop.drain(10.0)
        await world.until(lambda: world.outbox.transactions["settle"] == 1)
        world.outbox.refuse = int(refused)  # then they find it when they look by themselves
    assert world.outbox.transactions["announce"] == 1
    assert world.outbox.statuses() == {"COMPLETED": 1, "PENDING": 1}


async def test_a_drain_of_an_idle_loop_is_over_at_once(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        await trio.sleep(100)
        world.loop.drain(25.0)
        began = trio.current_time()
    assert trio.current_time() - began < 0.1


async def test_a_drain_between_two_claims_sends_the_first_and_gives_back_the_second(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for before the requests of the first one leave, and these go out all the same."""
    world, claims = World(claim_size=10), 0
    leave_as_httpcore(world, monkeypatch, lambda: None)
    claim = world.outbox.claim

    async def drains(**given: Any) -> Any:
        nonlocal claims
        claims += 1
        if claims == 3:  # the first one finds nothing
            assert world.calendar.requests == [], "they have not left"
            world.loop.drain(10.0)
        return await claim(**given)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        await trio.sleep(1)
        claims = 1
        monkeypatch.setattr(world.outbox, "claim", drains)
        world.outbox.insert(*((workspace(1), source) for source in range(30)))
    assert claims == 3
    assert sum(world.calendar.sizes) == 10
    assert world.outbox.statuses() == {"COMPLETED": 10, "PENDING": 20}
    assert world.stats.given_back == 10
    assert not world.outbox.claimed
    assert all(row.attempts == 0 for row in world.outbox.rows.values() if row.status == "PENDING")


async def test_a_drain_waits_for_the_claim_that_is_under_way(autojump_clock: MockClock) -> None:
    world = World()
    world.outbox.delay = 1.0
    world.outbox.insert((workspace(1), 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        await trio.sleep(1.5)
        world.loop.drain(25.0)
    assert world.outbox.statuses() == {"PENDING": 1}
    assert not world.outbox.claimed
    assert not world.calendar.requests


async def test_a_database_that_refuses_for_ever_does_not_hold_up_the_stop(autojump_clock: MockClock) -> None:
    world = World()
    world.outbox.insert((workspace(1), 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.loop.run)
        await world.until(lambda: world.calendar.in_flight == 1)
        world.outbox.refuse = 1_000_000
        world.loop.drain(5.0)
        began = trio.current_time()
    assert trio.current_time() - began <= 5 + 15


async def test_cancelled_it_stops_at_once_and_writes_nothing(autojump_clock: MockClock) -> None:
    world = World()
    world.outbox.insert(*((workspace(1), s) for s in range(10)))
    async with world.running():
        await world.until(lambda: world.calendar.in_flight == 1)
        now = trio.current_time()
    assert trio.current_time() - now <= world.outbox.delay, "a statement under way is never interrupted"
    assert not world.outbox.settlements
    assert world.lanes.in_flight_items == world.lanes.in_flight_requests == 0
    assert world.stats.broken_off == 1


# The database


async def test_what_the_database_refuses_is_written_later(autojump_clock: MockClock) -> None:
    world = World()
    ids = world.outbox.insert(*((workspace(1), s) for s in range(10)))
    async with world.running():
        await world.until(lambda: world.calendar.in_flight == 1)
        world.outbox.refuse = 6
        await world.until_done(ids)
    assert world.outbox.statuses() == {"COMPLETED": 10}
    assert len(world.calendar.requests) == 1, "nothing is sent twice"
    assert world.stats.refusals > 0


async def test_a_lost_claim_drops_the_outcome(autojump_clock: MockClock) -> None:
    world = World()
    [lost, kept] = world.outbox.insert((workspace(1), 1), (workspace(1), 2))
    world.outbox.lost.add(lost)
    async with world.running():
        await world.until_done([kept])
    assert world.stats.claims_lost == 1
    assert world.stats.settled == {"COMPLETED": 1}
    assert world.lanes.in_flight_items == 0


async def test_a_loop_is_idle_as_soon_as_nothing_is_in_hand(autojump_clock: MockClock) -> None:
    world = World()
    async with world.running():
        await world.until_done(world.outbox.insert((workspace(1), 1)))
        await trio.sleep(2)
        before = world.outbox.transactions.total()
        await trio.sleep(600)
        assert world.outbox.transactions.total() - before <= (1 / 5 + 1 / 9) * 600


async def sweeps_in(world: World, seconds: float) -> int:
    before = world.outbox.transactions["sweep"]
    await trio.sleep(seconds)
    return world.outbox.transactions["sweep"] - before


async def test_sweeps_are_frequent_while_anything_is_in_hand_elsewhere(autojump_clock: MockClock) -> None:
    world = World()
    async with world.running():
        await trio.sleep(20)
        world.outbox.elsewhere = True
        assert await sweeps_in(world, 10) >= 1, "the rare sweep sees it"
        assert await sweeps_in(world, 20) >= 40
        world.outbox.elsewhere = False
        assert await sweeps_in(world, 20) <= 4


async def test_sweeps_are_frequent_while_anything_is_in_hand_here(autojump_clock: MockClock) -> None:
    world = World()
    world.calendar.latency = lambda _: 25.0
    async with world.running():
        await trio.sleep(20)
        world.outbox.insert((workspace(1), 1))
        assert await sweeps_in(world, 20) >= 40
        await trio.sleep(10)
        assert await sweeps_in(world, 20) <= 4


async def test_a_call_that_finds_nothing_is_followed_by_a_sweep(autojump_clock: MockClock) -> None:
    """A peer was quicker, and may be killed at once."""
    world = World()
    async with world.running():
        await trio.sleep(20)
        for _ in range(10):
            world.outbox.inserted()
            assert await sweeps_in(world, SWEEP + 0.05) == 1
            await trio.sleep(0.9)


async def test_what_falls_due_elsewhere_is_followed_by_a_sweep(autojump_clock: MockClock) -> None:
    """It is known when a retry falls due; a peer that claims it calls nobody."""
    world = World()
    async with world.running():
        await trio.sleep(20)
        [retry] = world.outbox.insert((workspace(1), 1))
        world.outbox.rows[retry].due = trio.current_time() + 3
        await trio.sleep(2.9)
        world.outbox.open.clear()  # a peer has it
        assert await sweeps_in(world, 0.1 + SWEEP + 0.05) == 1


async def test_a_retry_of_a_peer_that_is_gone_is_sent_when_it_falls_due(autojump_clock: MockClock) -> None:
    """What fails in other hands is announced to nobody, so it is looked for once nothing is in hand any more."""
    world = World()
    async with world.running():
        await trio.sleep(20)
        world.outbox.elsewhere = True
        world.outbox.inserted()  # a peer was quicker
        await trio.sleep(3)
        world.outbox.inserted = lambda: None
        [retry] = world.outbox.insert((workspace(1), 1))
        world.outbox.rows[retry].due = due = trio.current_time() + 1.2
        world.outbox.elsewhere = False
        await world.until_done([retry])
    [sent_at] = world.calendar.sent_at(workspace(1))
    assert due <= sent_at <= due + 0.05
