"""Bars: for how long a workspace is left out that the server refuses to look at, and when it is tried."""

import math
from uuid import UUID

from reactor.core.dispatch.bars import BARRED_AT_MOST, Bars

A, B = UUID(int=1), UUID(int=2)


def test_nothing_is_barred_at_first() -> None:
    bars = Bars()
    assert not bars.workspaces
    assert bars.next(0, ()) is None
    assert bars.over_in(0) == math.inf


def test_a_barred_workspace_is_tried_when_its_time_is_over() -> None:
    bars = Bars()
    bars.bar(A, 10, trial=7)
    assert bars.next(10.9, ()) is None
    assert bars.over_in(10.25) == 0.75
    assert bars.next(11, ()) == (A, 7)
    assert bars.next(11, (A,)) is None
    assert bars.over_in(20) == 0
    assert bars.workspaces == {A}, "it is left out of claims of others until the trial has passed"


def test_the_one_that_has_waited_longest_is_tried_first() -> None:
    bars = Bars()
    bars.bar(B, 0)
    bars.bar(A, 1)
    assert bars.next(5, ()) == (B, 1)
    assert bars.next(5, (B,)) == (A, 1)


def test_bars_grow_with_refusals_in_a_row_to_a_minute() -> None:
    bars, now, pauses = Bars(), 0.0, []
    for _ in range(8):
        bars.bar(A, now)
        pauses.append(bars.over_in(now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, BARRED_AT_MOST, BARRED_AT_MOST]
    bars.lift(A)
    bars.lift(B)
    bars.bar(A, now)
    assert bars.over_in(now) == 1
