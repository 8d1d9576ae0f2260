"""Lines over time, as plain drawing data: series in, paths, ticks and labels out; `templates/chart.html` makes SVG.

A chart shows the same three times: as lines, as a sentence for readers who cannot see them, and as a table. Lines
differ in their dashes as well as in their colours, so a reader can distinguish them in forced colours and in print.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

WIDTH, HEIGHT = 440.0, 160.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 422.0, 10.0, 136.0  # of the box in which the lines are
_X_TICKS, _Y_TICKS = 7, 4  # at most, the one at zero apart
_MOST = 1e12  # what is larger is drawn as this
_COUNTS = tuple(factor * 10.0**power for power in range(13) for factor in (1, 2, 5))
_SECONDS = (
    *(factor * 10.0**power for power in (-3, -2, -1) for factor in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 43_200.0),
    *(86_400.0 * days for days in _COUNTS[:25]),
)
_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440)  # between two ticks of time


class ChartUnit(StrEnum):
    """The unit of a chart's values."""

    COUNT = "count"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """Values over time.

    Attributes:
        name: What the values are.
        values: One for each time; None, or what is no finite number, where there is none. Below zero counts as zero.
        is_bad: Whether a value above zero is a fault.
    """

    name: str
    values: Sequence[float | None]
    is_bad: bool = False


class ChartTick(NamedTuple):
    """A mark of an axis: where it is, and what it says."""

    at: float
    label: str


class ChartRow(NamedTuple):
    """A row of the table: the time, and the value of each series."""

    time: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A series, drawn.

    Attributes:
        name: What it is.
        style: Its classes.
        path: The line, with gaps, as SVG's path has it; empty without two neighbours.
        dots: Values without a neighbour.
        says: Its highest and its last value, in words.
    """

    name: str
    style: str
    path: str
    dots: tuple[tuple[float, float], ...]
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, drawn.

    Attributes:
        title: What it shows.
        says: The same in a sentence.
        lines: The series.
        x_ticks: The axis of time, along the bottom.
        y_ticks: The axis of values, from the bottom up.
        rows: The table, the newest first, without times in which all is zero or nothing.
        width: The width of the drawing, in the unit of all coordinates.
        height: Its height.
        left: The left side of the box in which the lines are.
        right: The right side of that box.
        top: Its top.
        bottom: Its bottom.
    """

    title: str
    says: str
    lines: tuple[ChartLine, ...]
    x_ticks: tuple[ChartTick, ...]
    y_ticks: tuple[ChartTick, ...]
    rows: tuple[ChartRow, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = _RIGHT
    top: float = _TOP
    bottom: float = _BOTTOM


def draw(title: str, times: Sequence[datetime], series: Sequence[ChartSeries], unit: ChartUnit) -> Chart:
    """Draw series over time.

    Args:
        title: What they show.
        times: Their times, rising and equally far apart, in the zone in which they are to be read.
        series: What is drawn; each has a value for each time.
        unit: What the values are.
    """
    drawn = [[_plain(value) for value in each.values] for each in series]
    step, top = _scale(max((value for values in drawn for value in values if value is not None), default=0.0), unit)
    lines = tuple(
        _line(each, number, values, times, unit, top)
        for number, (each, values) in enumerate(zip(series, drawn, strict=True))
    )
    return Chart(
        title=title,
        says=" ".join(f"{part}." for part in (title, *([line.says for line in lines] or ["Nothing"]))),
        lines=lines,
        x_ticks=tuple(_time_ticks(times)),
        y_ticks=tuple(
            ChartTick(_y(number * step, top), label(number * step, unit)) for number in range(round(top / step) + 1)
        ),
        rows=tuple(_rows(times, drawn, unit)),
    )


def label(value: float, unit: ChartUnit) -> str:
    """A value in words, with two or three digits."""
    if unit is ChartUnit.COUNT:
        return f"{value:,.0f}"
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{1_000 * value:.3g} ms"
    for seconds, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if value >= seconds:
            return f"{value / seconds:,.3g} {name}" if value < 1_000 * seconds else f"{value / seconds:,.0f} {name}"
    return f"{value:.3g} s"


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else min(max(value, 0.0), _MOST)


def _scale(most: float, unit: ChartUnit) -> tuple[float, float]:
    """The distance between two ticks, and the value at the top of the box."""
    ladder = _COUNTS if unit is ChartUnit.COUNT else _SECONDS
    step = next(step for step in ladder if step * _Y_TICKS >= most)
    return step, step * max(1, math.ceil(most / step))


def _x(place: int, places: int) -> float:
    share = place / (places - 1) if places > 1 else 0.5
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def _y(value: float, top: float) -> float:
    return round(_BOTTOM - value / top * (_BOTTOM - _TOP), 1)


def _line(
    series: ChartSeries,
    number: int,
    values: Sequence[float | None],
    times: Sequence[datetime],
    unit: ChartUnit,
    top: float,
) -> ChartLine:
    points = [None if value is None else (_x(place, len(values)), _y(value, top)) for place, value in enumerate(values)]
    runs = [list(run) for is_there, run in groupby(points, lambda point: point is not None) if is_there]
    known = [[point for point in run if point is not None] for run in runs]
    path = "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in run) for run in known if len(run) > 1)
    return ChartLine(
        name=series.name,
        style=f"line{number % 4}" + (" bad" if series.is_bad else ""),
        path=path,
        dots=tuple(run[0] for run in known if len(run) == 1),
        says=f"{series.name}: {_summary(values, times, unit)}",
    )


def _summary(values: Sequence[float | None], times: Sequence[datetime], unit: ChartUnit) -> str:
    known = [(value, at) for value, at in zip(values, times, strict=True) if value is not None]
    if not any(value for value, _ in known):
        return "none"
    highest, at = max(known, key=lambda each: each[0])
    return f"highest {label(highest, unit)} at {at:%H:%M}, last {label(known[-1][0], unit)}"


def _time_ticks(times: Sequence[datetime]) -> Iterator[ChartTick]:
    minutes = [at.hour * 60 + at.minute for at in times]
    for step in _MINUTES:
        places = [place for place, minute in enumerate(minutes) if minute % step == 0]
        if len(places) <= _X_TICKS:
            break
    else:
        places = []
    for place in places:
        yield ChartTick(_x(place, len(times)), f"{times[place]:%H:%M}")


def _rows(times: Sequence[datetime], drawn: Sequence[Sequence[float | None]], unit: ChartUnit) -> Iterator[ChartRow]:
    for at, *values in reversed(list(zip(times, *drawn, strict=True))):
        if any(values):
            yield ChartRow(f"{at:%H:%M}", tuple("-" if value is None else label(value, unit) for value in values))
