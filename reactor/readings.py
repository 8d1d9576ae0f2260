"""What is measured: names, meanings and where each number comes from. The loop's own numbers first."""

from collections import Counter
from collections.abc import Iterator

from reactor.core.breaker import State
from reactor.core.health import Facts, readiness
from reactor.core.lanes import Lanes
from reactor.core.stats import Stats
from reactor.housekeeping import Housekeeping
from reactor.metrics import Counted, Distribution, Gauged, Reading


def of_the_loop(stats: Stats) -> Iterator[Reading]:
    """Items and requests."""
    yield Counted("items_claimed", "Items claimed.", stats.claimed)
    yield Counted("items_settled", "Items whose end was written, by their new status.", stats.settled, "status")
    yield Counted("items_ended", "Items that ended without being applied, by failure code.", stats.codes, "code")
    yield Counted("items_retried", "Items that are tried again, by reason.", stats.retries, "reason")
    yield Counted("items_given_back", "Items given back without an attempt.", stats.given_back)
    yield Counted("items_recovered", "Items taken over from workers that died.", stats.orphans)
    yield Counted("claims_lost", "Items whose end was not written: the claim was not ours any more.", stats.claims_lost)
    yield Distribution("item_duration_seconds", "From insert to completion.", stats.seconds)
    yield Counted("requests", "Requests to Google; a batch is one.", stats.sends)
    yield Counted("requests_broken_off", "Requests cancelled under way.", stats.broken_off)
    yield Counted("requests_crashed", "Requests that ended in an error that nobody expected.", stats.crashes)
    yield Distribution("request_items", "Items per request.", stats.sizes)
    yield Counted("looks", "Looks at the outbox, by what they came to.", stats.looks, "found")
    yield Counted("settles", "Transactions that wrote ends of items.", stats.settles)
    yield Counted("database_refusals", "Transactions that the database refused.", stats.refusals)
    yield Counted("sweeps", "Sweeps for items of workers that died.", stats.sweeps)


def of_the_lanes(lanes: Lanes, limit: int) -> Iterator[Reading]:
    """What is under way, and what is held back."""
    yield Gauged("in_flight_items", "Items claimed and not settled.", lanes.in_hand)
    yield Gauged("in_flight_requests", "Requests to Google under way.", lanes.in_flight)
    yield Gauged("concurrency_limit_requests", "Requests to Google that may be under way.", limit)
    yield Gauged("lanes", "Workspaces that are remembered.", len(lanes))
    yield Gauged("lanes_excluded", "Workspaces from which nothing is claimed now.", len(lanes.excluded))
    is_closed = lanes.whole.breaker.state is State.CLOSED
    yield Gauged("breaker_open", "Whether Google is taken to be unreachable.", not is_closed)


def of_the_process(facts: Facts, wakeups: Counter[str]) -> Iterator[Reading]:
    """Sessions and wake-ups."""
    yield Gauged("ready", "Whether this replica does its work.", readiness(facts).well)
    yield Gauged("claiming", "Whether the session that claims is up.", facts.claiming)
    yield Gauged("listening", "Whether the session that listens is up.", facts.listening)
    yield Gauged("draining", "Whether the process is about to stop.", facts.draining)
    yield Gauged("schema_current", "Whether the database has what this version needs.", facts.schema_current)
    yield Counted("notifications", "Calls of writers.", wakeups["NOTIFIED"])
    yield Counted("gate_asks", "Times that the gate's lock was asked for.", wakeups["ASK"])


def of_the_backlog(housekeeping: Housekeeping) -> Iterator[Reading]:
    """Facts of the database, the same from every replica."""
    yield Gauged("outbox_oldest_due_seconds", "How long the oldest due item has waited.", housekeeping.oldest_due)
    yield Gauged("outbox_due_workspaces", "Workspaces with a due item.", housekeeping.due_workspaces)
    yield Gauged("brakes", "Workspaces that are stopped since too much would be deleted.", housekeeping.brakes)
    yield Counted("items_deleted", "Settled items that were deleted for their age.", housekeeping.deleted)
