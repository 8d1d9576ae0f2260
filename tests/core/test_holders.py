"""Who holds one of our locks for longer than any of us would, by example."""

from typing import Any

import pytest

from reactor.core.holders import REPORT_AFTER, Holder, Holders, Lock


def holder(lock: Lock = Lock.CLAIM, **more: Any) -> Holder:
    of = {"pid": 1, "transaction": "2/7", "exclusive": True, "application": "psql", "seconds": None}
    return Holder(lock, **{**of, **more})


def test_a_session_of_somebody_else_is_told_after_a_minute_whatever_its_transactions() -> None:
    holders = Holders()
    assert holders.look([holder()], now=0.0) == []
    assert holders.look([holder(transaction="2/9")], now=REPORT_AFTER - 1) == []
    [(_, seconds)] = holders.look([holder(transaction="2/11")], now=REPORT_AFTER)
    assert seconds == REPORT_AFTER
    assert holders.look([], now=REPORT_AFTER + 1) == []
    assert holders.look([holder()], now=REPORT_AFTER + 2) == [], "it is another time"


def test_replicas_at_their_work_are_never_told() -> None:
    ours = "calendar-sync-reactor claims"
    sleeper = holder(Lock.GATE, application="calendar-sync-reactor listen", seconds=9_000.0)
    holders = Holders()
    for number in range(5):
        claims = holder(application=ours, transaction=f"2/{number}", seconds=0.01)
        assert holders.look([claims, sleeper], now=number * REPORT_AFTER) == []
        assert not claims.stands_out
    assert not sleeper.stands_out


@pytest.mark.parametrize("lock", [Lock.CLAIM, Lock.GATE])
def test_one_transaction_of_ours_or_a_writers_is_told_when_it_lasts(lock: Lock) -> None:
    stuck = holder(lock, exclusive=lock is Lock.CLAIM, application="calendar-sync-reactor claims")
    holders = Holders()
    assert holders.look([stuck], now=0.0) == []
    assert holders.look([stuck], now=REPORT_AFTER) == [(stuck, REPORT_AFTER)]
    aged = holder(lock, exclusive=False, application="app", seconds=REPORT_AFTER)
    assert Holders().look([aged], now=0.0) == [(aged, REPORT_AFTER)], "Postgres tells its age"
    assert aged.stands_out
    assert not holder(lock, exclusive=False, application="app", seconds=1.0).stands_out
