"""How a demo ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from reactor.demo.comparison import Disagreement
from reactor.demo.stats import DemoStats, Latencies, percentile

_SHOWN = 10  # differences
_WIDTH = 80

EQUAL = "calendar equals application"


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run and the verdict.

    Attributes:
        settled: Whether nothing was left to do at the end.
        stopped: Whether a person stopped it before the end; then nothing is compared.
        healed: Faults that came and went, by kind.
        calls_met: Calls that met one of them.
        events: Events of ours that the calendars hold.
        differences: Where calendar and application disagree.
    """

    stats: DemoStats
    settled: bool
    stopped: bool
    healed: Mapping[str, int]
    calls_met: int
    events: int
    differences: Sequence[Disagreement]

    @property
    def equal(self) -> bool:
        """Whether the calendars hold what the application has."""
        return self.settled and not self.stopped and not self.differences

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        stats, outbox = self.stats, self.stats.outbox
        return {
            "equal": self.equal,
            "stopped": self.stopped,
            "rows": stats.rows,
            "done": outbox.done,
            "superseded": outbox.superseded,
            "dead_letters": outbox.dead,
            "open": outbox.open,
            "attempts_failed": outbox.attempts,
            "requests": stats.requests,
            "requests_per_1000_rows": self._per_thousand,
            "wake_ms": _milliseconds(stats.wakes) | {"rows": len(stats.wakes.all)},
            "latency_ms": _milliseconds(stats.latencies) | {"rows": len(stats.latencies.all)},
            "troubles_healed": dict(self.healed),
            "calls_that_met_trouble": self.calls_met,
            "events": self.events,
            "seconds": round(stats.seconds, 3),
            "differences": [
                {"calendar": d.calendar_id, "what": d.what, "problem": d.problem} for d in self.differences
            ],
        }

    def as_text(self) -> str:
        """The summary for people; its last line is the verdict."""
        stats, outbox = self.stats, self.stats.outbox
        faults = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.healed.items())) or "none"  # noqa: RUF001
        lines = [
            f"rows       {stats.rows}: {self._states}",
            f"requests   {stats.requests}, {self._per_thousand} per 1,000 rows",
            f"wake       {_shown(stats.wakes)} (commit to request, reactor asleep)",
            f"all rows   {_shown(stats.latencies)} (commit to request, outside troubles)",
            *wrap(
                f"{faults}; {self.calls_met} calls met them, {outbox.attempts} attempts were counted",
                width=_WIDTH,
                initial_indent="healed     ",
                subsequent_indent=" " * 11,
            ),
            f"duration   {stats.seconds:.1f} s",
            f"calendars  {self.events} events",
        ]
        return "\n".join([*lines, *self._verdict()])

    def _verdict(self) -> list[str]:
        if self.stopped:
            return ["stopped; nothing was compared (--items N compares at the end)"]
        if self.equal:
            return [EQUAL]
        if self.differences:
            more = len(self.differences) - _SHOWN
            shown = [str(difference) for difference in self.differences[:_SHOWN]]
            return [*shown, *([f"... and {more} more"] if more > 0 else []), "calendar differs from application"]
        return [f"not settled in time: {self.stats.outbox.open} items are open"]

    @property
    def _states(self) -> str:
        outbox = self.stats.outbox
        return f"{outbox.done} done, {outbox.superseded} superseded, {outbox.dead} dead letters, {outbox.open} open"

    @property
    def _per_thousand(self) -> int:
        return round(1000 * self.stats.requests / max(1, self.stats.rows))


def _milliseconds(latencies: Latencies) -> dict[str, float | None]:
    found = {name: percentile(latencies.all, part) for name, part in (("p50", 0.5), ("p95", 0.95))}
    return {name: None if seconds is None else round(seconds * 1000, 1) for name, seconds in found.items()}


def _shown(latencies: Latencies) -> str:
    return ", ".join(f"{name} {'-' if ms is None else f'{ms:g} ms'}" for name, ms in _milliseconds(latencies).items())
