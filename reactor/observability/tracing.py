"""OpenTelemetry spans: one for each item from claim to settled, one for each request to Google.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces) is set; only then is OpenTelemetry imported, and only
here. A writer that puts a W3C `traceparent` into a payload finds the item's span in its own trace; an invalid value is
ignored. A request that carries several items hangs under the first one's span, with links to the others'.

No attribute holds anything from a payload. A span is handed to the SDK's own thread through a bounded queue, so Trio's
loop never waits for a collector. If the collector is away, spans are lost and nothing else.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import structlog
import trio

import reactor
from reactor.core.calendar.messages import Method
from reactor.core.item import Item, Settlement
from reactor.errors import ConfigurationError
from reactor.loop import Observer
from reactor.observability.otel_variables import ENDPOINTS

if TYPE_CHECKING:
    from uuid import UUID

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

LAST_SPANS = 3.0  # seconds, at the end, for what is still to be exported

log = structlog.get_logger(__name__)
_others: ContextVar[tuple[Any, ...]] = ContextVar("others", default=())  # spans of the items that travel along


def traces(environment: Mapping[str, str] = os.environ) -> "OpenTelemetry | None":
    """Return what makes spans, if the environment names a collector.

    Raises:
        ConfigurationError: It does, and OpenTelemetry is not installed.
    """
    named = next((name for name in ENDPOINTS if environment.get(name)), None)
    if named is None:
        return None
    try:
        return _exported()
    except ImportError as error:
        raise ConfigurationError(
            f"{named} is set, and OpenTelemetry is not installed: unset it, or install calendar-sync-reactor[otel]."
        ) from error
    except Exception as error:  # any effect of a variable that we do not check
        given = ", ".join(sorted(name for name in environment if name.startswith("OTEL_")))
        raise ConfigurationError(f"OpenTelemetry cannot work with one of {given}: unset them one by one.") from error


def _exported() -> "OpenTelemetry":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  (an extra)
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource  # noqa: PLC0415  (an extra)
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  (an extra)
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  (an extra)

    about = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "calendar-sync-reactor")}
    resource = Resource.create({**about, SERVICE_VERSION: reactor.__version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # it would wait for a collector that is away
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider)


class OpenTelemetry(Observer):
    """Spans by OpenTelemetry.

    Args:
        provider: Exports them.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415  (an extra)
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415  (an extra)
            TraceContextTextMapPropagator,
        )

        self._api = trace
        self._provider = provider
        self._tracer = provider.get_tracer("reactor", reactor.__version__)
        self._propagator = TraceContextTextMapPropagator()
        self._open: dict[tuple[UUID, int], Span] = {}

    @contextmanager
    def _current(self, items: Sequence[tuple[Item, float]]) -> Iterator[None]:
        now = time.time_ns()
        for item, seconds in items:
            self._open.setdefault((item.id, item.claim_no), self._begin(item, now - round(seconds * 1e9)))
        spans = [self._open[item.id, item.claim_no] for item, _ in items]
        with self._api.use_span(spans[0], end_on_exit=False, record_exception=False, set_status_on_exception=False):
            _others.set(tuple(span.get_span_context() for span in spans[1:]))
            yield

    def sending(self, items: Sequence[tuple[Item, float]]) -> AbstractContextManager[object]:
        """Begin the items' spans; a request with them is about to leave, each claimed so many seconds ago."""
        return self._current(items)

    def requested(self, method: Method, code: str, seconds: float) -> None:
        """Add the span of a request that has ended."""
        now = time.time_ns()
        span = self._tracer.start_span(
            f"google {method.value}",
            kind=self._api.SpanKind.CLIENT,
            start_time=now - round(seconds * 1e9),
            links=[self._api.Link(context) for context in _others.get()],
            attributes={"google.method": method.value, "google.code": code},
        )
        span.end(now)

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """End the span of an item, with its outcome or with `LOST`."""
        item, now = settlement.item, time.time_ns()
        span = self._open.pop((item.id, item.claim_no), None) or self._begin(item, now - round(seconds * 1e9))
        span.set_attribute("reactor.status", settlement.status if written else "LOST")
        if settlement.failure_code is not None:
            span.set_attribute("reactor.failure_code", settlement.failure_code.value)
        if settlement.status in ("FAILED", "DEAD_LETTER") or not written:
            span.set_status(self._api.StatusCode.ERROR)
        span.end(now)

    def abandoned(self) -> None:
        """Drop the spans that are open: the claims session is over, and we do not learn how its items end."""
        while self._open:
            _, span = self._open.popitem()
            span.set_attribute("reactor.status", "LOST")
            span.end()

    async def aclose(self) -> None:
        """Export the last ones, within bounds."""
        with trio.move_on_after(LAST_SPANS) as scope:
            try:
                await trio.to_thread.run_sync(self._provider.shutdown, abandon_on_cancel=True)
            except Exception as error:  # an exporter may raise anything
                log.warning("spans_not_exported", exc_info=error)
        if scope.cancelled_caught:
            log.warning("spans_not_exported")

    def _begin(self, item: Item, began: int) -> "Span":
        return self._tracer.start_span(
            f"sync {item.operation}",
            context=self._writers(item.payload),
            kind=self._api.SpanKind.CONSUMER,
            start_time=began,
            attributes={
                "reactor.item_id": str(item.id),
                "reactor.workspace_id": str(item.workspace_id),
                "reactor.operation": item.operation,
                "reactor.attempts": item.attempts,
                "reactor.age_seconds": item.age,
            },
        )

    def _writers(self, payload: Any) -> "Context":
        """The context that the writer put into the payload; an empty one where it put none that is valid."""
        if isinstance(payload, bytes):
            try:
                payload = json.loads(payload)
            except (ValueError, RecursionError):  # it is a dead letter for that
                payload = None
        given = payload.get("traceparent") if isinstance(payload, dict) else None
        from opentelemetry.context import Context  # noqa: PLC0415  (an extra)

        return self._propagator.extract({"traceparent": given} if isinstance(given, str) else {}, Context())
