"""What is measured: names, meanings and where each number comes from. The loop's own numbers first."""

from collections import Counter
from collections.abc import Iterator, Mapping

from reactor.core.dispatch.breaker import BreakerState as Breaker
from reactor.core.dispatch.gate import GateState as Gate
from reactor.core.dispatch.lane import LaneStatus
from reactor.core.dispatch.lanes import Lanes
from reactor.core.health import HealthFacts, readiness
from reactor.core.stats import Calls, Stats
from reactor.housekeeping import Housekeeping
from reactor.observability.metrics import CounterMetric, GaugeMetric, HistogramSample, Sample
from reactor.postgres.claim import Invariants


def loop_metrics(stats: Stats) -> Iterator[Sample]:
    """Items, requests and transactions of the loop."""
    yield CounterMetric("items_claimed", "Items claimed.", stats.claimed)
    ends = "Items whose end was written, by operation and outcome."
    yield CounterMetric("items_processed", ends, stats.processed, ("operation", "outcome"))
    yield CounterMetric(
        "items_settled", "Items whose end was written, by their new status.", stats.settled, ("status",)
    )
    yield CounterMetric(
        "items_ended", "Items that ended without being applied, by failure code.", stats.codes, ("code",)
    )
    yield CounterMetric("items_superseded", "Items that needed no request: a newer state was there.", stats.superseded)
    yield CounterMetric("items_retried", "Items that are tried again, by reason.", stats.retries, ("reason",))
    yield CounterMetric("attempts_failed", "Attempts that counted towards an item's maximum.", stats.attempts)
    yield CounterMetric("items_given_back", "Items given back without an attempt.", stats.given_back)
    yield CounterMetric("items_recovered", "Items taken over from workers that died.", stats.orphans)
    yield CounterMetric(
        "claims_lost", "Items whose end was not written: the claim was not ours any more.", stats.claims_lost
    )
    yield HistogramSample("item_duration_seconds", "From insert to completion.", stats.seconds)
    yield HistogramSample("item_wait_seconds", "From insert to the departure of a claim's first request.", stats.waits)
    yield CounterMetric("requests", "Requests of items to Google; a batch is one.", stats.sends)
    yield CounterMetric("requests_broken_off", "Requests cancelled under way.", stats.broken_off)
    yield CounterMetric("requests_crashed", "Requests that ended in an unexpected error.", stats.crashes)
    yield CounterMetric("rate_limited", "Requests that Google refused for a rate.", stats.throttled)
    yield HistogramSample("request_items", "Items per request.", stats.sizes)
    yield CounterMetric("looks", "Looks at the outbox, by result.", stats.looks, ("found",))
    yield CounterMetric("settles", "Transactions that wrote ends of items.", stats.settles)
    yield CounterMetric("database_refusals", "Transactions that the database refused.", stats.refusals)
    yield CounterMetric("sweeps", "Sweeps for items of workers that died.", stats.sweeps)


def google_metrics(calls: Calls, refreshes: Counter[str]) -> Iterator[Sample]:
    """Calls of Google's API and of the token endpoint."""
    what = "Calls of Google's API; a batch is one, and so is each of its parts."
    yield CounterMetric("google_calls", what, calls.counts, ("method", "code"))
    yield HistogramSample("google_request_duration_seconds", "From departure to the whole answer.", calls.seconds)
    yield CounterMetric("token_refreshes", "Access tokens asked for, by result.", refreshes, ("outcome",))


def lane_metrics(lanes: Lanes, limit: int, now: float) -> Iterator[Sample]:
    """Items and requests in flight, and workspaces that wait."""
    yield GaugeMetric("in_flight_items", "Items claimed and not settled.", lanes.in_flight_items)
    yield GaugeMetric("in_flight_limit_items", "Items that may be claimed and not settled.", lanes.in_flight_items_cap)
    yield GaugeMetric("in_flight_requests", "Requests to Google under way.", lanes.in_flight_requests)
    yield GaugeMetric("concurrency_limit_requests", "Requests to Google that may be under way.", limit)
    standings = dict.fromkeys(map(str, LaneStatus), 0)
    breakers = {(scope, _label(state)): 0 for scope in ("lane", "process") for state in Breaker}
    breakers["process", _label(lanes.process.breaker.state)] = 1
    for lane in lanes:
        standings[lane.standing(now)] += 1
        breakers["lane", _label(lane.guard.breaker.state)] += 1
    yield GaugeMetric("lanes", "Workspaces that are remembered, by where they stand.", standings, ("state",))
    yield GaugeMetric("lanes_excluded", "Workspaces from which nothing is claimed now.", len(lanes.excluded))
    divisor = lanes.divisor if lanes.may_use(now) else 0
    counted = "Replicas that share the quotas, as this one counts them; 0 while it may use nothing."
    yield GaugeMetric("replicas", counted, divisor)
    yield GaugeMetric("quota_share_ratio", "The part of the quotas that this replica may use.", divisor and 1 / divisor)
    yield CounterMetric("quota_waits", "Times that a workspace had to wait for its rate.", lanes.quota_waits)
    yield GaugeMetric("breakers", "Breakers, of workspaces and of the process.", breakers, ("scope", "state"))
    is_closed = lanes.process.breaker.state is Breaker.CLOSED
    yield GaugeMetric("breaker_open", "Whether Google is taken to be unreachable.", not is_closed)


