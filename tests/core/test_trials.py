"""Trials: when an item that lost its worker three times is tried, and that nothing stops for ever because of one."""

from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from reactor.core.trials import ALONE_FOR, OTHERS_END_WITHIN, RETRY_PAUSE, TRIAL_AFTER, TrialDecision, Trials

A, B = UUID(int=1), UUID(int=2)


@pytest.fixture
def trials() -> Trials:
    return Trials()


def ask(
    trials: Trials, now: float, *, busy: bool = False, trying: bool = False, without: tuple[UUID, ...] = ()
) -> object:
    return trials.next(now, without, busy=busy, trying=trying)


def test_without_a_suspect_there_is_nothing_but_work(trials: Trials) -> None:
    assert ask(trials, 0) is ask(trials, 0, busy=True) is TrialDecision.WORK
    assert not trials.wait


def test_an_idle_worker_tries_at_once(trials: Trials) -> None:
    trials.left_out([A, B], 0)
    assert trials.wait
    assert ask(trials, 0) == A
    assert ask(trials, 0, without=(A,)) == B
    assert ask(trials, 0, without=(A, B)) is TrialDecision.WORK


def test_a_busy_worker_works_on_then_drains_and_then_tries_in_company(trials: Trials) -> None:
    trials.left_out([A], 0)
    trials.left_out([A], 0.9)  # it waits since it was first left out
    assert ask(trials, TRIAL_AFTER - 0.1, busy=True) is TrialDecision.WORK
    assert ask(trials, TRIAL_AFTER, busy=True) is TrialDecision.WAIT
    assert ask(trials, TRIAL_AFTER + 0.1) == A
    assert ask(trials, TRIAL_AFTER + OTHERS_END_WITHIN, busy=True) == A


def test_a_trial_has_no_company_for_a_while(trials: Trials) -> None:
    trials.left_out([A, B], 0)
    trials.begin(A)
    trials.tried(A, 0, found=True)
    assert ask(trials, ALONE_FOR - 0.1, busy=True, trying=True) is TrialDecision.WAIT
    assert ask(trials, ALONE_FOR, busy=True, trying=True) is TrialDecision.WORK
    assert ask(trials, 0.1) is TrialDecision.WORK
    assert ask(trials, 0.1) == B


def test_what_a_trial_leaves_out_is_next(trials: Trials) -> None:
    trials.left_out([A], 0)
    trials.begin(A)
    trials.left_out([A], 1)
    trials.tried(A, 1, found=True)
    assert ask(trials, 2) is TrialDecision.WORK
    assert ask(trials, 2) == A


def test_where_nothing_was_to_be_claimed_it_is_tried_later(trials: Trials) -> None:
    trials.left_out([A], 0)
    trials.begin(A)
    trials.tried(A, 0, found=False)
    trials.left_out([A], RETRY_PAUSE - 0.1)
    assert not trials.wait
    trials.left_out([A], RETRY_PAUSE)
    assert ask(trials, RETRY_PAUSE) == A


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.lists(st.sampled_from([A, B])), st.booleans(), st.booleans(), st.booleans()),
        max_size=60,
    )
)
def test_a_worker_waits_for_no_trial_longer_than_the_bound(
    steps: list[tuple[float, list[UUID], bool, bool, bool]],
) -> None:
    """Whatever is left out, found and in flight: between two claims lie at most the drain and one trial."""
    trials, now, claimed_at = Trials(), 0.0, 0.0
    for after, left_out, busy, trying, found in steps:
        now += after
        trials.left_out(left_out, now)
        turn = trials.next(now, (), busy=busy or trying, trying=trying)
        if turn is TrialDecision.WAIT:
            assert now - claimed_at <= OTHERS_END_WITHIN + ALONE_FOR + 2 * 2  # steps of two seconds
            continue
        claimed_at = now
        if isinstance(turn, UUID):
            trials.begin(turn)
            trials.tried(turn, now, found=found)


def test_after_a_trial_the_others_are_claimed_for_first(trials: Trials) -> None:
    """Seen in the simulator: one workspace's items, tried one after another, delayed another workspace by 45 s."""
    trials.left_out([A], 0)
    assert ask(trials, 0) == A
    trials.begin(A)
    trials.tried(A, 0, found=True)
    trials.left_out([A], 0)
    assert ask(trials, 0.5, trying=True) is TrialDecision.WAIT
    assert ask(trials, 1.2) is TrialDecision.WORK, "nothing is in flight, and others may wait"
    assert ask(trials, 1.2) == A, "there was nothing to claim for them"
    trials.begin(A)
    trials.tried(A, 1.2, found=True)
    trials.left_out([A], 1.3)
    assert ask(trials, 2.4) is TrialDecision.WORK
    assert ask(trials, 2.4, busy=True) is TrialDecision.WAIT
