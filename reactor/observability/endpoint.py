"""What the health endpoint says: probes and metrics, out of what is known of the process. Nothing asks the database."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import trio

import reactor
from reactor.core.dispatch.gate import GateState
from reactor.core.dispatch.lanes import Lanes
from reactor.core.health import HealthFacts, ProbeResult, liveness, readiness, startup
from reactor.core.stats import Calls, Deafness, Stats
from reactor.credentials import CredentialStore
from reactor.google.token_exchange import TokenExchange
from reactor.housekeeping import Housekeeping
from reactor.observability import collectors
from reactor.observability.lock_audit import LockAudit
from reactor.observability.loop_lag import LoopLag
from reactor.observability.metrics import CONTENT_TYPE, CounterMetric, GaugeMetric, Metrics, Reading
from reactor.observability.refusal_watch import RefusalWatch
from reactor.observability.server import PageResponse, Pages
from reactor.postgres.order import Order
from reactor.postgres.wakeups import Wakeups


@dataclass(slots=True)
class RuntimeState:
    """What is known of the process; kept by whoever wires it.

    Attributes:
        stop: Set, it is about to stop.
        facts: What probes judge.
        stats: What the loop has done.
        lanes: What is under way and held back.
        housekeeping: Measures the backlog.
        poll: Seconds between two looks at the outbox, where nothing is heard, at most.
        concurrency: Requests to Google that may be under way.
        calls: What Google was asked, and its answers.
        wakeups: What the gate has done, by name.
        sources: Who woke it.
        deafness: For how long nobody has heard writers.
        lag: How late tasks are woken.
        locks: Whether locks and items agree, and who holds one for long.
        watch: Keeps what the database refuses.
        order: Watches the order of states.
        sessions_lost: How often the claims session was lost.
        listening: Who listens now.
        credentials: The workspaces' credentials, once there are any.
        exchange: Who fetches access tokens, likewise.
        http_restarts: How often the health endpoint was started again.
    """

    stop: trio.Event
    facts: HealthFacts
    lanes: Lanes
    housekeeping: Housekeeping
    poll: float
    concurrency: int
    stats: Stats = field(default_factory=Stats)
    calls: Calls = field(default_factory=Calls)
    wakeups: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    deafness: Deafness = field(default_factory=Deafness)
    lag: LoopLag = field(default_factory=LoopLag)
    locks: LockAudit = field(default_factory=LockAudit)
    watch: RefusalWatch = field(default_factory=RefusalWatch)
    order: Order = field(default_factory=Order)
    sessions_lost: int = 0
    listening: Wakeups | None = None
    credentials: CredentialStore | None = None
    exchange: TokenExchange | None = None
    http_restarts: Callable[[], int] = lambda: 0

    @property
    def gate(self) -> GateState:
        """Where the gate is; deaf where there is none."""
        return self.listening.state if self.listening else GateState.DEAF


class HealthEndpoint:
    """Serves the health and metrics pages from what is known.

    Args:
        known: What is known.
    """

    def __init__(self, known: RuntimeState) -> None:
        self._known = known
        self._metrics = Metrics(reactor.__version__, self._readings)

    @property
    def pages(self) -> Pages:
        """By path."""
        return {"/livez": self.livez, "/readyz": self.readyz, "/startupz": self.startupz, "/metrics": self.metrics}

    def livez(self) -> PageResponse:
        """Whether every loop goes round."""
        known = self._known
        beats = {} if known.stop.is_set() else {**known.facts.beats, **known.stats.beats}
        return _page(liveness(beats, trio.current_time(), rest=1.5 * known.poll))

    def readyz(self) -> PageResponse:
        """Whether it does its work."""
        return _page(readiness(self._facts()))

    def startupz(self) -> PageResponse:
        """Whether it was ever ready."""
        return _page(startup(self._facts()))

    def metrics(self) -> PageResponse:
        """Everything that is measured."""
        return PageResponse(200, self._metrics.text(), CONTENT_TYPE)

    def _facts(self) -> HealthFacts:
        """What is known now: some of it is a question, and is asked with each page."""
        known = self._known
        return replace(
            known.facts,
            draining=known.stop.is_set(),
            listening=known.gate is not GateState.DEAF,
            refusals=known.watch.refusals.problems(trio.current_time()),
        )

    def _readings(self) -> Iterator[Reading]:
        known, now = self._known, trio.current_time()
        yield from collectors.loop_metrics(known.stats)
        yield from collectors.google_metrics(known.calls, known.exchange.outcomes if known.exchange else Counter())
        yield from collectors.lane_metrics(known.lanes, known.concurrency, now)
        yield from collectors.process_metrics(self._facts())
        yield from collectors.gate_metrics(known.gate, known.wakeups, known.sources, known.deafness.seconds(now))
        yield from collectors.backlog_metrics(known.housekeeping)
        yield from collectors.lock_metrics(known.locks.last, known.locks.held_by_others)
        refusing = "Seconds for which the database has refused a kind of work; 0 where it does not."
        yield GaugeMetric("database_refusing_seconds", refusing, known.watch.refusals.seconds(now), ("work",))
        undecipherable = known.credentials.undecipherable if known.credentials else 0
        yield CounterMetric("tokens_undecipherable", "Times that a stored token was not decrypted.", undecipherable)
        mended = "Times that the order of states was behind, and was moved ahead, by how that was found."
        yield CounterMetric("order_mended", mended, known.order.mended, ("cause",))
        yield CounterMetric("sessions_lost", "Times that the claims session was lost.", known.sessions_lost)
        yield CounterMetric("http_restarts", "Times that the health endpoint was started again.", known.http_restarts())
        yield GaugeMetric("loop_lag_seconds", "How late a task was woken; the worst of a minute.", known.lag.worst)


def _page(verdict: ProbeResult) -> PageResponse:
    return PageResponse(200, "ok\n") if verdict.well else PageResponse(503, "\n".join(verdict.problems) + "\n")
