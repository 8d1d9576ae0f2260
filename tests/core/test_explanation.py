"""The table of causes: each is reached, its sentence says what is so and what to do, and nothing else."""

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from reactor.core.calendar.messages import EventRef
from reactor.core.explain.causes import WELL, Cause
from reactor.core.explain.chain import (
    BrakeStop,
    Chain,
    ConnectionRow,
    Custody,
    OutboxRow,
    Replicas,
    SessionFacts,
    ViewPresence,
    ViewState,
)
from reactor.core.explain.explanation import explain
from reactor.core.explain.seen import EventPresence, GoogleReading
from reactor.core.explain.wording import span
from reactor.core.item import SourceState
from reactor.core.outcome import FailureCode

WORKSPACE, ITEM, REBUILD = UUID(int=1), UUID(int=2), UUID(int=3)
CALENDAR = "ada@example.com"
CLAIMS = SessionFacts(4711, "calendar-sync-reactor claims", 0.2)
ROW = OutboxRow(ITEM, "UPSERT_EVENT", "PENDING", 10)
BUSY = replace(ROW, status="PROCESSING", custody=Custody.REACTOR, session=CLAIMS)
LATER = replace(ROW, due_in=30.0)
LETTER = replace(ROW, status="DEAD_LETTER", ended_ago=5.0)
DONE = replace(ROW, status="COMPLETED", ended_ago=5.0)
APPLIED = SourceState(10, 0, "r1", CALENDAR, '"1"')
CANCELLED = SourceState(10, 0, cancelled=True)
IDLE = Chain(WORKSPACE, "task:1", connection=ConnectionRow(is_valid=True, calendar_id=CALENDAR))
WAITS = replace(IDLE, rows=(ROW,))
THERE = replace(IDLE, memory=APPLIED, finished=(DONE,))
WANTED, UNWANTED = ViewState(ViewPresence.YES, CALENDAR, ""), ViewState(ViewPresence.NO, None, "")


def waits(row: OutboxRow, **more: Any) -> Chain:
    return replace(WAITS, rows=(row,), **more)


def seen(sight: EventPresence) -> Chain:
    return replace(THERE, seen=GoogleReading(sight, problem="the quota is used up (403 quotaExceeded)"))


