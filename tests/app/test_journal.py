"""A line for each event, at a level that means something."""

from dataclasses import replace
from typing import Any

import pytest
import structlog

from reactor.core.calendar.messages import Method
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.item import Binding, Settlement
from reactor.core.outcome import FailureCode
from reactor.observability.log_observer import LogObserver
from tests.core.test_stats import item

ABOUT = {"workspace_id": str(item().workspace_id), "item_id": str(item().id), "operation": "UPSERT_EVENT"}


@pytest.fixture
def journal() -> LogObserver:
    return LogObserver()


def told(journal: LogObserver, settlement: Settlement, *, written: bool = True) -> list[dict[str, Any]]:
    with structlog.testing.capture_logs() as lines:
        journal.ended(settlement, seconds=0.25, written=written)
    return [dict(line) for line in lines]


def test_a_dead_letter_is_a_warning_with_all_that_finds_it(journal: LogObserver) -> None:
    dead = Settlement(
        item(), "DEAD_LETTER", 1, failure_code=FailureCode.FORBIDDEN, last_error="the calendar is read-only"
    )
    [line] = told(journal, dead)
    assert line == ABOUT | {
        "event": "dead_letter",
        "log_level": "warning",
        "code": "FORBIDDEN",
        "problem": "the calendar is read-only",
    }


def test_a_consent_that_does_not_work_is_a_warning_of_its_own(journal: LogObserver) -> None:
    dead = Settlement(item(), "DEAD_LETTER", 0, failure_code=FailureCode.AUTH, dead_token_version="version")
    assert [(line["event"], line["log_level"]) for line in told(journal, dead)] == [
        ("connection_invalid", "warning"),
        ("dead_letter", "warning"),
    ]


def test_nobody_is_woken_for_what_heals(journal: LogObserver) -> None:
    ends = [Settlement(item(), "FAILED", 1), Settlement(item(), "FAILED", 0), Settlement(item(), "PENDING", 0)]
    levels = [(line["event"], line["log_level"]) for end in ends for line in told(journal, end)]
    assert levels == [("item_failed", "info"), ("item_failed", "debug"), ("item_given_back", "debug")]


def test_what_was_done_is_told_to_who_asks(journal: LogObserver) -> None:
    [line] = told(journal, Settlement(replace(item(), age=2.0), "COMPLETED", 0))
    assert (line["event"], line["log_level"], line["seconds"]) == ("item_completed", "debug", 2.25)
    with structlog.testing.capture_logs() as lines:
        journal.requested(Method.INSERT, "200", 0.1)
    assert (lines[0]["event"], lines[0]["log_level"]) == ("google_answered", "debug")


def test_an_event_that_may_be_left_behind_is_a_warning(journal: LogObserver) -> None:
    binding = Binding("e", "primary", "task", "s", "MILESTONE", "Title", "2026-12-01", "2026-12-02")
    done = Settlement(item(), "COMPLETED", 0, binding=binding, last_error="made anew")
    [line] = told(journal, done)
    assert line == ABOUT | {"event": "event_left_behind", "log_level": "warning", "problem": "made anew"}


def test_a_lost_claim_is_a_warning(journal: LogObserver) -> None:
    [line] = told(journal, Settlement(item(), "COMPLETED", 0), written=False)
    assert line == ABOUT | {"event": "claim_lost", "log_level": "warning"}


def test_breakers_are_told_when_they_change(journal: LogObserver) -> None:
    with structlog.testing.capture_logs() as lines:
        journal.breaker(None, BreakerState.CLOSED, BreakerState.OPEN)
        journal.breaker(item().workspace_id, BreakerState.HALF_OPEN, BreakerState.OPEN)
        journal.breaker(None, BreakerState.HALF_OPEN, BreakerState.CLOSED)
        journal.everybody_held("refused (403 CONSUMER_SUSPENDED)")
        journal.crashed(ValueError())
    assert [(line["event"], line["log_level"], line.get("scope")) for line in lines] == [
        ("breaker_opened", "warning", "process"),
        ("breaker_probe_failed", "debug", "lane"),
        ("breaker_closed", "info", "process"),
        ("everybody_held", "warning", None),
        ("exchange_crashed", "error", None),
    ]
