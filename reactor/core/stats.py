"""Counters of what the loop has done so far: metrics read them, and no decision depends on them."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from reactor.core.calendar.messages import Method, Reply, Response
from reactor.core.item import Settlement
from reactor.core.outcome import FailureCode

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3600.0, 86_400.0)
"""Bounds for the time from insert to settled: from a wake on a quiet machine to a backlog of a day."""
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0)
"""Bounds for items per request; Google's batches end at 50."""
ANSWERS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for the time that Google takes; a request is given up after 60 s."""
KNOWN_CODES = frozenset({200, 204, 400, 401, 403, 404, 409, 410, 412, 429, 500, 502, 503, 504})
"""Statuses that Google documents or proxies send; all others share one label, because labels must be few."""
KNOWN_OPERATIONS = frozenset({"UPSERT_EVENT", "CANCEL_EVENT", "REBUILD_ALL"})


class Histogram:
    """Counts of values by size.

    Args:
        bounds: The inclusive upper bounds, rising; what is above the last is counted too.

    Attributes:
        bounds: The upper bounds.
        counts: How many values fell under each bound and above the one before it; one count more than bounds.
        total: The sum of all values.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value under its bound."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Stats:
    """Counters, from the start of the process.

    Attributes:
        looks: Looks at the outbox, by result (the names of `LookResult`, and "REFUSED" where the database refused).
        claimed: Items that claims returned.
        settled: Items whose end was written, by status.
        processed: Items whose end was written, by operation and outcome.
        attempts: Attempts that counted, of all items.
        superseded: Items that needed no request, because a newer state of their source was there.
        codes: Items whose end was written, by failure code, where there is one.
        retries: Items that will be tried again, by reason.
        claims_lost: Items whose end was not written, because the claim was not ours any more.
        given_back: Items that were released before they were sent.
        sends: Requests begun; a batch is one.
        sent: Items in these requests.
        throttled: Requests that were refused because of a rate limit.
        broken_off: Requests cancelled under way.
        crashes: Requests that ended in an unexpected error.
        settles: Transactions of settling.
        refusals: Transactions of settling or sweeping that the database refused.
        sweeps: Sweeps that the database carried out.
        orphans: Items taken over from lost workers.
        sizes: Items per request.
        seconds: Seconds from insert to completion, of completed items.
        waits: Seconds from insert to departure, of items in requests.
        beats: When the loops "look" and "sweep" last completed a cycle, on the loop's clock; and, only while "settle"
            writes, when it began.
    """

    looks: Counter[str] = field(default_factory=Counter)
    claimed: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    processed: Counter[tuple[str, str]] = field(default_factory=Counter)
    attempts: int = 0
    superseded: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    claims_lost: int = 0
    given_back: int = 0
    sends: int = 0
    sent: int = 0
    throttled: int = 0
    broken_off: int = 0
    crashes: int = 0
    settles: int = 0
    refusals: int = 0
    sweeps: int = 0
    orphans: int = 0
    sizes: Histogram = field(default_factory=lambda: Histogram(SIZES))
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    waits: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    beats: dict[str, float] = field(default_factory=dict)

    def written(self, settlement: Settlement) -> None:
        """Count an end that was written."""
        item, status, code = settlement.item, settlement.status, settlement.failure_code
        self.settled[status] += 1
        operation = item.operation if item.operation in KNOWN_OPERATIONS else "other"
        self.processed[operation, _outcome(settlement)] += 1
        if settlement.attempts > item.attempts:
            self.attempts += settlement.attempts - item.attempts
        if code is not None:
            self.codes[code] += 1
            self.superseded += code is FailureCode.SUPERSEDED


def _outcome(settlement: Settlement) -> str:
    match settlement.status:
        case "COMPLETED":
            return "superseded" if settlement.failure_code is FailureCode.SUPERSEDED else "applied"
        case "FAILED":
            return "retried"
        case "PENDING":
            return "given_back"
        case _:  # DEAD_LETTER
            return "dead"


@dataclass(slots=True)
class Calls:
    """Counts calls of Google's API. A batch counts as one, and each of its parts as well.

    Attributes:
        counts: By method and code.
        seconds: From the departure of a request to the whole answer; parts have none of their own.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=lambda: Histogram(ANSWERS))

    def part(self, method: Method, reply: Reply) -> str:
        """Count a call; return its code, as a label."""
        code = "none"
        if isinstance(reply, Response):
            code = str(reply.status) if reply.status in KNOWN_CODES else "other"
        self.counts[method, code] += 1
        return code

    def request(self, method: Method, reply: Reply, seconds: float) -> str:
        """Count a call that travelled as a request of its own."""
        self.seconds.observe(seconds)
        return self.part(method, reply)


@dataclass(slots=True)
class Deafness:
    """For how long no session has listened for writers' calls, counted from the first time that one did.

    Attributes:
        total: Seconds, up to the last time that a session began to listen again.
    """

    total: float = 0.0
    _since: float | None = None

    def lost(self, now: float) -> None:
        """Note that no session listens from now on."""
        if self._since is None:
            self._since = now

    def heard(self, now: float) -> None:
        """Note that a session listens from now on."""
        self.total, self._since = self.seconds(now), None

    def seconds(self, now: float) -> float:
        """Seconds without a listening session, up to now."""
        return self.total + (0.0 if self._since is None else now - self._since)
