"""Replicas share the quota: never more than all of it in any minute, and nearly all of it where there is work."""

import pytest
from hypothesis import given, settings, strategies as st

from reactor.core.dispatch.sharing import (
    GOOD_FOR,
    NEWCOMER_SECONDS,
    NOTHING,
    Census,
    Sharing,
    SharingAction,
    SharingStep,
)
from tests.support.quota_world import LINGER, World

QUOTA = 600


def world(replicas: int, seed: int = 1) -> World:
    them = World(QUOTA, seed)
    for _ in range(replicas):
        them.join()
    return them


@pytest.mark.no_cover
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_however_many_there_are_they_use_the_quota_and_no_more(replicas: int) -> None:
    them = world(replicas)
    them.run(200)
    assert {replica.sharing.divisor for replica in them.replicas} == {replicas}
    assert them.used(1001, 1200) >= 0.95
    assert them.most(60.5) <= QUOTA


@pytest.mark.no_cover
def test_kills_and_joins_between_one_two_and_four() -> None:
    """Every minute of it, those with a kill too."""
    them = world(1)
    for change in ("join", "join", "join", "kill", "kill", "join", "join", "kill", "kill", "kill", "join"):
        them.run(61)
        if change == "join":
            them.join()
        else:
            them.kill(them.alive[0])
    them.run(61)
    assert them.most(60.5) <= QUOTA
    minutes = [them.used(at, at + 60) for at in range(1001, int(them.now) - 60)]
    assert min(minutes) >= 0.95


@pytest.mark.no_cover
def test_three_of_four_are_killed_at_once() -> None:
    them = world(4)
    them.run(70)
    for replica in them.alive[1:]:
        them.kill(replica)
    them.run(70)
    assert min(them.used(at, at + 60) for at in range(1001, int(them.now) - 60)) >= 0.95


@pytest.mark.no_cover
def test_a_rolling_update_with_one_more() -> None:
    them = world(4)
    them.run(60)
    for old in list(them.alive):
        them.join()
        them.run(3)
        them.drain(old)
        them.run(3)
    them.run(60)
    assert {replica.sharing.divisor for replica in them.alive} == {4}
    assert them.most(60.5) <= QUOTA
    assert min(them.used(at, at + 60) for at in range(1001, int(them.now) - 60)) >= 0.95


def test_a_newcomer_beside_a_frozen_replica_waits_until_that_one_may_not_send() -> None:
    them = world(1)
    them.run(30)
    frozen = them.alive[0]
    them.freeze(frozen, 60)
    them.join()
    them.run(GOOD_FOR - 2)
    newcomer = them.alive[1]
    assert newcomer.sharing.divisor == NOTHING
    them.run(5)
    assert newcomer.sharing.divisor == 2
    them.run(60)
    assert frozen.sharing.divisor == 2
    assert them.most(60.5) <= QUOTA


def test_replicas_of_an_older_release_are_counted() -> None:
    them = world(1)
    them.run(5)
    them.older = 2
    them.run(5)
    assert them.alive[0].sharing.divisor == 3
    them.join()
    them.run(1)
    assert [replica.sharing.divisor for replica in them.alive] == [4, 4]
    them.older = 0
    them.run(5)
    assert [replica.sharing.divisor for replica in them.alive] == [2, 2]


_which = st.integers(0, 9)
_happens = st.one_of(
    st.tuples(st.just("join"), _which, st.just(0.0)),
    st.tuples(st.just("kill"), _which, st.sampled_from([0.0, 0.0, LINGER])),
    st.tuples(st.just("drain"), _which, st.just(0.0)),
    st.tuples(st.just("freeze"), _which, st.floats(0.1, 40)),
    st.tuples(st.just("terminate"), _which, st.just(0.0)),
)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    slow=st.sampled_from([0.0, 0.02, 0.2]),
    first=st.integers(1, 4),
    events=st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.1, 1.0, 7.0, 30.0]), _happens), max_size=25),
)
def test_whatever_happens_no_minute_exceeds_the_quota_and_in_the_end_it_is_used(
    seed: int, slow: float, first: int, events: list[tuple[float, tuple[str, int, float]]]
) -> None:
    them = World(QUOTA, seed, slow=slow)
    for _ in range(first):
        them.join()
    for pause, (what, which, seconds) in events:
        them.run(pause * them.rng.uniform(0.5, 1.5))
        alive = them.alive
        if what == "join" or not alive:
            if len(alive) < 6:
                them.join()
        elif what in ("kill", "freeze"):
            getattr(them, what)(alive[which % len(alive)], seconds)
        else:
            getattr(them, what)(alive[which % len(alive)])
    if not them.alive:
        them.join()
    them.slow = 0.0
    them.run(60)  # everybody has thawed, every session has ended
    now = them.now
    them.run(60)
    assert {replica.sharing.divisor for replica in them.alive} == {len(them.alive)}
    assert them.used(now, them.now) >= 0.95
    assert them.most(60) <= QUOTA