def _label(state: Breaker) -> str:
    return state.name.lower()


def process_metrics(facts: HealthFacts) -> Iterator[Sample]:
    """Readiness of this replica and its parts."""
    yield GaugeMetric("ready", "Whether this replica does its work.", readiness(facts).well)
    yield GaugeMetric("claiming", "Whether the session that claims items is up.", facts.claiming)
    yield GaugeMetric("listening", "Whether the session that listens for new items is up.", facts.listening)
    yield GaugeMetric("draining", "Whether the process is about to stop.", facts.draining)
    yield GaugeMetric("schema_current", "Whether the database has what this version needs.", facts.schema_current)


def gate_metrics(state: Gate, counts: Counter[str], sources: Counter[str], deaf: float) -> Iterator[Sample]:
    """Wake-ups by source, and the time without a session that listens."""
    states = {each.name: int(each is state) for each in Gate}
    yield GaugeMetric("gate_state", "Where the gate is.", states, ("state",))
    yield CounterMetric("wakeups", "Looks after a sleep, by what ended it.", sources, ("source",))
    yield CounterMetric("notifications", "Calls of writers.", counts["NOTIFIED"])
    yield CounterMetric("gate_asks", "Times that the gate's lock was asked for.", counts["ASK"])
    yield CounterMetric("deaf_seconds", "Seconds without a session that hears writers.", deaf)


def backlog_metrics(housekeeping: Housekeeping) -> Iterator[Sample]:
    """Facts of the database; every replica reports the same."""
    yield GaugeMetric("outbox_oldest_due_seconds", "How long the oldest due item has waited.", housekeeping.oldest_due)
    yield GaugeMetric(
        "outbox_oldest_pending_seconds", "Age of the oldest item that waits.", housekeeping.oldest_pending
    )
    yield GaugeMetric("outbox_pending_items", "Items that wait, counted up to 10,000.", housekeeping.pending)
    yield GaugeMetric("outbox_due_workspaces", "Workspaces with a due item.", housekeeping.due_workspaces)
    yield GaugeMetric("connections_invalid", "Workspaces whose consent does not work.", housekeeping.invalid)
    yield GaugeMetric("notify_queue_usage_ratio", "How full the queue of notifications is.", housekeeping.notify_usage)
    yield GaugeMetric("brakes", "Workspaces that are stopped because too much would be deleted.", housekeeping.brakes)
    yield GaugeMetric(
        "items_set_aside", "Items that the database refuses to change, counted up to 10,000.", housekeeping.aside
    )
    yield CounterMetric("items_deleted", "Settled items that were deleted for their age.", housekeeping.deleted)


def lock_metrics(found: Invariants, by_others: Mapping[str, float]) -> Iterator[Sample]:
    """Whether locks match the items in flight, and locks of ours that other sessions hold."""
    held = found.in_flight - found.missing_locks + found.unexpected_locks
    locks = {"held": held, "stray": found.unexpected_locks, "missing": found.missing_locks}
    yield GaugeMetric(
        "locks", "Rows under the lease: held, without an item in flight, missing for one.", locks, ("state",)
    )
    others = "Locks of ours that another session has held for a minute, by lock."
    yield GaugeMetric("locks_held_by_others", others, by_others, ("lock",))
    yield GaugeMetric("outbox_orphaned_items", "PROCESSING rows whose session is gone.", found.orphans)
    yield GaugeMetric("outbox_doubled_sources", "Sources with two PROCESSING rows.", found.doubled)
