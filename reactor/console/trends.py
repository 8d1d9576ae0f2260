"""What the replicas did in the last hour or day, as charts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from reactor.console.charts import Chart, ChartSeries, ChartUnit, draw, label
from reactor.desk.wording import count

NOTHING = "No replica has reported work in this time. Each reports once a minute while it works."
CODES = 3
"""Google's answers that have a line of their own; the others share one."""
_NAMES = {"200": "200 (done)", "204": "204 (deleted)", "none": "no answer", "other": "unknown codes"}


def activity_charts(activity: Mapping[str, Any]) -> list[Chart]:
    """Draw what `reactor.desk.pulses.activity` returns: items, how long they took, Google's answers.

    Times are those of the console's own zone, as everywhere on its pages. Nothing is drawn of a time without work.
    """
    points = activity["points"]
    if not any(point["answers"] or point["done"] or point["failed"] or point["dead"] for point in points):
        return []
    times = [point["at"].astimezone() for point in points]
    each = _per(activity["step"])
    ends = [("done", "done", False), ("failed", "tried again", True), ("dead", "dead letters", True)]
    quantiles = [("p50", "half of them within"), ("p95", "19 of 20 within")]
    return [
        draw(
            f"Items {each}",
            times,
            [ChartSeries(said, [point[name] for point in points], is_bad) for name, said, is_bad in ends],
            ChartUnit.COUNT,
        ),
        draw(
            "From the insert to the calendar",
            times,
            [ChartSeries(said, [point[name] for point in points]) for name, said in quantiles],
            ChartUnit.SECONDS,
        ),
        draw(f"Google's answers {each}", times, _answers(points), ChartUnit.COUNT),
    ]


def in_words(activity: Mapping[str, Any]) -> str:
    """Sum the whole time up in a sentence; of nothing, which also is before the first pulse, say when there is more."""
    whole = activity["whole"]
    said = [f"{count(whole['done'], 'item')} done"] if whole["done"] else []
    if whole["p50"] is not None:
        half, most = (label(whole[name], ChartUnit.SECONDS) for name in ("p50", "p95"))
        said.append(f"half of them within {half}, 19 of 20 within {most} of their insert")
    if whole["failed"]:
        said.append(f"{count(whole['failed'], 'attempt')} to be tried again")
    if whole["dead"]:
        said.append(count(whole["dead"], "dead letter"))
    return "; ".join(said) + "." if said else NOTHING


def _per(step: timedelta) -> str:
    minutes = step // timedelta(minutes=1)
    return "a minute" if minutes == 1 else f"in {minutes} minutes"


def _answers(points: Sequence[Mapping[str, Any]]) -> list[ChartSeries]:
    total = Counter[str]()
    for point in points:
        total.update(point["answers"])
    own = [code for code, _ in total.most_common(CODES)]
    series = [
        ChartSeries(
            _NAMES.get(code, code), [point["answers"].get(code, 0) for point in points], not code.startswith("2")
        )
        for code in own
    ]
    if len(total) > len(own):
        rest = [sum(number for code, number in point["answers"].items() if code not in own) for point in points]
        series.append(ChartSeries("other codes", rest, is_bad=True))
    return series