def census(*divisors: int, at: float = 0.0, older: int = 0) -> Census:
    return Census(at, divisors, older)


def begun(divisor: int) -> Sharing:
    sharing = Sharing()
    others = (divisor,) * (divisor - 1)
    assert list(done(sharing, census(*others), census(*others)))[-1] == SharingStep(SharingAction.RETRACT, NOTHING)
    return sharing


def done(sharing: Sharing, *censuses: Census) -> list[SharingStep]:
    """The steps, where the counts come to that."""
    counts, steps = iter(censuses), sharing.adjust()
    taken: list[SharingStep] = []
    answer: Census | None = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return taken
        taken.append(step)
        answer = next(counts) if step.do is SharingAction.COUNT else None


def test_the_first_one_publishes_before_it_counts() -> None:
    sharing = Sharing()
    steps = done(sharing, census(), census())
    assert steps == [
        SharingStep(SharingAction.PUBLISH, NOTHING),
        SharingStep(SharingAction.CALL),
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.PUBLISH, 1),
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.RETRACT, NOTHING),
    ]
    assert (sharing.divisor, sharing.good_until) == (1, GOOD_FOR)


def test_a_newcomer_waits_for_what_the_others_publish() -> None:
    sharing = Sharing()
    done(sharing, census(1))
    assert sharing.divisor == NOTHING
    done(sharing, census(2), census(2))
    assert sharing.divisor == 2


def test_two_newcomers_that_see_each_other_do_not_count_what_the_other_does_not_use() -> None:
    sharing = Sharing()
    done(sharing, census(3, NOTHING), census(3, NOTHING))
    assert sharing.divisor == 3


def test_who_uses_less_publishes_it_and_calls() -> None:
    sharing = begun(1)
    assert done(sharing, census(NOTHING)) == [
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.PUBLISH, 2),
        SharingStep(SharingAction.RETRACT, 1),
        SharingStep(SharingAction.CALL),
    ]
    assert sharing.divisor == 2


def test_who_wants_more_and_then_sees_another_that_does_retracts() -> None:
    sharing = begun(3)
    steps = done(sharing, census(2), census(1))
    assert steps == [
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.PUBLISH, 2),
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.RETRACT, 2),
    ]
    assert sharing.divisor == 3


def test_who_wants_more_and_then_sees_more_that_live_uses_less() -> None:
    sharing = begun(3)
    steps = done(sharing, census(2), census(2, 3, 3, at=1.0))
    assert steps[1:] == [
        SharingStep(SharingAction.PUBLISH, 2),
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.PUBLISH, 4),
        SharingStep(SharingAction.RETRACT, 2),
        SharingStep(SharingAction.RETRACT, 3),
        SharingStep(SharingAction.CALL),
    ]
    assert (sharing.divisor, sharing.good_until) == (4, 1.0 + GOOD_FOR)


def test_a_step_that_failed_is_done_again() -> None:
    sharing = begun(2)
    steps = sharing.adjust()
    steps.send(None)
    assert steps.send(census(2, NOTHING)) == SharingStep(SharingAction.PUBLISH, 3)
    steps.close()  # refused
    assert sharing.take_in(census(2, NOTHING))
    assert done(sharing, census(2, NOTHING)) == [
        SharingStep(SharingAction.COUNT),
        SharingStep(SharingAction.PUBLISH, 3),
        SharingStep(SharingAction.RETRACT, 2),
        SharingStep(SharingAction.CALL),
    ]


def test_a_part_is_good_for_a_while_after_each_count() -> None:
    sharing = begun(2)
    assert not sharing.take_in(census(2, at=40.0))
    assert sharing.good_until == 40.0 + GOOD_FOR
    assert sharing.take_in(census(2, 2, at=41.0))
    assert sharing.divisor == 3


def test_what_does_not_answer_is_not_waited_for_for_ever() -> None:
    sharing = Sharing()
    done(sharing, census(1, at=10.0))
    done(sharing, census(1, at=10.0 + NEWCOMER_SECONDS - 0.1))
    assert sharing.divisor == NOTHING
    done(sharing, census(1, at=10.0 + NEWCOMER_SECONDS), census(1, at=10.0 + NEWCOMER_SECONDS))
    assert sharing.divisor == 2
