"""Is it well, and what needs a person: each thing that can be the matter is said, and the worst comes first."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from reactor.console.verdict import LONG, VerdictKind, judge_status
from reactor.desk.workspaces import LATE

REPLICA: dict[str, Any] = {
    "pid": 1,
    "application": "calendar-sync-reactor claims",
    "refused": None,
    "client": None,
    "since": None,
    "has_gate": False,
    "items": 0,
    "quota_divisor": None,
}
WELL: dict[str, Any] = {
    "items": {"open": 0, "pending": 0, "failed": 0, "later": 0, "capped": False, "about": None},
    "in_hand": {"processing": 0, "of_older_workers": 0, "orphans": 0},
    "backlog": {"oldest_due_seconds": 0.0, "workspaces": 0, "capped": False, "worst": []},
    "parked": {"total": 3, "invalid": 0, "workspaces": []},
    "stopped": [],
    "set_aside": [],
    "dead_letters": {"codes": {}, "capped": False},
    "replicas": [REPLICA],
    "held": [],
}
"""The document of `status` on a quiet day."""
MATTERS: dict[str, tuple[dict[str, Any], VerdictKind, str]] = {
    "no replica": ({"replicas": []}, VerdictKind.STOPPED, "no reactor is connected"),
    "late": (
        {"backlog": {**WELL["backlog"], "oldest_due_seconds": LATE + 1, "workspaces": 1}},
        VerdictKind.TROUBLE,
        "has waited for 5 min 1 s",
    ),
    "refused": ({"replicas": [{**REPLICA, "refused": "53100 23514"}]}, VerdictKind.TROUBLE, "SQLSTATE 23514"),
    "held": ({"held": [{"lock": "claim"}]}, VerdictKind.TROUBLE, "1 session outside of the reactor holds its locks"),
    "set aside": ({"set_aside": [{"n": 4}, {"n": 3}]}, VerdictKind.PERSON, "refuses to change 7 items"),
    "stopped": ({"stopped": [{}] * 1_001}, VerdictKind.PERSON, "stopped over 1,000 workspaces"),
    "parked": (
        {"parked": {**WELL["parked"], "workspaces": [{"waiting": 2}, {"waiting": 0}]}},
        VerdictKind.PERSON,
        "1 workspace without a valid connection, with 2 items waiting",
    ),
    "dead": (
        {"dead_letters": {"codes": {"AUTH": 2, "BAD\x1bPAYLOAD": 9}, "capped": False}},
        VerdictKind.PERSON,
        "11 dead letters, most of them BAD PAYLOAD",
    ),
}


def test_a_quiet_day() -> None:
    verdict = judge_status(WELL)
    assert (verdict.kind, verdict.sentence, verdict.reasons) == (VerdictKind.WELL, "All is well: nothing waits.", ())


@pytest.mark.parametrize(
    ("waiting", "due", "sentence"),
    [
        (1, 0, "All is well: 1 item waits."),
        (120, 3, "All is well: 120 items wait, the oldest due for 12 s."),
        (10_001, 3, "All is well: over 10,000 items wait, the oldest due for 12 s."),
    ],
)
def test_a_busy_day(waiting: int, due: int, sentence: str) -> None:
    busy = {
        "items": {**WELL["items"], "open": waiting},
        "backlog": {**WELL["backlog"], "oldest_due_seconds": 12.4, "workspaces": due},
    }
    assert judge_status({**WELL, **busy}).sentence == sentence


@pytest.mark.parametrize(
    ("met", "begins"),
    [
        (["Google failed (503)"], "Nothing needs a person so far: 3 items wait; when tried: Google failed (503)."),
        (["rate limited (403)"], "All is well: 3 items wait; when tried: rate limited (403)."),
        (
            ["rate limited (403)", "no answer came"],
            "Nothing needs a person so far: 3 items wait; when tried: no answer",
        ),
    ],
)
def test_what_goes_by_is_named_and_needs_nobody(met: list[str], begins: str) -> None:
    busy = {**WELL, "items": {**WELL["items"], "open": 3}}
    verdict = judge_status(busy, [{"error": each, "workspaces": 1, "workspace": "7d1f", "waited": 4} for each in met])
    assert verdict.sentence.startswith(begins)
    assert (verdict.kind, verdict.reasons) == (VerdictKind.WELL, ())


@pytest.mark.parametrize("matter", MATTERS)
def test_each_matter_is_said_with_what_to_do(matter: str) -> None:
    change, kind, said = MATTERS[matter]
    verdict = judge_status({**WELL, **change})
    assert verdict.kind is kind
    assert said in verdict.sentence
    first = verdict.reasons[0]
    assert first.what.endswith(".")
    assert first.remedy.endswith(".")
    assert first.page.startswith("/")


@pytest.mark.parametrize(
    ("codes", "said"),
    [({"AUTH": 1}, "1 dead letter: AUTH."), ({"AUTH": 4}, "4 dead letters, all of them AUTH.")],
)
def test_dead_letters_of_one_code(codes: dict[str, int], said: str) -> None:
    [reason] = judge_status({**WELL, "dead_letters": {"codes": codes, "capped": False}}).reasons
    assert reason.what == said


def test_dead_letters_that_a_consent_puts_back_lead_to_the_connections() -> None:
    parked = {**WELL["parked"], "invalid": 1}
    status = {**WELL, "parked": parked, "dead_letters": {"codes": {"AUTH": 2}, "capped": False}}
    [reason] = judge_status(status).reasons
    assert (reason.page, "by themselves" in reason.remedy) == ("/connections", True)
    [reason] = judge_status({**status, "dead_letters": {"codes": {"AUTH": 2, "FORBIDDEN": 1}, "capped": False}}).reasons
    assert reason.page == "/dead"


def test_a_consent_that_is_waited_for_is_one_thing_with_its_dead_letters() -> None:
    parked = {**WELL["parked"], "invalid": 1, "workspaces": [{"waiting": 2}]}
    status = {**WELL, "parked": parked, "dead_letters": {"codes": {"AUTH": 1}, "capped": False}}
    verdict = judge_status(status)
    [reason] = verdict.reasons
    assert (reason.page, "dead letters AUTH" in reason.remedy) == ("/connections", True)
    assert "other thing" not in verdict.sentence


@pytest.mark.parametrize(
    ("codes", "remedy"),
    [({"EVENT_GONE": 3}, "a requeue does not."), ({"EVENT_GONE": 3, "FORBIDDEN": 1}, "put them back.")],
)
def test_dead_letters_of_one_code_say_what_to_do_about_it(codes: dict[str, int], remedy: str) -> None:
    [reason] = judge_status({**WELL, "dead_letters": {"codes": codes, "capped": False}}).reasons
    assert reason.remedy.endswith(remedy)


MET: dict[str, Any] = {"error": "Google failed (503)", "workspaces": 1, "workspace": "7d1f", "waited": LONG}


@pytest.mark.parametrize(
    ("change", "what", "page"),
    [
        ({}, "Items of a workspace have waited for 1 min: Google failed (503).", "/w/7d1f"),
        ({"workspaces": 4}, "Items of 4 workspaces have waited for 1 min: Google failed (503).", "/w"),
        ({"error": "new\x1b"}, "Items of a workspace have waited for 1 min: new .", "/w/7d1f"),
    ],
)
def test_what_items_have_met_for_long_is_trouble(change: dict[str, Any], what: str, page: str) -> None:
    verdict = judge_status(WELL, [{**MET, **change}])
    [reason] = verdict.reasons
    assert (verdict.kind, reason.what, reason.page) == (VerdictKind.TROUBLE, what, page)
    assert reason.remedy.endswith(".")


@pytest.mark.parametrize("change", [{"waited": LONG - 1}, {"error": "rate limited (403 rateLimitExceeded)"}])
def test_what_is_over_soon_or_usual_is_no_trouble(change: dict[str, Any]) -> None:
    assert judge_status(WELL, [{**MET, **change}]).kind is VerdictKind.WELL


@given(st.sets(st.sampled_from(sorted(MATTERS)), min_size=1))
def test_of_several_the_worst_comes_first_and_none_is_left_out(matters: set[str]) -> None:
    status = dict(WELL)
    for matter in matters - {"refused"} if "no replica" in matters else matters:
        status |= MATTERS[matter][0]
    verdict = judge_status(status)
    order = list(VerdictKind)
    worst = max((MATTERS[matter][1] for matter in matters), key=order.index)
    assert verdict.kind is verdict.reasons[0].kind is worst
    said = " ".join(each.what.lower() for each in verdict.reasons)
    for matter in matters:
        if matter != "refused":
            assert MATTERS[matter][2].lower() in said
    others = len(verdict.reasons) - 1
    assert ("other thing" in verdict.sentence) == bool(others)
