"""What there is to see of a running demo, however it is shown."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reactor.demo.figures import Figures, Latencies, percentile
from reactor.demo.google import DemoAccount, Google
from reactor.demo.troubles import Troubles

_EACH = 8.0  # seconds for which one calendar is shown


@dataclass(slots=True)
class Scene:
    """Everything that a view reads.

    Attributes:
        items: After how many rows the demo ends, None for never.
        phase: What the demo is doing.
        steps: What the people at the application did last, newest first.
    """

    items: int | None
    figures: Figures
    google: Google
    troubles: Troubles
    phase: str = ""
    steps: deque[str] = field(default_factory=lambda: deque(maxlen=12))

    @property
    def account(self) -> DemoAccount:
        """Whose calendar is shown now; each has its turn."""
        accounts = self.google.accounts
        return accounts[int(self.figures.seconds / _EACH) % len(accounts)]

    def events(self, account: DemoAccount) -> list[dict[str, Any]]:
        """What a calendar holds, the latest change first."""
        return sorted(self.google.emulator.events(account.calendar_id), key=lambda e: str(e["updated"]), reverse=True)


def when(event: dict[str, Any]) -> str:
    """When an event is, for people: a day, or a day and a time."""
    start = event["start"]
    if "date" in start:
        return str(start["date"])
    return datetime.fromisoformat(start["dateTime"]).strftime("%Y-%m-%d %H:%M")


def facts(scene: Scene) -> Iterator[tuple[str, str]]:
    """The figures with their names, in the order of their importance."""
    figures, outbox = scene.figures, scene.figures.outbox
    yield "rows", f"{figures.rows}" + (f" of {scene.items}" if scene.items else "")
    yield "wake", _latency(figures.wakes)
    yield "done", f"{outbox.done}"
    yield "all rows", _latency(figures.latencies)
    yield "superseded", f"{outbox.superseded}"
    yield "requests", f"{figures.requests}"
    yield "in flight", f"{outbox.in_flight}"
    yield "retries", f"{outbox.attempts}"
    yield "waiting", f"{outbox.waiting}"
    yield "dead letters", f"{outbox.dead}"


def _latency(latencies: Latencies) -> str:
    recent = sorted(latencies.recent)
    return f"p50 {milliseconds(recent, 0.5)}, p95 {milliseconds(recent, 0.95)}"


def milliseconds(ordered: list[float], part: float) -> str:
    """A percentile of latencies for people."""
    seconds = percentile(ordered, part)
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds >= 0.0995 else f"{seconds * 1000:.1f} ms"
