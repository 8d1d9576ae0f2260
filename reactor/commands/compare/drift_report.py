"""What `drift` says: how much it will ask, what it found, as a table, a document or metrics."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from reactor.commands.compare.comparing import MOST, Cost, Report
from reactor.commands.output import note, print_json, print_table
from reactor.desk.wording import count, duration
from reactor.drift.judge import DriftFinding, DriftKind
from reactor.drift.wanted import Field
from reactor.errors import ConfigurationError

Document = dict[str, Any]

_ON_ITS_WAY = "on its way: it waits in the outbox, or was changed meanwhile"


@dataclass(slots=True)
class Comparison:
    """All that was found.

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


def show_cost(cost: Cost, *, as_json: bool) -> None:
    """Print the forecast as a result."""
    if as_json:
        print_json({**asdict(cost), "dry_run": True})


def show(found: Comparison, *, as_json: bool) -> None:
    """Print the findings, as a table or as JSON."""
    if as_json:
        print_json(_document(found))
        return
    for report in found.reports:
        _show_report(report)
    if found.stopped:
        note(f"The other workspaces were not looked at. {found.stopped}")
    if found.invalid:
        note(
            f"{count(found.invalid, 'workspace')} left out: the connection is invalid "
            "(`python -m reactor connections list --invalid`)."
        )
    if found.compared + found.failed != 1 or found.invalid:
        note(_sum(found))


def _show_report(report: Report) -> None:
    for on_its_way, title in ((False, f"{report.workspace} differs"), (True, f"\n{report.workspace}, {_ON_ITS_WAY}")):
        rows = [_row(each) for each in report.findings if each.on_its_way is on_its_way]
        if rows:
            print_table(("is", "source", "calendar", "event", "what"), rows, title=title)
    kept = len(report.findings)
    said = report.kinds.total() + report.on_its_way
    if kept < said:
        note(f"The first {kept:,} of {said:,} are shown.")
    note(_say(report))
    for text in report.notes:
        note(f"  {text}")
    for text in _remedies(report):
        note(f"  {text}")


def _remedies(report: Report) -> Iterator[str]:
    if report.kinds:
        yield f"to see why one differs: `python -m reactor explain SOURCE --workspace {report.workspace} --google`"
    if set(report.kinds) - {DriftKind.CALENDAR_GONE, DriftKind.UNUSABLE}:
        yield f"to correct most kinds: `python -m reactor rebuild --workspace {report.workspace}`"
    if DriftKind.CALENDAR_GONE in report.kinds:
        yield (
            "calendar gone: share the calendar with the account again, or connect another one: "
            f"`python -m reactor connect --workspace {report.workspace} --calendar …`"
        )
    if DriftKind.UNUSABLE in report.kinds:
        yield "unusable: correct the row in the application"


def _row(finding: DriftFinding) -> tuple[str, ...]:
    return (
        _words(finding.kind),
        finding.source,
        finding.calendar_id or "-",
        ", ".join(finding.events) or "-",
        "; ".join(_remarks(finding)) or "-",
    )


def _remarks(finding: DriftFinding) -> Iterator[str]:
    for each in finding.fields:
        match each.field:
            case Field.MARKER:
                yield "our mark: not there"
            case Field.EVENT:
                yield f"event id: remembered {each.wanted}, there {each.actual}"
            case _:
                yield f"{_words(each.field)}: wanted {each.wanted}, there {each.actual}"
    if finding.problem:
        yield finding.problem
    if finding.item and finding.code:
        yield f"dead letter {finding.code} {finding.item}"
    elif finding.item:
        waits = "ever" if finding.waits is None else duration(finding.waits)
        yield f"item {finding.item} has waited for {waits}"


def _say(report: Report) -> str:
    where = f"Workspace {report.workspace}"
    if report.failed:
        return f"{where} could not be compared. {report.failed}"
    wants = {"memory": "was applied last"}.get(report.source, "the application wants")
    gone = sum(bool(codes) for codes in report.calendars.values())
    parts = [
        f"{count(report.wanted, 'event')} that {wants}",
        f"{report.events:,} in {count(len(report.calendars), 'calendar')}",
        *([f"{count(gone, 'calendar')} cannot be seen"] if gone else []),
        *(
            [f"{count(report.occurrences, 'occurrence')} of series changed by hand, not compared"]
            if report.occurrences
            else []
        ),
        count(report.calls, "call"),
    ]
    return f"{where}: {_differences(report.kinds, report.on_its_way)} ({', '.join(parts)})."


def _sum(found: Comparison) -> str:
    workspaces = f"{count(found.compared, 'workspace')} compared, {found.failed:,} failed, {found.different:,} differ"
    differences = _differences(found.kinds, found.on_its_way)
    return f"{workspaces}: {differences} ({count(found.wanted, 'event')}, {count(found.calls, 'call')})."


def _differences(kinds: Mapping[DriftKind, int], on_its_way: int) -> str:
    said = ", ".join(f"{kinds[kind]:,} {_words(kind)}" for kind in DriftKind if kinds.get(kind)) or "no differences"
    return f"{said}; {on_its_way:,} on {'its' if on_its_way == 1 else 'their'} way" if on_its_way else said


def _words(name: str) -> str:
    return name.replace("_", " ")


def _document(found: Comparison) -> Document:
    return {
        "workspaces": [_of_report(report) for report in found.reports],
        "compared": found.compared,
        "failed": found.failed,
        "invalid": found.invalid,
        "stopped": found.stopped or None,
        "different": found.different,
        "counts": _counts(found.kinds),
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
        "counts": _counts(report.kinds),
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


def _counts(kinds: Mapping[DriftKind, int]) -> dict[str, int]:
    return {kind.value: kinds.get(kind, 0) for kind in DriftKind}


def write_metrics(found: Comparison, file: Path) -> None:
    """Write metrics for node_exporter's textfile collector, whole or not at all.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    registry = CollectorRegistry()
    events = Gauge("reactor_drift_events", "Events that differ, by kind.", ["kind"], registry=registry)
    for kind, number in {**_counts(found.kinds), "on_its_way": found.on_its_way}.items():
        events.labels(kind).set(number)
    workspaces = Gauge("reactor_drift_workspaces", "Workspaces of the last comparison.", ["state"], registry=registry)
    states = {
        "same": found.compared - found.different,
        "different": found.different,
        "failed": found.failed,
        "invalid": found.invalid,
    }
    for state, number in states.items():
        workspaces.labels(state).set(number)
    Gauge("reactor_drift_wanted_events", "Events that the application wants.", registry=registry).set(found.wanted)
    Gauge("reactor_drift_calls", "Calls to Google that the comparison took.", registry=registry).set(found.calls)
    done = Gauge("reactor_drift_finished_timestamp_seconds", "When the comparison ended.", registry=registry)
    done.set_to_current_time()
    try:
        write_to_textfile(str(file), registry)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written ({error.strerror}): give another path.") from error
