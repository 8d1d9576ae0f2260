"""What a comparison found, of one workspace or of all, and what it costs beforehand."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reactor.desk.compare.comparing import MOST, Cost, Report
from reactor.desk.wording import count, duration
from reactor.drift.judge import DriftFinding, DriftKind

Document = dict[str, Any]


@dataclass(slots=True)
class Comparison:
    """The result of comparing one workspace or all.

    Attributes:
        reports: The workspaces that were looked at; of many, only those of which there is something to say.
        compared: How many could be compared.
        failed: How many could not.
        invalid: How many were left out, because their connection is marked invalid.
        stopped: Why the others were not looked at; empty where all were.
        kinds: Findings by kind.
        different: Workspaces that have some.
        on_its_way: Differences that are being mended.
        wanted: Events that the application wants.
        calls: Calls that it took.
    """

    reports: list[Report] = field(default_factory=list)
    compared: int = 0
    failed: int = 0
    invalid: int = 0
    stopped: str = ""
    kinds: Counter[DriftKind] = field(default_factory=Counter)
    different: int = 0
    on_its_way: int = 0
    wanted: int = 0
    calls: int = 0

    @property
    def is_well(self) -> bool:
        """Whether everything was compared and nothing differs."""
        return not (self.kinds.total() or self.failed or self.stopped)

    def take(self, report: Report, *, of_many: bool = False) -> None:
        """Add a workspace. Findings beyond the first thousand of all are counted, and not kept.

        Args:
            report: How it is.
            of_many: Whether it is left out of the list where there is nothing to say of it.
        """
        self.failed += bool(report.failed)
        self.compared += not report.failed
        self.different += bool(report.kinds)
        self.kinds += report.kinds
        self.on_its_way += report.on_its_way
        self.wanted += report.wanted
        self.calls += report.calls
        room = MOST - sum(len(each.findings) for each in self.reports)
        report.findings = report.findings[: max(0, room)]
        if not of_many or report.failed or report.kinds or report.on_its_way:
            self.reports.append(report)


def forecast(cost: Cost, *, rate: float, lookups: int) -> str:
    """Say what it will cost, and whose quota."""
    is_one = cost.calendars is not None
    what = count(cost.calendars, "calendar") if cost.calendars is not None else count(cost.workspaces, "workspace")
    each = "" if is_one else " for each workspace"
    more = f", and up to {lookups:,} more{each} for events that no list has" if lookups else ""
    whose = "the workspace's account" if is_one else "its workspace's account"
    least = cost.calls / rate
    takes = f" At {rate:g} a second that takes {duration(least)} or more." if least >= 1 else ""
    return (
        f"To compare {what} with about {count(cost.events, 'event')} takes about {count(cost.calls, 'call')} to Google"
        f"{more}. Each counts against the quota of {whose} and against the project's.{takes} Nothing is changed."
    )


def comparison_document(found: Comparison) -> Document:
    """The document of `--json`."""
    return {
        "workspaces": [_of_report(report) for report in found.reports],
        "compared": found.compared,
        "failed": found.failed,
        "invalid": found.invalid,
        "stopped": found.stopped or None,
        "different": found.different,
        "counts": counts_of(found.kinds),
        "on_its_way": found.on_its_way,
        "wanted": found.wanted,
        "calls": found.calls,
    }


def _of_report(report: Report) -> Document:
    return {
        "workspace": report.workspace,
        "source": report.source,
        "failed": report.failed or None,
        "calendars": [{"calendar": name, "problem": codes or None} for name, codes in report.calendars.items()],
        "wanted": report.wanted,
        "events": report.events,
        "occurrences": report.occurrences,
        "counts": counts_of(report.kinds),
        "on_its_way": report.on_its_way,
        "findings": [_of_finding(finding) for finding in report.findings],
        "capped": len(report.findings) < report.kinds.total() + report.on_its_way,
        "notes": report.notes,
        "calls": report.calls,
    }


def _of_finding(finding: DriftFinding) -> Document:
    return {
        "kind": finding.kind,
        "source": finding.source,
        "calendar": finding.calendar_id or None,
        "events": finding.events,
        "fields": [asdict(each) for each in finding.fields],
        "problem": finding.problem or None,
        "on_its_way": finding.on_its_way,
        "item": finding.item or None,
        "waited_seconds": finding.waits,
        "code": finding.code or None,
    }


def counts_of(kinds: Mapping[DriftKind, int]) -> dict[str, int]:
    """How many findings there are of every kind."""
    return {kind.value: kinds.get(kind, 0) for kind in DriftKind}
