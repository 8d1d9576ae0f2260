"""The pages of the health endpoint: probes and metrics, from the state in memory. No page asks the database."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import trio

import reactor
from reactor.core.dispatch.gate import GateState
from reactor.core.dispatch.lanes import Lanes
from reactor.core.health import HealthFacts, ProbeResult, liveness, readiness, startup
from reactor.core.stats import Calls, Deafness, Stats
from reactor.credential_store import CredentialStore
from reactor.google.token_exchange import TokenExchange
from reactor.housekeeping import Housekeeping
from reactor.observability import collectors
from reactor.observability.lock_audit import LockAudit
from reactor.observability.loop_lag import LoopLag
from reactor.observability.metrics import CONTENT_TYPE, CounterMetric, GaugeMetric, Metrics, Sample
from reactor.observability.refusal_watch import RefusalWatch
from reactor.observability.server import PageResponse, Pages
from reactor.postgres.order import Order
from reactor.postgres.outbox import Outbox
from reactor.postgres.wakeups import Wakeups


@dataclass(slots=True)
class RuntimeState:
    """Everything that metrics and probes read; `reactor.service` fills it.

    Attributes:
        stop: Set when the process is about to stop.
        facts: The facts that probes judge.
        stats: Counters of the loop.
        lanes: Requests in flight and workspaces that wait.
        housekeeping: The backlog, as last measured.
        poll: Seconds; the longest time between two looks at the outbox without a notification.
        concurrency: The most requests to Google in flight.
        calls: Calls of Google's API and their results.
        wakeups: Counts of what the gate did, by name.
        sources: Counts of what ended a sleep, by source.
        deafness: For how long no session has listened for writers.
        lag: How late tasks of the event loop are woken.
        locks: The last audit of locks.
        watch: What the database refuses now.
        order: The order of states, and how often it was mended.
        sessions_lost: How often a claims session was lost.
        listening: The wake-ups in use; None without a claims session.
        outbox: The outbox in use; None without a claims session.
        credentials: The workspaces' credentials; None before the work begins.
        exchange: The client of the token endpoint; None before the work begins.
        http_restarts: Returns how often the health endpoint was restarted.
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
    outbox: Outbox | None = None
    credentials: CredentialStore | None = None
    exchange: TokenExchange | None = None
    http_restarts: Callable[[], int] = lambda: 0

    @property
    def gate(self) -> GateState:
        """The state of the gate; `DEAF` without a claims session."""
        return self.listening.state if self.listening else GateState.DEAF


class HealthEndpoint:
    """Serves the health and metrics pages from `RuntimeState`.

    Args:
        state: What metrics and probes read.
    """

    def __init__(self, state: RuntimeState) -> None:
        self._state = state
        self._metrics = Metrics(reactor.__version__, self._samples)

    @property
    def pages(self) -> Pages:
        """The pages by path."""
        return {"/livez": self.livez, "/readyz": self.readyz, "/startupz": self.startupz, "/metrics": self.metrics}

    def livez(self) -> PageResponse:
        """Return 200 while every loop makes progress."""
        state = self._state
        beats = {} if state.stop.is_set() else {**state.facts.beats, **state.stats.beats}
        return _page(liveness(beats, trio.current_time(), rest=1.5 * state.poll))

    def readyz(self) -> PageResponse:
        """Return 200 while the replica does its work."""
        return _page(readiness(self._facts()))

    def startupz(self) -> PageResponse:
        """Return 200 once the replica has been ready."""
        return _page(startup(self._facts()))

    def metrics(self) -> PageResponse:
        """Return all metrics in the text form."""
        return PageResponse(200, self._metrics.text(), CONTENT_TYPE)

    def _facts(self) -> HealthFacts:
        """The facts of this moment; some are computed for each page."""
        state = self._state
        return replace(
            state.facts,
            draining=state.stop.is_set(),
            listening=state.gate is not GateState.DEAF,
            refusals=state.watch.refusals.problems(trio.current_time()),
        )

    def _samples(self) -> Iterator[Sample]:
        state, now = self._state, trio.current_time()
        yield from collectors.loop_metrics(state.stats)
        yield from collectors.google_metrics(state.calls, state.exchange.outcomes if state.exchange else Counter())
        yield from collectors.lane_metrics(state.lanes, state.concurrency, now)
        yield from collectors.process_metrics(self._facts())
        yield from collectors.gate_metrics(state.gate, state.wakeups, state.sources, state.deafness.seconds(now))
        yield from collectors.backlog_metrics(state.housekeeping)
        yield from collectors.lock_metrics(state.locks.last, state.locks.held_by_others)
        refusing = "Seconds for which the database has refused a kind of work; 0 where it does not."
        yield GaugeMetric("database_refusing_seconds", refusing, state.watch.refusals.seconds(now), ("work",))
        undecipherable = state.credentials.undecipherable if state.credentials else 0
        yield CounterMetric("tokens_undecipherable", "Times that a stored token was not decrypted.", undecipherable)
        mended = "Times that the order of states was behind, and was moved ahead, by how that was found."
        yield CounterMetric("order_mended", mended, state.order.mended, ("cause",))
        yield CounterMetric("sessions_lost", "Times that the claims session was lost.", state.sessions_lost)
        yield CounterMetric("http_restarts", "Times that the health endpoint was started again.", state.http_restarts())
        yield GaugeMetric("loop_lag_seconds", "How late a task was woken; the worst of a minute.", state.lag.worst)


def _page(verdict: ProbeResult) -> PageResponse:
    return PageResponse(200, "ok\n") if verdict.well else PageResponse(503, "\n".join(verdict.problems) + "\n")
