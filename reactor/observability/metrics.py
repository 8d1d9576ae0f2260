"""Metrics, in Prometheus's text form.

Nothing is counted here: the loop and the others keep plain numbers, and a scrape reads them. Labels come from closed
sets (a status, a failure code, one of our fixed phrases), never from data: no id, no calendar, no workspace. Depth and
age of the outbox are facts of the database and the same from every replica: aggregate those with `max`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from reactor.core.stats import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


Value = float | Mapping[str, float] | Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class CounterMetric:
    """A value that only rises.

    Attributes:
        name: Without prefix and `_total`.
        help: What it counts.
        value: How much, or how much by the values of the labels.
        labels: The labels' names, where there are any; with more than one, a key of `value` is a tuple.
    """

    name: str
    help: str
    value: Value
    labels: tuple[str, ...] = ()


class GaugeMetric(CounterMetric):
    """A value that rises and falls; the attributes are those of a counter, without `_total`."""


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """A histogram; the attributes are those of a counter."""

    name: str
    help: str
    value: Histogram


Sample = CounterMetric | HistogramSample


class Metrics(Collector):
    """Builds the page of metrics from what is read at each scrape.

    Args:
        version: This program's version.
        read: Called at each scrape.
    """

    def __init__(self, version: str, read: Callable[[], Iterable[Sample]]) -> None:
        self._version = version
        self._read = read
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> str:
        """Return all metrics in the text form."""
        return generate_latest(self._registry).decode()

    def collect(self) -> Iterator[Metric]:
        """Read the numbers; called by the registry at each scrape."""
        build = GaugeMetricFamily("reactor_build_info", "The program that answers.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        yield from map(_family, self._read())


def _family(sample: Sample) -> Metric:
    name = f"reactor_{sample.name}"
    if isinstance(sample, HistogramSample):
        return _histogram(name, sample)
    kind = GaugeMetricFamily if isinstance(sample, GaugeMetric) else CounterMetricFamily
    if not isinstance(sample.value, Mapping):
        return kind(name, sample.help, value=sample.value)
    family = kind(name, sample.help, labels=sample.labels)
    for key, value in sorted(sample.value.items()):
        family.add_metric([key] if isinstance(key, str) else key, value)
    return family


def _histogram(name: str, sample: HistogramSample) -> Metric:
    histogram = sample.value
    buckets, below = [], 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return HistogramMetricFamily(name, sample.help, buckets=buckets, sum_value=histogram.total)
