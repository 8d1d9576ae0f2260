"""Charts: whatever the values are, the drawing is finite, lies in its box, and says in words what it shows."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st
from jinja2 import Environment, PackageLoader, StrictUndefined

from reactor.console.charts import Chart, ChartRow, ChartSeries, ChartUnit, draw, label
from reactor.console.rendering import FILTERS

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
COUNT, SECONDS = ChartUnit.COUNT, ChartUnit.SECONDS


def times(number: int, step: timedelta = timedelta(minutes=1)) -> list[datetime]:
    return [NOON + place * step for place in range(number)]


def drawn(*series: list[float | None], unit: ChartUnit = COUNT) -> Chart:
    named = [ChartSeries(f"series {number}", values) for number, values in enumerate(series)]
    return draw("Items", times(max(map(len, series), default=0)), named, unit)


def points(chart: Chart) -> Iterator[tuple[float, float]]:
    for line in chart.lines:
        yield from line.dots
        numbers = [float(number) for number in re.findall(r"[^ML ]+", line.path)]
        yield from zip(numbers[::2], numbers[1::2], strict=True)


def markup(chart: Chart) -> str:
    environment = Environment(loader=PackageLoader("reactor.console"), autoescape=True, undefined=StrictUndefined)
    environment.filters |= FILTERS
    return str(environment.from_string('{% from "chart.html" import chart %}{{ chart(it, "k") }}').render(it=chart))


def test_a_line_goes_from_side_to_side_and_from_zero_to_the_top() -> None:
    chart = drawn([0, 5, 10])
    [line] = chart.lines
    assert line.path == "M52 136L237 73L422 10"
    assert [(tick.at, tick.label) for tick in chart.y_ticks] == [(136.0, "0"), (73.0, "5"), (10.0, "10")]
    assert line.says == "series 0: highest 10 at 12:02, last 10"


@pytest.mark.parametrize(
    ("values", "path", "dots", "says"),
    [
        ([], "", 0, "series 0: none"),
        ([None, None], "", 0, "series 0: none"),
        ([0, 0, 0], "M52 136L237 136L422 136", 0, "series 0: none"),
        ([7], "", 1, "series 0: highest 7 at 12:00, last 7"),
        ([1, None, 1, 1], "M298.7 10L422 10", 1, "series 0: highest 1 at 12:00, last 1"),
        ([float("nan"), float("inf"), -1], "", 1, "series 0: none"),
    ],
)
def test_what_is_not_there_is_a_gap(values: list[float | None], path: str, dots: int, says: str) -> None:
    [line] = drawn(values).lines
    assert (line.path, len(line.dots), line.says) == (path, dots, says)


def test_a_chart_without_series_says_so() -> None:
    chart = draw("Google's answers", times(3), [], COUNT)
    assert (chart.says, chart.rows) == ("Google's answers. Nothing.", ())


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0.0, ["0 s", "1 ms"]),
        (0.3, ["0 s", "100 ms", "200 ms", "300 ms"]),
        (7.0, ["0 s", "2 s", "4 s", "6 s", "8 s"]),
        (55.0, ["0 s", "15 s", "30 s", "45 s", "1 min"]),
        (70.0, ["0 s", "30 s", "1 min", "1.5 min"]),
        (3_000.0, ["0 s", "15 min", "30 min", "45 min", "1 h"]),
        (90_000.0, ["0 s", "12 h", "1 d", "1.5 d"]),
    ],
)
def test_times_have_ticks_as_clocks_have(most: float, labels: list[str]) -> None:
    assert [tick.label for tick in drawn([most], unit=SECONDS).y_ticks] == labels


@pytest.mark.parametrize(
    ("number", "step", "labels"),
    [
        (0, 1, []),
        (1, 1, ["12:00"]),
        (60, 1, ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]),
        (144, 10, ["12:00", "18:00", "00:00", "06:00"]),
        (20, 10_080, []),
    ],
)
def test_the_axis_of_time_has_a_few_whole_times(number: int, step: int, labels: list[str]) -> None:
    chart = draw("Items", times(number, timedelta(minutes=step)), [], COUNT)
    assert [tick.label for tick in chart.x_ticks] == labels


def test_the_table_has_the_newest_first_and_nothing_empty() -> None:
    chart = drawn([0, 1_200, 0, 3], [None, None, None, 2])
    assert chart.rows == (ChartRow("12:03", ("3", "2")), ChartRow("12:01", ("1,200", "-")))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0042, "4.2 ms"), (1.0, "1 s"), (2.345, "2.35 s"), (90, "1.5 min"), (5_400, "1.5 h"), (1e9, "11,574 d")],
)
def test_a_time_is_said_shortly(value: float, words: str) -> None:
    assert label(value, SECONDS) == words


VALUES = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 10**15)


@given(
    st.integers(0, 40).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n), max_size=6)),
    st.sampled_from(ChartUnit),
)
def test_whatever_the_values_are_the_drawing_is_in_its_box(series: list[list[float | None]], unit: ChartUnit) -> None:
    chart = drawn(*series, unit=unit)
    for x, y in points(chart):
        assert chart.left <= x <= chart.right
        assert chart.top <= y <= chart.bottom
    assert all(chart.left <= tick.at <= chart.right for tick in chart.x_ticks)
    assert chart.y_ticks[0].at == chart.bottom
    assert chart.y_ticks[-1].at == chart.top
    assert len({tick.label for tick in chart.y_ticks}) == len(chart.y_ticks) <= 6
    text = markup(chart)
    assert "nan" not in text
    assert "inf" not in text


def test_the_markup_is_well_formed_and_has_no_style_of_its_own() -> None:
    text = markup(drawn([1, None, 3, 4], [0, 1, 2, 3]))
    figure = ET.fromstring(text)
    assert [figure.find(f".//{name}").text for name in ("svg/title", "svg/desc", "summary")] == [  # type: ignore[union-attr]
        "Items",
        drawn([1, None, 3, 4], [0, 1, 2, 3]).says,
        "The numbers",
    ]
    assert len(figure.findall(".//tbody/tr")) == 4
    names = {name for element in figure.iter() for name in element.attrib}
    assert not names & {"style", "onclick", "onload"}


def test_a_name_from_the_database_is_no_markup() -> None:
    text = markup(draw("<b>", times(2), [ChartSeries('"><script>', [1, 2])], COUNT))
    assert "<b>" not in text
    assert "<script" not in text
