"""What the database refuses: when it is told, when it lasts, when it is over or forgotten, and what to do."""

import pytest

from reactor.core.refusals import FORGET_AFTER, LOG_EVERY, REPORT_AFTER, Refusals, RefusedWork, advice


def test_a_refusal_is_told_at_once_and_again_each_minute() -> None:
    refusals = Refusals()
    told = [now for now in range(130) if refusals.refused(RefusedWork.CLAIM, "42501", float(now))]
    assert told == [0, LOG_EVERY, 2 * LOG_EVERY]
    assert refusals.refused(RefusedWork.CLAIM, "25006", 130.0), "another one"
    assert refusals.refused(RefusedWork.SETTLE, "42501", 130.0), "of other work"


def test_it_is_over_with_the_first_success_of_its_kind() -> None:
    refusals = Refusals()
    assert refusals.accepted(RefusedWork.CLAIM) is None
    refusals.refused(RefusedWork.CLAIM, "53100", 1.0)
    assert refusals.accepted(RefusedWork.SETTLE) is None
    over = refusals.accepted(RefusedWork.CLAIM)
    assert over is not None
    assert (over.kind, over.sqlstate, over.since) == (RefusedWork.CLAIM, "53100", 1.0)
    assert refusals.standing(1.0) == []
    assert refusals.refused(RefusedWork.CLAIM, "53100", 2.0), "it is told again"


@pytest.mark.parametrize("kind", RefusedWork)
def test_what_lasts_makes_the_replica_unready_where_nothing_is_done_without_it(kind: RefusedWork) -> None:
    refusals = Refusals()
    refusals.refused(kind, "42501", 10.0)
    refusals.refused(kind, "42P01", 10.0 + REPORT_AFTER)
    assert refusals.lasting(9.9 + REPORT_AFTER) == []
    assert refusals.problems(9.9 + REPORT_AFTER) == ()
    [lasting] = refusals.lasting(10.0 + REPORT_AFTER)
    assert (lasting.since, lasting.sqlstate) == (10.0, "42P01")
    vital = kind in (RefusedWork.CLAIM, RefusedWork.SETTLE, RefusedWork.SWEEP)
    assert len(refusals.problems(10.0 + REPORT_AFTER)) == vital
    assert refusals.seconds(10.0 + REPORT_AFTER) == {
        **{str(each): 0.0 for each in RefusedWork},
        str(kind): REPORT_AFTER,
    }


def test_what_is_not_tried_any_more_is_forgotten() -> None:
    refusals = Refusals()
    refusals.refused(RefusedWork.REBUILD, "42501", 0.0)
    assert refusals.standing(FORGET_AFTER)
    assert refusals.standing(FORGET_AFTER + 1) == []
    refusals.refused(RefusedWork.REBUILD, "42501", FORGET_AFTER + 2)
    assert refusals.seconds(FORGET_AFTER + 2)["rebuild"] == 0.0


def test_advice_is_by_code_by_class_or_the_log() -> None:
    assert "primary" in advice("25006")
    assert "trigger" in advice("P0001")
    assert advice("XX000") == advice("") == "see its log, which says why"
