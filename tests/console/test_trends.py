"""What the replicas did, as charts: items, times, Google's answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reactor.console.charts import Chart
from reactor.console.trends import NOTHING, activity_charts, in_words

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def point(minute: int, **more: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"claimed": 0, "done": 0, "failed": 0, "dead": 0, "p50": None, "p95": None, "answers": {}}
    return {"at": NOON + timedelta(minutes=minute), **nothing, **more}


def charts(*points: dict[str, Any], minutes: int = 1) -> list[Chart]:
    return activity_charts({"points": points, "step": timedelta(minutes=minutes)})


def test_an_hour_is_three_charts() -> None:
    found = charts(point(0, done=5, p50=0.2, p95=1.5, answers={"200": 5}), point(1, failed=2, answers={"503": 2}))
    assert [(chart.title, [line.name for line in chart.lines]) for chart in found] == [
        ("Items a minute", ["done", "tried again", "dead letters"]),
        ("From the insert to the calendar", ["half of them within", "19 of 20 within"]),
        ("Google's answers a minute", ["200 (done)", "503"]),
    ]
    assert [line.style for line in found[2].lines] == ["line0", "line1 bad"]
    assert found[1].rows[0].values == ("200 ms", "1.5 s")


def test_answers_beyond_the_most_frequent_share_a_line() -> None:
    codes = {"200": 9, "204": 8, "409": 7, "410": 6, "none": 5}
    answers = charts(point(0, answers=codes))[2]
    assert [line.name for line in answers.lines] == ["200 (done)", "204 (deleted)", "409", "other codes"]
    assert answers.rows[0].values == ("9", "8", "7", "11")


def test_ten_minutes_are_called_so() -> None:
    assert charts(point(0, done=1), minutes=10)[0].title == "Items in 10 minutes"


def test_a_time_without_work_is_not_drawn() -> None:
    assert charts(point(0), point(1)) == charts() == []


@pytest.mark.parametrize("work", [{"done": 1}, {"failed": 1}, {"dead": 1}, {"answers": {"503": 1}}])
def test_any_work_is_drawn_beside_what_there_was_none_of(work: dict[str, Any]) -> None:
    assert len(charts(point(0), point(1, **work))) == 3


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ({}, NOTHING),
        ({"done": 1}, "1 item done."),
        (
            {"done": 1_200, "p50": 0.25, "p95": 2.0, "failed": 1, "dead": 2},
            (
                "1,200 items done; half of them within 250 ms, 19 of 20 within 2 s of their insert; 1 attempt to be "
                "tried again; 2 dead letters."
            ),
        ),
    ],
)
def test_a_time_in_words(whole: dict[str, Any], words: str) -> None:
    assert in_words({"whole": point(0, **whole)}) == words
