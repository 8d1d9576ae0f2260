"""Spans arrive at a collector, in the writer's trace where it names one, and hold nothing up."""

import signal
import socket
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reactor.errors import ConfigurationError
from reactor.observability.tracing import OpenTelemetry, traces
from tests.core.test_stats import item
from tests.support.collector import Collector
from tests.support.process_world import UNLIMITED, World
from tests.support.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def trace_of(world: World, number: int, traceparent: object) -> None:
    """Insert a row whose payload carries a traceparent, or what should be one."""
    world.insert(number, "A private title", extra={"traceparent": traceparent})


async def test_an_item_is_a_span_of_its_writers_trace(world: World, collector: Collector) -> None:
    world.connect()
    process = await world.start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url).ready()
    trace_of(world, 1, PARENT)
    await world.all_done(1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0, process.output
    [span] = collector.named("sync UPSERT_EVENT")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
    assert {a.key: a.value.string_value for a in span.attributes}["reactor.status"] == "COMPLETED"
    [request] = collector.named("google insert")
    assert (request.trace_id, request.parent_span_id) == (span.trace_id, span.span_id)
    assert span.start_time_unix_nano <= request.start_time_unix_nano <= request.end_time_unix_nano
    assert request.end_time_unix_nano <= span.end_time_unix_nano
    for secret in ("A private title", world.google.user, world.google.refresh_token):
        assert secret.encode() not in collector.body


async def test_a_request_for_several_items_is_linked_to_all(world: World, collector: Collector) -> None:
    world.connect()
    for number in range(3):
        trace_of(world, number, PARENT)
    process = await world.start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **UNLIMITED).ready()
    await world.all_done(3)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    items = {span.span_id for span in collector.named("sync ")}
    [batch] = collector.named("google batch")
    assert {batch.parent_span_id, *(link.span_id for link in batch.links)} == items


@pytest.mark.parametrize("value", [None, 7, {}, "", "00-zz-b7ad6b7169203331-01", "x" * 10_000])
async def test_a_traceparent_that_is_none_begins_a_trace(world: World, collector: Collector, value: object) -> None:
    world.connect()
    process = await world.start(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces").ready()
    trace_of(world, 1, value)
    await world.all_done(1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    [span] = collector.named("sync ")
    assert not span.parent_span_id


async def test_a_collector_that_does_not_answer_holds_nothing_up(world: World) -> None:
    """It accepts connections and keeps silent; the work goes on, and the end is bounded."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.connect()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = await world.start(OTEL_EXPORTER_OTLP_ENDPOINT=url).ready()
        for number in range(20):
            world.insert(number)
        await world.all_done(20)
        process.signal(signal.SIGTERM)
        assert await process.ended(20) == 0
        await until(lambda: process.events("spans_not_exported"))


def test_without_a_collector_nothing_is_imported_and_nothing_done() -> None:
    assert traces({}) is None
    assert traces({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}) is None


def test_a_collector_without_the_extra_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationError, match=r"install calendar-sync-reactor\[otel\]"):
        traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})


def test_what_was_lost_with_its_session_ends() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    them = OpenTelemetry(provider)
    with them.sending([(item(), 1.0)]):
        pass
    them.abandoned()
    [span] = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["reactor.status"] == "LOST"
    assert not them._open
