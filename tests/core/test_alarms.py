"""Alarms: which lanes are looked at when a time has come, and that old alarms are forgotten."""

import math

from reactor.core.dispatch.alarms import Alarms
from reactor.core.dispatch.guard import Guard
from reactor.core.dispatch.lane import Lane
from tests.support.loop_world import unlimited, workspace


def lane(number: int) -> Lane:
    return Lane(workspace(number), Guard(unlimited(1)))


def test_lanes_come_due_in_the_order_of_their_times_and_once() -> None:
    alarms, first, second = Alarms(), lane(1), lane(2)
    assert alarms.first == math.inf
    alarms.set(second, 2.0, 2)
    alarms.set(first, 1.0, 2)
    assert alarms.first == 1.0
    assert list(alarms.due(0.5)) == []
    assert list(alarms.due(2.0)) == [first, second]
    assert list(alarms.due(9.0)) == []
    assert first.alarm_at == second.alarm_at == math.inf


def test_an_earlier_alarm_takes_the_later_ones_place() -> None:
    alarms, one = Alarms(), lane(1)
    alarms.set(one, 5.0, 1)
    alarms.set(one, 1.0, 1)
    assert list(alarms.due(1.0)) == [one]
    assert list(alarms.due(5.0)) == [], "the later one is passed by"


def test_a_lane_may_get_a_later_alarm_while_it_is_due() -> None:
    alarms, one = Alarms(), lane(1)
    alarms.set(one, 1.0, 1)
    for due in alarms.due(1.0):
        alarms.set(due, 3.0, 1)
    assert alarms.first == 3.0


def test_old_alarms_are_forgotten_and_none_that_counts() -> None:
    alarms, one, dropped = Alarms(), lane(1), lane(2)
    alarms.set(dropped, 200.0, 1)
    dropped.alarm_at = math.inf
    for at in range(199, 99, -1):
        alarms.set(one, float(at), 1)
    assert len(alarms) <= 2 + 64 + 1
    assert (100.0, one) in list(alarms)
    assert dropped not in [each for _, each in alarms]
