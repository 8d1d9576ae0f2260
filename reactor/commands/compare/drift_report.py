"""What `drift` says: what it found, as a table, a document or metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from reactor.commands.output import note, print_json, print_table
from reactor.desk.compare.comparing import Cost, Report
from reactor.desk.compare.comparison import Comparison, comparison_document, counts_of
from reactor.desk.wording import count, duration
from reactor.drift.judge import DriftFinding, DriftKind
from reactor.drift.wanted import Field
from reactor.errors import ConfigurationError

_ON_ITS_WAY = "on its way: it waits in the outbox, or was changed meanwhile"


def show_cost(cost: Cost, *, as_json: bool) -> None:
    """Print the forecast as a result."""
    if as_json:
        print_json({**asdict(cost), "dry_run": True})


def show(found: Comparison, *, as_json: bool) -> None:
    """Print the findings, as a table or as JSON."""
    if as_json:
        print_json(comparison_document(found))
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
        _spaced(finding.kind),
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
                yield f"{_spaced(each.field)}: wanted {each.wanted}, there {each.actual}"
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
    said = ", ".join(f"{kinds[kind]:,} {_spaced(kind)}" for kind in DriftKind if kinds.get(kind)) or "no differences"
    return f"{said}; {on_its_way:,} on {'its' if on_its_way == 1 else 'their'} way" if on_its_way else said


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def write_metrics(found: Comparison, file: Path) -> None:
    """Write metrics for node_exporter's textfile collector, whole or not at all.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    registry = CollectorRegistry()
    events = Gauge("reactor_drift_events", "Events that differ, by kind.", ["kind"], registry=registry)
    for kind, number in {**counts_of(found.kinds), "on_its_way": found.on_its_way}.items():
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
