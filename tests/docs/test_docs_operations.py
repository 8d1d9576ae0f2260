"""What is said to who is on call is whole: every event of the log, every failure code, every alert."""

import re
from pathlib import Path

from reactor.core.outcome import FailureCode

ROOT = Path(__file__).resolve().parents[2]
RUNNING = (ROOT / "docs" / "running.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SILENT = ("demo",)  # not the service
ALERTS = (
    *("ReactorAbsent", "ReactorNotReady", "ReactorDatabaseRefuses", "ReactorLockHeld", "ReactorStalled"),
    *("ReactorErrorRatio", "ReactorDeadLetters"),
    *(
        "ReactorGoogleUnreachable",
        "ReactorConnectionsInvalid",
        "ReactorBrakePulled",
        "ReactorClaimsLost",
        "ReactorRestartLoop",
    ),
    *("ReactorItemsSetAside", "ReactorDeaf", "ReactorKeysMissing", "ReactorNotifyQueueFilling", "ReactorLoopLag"),
)


def test_every_event_of_the_log_has_its_line_and_no_other_has() -> None:
    logged = set[str]()
    for file in (ROOT / "reactor").rglob("*.py"):
        if file.relative_to(ROOT / "reactor").parts[0] not in SILENT:
            logged.update(re.findall(r"\b(?:log\.\w+|say)\(\s*\"(\w+)\"", file.read_text()))
    table = RUNNING.partition("## Logs")[2].partition("## Traces")[0]
    told = {
        name for line in table.splitlines() if line[:3] == "| `" for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert told == logged


def test_every_failure_code_has_its_line() -> None:
    assert [code for code in FailureCode if f"\n| {code} | " not in OPERATIONS] == []


def test_every_alert_has_its_line() -> None:
    assert tuple(re.findall(r"^\| (Reactor\w+) \|", OPERATIONS, re.MULTILINE)) == ALERTS


def test_every_metric_that_is_named_there_is() -> None:
    named = set(re.findall(r"`(?:max|rate|sum)?\(?(reactor_\w+)", OPERATIONS))
    assert named
    assert [name for name in named if f"`{name}" not in RUNNING] == []


def test_the_tour_has_been_taken() -> None:
    page = (ROOT / "docs" / "reference" / "tour.md").read_text()
    tour = page.partition("<!-- tour: begin -->")[2].partition("<!-- tour: end -->")[0]
    assert tour.count("\n## ") == 5
    assert tour.count("/readyz") == 10
