"""The text of a scrape, and that the documentation knows every name in it."""

import itertools
import math
import re
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from reactor.core.calendar.messages import Method
from reactor.core.dispatch.gate import LookResult
from reactor.core.outcome import FailureCode
from reactor.core.stats import KNOWN_CODES, Histogram
from reactor.observability.metrics import CounterMetric, GaugeMetric, HistogramSample, Metrics, Sample
from reactor.observability.server import LARGEST_ANSWER
from reactor.service import Service
from reactor.settings import Settings
from tests.app.test_settings import GIVEN

RUNNING = (Path(__file__).resolve().parents[2] / "docs" / "running.md").read_text()


def samples(metrics: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }


def test_numbers_are_told_as_they_are() -> None:
    histogram = Histogram((0.5, 1.0))
    for value in (0.1, 0.7, 0.8, 9.0):
        histogram.observe(value)
    given: list[Sample] = [
        CounterMetric("things", "Things.", 3),
        CounterMetric("ends", "Ends.", {"B": 2, "A": 1}, ("status",)),
        GaugeMetric("level", "Level.", 1.5),
        HistogramSample("size_items", "Sizes.", histogram),
    ]
    assert samples(Metrics("1.2.3", lambda: given).text()) == {
        ("reactor_build_info", "1.2.3"): 1,
        ("reactor_things_total", ""): 3,
        ("reactor_ends_total", "A"): 1,
        ("reactor_ends_total", "B"): 2,
        ("reactor_level", ""): 1.5,
        ("reactor_size_items_bucket", "0.5"): 1,
        ("reactor_size_items_bucket", "1.0"): 3,
        ("reactor_size_items_bucket", "+Inf"): 4,
        ("reactor_size_items_count", ""): 4,
        ("reactor_size_items_sum", ""): pytest.approx(10.6),
    }


async def test_the_documentation_names_every_metric_and_no_other() -> None:
    service = Service(Settings.from_environment(**{name.lower(): value for name, value in GIVEN.items()}), trio.Event())
    service.state.stats.settled["COMPLETED"] += 1
    text = service.health.metrics().text
    told = set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
    assert set(re.findall(r"`(reactor_\w+)(?:\{[\w,]+\})?`", RUNNING)) == told
    assert len(text) < 32_000
    await service._pool.aclose()


async def test_everything_filled_to_the_brim_fits_an_answer() -> None:
    """Every label that there can be, on every metric that has one, with numbers as long as they get."""
    service = Service(Settings.from_environment(**{name.lower(): value for name, value in GIVEN.items()}), trio.Event())
    known, many = service.state, 2**53
    stats = known.stats
    stats.codes.update(dict.fromkeys(FailureCode, many))
    stats.retries.update({f"a reason that is as long as they get, number {number:03}": many for number in range(60)})
    operations = ("UPSERT_EVENT", "CANCEL_EVENT", "REBUILD_ALL", "other")
    outcomes = ("applied", "superseded", "retried", "given_back", "dead")
    stats.processed.update(dict.fromkeys(itertools.product(operations, outcomes), many))
    stats.looks.update(dict.fromkeys([*(found.name for found in LookResult), "REFUSED"], many))
    stats.settled.update(dict.fromkeys(("PENDING", "COMPLETED", "FAILED", "DEAD_LETTER"), many))
    codes = [*map(str, KNOWN_CODES), "other", "none"]
    known.calls.counts.update(dict.fromkeys(itertools.product(map(str, Method), codes), many))
    known.sources.update(dict.fromkeys(("notify", "due", "freed", "poll", "linger", "connected"), many))
    for histogram in (stats.seconds, stats.waits, stats.sizes, known.calls.seconds):
        histogram.counts[:] = [many] * len(histogram.counts)
        histogram.total = math.pi * many
    page = service.health.metrics()
    assert page.status == 200
    assert 16_000 < len(page.text) < LARGEST_ANSWER
    await service._pool.aclose()


async def test_a_service_that_has_not_begun_is_alive_and_not_ready() -> None:
    service = Service(Settings.from_environment(**{name.lower(): value for name, value in GIVEN.items()}), trio.Event())
    assert service.health.livez().status == 200
    assert service.health.readyz().status == 503
    service.facts.beats["connect"] = trio.current_time() - 1_000
    assert service.health.livez().text == "The connect loop has not completed a cycle for 1000 s.\n"
    await service._pool.aclose()


async def test_what_ended_with_its_session_is_not_late() -> None:
    service = Service(Settings.from_environment(**{name.lower(): value for name, value in GIVEN.items()}), trio.Event())
    service.state.stats.beats["look"] = trio.current_time() - 1_000
    assert service.health.livez().status == 503
    service._end_session()
    assert service.health.livez().status == 200
    await service._pool.aclose()