CASES: dict[Cause, tuple[Chain, str]] = {
    Cause.OUTDATED: (
        replace(WAITS, memory=SourceState(11)),
        "its place in the order is 10, its source is settled up to 11",
    ),
    Cause.HANGS: (waits(replace(BUSY, session=replace(CLAIMS, seconds=300.0))), "process 4711) has been sending it"),
    Cause.IN_HAND: (waits(BUSY), "being sent at this moment, by calendar-sync-reactor claims (process 4711)"),
    Cause.WORKER_GONE: (waits(replace(BUSY, custody=Custody.LOST, session=None)), "the worker that was sending it"),
    Cause.OLDER_WORKER: (waits(replace(BUSY, custody=Custody.OLDER, session=None)), "an older worker"),
    Cause.UNCONNECTED: (replace(WAITS, connection=None), f"connect --workspace {WORKSPACE}"),
    Cause.DISCONNECTED: (replace(WAITS, connection=ConnectionRow(False, CALENDAR)), "marked invalid"),
    Cause.BRAKED: (replace(WAITS, stop=BrakeStop(40, 60)), "40 of its 60 events"),
    Cause.NO_REPLICA: (replace(WAITS, replicas=Replicas(0)), "no replica"),
    Cause.REFUSED: (replace(WAITS, replicas=Replicas(2, "53100")), "SQLSTATE 53100). About the database: its disk"),
    Cause.CLAIMS_BLOCKED: (
        replace(WAITS, replicas=Replicas(1, None, SessionFacts(7, ""))),
        "without a name (process 7)",
    ),
    Cause.SET_ASIDE: (waits(replace(ROW, sqlstate="23514", retry_in=200.0)), "tries it again in 3 min"),
    Cause.EARLIER_IN_HAND: (replace(WAITS, rows=(ROW, replace(BUSY, seq=9))), "an earlier state"),
    Cause.REBUILDING: (replace(WAITS, rebuild=replace(BUSY, id=REBUILD)), f"status --rebuild {REBUILD}"),
    Cause.BEHIND_REBUILD: (replace(WAITS, rebuild=replace(ROW, id=REBUILD)), f"rebuild {REBUILD}"),
    Cause.NEVER_DUE: (waits(replace(ROW, due_in=None)), f"where id = '{ITEM}'"),
    Cause.BACKING_OFF: (
        waits(replace(LATER, status="FAILED", attempts=2, error="Google failed (503)")),
        "2 of at most 5 attempts failed, the last one because of: Google failed (503); the next one is in 30 s",
    ),
    Cause.HELD: (waits(replace(LATER, error="rate limited")), "because of: rate limited; it is due again in 30 s"),
    Cause.POSTPONED: (waits(replace(LATER, due_in=90_000.0)), "next_attempt_at lies ahead, so it is due in 25 h"),
    Cause.LOCKED: (
        waits(replace(ROW, session=SessionFacts(8, "psql", 7200.0))),
        "(process 8) has locked its row for 2 h.",
    ),
    Cause.DELAYED: (waits(replace(ROW, due_in=-600.0), ahead=1200), "for 10 min, behind 1,200 items of its workspace"),
    Cause.DUE: (WAITS, "it is due, the next of its workspace, and a replica takes it in its turn. Ask"),
    Cause.AUTH: (
        replace(IDLE, dead_letters=(replace(LETTER, code="AUTH", error="revoked"),)),
        "AUTH: revoked. Connect",
    ),
    **{
        Cause[code]: (replace(IDLE, dead_letters=(replace(LETTER, code=code, error="why", attempts=5),)), f" {code}")
        for code in FailureCode
        if code not in (FailureCode.SUPERSEDED, FailureCode.AUTH)
    },
    Cause.DIED: (replace(IDLE, dead_letters=(LETTER,)), "(no reason was written)"),
    Cause.STRAY: (replace(IDLE, source=str(ITEM), finished=(DONE,)), "a rebuild found an extra event"),
    Cause.UNREMEMBERED: (
        replace(IDLE, memory=CANCELLED, seen=GoogleReading(EventPresence.ALIVE)),
        "the database does not remember it",
    ),
    Cause.REVERSED: (replace(IDLE, memory=CANCELLED, wanted=WANTED), "view calendar_source_events has it"),
    Cause.CANCELLED: (replace(IDLE, memory=CANCELLED), "because the application asked for that"),
    Cause.UNWANTED: (replace(THERE, wanted=UNWANTED), "no row has asked for its removal"),
    Cause.ELSEWHERE: (
        replace(THERE, wanted=ViewState(ViewPresence.YES, "team")),
        "another calendar than the application's view",
    ),
    Cause.OTHER_CALENDAR: (
        replace(THERE, connection=ConnectionRow(is_valid=True, calendar_id="team")),
        "another calendar than the one that the workspace is connected to",
    ),
    Cause.DELETED: (seen(EventPresence.DELETED), "a person removed it in the calendar"),
    Cause.MISSING: (seen(EventPresence.MISSING), "does not show its calendar to this account"),
    Cause.FOREIGN: (seen(EventPresence.FOREIGN), "another event under this event's id"),
    Cause.UNSEEN: (seen(EventPresence.REFUSED), "does not show it now: the quota is used up (403 quotaExceeded)"),
    Cause.STALE: (replace(THERE, seen=GoogleReading(EventPresence.ALIVE, 9)), "an older state of the event, 9, than"),
    Cause.SHOWN: (seen(EventPresence.ALIVE), "Google shows it"),
    Cause.APPLIED: (THERE, "as far as the database remembers"),
    Cause.GIVEN_UP: (replace(IDLE, memory=SourceState(10)), "that row is deleted by now"),
    Cause.FORGOTTEN: (replace(IDLE, finished=(DONE,)), "the database remembers no event of it"),
    Cause.NEVER_CONNECTED: (replace(IDLE, connection=None, wanted=WANTED), "has no connection to Google, and no row"),
    Cause.NEVER_ASKED: (replace(IDLE, wanted=WANTED), f"rebuild --workspace {WORKSPACE}"),
    Cause.NOT_WANTED: (replace(IDLE, wanted=UNWANTED), "does not want this event"),
    Cause.UNKNOWN: (IDLE, "(there is no view calendar_source_events)"),
}  # fmt: skip


