"""The request log: what was asked, what was answered, how much of it at once."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from calendar_emulator.errors import Json


@dataclass(slots=True)
class Exchange:
    """One call and its answer; a part of a batch is an exchange of its own, after the one of its batch.

    Attributes:
        number: Position in the log, from 1.
        at: When it arrived, in seconds of the emulator's clock.
        operation: insert, get, ..., batch, token; `unknown` for a path that leads nowhere.
        method: The HTTP method.
        path: The path as it was sent, still percent-encoded.
        query: The decoded query parameters.
        calendar: The calendar's id as it was sent, empty for none.
        event: The event's id, empty for none.
        user: The account whose token was used, empty if that did not matter.
        batch: The number of the batch it was a part of, None for a call of its own.
        body: The JSON that was sent.
        status: The status of the answer; 0 if the client was given none.
        reason: Why it was refused, empty if it was not.
        answer: The JSON of the answer.
        effect: The effect of the fault it met, empty for none.
        committed: Whether the call was carried out and changed something.
    """

    number: int
    at: float
    operation: str
    method: str
    path: str
    query: dict[str, list[str]]
    calendar: str = ""
    event: str = ""
    user: str = ""
    batch: int | None = None
    body: Json | None = None
    status: int = 0
    reason: str = ""
    answer: Json | None = None
    effect: str = ""
    committed: bool = False

    def as_json(self) -> Json:
        """The exchange as JSON."""
        return asdict(self)


class RequestLog:
    """The last exchanges, and counts of all.

    Attributes:
        entries: The last exchanges, oldest first.
        counts: How many exchanges by operation and status.
        peak: The largest number of HTTP requests in flight at once; a batch is one.
        overlaps: The events (calendar, id) for which a call came while another one was in flight or in the same batch.
        observers: Called with each finished exchange.
    """

    def __init__(self, keep: int) -> None:
        self.entries: deque[Exchange] = deque(maxlen=keep)
        self.counts: Counter[tuple[str, int]] = Counter()
        self.observers: list[Callable[[Exchange], None]] = []
        self.overlaps: list[tuple[str, str]] = []
        self.peak = 0
        self._in_flight = 0
        self._events: Counter[tuple[str, str]] = Counter()
        self._number = 0

    @property
    def in_flight(self) -> int:
        """HTTP requests that are being answered now; a batch is one."""
        return self._in_flight

    def number(self) -> int:
        """The next exchange's number."""
        self._number += 1
        return self._number

    def add(self, exchange: Exchange) -> None:
        """Write down a finished exchange."""
        self.entries.append(exchange)
        self.counts[exchange.operation, exchange.status] += 1
        for observe in self.observers:
            observe(exchange)

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Count an HTTP request as in flight."""
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def events_in_flight(self, events: Sequence[tuple[str, str]]) -> Iterator[None]:
        """Watch for calls on one event that overlap."""
        for event in events:
            if event[1]:
                if self._events[event]:
                    self.overlaps.append(event)
                self._events[event] += 1
        try:
            yield
        finally:
            for event in events:
                if event[1]:
                    self._events[event] -= 1
                    if not self._events[event]:
                        del self._events[event]

    def count(self, operation: str, status: int | None = None) -> int:
        """How many exchanges of an operation there were, of all statuses or of one."""
        return sum(n for (name, got), n in self.counts.items() if name == operation and status in (None, got))

    def clear(self) -> None:
        """Forget everything but what is in flight."""
        self.entries.clear()
        self.counts.clear()
        self.overlaps.clear()
        self.peak = self._in_flight