def test_every_cause_has_its_case() -> None:
    assert set(CASES) == set(Cause)


@pytest.mark.parametrize("cause", Cause)
def test_a_cause(cause: Cause) -> None:
    chain, says = CASES[cause]
    found = explain(chain)
    assert found.cause is cause
    assert says in f"{found.verdict} {found.remedy}"
    assert found.is_well is (cause in WELL)


def says(chain: Chain) -> str:
    return explain(chain).verdict


def test_the_sentence_says_what_the_calendar_shows_meanwhile() -> None:
    assert says(WAITS).startswith("The event is not in the calendar yet: ")
    assert says(replace(WAITS, memory=APPLIED)).startswith("The event's newest state is not in the calendar yet: ")
    assert says(waits(replace(ROW, operation="CANCEL_EVENT"))).startswith("The event is not removed yet: ")
    alive, deleted = GoogleReading(EventPresence.ALIVE), GoogleReading(EventPresence.DELETED)
    assert says(replace(WAITS, seen=alive)).startswith("The event's newest state is not in the calendar yet: ")
    assert says(replace(WAITS, memory=APPLIED, seen=deleted)).startswith("The event is not in the calendar yet: ")
    letter = replace(LETTER, code="BAD_REQUEST", seq=11)
    assert "the calendar shows the one before it" in says(replace(THERE, dead_letters=(letter,)))
    assert "was not removed" in says(replace(THERE, dead_letters=(replace(letter, operation="CANCEL_EVENT"),)))


def test_a_dead_letter_has_the_last_word_only_where_nothing_newer_was_settled() -> None:
    def cause(letter: OutboxRow, **more: Any) -> Cause:
        return explain(replace(THERE, dead_letters=(replace(letter, code="EXHAUSTED"),), **more)).cause

    assert cause(replace(LETTER, seq=9)) is Cause.APPLIED, "below the floor"
    assert cause(replace(LETTER, seq=10, ended_ago=4.0)) is Cause.EXHAUSTED, "the same state, sent again, died"
    assert cause(replace(LETTER, seq=10, ended_ago=6.0)) is Cause.APPLIED, "it died, and was applied when requeued"
    assert cause(replace(LETTER, seq=10, ended_ago=None)) is Cause.EXHAUSTED
    assert cause(replace(LETTER, seq=10, ended_ago=None), finished=(replace(DONE, seq=11),)) is Cause.APPLIED
    superseded = replace(DONE, seq=12, code="SUPERSEDED")
    assert cause(replace(LETTER, seq=11), finished=(superseded,)) is Cause.EXHAUSTED, "nothing was sent for that one"


def test_a_removal_is_known_by_its_row_where_nothing_is_remembered() -> None:
    removed = replace(DONE, operation="CANCEL_EVENT")
    assert explain(replace(IDLE, finished=(removed,))).cause is Cause.CANCELLED
    assert explain(replace(IDLE, finished=(replace(removed, code="SUPERSEDED"),))).cause is Cause.FORGOTTEN
    binding = EventRef(CALENDAR, "made-by-google")
    assert explain(replace(IDLE, binding=binding)).cause is Cause.APPLIED
    assert explain(replace(IDLE, binding=binding, memory=CANCELLED)).cause is Cause.CANCELLED, "the memory is younger"


def test_a_lane_that_is_held_back_is_told_by_what_others_met() -> None:
    met = ("rate limited (403 rateLimitExceeded), 7 items", "Google failed (503), 2 items")
    assert says(replace(WAITS, met=met)).endswith("; its workspace's items met: " + "; ".join(met) + ".")


def test_what_google_shows_is_not_said_to_be_missing() -> None:
    """An answer was lost: the item is tried again or dead, and the event is there all the same."""
    alive = GoogleReading(EventPresence.ALIVE, seq=10)
    failed = replace(LATER, status="FAILED", attempts=2, error="no answer came")
    assert says(waits(failed, seen=alive)).startswith("Google shows the event in its newest state, but its item is not")
    assert says(waits(replace(failed, seq=11), seen=alive)).startswith(
        "The event's newest state is not in the calendar"
    )
    letter = replace(LETTER, code="EXHAUSTED", error="no answer came")
    assert explain(replace(IDLE, dead_letters=(letter,), seen=alive)).cause is Cause.UNREMEMBERED
    assert explain(replace(IDLE, dead_letters=(replace(letter, seq=11),), seen=alive)).cause is Cause.EXHAUSTED
    gone = replace(letter, operation="CANCEL_EVENT")
    assert explain(replace(IDLE, dead_letters=(gone,), seen=alive)).cause is Cause.EXHAUSTED


def test_an_age_that_the_role_may_not_see_is_not_said() -> None:
    assert says(waits(replace(ROW, session=SessionFacts(8, "psql", None)))).endswith("(process 8) has locked its row.")


def test_a_workspace_without_a_connection_may_be_left_out_of_the_view() -> None:
    found = explain(replace(IDLE, connection=None, wanted=UNWANTED))
    assert found.cause is Cause.NEVER_CONNECTED
    assert "has no connection to Google" in found.verdict


def test_an_event_whose_workspace_is_not_connected_any_more_is_not_sent_to_a_rebuild_first() -> None:
    found = explain(replace(THERE, connection=None, wanted=UNWANTED))
    assert found.cause is Cause.UNWANTED
    assert found.remedy.startswith("Delete it in the calendar by hand, or connect the workspace again: ")
    assert explain(replace(THERE, connection=None, wanted=WANTED)).cause is Cause.APPLIED


def test_what_waits_later_lets_others_pass() -> None:
    assert explain(replace(WAITS, rebuild=LATER)).cause is Cause.DUE
    aside = replace(ROW, sqlstate="23514", retry_in=60.0)
    assert explain(replace(WAITS, rebuild=aside)).cause is Cause.DUE
    assert explain(waits(replace(aside, retry_in=-1.0))).cause is Cause.DUE, "it is tried again now"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2 h"), (1e6, "12 days")],
)
def test_a_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


numbers = st.integers(0, 20)
rows = st.builds(
    OutboxRow,
    id=st.uuids(),
    operation=st.sampled_from(["UPSERT_EVENT", "CANCEL_EVENT"]),
    status=st.sampled_from(["PENDING", "FAILED", "PROCESSING"]),
    seq=numbers,
    due_in=st.none() | st.floats(-1e6, 1e6),
    error=st.none() | st.just("{item} %s"),
    ended_ago=st.none() | st.floats(0, 1e6),
    code=st.none() | st.sampled_from(list(FailureCode)),
    sqlstate=st.none() | st.just("23514"),
    retry_in=st.floats(-10, 10),
    custody=st.none() | st.sampled_from(Custody),
    session=st.none() | st.builds(SessionFacts, st.none() | st.integers(1, 9), st.sampled_from(["", "psql"])),
)
several = st.lists(rows, max_size=2).map(tuple)
chains = st.builds(
    Chain,
    workspace_id=st.just(WORKSPACE),
    source=st.sampled_from(["task:1", str(ITEM)]),
    wanted=st.sampled_from([WANTED, UNWANTED, ViewState()]),
    connection=st.none() | st.builds(ConnectionRow, st.booleans(), st.sampled_from([CALENDAR, "team"])),
    stop=st.none() | st.just(BrakeStop(1, 2)),
    rebuild=st.none() | rows,
    rows=several,
    dead_letters=several,
    finished=several,
    memory=st.none() | st.sampled_from([APPLIED, CANCELLED, SourceState(10)]),
    binding=st.none() | st.just(EventRef(CALENDAR, "made-by-google")),
    replicas=st.builds(Replicas, st.integers(0, 2), st.none() | st.just("25006")),
    seen=st.none() | st.builds(GoogleReading, st.sampled_from(EventPresence), problem=st.just("Google failed")),
)


@settings(max_examples=50)
@given(chains)
def test_whatever_is_so_the_sentences_are_whole(chain: Chain) -> None:
    found = explain(chain)
    for sentence in (found.verdict, found.remedy):
        assert re.search(r"[.?]$", sentence)
        assert not re.search(r"\bNone\b|(?<!now)\(\)|: [.]", sentence), sentence
        assert re.sub(r"\{item\} %s", "", sentence).count("{") == 0, sentence
